//! Lines of the acceptance list (`docs/acceptance.md`) that cross the whole system and stand nowhere else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, TestApp, answered};
use crate::support::model::{Limit, Summary, is_summary, prompt, question};
use crate::support::node::{Device, TestNode};
use crate::support::wait::becomes;
use crate::support::webhook::status;

const MAIN: &str = "agent:main:main";

async fn say(operator: &mut TestNode, key: &str, run: &str, message: &str) {
    let params = json!({"sessionKey": key, "message": message, "idempotencyKey": run, "queueMode": "followup"});
    operator.call("chat.send", params).await.expect("accepted");
}

async fn ended(operator: &mut TestNode, run: &str) -> Value {
    let wait = json!({"runId": run, "timeoutMs": 60_000});
    operator.call("agent.wait", wait).await.expect("waits")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_at_the_same_moment_take_turns_in_a_session_and_not_between_two() {
    let followup = json!({"messages": {"queue": {"mode": "followup"}}});
    let app = TestApp::start_with(&followup, &[]).await;
    let webhooks = app.webhooks();
    let first = status(webhooks.telegram(1, 700, "[slow:20] #a"));
    let second = status(webhooks.telegram(2, 700, "[slow:20] #b"));
    assert_eq!(tokio::join!(first, second), (200, 200));
    app.settled().await;
    assert_eq!((app.model.calls().len(), app.model.most_running()), (2, 1));
    assert_eq!(app.platform.messages("700").len(), 2);
    // Two sessions: each call waits for the test, so both are there only if neither waits for the other.
    let first = status(webhooks.telegram(3, 701, "[gate] #c"));
    let second = status(webhooks.telegram(4, 702, "[gate] #d"));
    assert_eq!(tokio::join!(first, second), (200, 200));
    becomes("calls at the same time", 2, || async { app.model.running() }).await;
    app.model.release(100);
    app.settled().await;
}

/// The call hangs: only `/stop` can end it.
#[tokio::test(flavor = "multi_thread")]
async fn stop_during_a_tool_keeps_what_was_said_and_a_transcript_that_providers_take() {
    let app = TestApp::start().await;
    let mut node = app.ready_node(&Device::generate(), &["system.notify"]).await;
    let mut operator = app.operator().await;
    let call = crate::support::model::calls_tool("nodes", &json!({"action": "notify", "title": "Tea"}));
    say(
        &mut operator,
        "main",
        "r1",
        &format!("[words:Let me look] {call} #first"),
    )
    .await;
    node.invoked_as("system.notify").await;
    say(&mut operator, "main", "r2", "#waiting").await;
    let stop = json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": "stop"});
    operator.call("chat.send", stop).await.expect("accepted");
    let aborted = operator.chat_end("r1").await;
    assert_eq!(aborted["state"], "aborted", "{aborted}");
    assert_eq!(aborted["message"]["content"][0]["text"], "Let me look");
    app.settled().await;
    assert!(!operator.has_heard("\"state\":\"final\",\"runId\":\"r1\""));
    let calls = app.model.calls().len();
    assert!(!app.model.calls().iter().any(|call| question(call).contains("#waiting")));

    // The next turn's history: each call has its one result, right behind it.
    say(&mut operator, "main", "r3", "#next").await;
    assert_eq!(operator.chat_end("r3").await["state"], "final");
    let sent = app.model.calls()[calls]["messages"]
        .as_array()
        .expect("messages")
        .clone();
    let mut paired = 0;
    for (at, message) in sent.iter().enumerate() {
        for (offset, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let result = &sent[at + 1 + offset];
            assert_eq!(
                (&result["role"], &result["tool_call_id"]),
                (&json!("tool"), &call["id"]),
                "{sent:?}"
            );
            paired += 1;
        }
    }
    let results = sent.iter().filter(|message| message["role"] == "tool").count();
    assert_eq!((paired, results), (1, 1), "{sent:?}");
    assert!(
        json!(sent).to_string().contains("Let me look"),
        "what was said is not forgotten"
    );
}

/// Refused for its size, summarised, sent again, a tool, an answer: one run.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_numbers_its_events_without_holes_through_a_summary_and_a_tool() {
    let app = TestApp::start_with(&json!({"tools": {"profile": "minimal"}}), &[]).await;
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let mut operator = app.operator().await;
    for turn in 1..=6 {
        let text = format!("#q{turn} {}", "word ".repeat(1_200));
        say(&mut operator, "main", &format!("fill-{turn}"), &text).await;
        assert_eq!(ended(&mut operator, &format!("fill-{turn}")).await["status"], "ok");
    }
    let body = json!({"error": {"message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error", "code": "context_length_exceeded"}});
    app.model.refuses(Some(Limit {
        bytes: 36_000,
        status: 400,
        body,
    }));
    let mut watcher = app.watcher(&["tool-events"]).await;
    say(
        &mut operator,
        "main",
        "r1",
        "[words:Let me look it up] [tool:session_status] #now",
    )
    .await;
    let (mut seq, mut streams, mut text) = (0, Vec::new(), String::new());
    let mut shown = String::new();
    loop {
        let frame = watcher
            .event("the run's event", |frame| {
                ["agent", "chat"].iter().any(|event| frame["event"] == *event) && frame["payload"]["runId"] == "r1"
            })
            .await;
        let payload = &frame["payload"];
        if frame["event"] == "chat" {
            if let Some(said) = payload["message"]["content"][0]["text"].as_str() {
                assert!(said.starts_with(&shown), "{shown:?} then {said:?}");
                shown = said.to_owned();
            }
            if payload["state"] == "final" {
                break;
            }
            continue;
        }
        seq += 1;
        assert_eq!(payload["seq"], seq, "{payload}");
        let stream = payload["stream"].as_str().expect("a stream").to_owned();
        if stream == "assistant" {
            let (whole, delta) = (&payload["data"]["text"], &payload["data"]["delta"]);
            let (whole, delta) = (whole.as_str().expect("text"), delta.as_str().expect("text"));
            // It goes on where the text was, or takes its place.
            let goes_on = whole == format!("{text}{delta}");
            assert!(goes_on || whole == delta, "{text:?} then {delta:?}: {whole:?}");
            text = whole.to_owned();
        }
        streams.push(format!(
            "{stream} {}",
            payload["data"]["phase"].as_str().unwrap_or_default()
        ));
    }
    assert_eq!(shown, "Let me look it up\n\nre: #now end");
    streams.dedup();
    // Beside them stand how far the run is, which model it asks, and what that cost.
    streams.retain(|stream| {
        !["run_status", "usage", "lifecycle model"]
            .iter()
            .any(|beside| stream.starts_with(beside))
    });
    let expected = [
        "lifecycle start",
        "compaction start",
        "compaction end",
        "assistant ",
        "tool start",
        "tool result",
        "assistant ",
        "lifecycle end",
    ];
    assert_eq!(streams, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_answer_in_pieces_is_never_seen() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    say(&mut operator, "main", "r1", "[pieces:NO|_RE|PLY] #quiet").await;
    let end = operator.chat_end("r1").await;
    assert_eq!(
        (&end["state"], &end["message"]),
        (&json!("final"), &Value::Null),
        "{end}"
    );
    say(&mut operator, "main", "r2", "#loud").await;
    operator.chat_end("r2").await;
    assert!(!operator.has_heard("_RE") && !operator.has_heard("NO_REPLY"));
    assert_eq!(
        status(app.webhooks().telegram(1, 700, "[pieces:NO|_RE|PLY] #quiet")).await,
        200
    );
    app.settled().await;
    assert!(app.platform.messages("700").is_empty());
}

/// What no parser follows is an error of that call, and the run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn arguments_nested_ten_thousand_deep_are_an_error_of_the_call() {
    use base64::Engine;
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "1".to_owned() + &"}".repeat(10_000));
    let deep = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(deep);
    say(
        &mut operator,
        "main",
        "r1",
        &format!("[tool:session_status] [with:{deep}] #deep"),
    )
    .await;
    assert_eq!(ended(&mut operator, "r1").await["status"], "ok");
    let answers: Vec<String> = app
        .rows()
        .await
        .column("SELECT body FROM transcript_entry WHERE body LIKE '%toolResult%'")
        .await;
    assert!(
        answers.len() == 1 && answers[0].contains("\"isError\":true"),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_may_have_the_same_session_run_and_key() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut owner = app.operator().await;
    let scopes = &["operator.read", "operator.write"];
    let mut member = app.operator_as("demo", MEMBER, scopes).await.expect("connects");
    for (who, words) in [(&mut owner, "[gate] #owners"), (&mut member, "[gate] #members")] {
        say(who, "main", "same-run", words).await;
    }
    becomes("calls at the same time", 2, || async { app.model.running() }).await;
    // A repeat finds the caller's own run.
    say(&mut member, "main", "same-run", "[gate] #members").await;
    app.model.release(100);
    for (who, own, others) in [
        (&mut owner, "#owners", "#members"),
        (&mut member, "#members", "#owners"),
    ] {
        let end = who.chat_end("same-run").await;
        assert_eq!(end["message"]["content"][0]["text"], format!("re: {own} end"));
        assert_eq!(ended(who, "same-run").await["status"], "ok");
        let history = who
            .call("chat.history", json!({"sessionKey": "main"}))
            .await
            .expect("history");
        assert_eq!(history["messages"].as_array().map(Vec::len), Some(2), "{history}");
        assert!(!history.to_string().contains(others) && !who.has_heard(others));
    }
    assert_eq!(app.model.calls().len(), 2);
}

const FILE: &str = include_str!("../fixtures/transcript-v3.jsonl");

/// Lines without what may differ between two installations.
fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().skip(1);
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn exported(app: &TestApp, key: &str) -> String {
    let request = app
        .owner()
        .request(Method::GET, &format!("/api/sessions/{key}/transcript"));
    let response = request.send().await.expect("answers");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/jsonl");
    response.text().await.expect("a body")
}

async fn imported(app: &TestApp, key: &str, text: &str) -> (u16, Value) {
    let request = app
        .owner()
        .request(Method::POST, &format!("/api/sessions/{key}/transcript"));
    answered(
        request
            .header("content-type", "application/jsonl")
            .body(text.to_owned()),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_of_the_original_comes_in_goes_on_and_goes_out() {
    let app = TestApp::start().await;
    let (code, made) = imported(&app, "old", FILE).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        (&made["sessionKey"], &made["entries"], &made["skipped"]),
        (&json!("agent:main:old"), &json!(16), &json!(0))
    );
    assert_eq!(made["sessionId"], "0b5f2c1e-7d3a-4c55-9a0e-6f2d1c3b4a59");
    // The picture is stored as any other, and comes out as it was.
    assert_eq!(app.rows().await.count("blob").await, 1);
    let out = exported(&app, "old").await;
    let (before, after) = (lines(FILE), lines(&out));
    assert_eq!(after.len(), before.len());
    let picture = |lines: &[Value]| lines[4]["message"]["content"][1]["data"].clone();
    assert_eq!(picture(&after), picture(&before));
    let tree = |lines: &[Value]| -> Vec<[Value; 3]> {
        lines
            .iter()
            .map(|line| [line["type"].clone(), line["id"].clone(), line["parentId"].clone()])
            .collect()
    };
    assert_eq!(tree(&after), tree(&before));
    // A second time it is there already; what went out comes in elsewhere, and out again the same.
    assert_eq!(imported(&app, "old", FILE).await.0, 409);
    assert_eq!(imported(&app, "copy", &out).await.0, 201);
    assert_eq!(lines(&exported(&app, "copy").await), after);

    // The conversation goes on from the summary and what was kept, on the branch in use.
    let mut operator = app.operator().await;
    say(&mut operator, "old", "r1", "#further").await;
    assert_eq!(operator.chat_end("r1").await["state"], "final");
    let calls = app.model.calls();
    let sent = prompt(calls.iter().rfind(|call| !is_summary(call)).expect("was asked"));
    for part in ["#summary", "#kept", "Kept and answered", "#pluginnote", "#further"] {
        assert!(sent.contains(part), "{part} was not sent: {sent}");
    }
    for part in ["#early", "#abandoned", "Look first."] {
        assert!(!sent.contains(part), "{part} was sent: {sent}");
    }

    // The command line says the same.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("out.jsonl");
    let path = file.display().to_string();
    let of = ["--tenant", "demo", "--user", OWNER, "--session"];
    let export: Vec<&str> = ["transcript", "export"]
        .into_iter()
        .chain(of)
        .chain(["copy", "--out", &path])
        .collect();
    app.binary.cli(&export);
    assert_eq!(lines(&std::fs::read_to_string(&file).expect("was written")), after);
    let import: Vec<&str> = ["transcript", "import"]
        .into_iter()
        .chain(of)
        .chain(["third", &path, "--json"])
        .collect();
    let made: Value = serde_json::from_str(&app.binary.cli(&import)).expect("JSON");
    assert_eq!(
        (&made["sessionKey"], &made["entries"]),
        (&json!("agent:main:third"), &json!(16))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_transcript_goes_with_its_session_also_after_a_fresh_start() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let of = |id: &Value| format!("transcript_entry WHERE session_id = '{}'", id.as_str().expect("an id"));
    let (_, first) = imported(&app, "old", FILE).await;
    assert_eq!(rows.count(&of(&first["sessionId"])).await, 16);
    let key = json!({"key": "agent:main:old"});
    operator.call("sessions.reset", key.clone()).await.expect("resets");
    let delete = json!({"key": "agent:main:old", "deleteTranscript": true});
    operator.call("sessions.delete", delete.clone()).await.expect("deletes");
    assert_eq!(rows.count("transcript_entry").await, 0, "its words are gone");
    // The file comes in again elsewhere. Who deletes the first session once more does not take that.
    let (code, again) = imported(&app, "new", FILE).await;
    assert_eq!(code, 201, "{again}");
    say(&mut operator, "old", "o1", "#hello").await;
    operator.chat_end("o1").await;
    operator.call("sessions.delete", delete).await.expect("deletes");
    assert_eq!(rows.count(&of(&again["sessionId"])).await, 16, "another session's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_beside_a_message_to_the_same_session_is_whole_or_refused() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for round in 0..12 {
        let key = format!("race{round}");
        let run = format!("r{round}");
        let params = json!({"sessionKey": key, "message": format!("#{run}"), "idempotencyKey": run});
        let ((code, made), sent) = tokio::join!(imported(&app, &key, FILE), operator.call("chat.send", params));
        sent.expect("accepted");
        assert!(code == 201 || code == 409, "{code} {made}");
        assert_eq!(operator.chat_end(&run).await["state"], "final");
        let out = lines(&exported(&app, &key).await);
        let messages = out.len();
        let wanted = if code == 201 { 16 + 2 } else { 2 };
        assert_eq!(messages, wanted, "{code}: {out:?}");
        let ids: std::collections::BTreeSet<&str> = out.iter().filter_map(|line| line["id"].as_str()).collect();
        let parents = out.iter().filter_map(|line| line["parentId"].as_str());
        assert!(
            ids.len() == messages && parents.into_iter().all(|parent| ids.contains(parent)),
            "{out:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_are_their_owners_and_bad_files_make_nothing() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    assert_eq!(imported(&app, "old", FILE).await.0, 201);
    let (code, _) = app.person("demo", MEMBER).get("/api/sessions/old/transcript").await;
    assert_eq!(code, 404);
    for (key, file, wanted) in [
        ("b1", "nonsense", 400),
        ("b2", "{\"type\":\"session\",\"version\":9}", 400),
        ("agent:main:subagent:x", FILE, 400),
        ("agent:nobody:x", FILE, 404),
        ("", FILE, 404),
    ] {
        let (code, answer) = imported(&app, key, file).await;
        assert_eq!(code, wanted, "{key}: {answer}");
    }
    let head = "{\"type\":\"session\",\"version\":3}";
    let picture = r#"{"type":"image","mimeType":"image/png","data":"iVBORw0K"}"#;
    let pictures = vec![picture; 2001].join(",");
    let many = format!(
        "{head}\n{{\"type\":\"message\",\"id\":\"a\",\"message\":{{\"role\":\"user\",\"content\":[{pictures}]}}}}"
    );
    let (code, answer) = imported(&app, "many", &many).await;
    assert_eq!(code, 400, "{answer}");
    assert!(answer.to_string().contains("2000 files"), "{answer}");
    let hostile = format!("{head}\n[{}0]", "{},".repeat(200_000));
    let (code, answer) = imported(&app, "hostile", &hostile).await;
    assert_eq!(code, 413, "{answer}");
    assert!(answer.to_string().contains("200000 JSON values"), "{answer}");
    assert_eq!(app.rows().await.count("blob").await, 1, "of the one that came in");
    let keys: Vec<String> = app.rows().await.column("SELECT key FROM session").await;
    assert_eq!(keys, ["agent:main:old"]);
    let (code, _) = app.owner().get(&format!("/api/sessions/{MAIN}/transcript")).await;
    assert_eq!(code, 404, "there is none yet");
}
