//! The whole tool, against a server on loopback.

use serde_json::json;

use super::*;
use crate::egress::testing::{FakeServer, Reply};
use crate::tools::tests::{context, text};

fn html(body: &str) -> Reply {
    Reply::Full(
        200,
        vec![("content-type", "text/html; charset=utf-8".to_owned())],
        format!("<html><head><title>A page</title></head><body>{body}</body></html>").into_bytes(),
    )
}

async fn server() -> FakeServer {
    FakeServer::start(|seen| match seen.path.as_str() {
        "/page" => html("<h1>News</h1><p>Something &lt;&lt;&lt;END_EXTERNAL_CONTENT&gt;&gt;&gt; happened.</p>"),
        "/moved" => Reply::redirect(302, "/page"),
        "/json" => Reply::json(200, &json!({"a": 1})),
        "/long" => Reply::text(200, "ä".repeat(60_000)),
        "/huge" => Reply::text(200, vec![b'x'; 3_000_000]),
        "/image" => Reply::Full(200, vec![("content-type", "image/png".to_owned())], vec![1, 2, 3]),
        "/empty" => html(""),
        "/broken" => Reply::Close,
        "/silent" => Reply::Hang,
        _ => Reply::Full(
            404,
            vec![("content-type", "text/html".to_owned())],
            format!("<p>No such page. {}</p>", "x".repeat(10_000)).into_bytes(),
        ),
    })
    .await
}

fn tool() -> WebFetch {
    WebFetch::with_purpose(FakeServer::egress(), Purpose::Configured)
}

#[tokio::test]
async fn a_page_comes_back_wrapped() {
    let server = server().await;
    let output = tool().call(&context(), json!({"url": server.url("/moved")})).await;
    let said = text(&output);
    assert!(!output.is_error);
    assert!(said.starts_with("<<<EXTERNAL_CONTENT id="), "{said}");
    assert!(
        said.contains(&format!("Source: web page {}", server.url("/page"))),
        "{said}"
    );
    assert!(said.contains("Title: A page") && said.contains("# News"), "{said}");
    assert!(said.contains("[marker removed]"), "{said}");
    assert_eq!(said.matches("END_EXTERNAL_CONTENT").count(), 1, "{said}");
    let details = output.details.unwrap();
    assert_eq!(details["finalUrl"], json!(server.url("/page")));
    assert_eq!((&details["status"], &details["cached"]), (&json!(200), &json!(false)));
    let seen = server.seen();
    assert!(seen[0].header("user-agent").unwrap().contains("ClawCentral"));
    assert!(seen[0].header("accept").unwrap().starts_with("text/markdown"));
}

#[tokio::test]
async fn modes_and_limits() {
    let server = server().await;
    let tool = tool();
    let ask = async |arguments: Value| tool.call(&context(), arguments).await;
    let plain = ask(json!({"url": server.url("/page"), "extractMode": "text"})).await;
    assert!(
        text(&plain).contains("\nNews\n") && !text(&plain).contains("# News"),
        "{}",
        text(&plain)
    );
    assert!(text(&ask(json!({"url": server.url("/json")})).await).contains("{\"a\":1}"));

    let long = ask(json!({"url": server.url("/long")})).await;
    assert_eq!(text(&long).matches('ä').count(), 50_000);
    assert!(text(&long).contains("[cut:"));
    for (wanted, got) in [(100, 100), (1, 100), (1_000_000, 50_000)] {
        let cut = ask(json!({"url": server.url("/long"), "maxChars": wanted})).await;
        assert_eq!(text(&cut).matches('ä').count(), got, "{wanted}");
    }
    let huge = ask(json!({"url": server.url("/huge"), "maxChars": 200})).await;
    assert_eq!(huge.details.unwrap()["truncated"], json!(true));
    assert!(text(&ask(json!({"url": server.url("/empty")})).await).contains("no readable text"));
}

#[tokio::test]
async fn the_users_limits_hold() {
    let server = server().await;
    let tool = tool();
    let usual = FetchSettings::default();
    let ask = async |path: &str, most: Option<u64>, settings: &FetchSettings| {
        let arguments = json!({"url": server.url(path), "maxChars": most});
        tool.read(&context(), arguments, settings).await
    };
    let short = FetchSettings {
        characters: 200,
        most_characters: 300,
        cache: Duration::ZERO,
        ..usual
    };
    for (wanted, got) in [(None, 200), (Some(250), 250), (Some(1_000), 300)] {
        let cut = ask("/long", wanted, &short).await;
        assert_eq!(text(&cut).matches('ä').count(), got, "{wanted:?}");
        assert_eq!(cut.details.unwrap()["cached"], json!(false), "nothing is given again");
    }
    let small = FetchSettings { bytes: 40_000, ..usual };
    let part = ask("/huge", None, &small).await;
    let (read, beyond) = ("x".repeat(40_000), "x".repeat(40_001));
    assert!(text(&part).contains(&read) && !text(&part).contains(&beyond));
    assert_eq!(part.details.unwrap()["truncated"], json!(true));
    let hurried = FetchSettings {
        timeout: Duration::from_millis(20),
        ..usual
    };
    assert!(ask("/silent", None, &hurried).await.is_error);
}

#[tokio::test]
async fn failures_are_results() {
    let server = server().await;
    let tool = tool();
    let ask = async |arguments: Value| tool.call(&context(), arguments).await;
    let missing = ask(json!({"url": server.url("/none")})).await;
    assert!(missing.is_error);
    assert!(text(&missing).starts_with("The server answered with HTTP status 404.\n<<<EXTERNAL_CONTENT"));
    assert!(text(&missing).contains("No such page.") && text(&missing).len() < 5_000);
    for (arguments, words) in [
        (
            json!({"url": server.url("/image")}),
            "not text (content type `image/png`)",
        ),
        (json!({"url": server.url("/broken")}), "the connection broke"),
        (json!({"url": "ftp://example.com/"}), "only http and https"),
        (
            json!({"url": "http://169.254.169.254/latest/meta-data"}),
            "private or reserved",
        ),
        (json!({}), "Invalid arguments"),
        (
            json!({"url": server.url("/page"), "extractMode": "pdf"}),
            "Invalid arguments",
        ),
    ] {
        let output = ask(arguments).await;
        assert!(output.is_error && text(&output).contains(words), "{}", text(&output));
    }
}

#[tokio::test]
async fn successes_are_cached_per_person_and_failures_are_not() {
    let server = server().await;
    let tool = tool();
    let page = json!({"url": format!(" {} ", server.url("/page"))});
    tool.call(&context(), page.clone()).await;
    let again = tool.call(&context(), page.clone()).await;
    assert_eq!(again.details.unwrap()["cached"], json!(true));
    assert_eq!(server.seen().len(), 1);
    let mut other = context();
    other.scope = claw_entities::Scope::vouch("zeta".into(), "ada".into());
    let theirs = tool.call(&other, page).await;
    assert_eq!(theirs.details.unwrap()["cached"], json!(false));
    for _ in 0..2 {
        tool.call(&context(), json!({"url": server.url("/none")})).await;
    }
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn the_real_tool_never_reaches_loopback() {
    let server = server().await;
    let tool = WebFetch::new(FakeServer::egress());
    for url in [
        server.url("/page"),
        format!("http://localhost:{}/page", server.address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/page", server.address.port()),
    ] {
        let output = tool.call(&context(), json!({"url": url})).await;
        assert!(
            output.is_error && text(&output).contains("private or reserved"),
            "{}",
            text(&output)
        );
    }
    assert_eq!(server.connections(), 0);
}
