//! Notes that are found by what they mean, and vectors for other programs.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, TestApp};
use crate::support::model::{calls_tool, question};
use crate::support::node::TestNode;
use crate::support::wait::becomes;

/// The scripted model makes the vectors.
fn with_vectors() -> Value {
    json!({"agents": {"defaults": {"memorySearch": {"provider": "mock", "model": "embed-1"}}}})
}

/// What the model was given for a search in a turn of its own.
async fn search(app: &TestApp, operator: &mut TestNode, run: &str, query: &str) -> Value {
    let arguments = json!({"query": query});
    let message = format!("#{run} {}", calls_tool("memory_search", &arguments));
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    let end = operator.chat_end(run).await;
    assert_eq!(end["state"], "final", "{end}");
    let tag = format!("#{run} ");
    let calls = app.model.calls();
    let call = calls.iter().rev().find(|call| question(call).contains(&tag));
    let messages = call.expect("asked")["messages"].as_array().cloned().expect("messages");
    let given = messages.last().expect("a message")["content"]
        .as_str()
        .expect("a text")
        .to_owned();
    serde_json::from_str(&given).unwrap_or_else(|error| panic!("{given}: {error}"))
}

fn paths(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().expect("results");
    results.iter().filter_map(|result| result["path"].as_str()).collect()
}

async fn write(operator: &mut TestNode, name: &str, content: &str) {
    let params = json!({"agentId": "main", "name": name, "content": content});
    operator.call("agents.files.set", params).await.expect("writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_found_by_what_they_mean_and_by_words_when_the_provider_fails() {
    let app = TestApp::start_with(&with_vectors(), &[]).await;
    let mut operator = app.operator().await;
    let tool = |name: &'static str, arguments: Value| calls_tool(name, &arguments);
    for (run, path, content) in [
        ("w1", "memory/2026-11-01.md", "The automobile is in the garage."),
        ("w2", "memory/2026-11-02.md", "We had pasta on Friday."),
        ("w3", "memory/2026-11-03.md", "Nothing of note."),
    ] {
        let message = format!(
            "#{run} {}",
            tool("memory_write", json!({"path": path, "content": content}))
        );
        let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": run});
        operator.call("chat.send", params).await.expect("accepted");
        operator.chat_end(run).await;
    }
    // Soon after a note was written its vector is there, before anybody asks.
    let rows = app.rows().await;
    becomes("three vectors", 3, || rows.count("memory_vector")).await;

    let found = search(&app, &mut operator, "s1", "vehicle").await;
    assert_eq!(
        (&found["mode"], &found["provider"], &found["model"]),
        (&json!("hybrid"), &json!("mock"), &json!("embed-1"))
    );
    assert_eq!(paths(&found), ["memory/2026-11-01.md"], "{found}");
    assert!(found["results"][0]["score"].as_f64().expect("a score") > 0.6, "{found}");
    // A word and its meaning together are worth more than the meaning alone.
    let both = search(&app, &mut operator, "s2", "automobile").await;
    assert!(
        both["results"][0]["score"].as_f64() > found["results"][0]["score"].as_f64(),
        "{both}"
    );

    // Only what changed is asked about again.
    let before = app.model.embedded().len();
    let message = format!(
        "#w4 {}",
        tool(
            "memory_write",
            json!({"path": "memory/2026-11-03.md", "content": "The kitten slept."})
        )
    );
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": "w4"});
    operator.call("chat.send", params).await.expect("accepted");
    operator.chat_end("w4").await;
    let cat = search(&app, &mut operator, "s3", "cat").await;
    assert_eq!(paths(&cat), ["memory/2026-11-03.md"], "{cat}");
    let asked: Vec<String> = app.model.embedded().split_off(before);
    assert!(
        asked
            .iter()
            .all(|text| !text.contains("garage") && !text.contains("pasta")),
        "{asked:?}"
    );
    becomes("three vectors again", 3, || rows.count("memory_vector")).await;

    // The provider fails: words alone, and no failed call of the tool.
    app.model.embeds(Some(500));
    let words = search(&app, &mut operator, "s4", "pasta").await;
    assert_eq!(
        (&words["mode"], paths(&words)),
        (&json!("fts-only"), vec!["memory/2026-11-02.md"]),
        "{words}"
    );
    assert!(
        words["fallback"]["reason"].as_str().expect("a reason").contains("mock"),
        "{words}"
    );
    let by_meaning = search(&app, &mut operator, "s5", "supper").await;
    assert!(paths(&by_meaning).is_empty(), "{by_meaning}");

    // What it used is on record.
    assert_eq!(
        rows.count("side_usage WHERE provider = 'mock' AND input > 0 AND errors > 0")
            .await,
        1
    );
    let cost = operator.call("usage.cost", json!({})).await.expect("sums up");
    assert!(cost["totals"]["input"].as_i64() > Some(0), "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_a_note_and_its_vector_loses_neither() {
    let mut app = TestApp::start_with(&with_vectors(), &[]).await;
    let mut operator = app.operator().await;
    app.model.embeds(Some(503));
    write(&mut operator, "MEMORY.md", "The kitten is called Luna.").await;
    let rows = app.rows().await;
    assert_eq!(rows.count("memory_vector").await, 0);
    app.binary.kill();
    app.model.embeds(None);
    app.binary.start();
    let mut operator = app.operator().await;
    let found = search(&app, &mut operator, "s1", "cat").await;
    assert_eq!(
        (&found["mode"], paths(&found)),
        (&json!("hybrid"), vec!["MEMORY.md"]),
        "{found}"
    );
    // Another user's search finds nothing of it, though what they ask means the same.
    app.add_user("demo", MEMBER, "member");
    app.import("demo", MEMBER, &with_vectors());
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read", "operator.write"])
        .await
        .expect("the member's token connects");
    let nothing = search(&app, &mut member, "s2", "cat").await;
    assert_eq!(
        (&nothing["mode"], paths(&nothing)),
        (&json!("hybrid"), Vec::<&str>::new()),
        "{nothing}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_vectors_in_openais_form() {
    let app = TestApp::start_with(&with_vectors(), &[]).await;
    let ask = async |body: Value| app.owner().post("/v1/embeddings", &body).await;
    let (status, list) = ask(json!({"model": "openclaw", "input": ["car", "nothing"]})).await;
    assert_eq!(status, 200, "{list}");
    assert_eq!(
        (&list["object"], &list["data"][1]["index"]),
        (&json!("list"), &json!(1))
    );
    let car: Vec<f32> = serde_json::from_value(list["data"][0]["embedding"].clone()).expect("numbers");
    assert_eq!(car, crate::support::model::vector("car"));
    assert_eq!(list["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let (status, packed) = ask(json!({"model": "embed-1", "input": "nothing", "encoding_format": "base64"})).await;
    assert_eq!(
        (status, &packed["data"][0]["embedding"]),
        (200, &json!("AAAAAAAAAAAAAAAAAACAPw==")),
        "{packed}"
    );
    for (body, param) in [
        (json!({"model": "openclaw", "input": []}), "input"),
        (json!({"model": "openclaw", "input": ["a", ""]}), "input"),
        (json!({"model": "openclaw", "input": [[1, 2]]}), "input"),
        (json!({"model": "openclaw", "input": [1, 2]}), "input"),
        (json!({"model": "gpt-4o", "input": "a"}), "model"),
        (
            json!({"model": "openclaw", "input": "a", "encoding_format": "hex"}),
            "encoding_format",
        ),
        (
            json!({"model": "openclaw", "input": "a", "dimensions": 7}),
            "dimensions",
        ),
    ] {
        let (status, error) = ask(body.clone()).await;
        assert!(status == 400 || status == 404, "{body}: {status} {error}");
        assert_eq!(
            (&error["error"]["type"], &error["error"]["param"]),
            (&json!("invalid_request_error"), &json!(param)),
            "{body}"
        );
    }
    let many: Vec<String> = (0..130).map(|n| format!("text {n}")).collect();
    let (status, list) = ask(json!({"input": many})).await;
    assert_eq!((status, list["data"].as_array().map(Vec::len)), (200, Some(130)));
    app.model.embeds(Some(500));
    let (status, error) = ask(json!({"input": "a"})).await;
    assert_eq!((status, &error["error"]["type"]), (500, &json!("api_error")), "{error}");
    let (status, _) = app.anonymous().post("/v1/embeddings", &json!({"input": "a"})).await;
    assert_eq!(status, 401);
}
