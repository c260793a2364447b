use claw_actors::crypto::Secret;
use claw_entities::{TenantId, UserId};

use super::super::tests::text;
use super::*;
use crate::egress::testing::{FakeServer, Reply};

fn scope(user: &str) -> Scope {
    Scope::vouch(TenantId::from("acme"), UserId::from(user))
}

fn access(engine: SearchEngine, base: Option<String>) -> SearchAccess {
    SearchAccess {
        engine,
        key: engine.needs_key().then(|| Secret::new("k-1")),
        base_url: base,
        count: 5,
        timeout: Duration::from_secs(10),
    }
}

fn query(text: &str) -> Query {
    Query {
        query: text.to_owned(),
        ..Query::default()
    }
}

#[tokio::test]
async fn each_service_is_asked_in_its_own_way() {
    let server = FakeServer::start(|seen| {
        let hit = json!({"title": "A <strong>hit</strong>", "url": "https://a.example/x", "description": "about\n it",
            "content": "about it"});
        let odd = json!({"title": "odd", "url": "javascript:alert(1)"});
        Reply::json(
            200,
            &if seen.path.starts_with("/brave") {
                json!({"web": {"results": [hit, odd]}})
            } else {
                json!({"results": [hit, odd]})
            },
        )
    })
    .await;
    let tool = WebSearch::new(FakeServer::egress());
    for (engine, path) in [
        (SearchEngine::Brave, "/brave"),
        (SearchEngine::Tavily, "/tavily"),
        (SearchEngine::Searxng, "/searx/"),
    ] {
        let wish = Query {
            freshness: Some("month".to_owned()),
            count: Some(3),
            ..query("löwe & co")
        };
        let output = tool
            .search(&scope("ada"), wish, &access(engine, Some(server.url(path))))
            .await
            .expect("finds");
        let shown = text(&output);
        assert!(
            shown.starts_with("<<<EXTERNAL_CONTENT") && shown.contains("\"A hit\""),
            "{shown}"
        );
        assert!(shown.contains("about it") && !shown.contains("javascript"), "{shown}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].path, "/brave?q=l%C3%B6we+%26+co&count=3&freshness=pm");
    assert_eq!(seen[0].header("x-subscription-token"), Some("k-1"));
    assert_eq!(seen[1].header("authorization"), Some("Bearer k-1"));
    assert_eq!(
        seen[1].json(),
        json!({"query": "löwe & co", "max_results": 3, "time_range": "month"})
    );
    assert_eq!(
        seen[2].path,
        "/searx/search?q=l%C3%B6we+%26+co&format=json&time_range=month"
    );
}

#[tokio::test]
async fn what_was_found_is_kept_for_a_while_and_for_nobody_else() {
    let server = FakeServer::start(|_| Reply::json(200, &json!({"results": []}))).await;
    let tool = WebSearch::new(FakeServer::egress());
    let access = access(SearchEngine::Searxng, Some(server.url("")));
    for user in ["ada", "ada", "bob"] {
        let output = tool.search(&scope(user), query("x"), &access).await.expect("finds");
        assert_eq!(text(&output), "searxng found nothing.");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn failures_name_neither_key_nor_address() {
    for (status, part) in [
        (401, "refused the key"),
        (429, "limit"),
        (500, "status 500"),
        (200, "no JSON"),
    ] {
        let server = FakeServer::start(move |_| Reply::text(status, "k-1 is wrong")).await;
        let tool = WebSearch::new(FakeServer::egress());
        let access = access(SearchEngine::Brave, Some(server.url("/")));
        let output = tool
            .search(&scope("ada"), query("x"), &access)
            .await
            .expect_err("fails");
        let shown = text(&output);
        assert!(
            shown.contains(part) && !shown.contains("k-1") && !shown.contains("127.0.0.1"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_filter_a_service_does_not_have_is_refused_by_name() {
    let tool = WebSearch::new(Egress::new(Default::default()));
    let refused = async |engine, wish: Query| {
        let access = access(engine, Some("https://search.example".to_owned()));
        let output = tool.search(&scope("ada"), wish, &access).await.expect_err("refuses");
        text(&output).to_owned()
    };
    let sites = Query {
        domain_filter: vec!["a.example".to_owned()],
        ..query("x")
    };
    assert!(refused(SearchEngine::Brave, sites).await.contains("domain_filter"));
    let country = Query {
        country: Some("DE".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Tavily, country).await.contains("country"));
    let week = Query {
        freshness: Some("week".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Searxng, week).await.contains("week"));
    let date = Query {
        date_after: Some("yesterday".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Brave, date).await.contains("date_after"));
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_the_operator_allows_it() {
    let server = FakeServer::start(|_| Reply::json(200, &json!({"results": []}))).await;
    let tool = WebSearch::new(Egress::new(Default::default()));
    let access = access(SearchEngine::Searxng, Some(server.url("")));
    tool.search(&scope("ada"), query("x"), &access)
        .await
        .expect_err("refused");
    assert_eq!(server.connections(), 0);
}
