//! Long conversations: summarised before they no longer fit and after a provider refused them, with nothing lost.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, STRANGER, TestApp};
use crate::support::model::{Limit, Model, Summary, is_summary, prompt};
use crate::support::node::TestNode;
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

const KEY: &str = "agent:main:long";
/// Characters of one question.
const LONG: usize = 6_000;
/// Prompts of more bytes than this are refused.
const LIMIT: usize = 36_000;

/// A window that five or six long questions fill, beside one tool.
fn small() -> Value {
    json!({"agents": {"defaults": {"contextTokens": 20_000}}, "tools": {"profile": "minimal"}})
}

fn question(turn: usize) -> String {
    format!("#q{turn} {}", "word ".repeat(LONG / 5))
}

async fn send(operator: &mut TestNode, key: &str, run: &str, message: &str) {
    let params = json!({"sessionKey": key, "message": message, "idempotencyKey": run, "queueMode": "followup"});
    operator.call("chat.send", params).await.expect("accepted");
}

/// Sends a message and waits for its end. Gives how its run ended.
async fn ask(operator: &mut TestNode, key: &str, run: &str, message: &str) -> Value {
    send(operator, key, run, message).await;
    let wait = json!({"runId": run, "timeoutMs": 60_000});
    operator.call("agent.wait", wait).await.expect("waits")
}

/// Asks questions until the conversation was summarised; gives the number of the question before which it was.
async fn until_compacted(app: &TestApp, operator: &mut TestNode, key: &str) -> usize {
    let rows = app.rows().await;
    for turn in 1..=12 {
        let ended = ask(operator, key, &format!("{key}-{turn}"), &question(turn)).await;
        assert_eq!(ended["status"], "ok", "{ended}");
        if rows.count("transcript_entry WHERE kind = 'compaction'").await > 0 {
            return turn;
        }
    }
    panic!("twelve long questions were never summarised");
}

/// Fills a session without reaching the limit.
async fn fill(operator: &mut TestNode, key: &str, turns: usize) {
    for turn in 1..=turns {
        let ended = ask(operator, key, &format!("{key}-fill-{turn}"), &question(turn)).await;
        assert_eq!(ended["status"], "ok", "{ended}");
    }
}

fn summaries(model: &Model) -> Vec<Value> {
    model.calls().into_iter().filter(is_summary).collect()
}

/// The newest request that is no summary.
fn last_call(model: &Model) -> String {
    let calls = model.calls();
    let last = calls.iter().rev().find(|call| !is_summary(call)).expect("was called");
    prompt(last)
}

async fn compactions(app: &TestApp) -> i64 {
    app.rows()
        .await
        .count("transcript_entry WHERE kind = 'compaction'")
        .await
}

async fn compaction_event(operator: &mut TestNode, phase: &str) -> Value {
    let event = operator
        .event("a compaction", |frame| {
            let payload = &frame["payload"];
            frame["event"] == "agent" && payload["stream"] == "compaction" && payload["data"]["phase"] == phase
        })
        .await;
    event["payload"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_conversation_is_summarised_and_goes_on() {
    let app = TestApp::start_with(&small(), &[]).await;
    app.model.counts_tokens();
    app.model.summarises(Summary::Says("SUMMARY-ONE".to_owned()));
    let mut operator = app.operator().await;
    let first = until_compacted(&app, &mut operator, KEY).await;
    assert!((4..=8).contains(&first), "summarised before question {first}");
    let start = compaction_event(&mut operator, "start").await;
    let end = compaction_event(&mut operator, "end").await;
    assert_eq!(
        end["data"],
        json!({"phase": "end", "willRetry": false, "completed": true})
    );
    assert_eq!(end["seq"].as_i64(), start["seq"].as_i64().map(|seq| seq + 1));
    // The old went into the summary, the new stayed word for word.
    let asked = summaries(&app.model);
    // A small window reads it in parts.
    let parts = asked.len();
    assert!((1..=2).contains(&parts), "{parts} calls");
    assert!(prompt(&asked[0]).contains("#q1 ") && !prompt(&asked[0]).contains("summary-so-far"));
    let sent = last_call(&app.model);
    assert!(sent.contains("SUMMARY-ONE") && !sent.contains("#q1 ") && sent.contains(&format!("#q{first} ")));
    let place = |part: &str| sent.find(part).unwrap_or_else(|| panic!("{part} was not sent"));
    assert!(place("SUMMARY-ONE") < place(&format!("#q{} ", first - 1)));
    assert!(place(&format!("#q{} ", first - 1)) < place(&format!("#q{first} ")));
    // Nothing was deleted, and people see a line.
    let page = operator
        .call("chat.history", json!({"sessionKey": KEY, "limit": 200}))
        .await
        .expect("history");
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 2 * first + 1);
    let lines: Vec<&Value> = messages
        .iter()
        .filter(|message| message["__openclaw"]["kind"] == "compaction")
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["role"], "system");
    assert!(!page.to_string().contains("SUMMARY-ONE"));
    // The next summary is made from this one and what followed.
    app.model.summarises(Summary::Says("SUMMARY-TWO".to_owned()));
    let mut turn = first;
    while compactions(&app).await < 2 {
        turn += 1;
        assert!(turn < first + 12, "no second summary");
        let ended = ask(&mut operator, KEY, &format!("more-{turn}"), &question(turn)).await;
        assert_eq!(ended["status"], "ok");
    }
    let asked = summaries(&app.model);
    assert!((parts + 1..=parts + 2).contains(&asked.len()), "{} calls", asked.len());
    let second = prompt(&asked[parts]);
    assert!(second.contains("<summary-so-far>") && second.contains("SUMMARY-ONE") && !second.contains("#q1 "));
    let sent = last_call(&app.model);
    assert!(sent.contains("SUMMARY-TWO") && !sent.contains("SUMMARY-ONE"));
    let listed = operator
        .call("sessions.describe", json!({"key": KEY}))
        .await
        .expect("describes");
    assert_eq!(listed["session"]["compactionCount"], 2);
    assert_eq!(listed["session"]["contextTokens"], 20_000);
    assert!(listed["session"].get("compactionFailedAt").is_none());
    send(&mut operator, KEY, "status", "/status").await;
    let told = operator.chat_end("status").await;
    let text = told["message"]["content"][0]["text"].as_str().expect("a text");
    assert!(
        text.contains("of 20,000 tokens") && text.contains("Compactions: 2"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_refuses_is_summarised_and_sent_again() {
    let app = TestApp::start().await;
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let mut operator = app.operator().await;
    let error = |message: &str, code: Value| json!({"error": {"message": message, "type": "invalid_request_error", "code": code}});
    let bodies = [
        (
            400,
            error(
                "This model's maximum context length is 8192 tokens.",
                json!("context_length_exceeded"),
            ),
        ),
        (
            400,
            error("prompt is too long: 210000 tokens > 200000 maximum", Value::Null),
        ),
        (
            400,
            error(
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                Value::Null,
            ),
        ),
        (
            413,
            json!({"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
        ),
        (
            400,
            json!({"message": "the request exceeds the available context size, try increasing it"}),
        ),
    ];
    for (at, (code, body)) in bodies.into_iter().enumerate() {
        app.model.refuses(None);
        let key = format!("agent:main:refused{at}");
        fill(&mut operator, &key, 6).await;
        app.model.refuses(Some(Limit {
            bytes: LIMIT,
            status: code,
            body: body.clone(),
        }));
        let before = (compactions(&app).await, summaries(&app.model).len());
        let ended = ask(&mut operator, &key, &format!("now-{at}"), &format!("#now{at}")).await;
        assert_eq!(ended["status"], "ok", "{body}: {ended}");
        let end = compaction_event(&mut operator, "end").await;
        assert_eq!(
            end["data"],
            json!({"phase": "end", "willRetry": true, "completed": true})
        );
        let after = (compactions(&app).await, summaries(&app.model).len());
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{body}");
        let sent = last_call(&app.model);
        assert!(sent.contains("SUMMARY") && sent.contains(&format!("#now{at}")) && sent.len() < LIMIT);
        let told = operator.chat_end(&format!("now-{at}")).await;
        assert_eq!(told["message"]["content"][0]["text"], format!("re: #now{at} end"));
    }
    // A limit on requests is none of the context's.
    app.model.refuses(Some(Limit {
        bytes: 0,
        status: 400,
        body: error(
            "Rate limit: too many tokens per day, reduce the length of the messages",
            Value::Null,
        ),
    }));
    let before = summaries(&app.model).len();
    let ended = ask(&mut operator, KEY, "limited", "hello").await;
    assert_eq!(ended["status"], "error");
    assert_eq!(summaries(&app.model).len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_half_of_the_conversation_is_taken_back() {
    // The window is 128,000 tokens by configuration; what the provider counts is more.
    let app = TestApp::start().await;
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 6).await;
    app.model.counts_more(LIMIT, 130_000);
    let ended = ask(&mut operator, KEY, "now", "#now").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!((compactions(&app).await, summaries(&app.model).len()), (1, 1));
    let told = operator.chat_end("now").await;
    assert_eq!(told["message"]["content"][0]["text"], "re: #now end", "said once");
    // It counts the same whatever is sent: the second answer is taken.
    app.model.counts_more(0, 130_000);
    let before = summaries(&app.model).len();
    let ended = ask(&mut operator, KEY, "again", "#again").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert!(summaries(&app.model).len() <= before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_fails_changes_nothing_and_is_told() {
    let app = TestApp::start().await;
    app.model.summarises(Summary::Status(401));
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 6).await;
    let body = json!({"error": {"message": "x", "code": "context_length_exceeded"}});
    app.model.refuses(Some(Limit {
        bytes: LIMIT,
        status: 400,
        body,
    }));
    let ended = ask(&mut operator, KEY, "now", "#now").await;
    assert_eq!(ended["status"], "error");
    let end = compaction_event(&mut operator, "end").await;
    assert_eq!(
        end["data"],
        json!({"phase": "end", "willRetry": false, "completed": false})
    );
    let told = operator.chat_end("now").await;
    let text = told["errorMessage"].as_str().expect("a text");
    assert!(
        text.contains("could not be summarised") && text.contains("/reset"),
        "{text}"
    );
    assert_eq!(told["errorKind"], "context_overflow");
    assert_eq!(compactions(&app).await, 0);
    let failed = operator
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect("answers");
    assert_eq!((&failed["ok"], &failed["compacted"]), (&json!(false), &json!(false)));
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    // With a summary it goes on.
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let ended = ask(&mut operator, KEY, "then", "#then").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(compactions(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_summary_does_not_stop_a_turn_that_fits_and_is_not_tried_each_time() {
    let app = TestApp::start_with(&small(), &[]).await;
    app.model.counts_tokens();
    app.model.summarises(Summary::Status(401));
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 9).await;
    assert_eq!(compactions(&app).await, 0);
    assert_eq!(summaries(&app.model).len(), 1, "tried once, then not for a while");
    assert!(last_call(&app.model).contains("#q9 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_heard_while_a_summary_is_written() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 6).await;
    app.model.summarises(Summary::Hangs);
    let body = json!({"error": {"message": "x", "code": "context_length_exceeded"}});
    app.model.refuses(Some(Limit {
        bytes: LIMIT,
        status: 400,
        body,
    }));
    send(&mut operator, KEY, "now", "#now").await;
    compaction_event(&mut operator, "start").await;
    let aborted = operator
        .call("chat.abort", json!({"sessionKey": KEY}))
        .await
        .expect("aborts");
    assert_eq!(aborted["aborted"], true);
    let told = operator.chat_end("now").await;
    assert_eq!(told["state"], "aborted");
    assert_eq!(compactions(&app).await, 0);
    // The one that was asked for hears it too, and so does /stop.
    let mut second = app.operator().await;
    for stop in ["abort", "/stop"] {
        let before = summaries(&app.model).len();
        let id = operator.send("sessions.compact", json!({"key": KEY})).await;
        becomes("summaries asked for", before + 1, || async {
            summaries(&app.model).len()
        })
        .await;
        if stop == "abort" {
            second
                .call("chat.abort", json!({"sessionKey": KEY}))
                .await
                .expect("aborts");
        } else {
            send(&mut second, KEY, "stop-it", stop).await;
        }
        let answer = operator.answer(&id).await.expect("answers");
        assert_eq!(
            (&answer["compacted"], &answer["reason"]),
            (&json!(false), &json!("aborted"))
        );
    }
    assert_eq!(compactions(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_summary_is_written_the_turn_runs_again() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 6).await;
    app.model.aim(app.binary.pid());
    app.model.summarises(Summary::Dies);
    let body = json!({"error": {"message": "x", "code": "context_length_exceeded"}});
    app.model.refuses(Some(Limit {
        bytes: LIMIT,
        status: 400,
        body,
    }));
    send(&mut operator, KEY, "now", "#now").await;
    eventually("the server was killed", || async {
        (summaries(&app.model).len() == 1).then_some(())
    })
    .await;
    drop(operator);
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    app.settled().await;
    assert_eq!(compactions(&app).await, 1);
    let mut operator = app.operator().await;
    let page = operator
        .call("chat.history", json!({"sessionKey": KEY, "limit": 200}))
        .await
        .expect("history");
    let text = page.to_string();
    assert_eq!(text.matches("re: #now end").count(), 1, "answered once");
    assert_eq!(page["messages"].as_array().expect("messages").len(), 2 * 7 + 1);
    let sent = last_call(&app.model);
    assert!(sent.contains("SUMMARY") && sent.contains("#now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_compact_answers_as_the_original_and_keeps_what_waits() {
    let mut app = TestApp::start().await;
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let mut operator = app.operator().await;
    operator
        .call("sessions.subscribe", json!({}))
        .await
        .expect("subscribed");
    let missing = operator
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect("answers");
    assert_eq!(
        missing,
        json!({"ok": true, "key": KEY, "compacted": false, "reason": "no sessionId"})
    );
    fill(&mut operator, KEY, 4).await;
    send(&mut operator, KEY, "slow", "[gate] #slow").await;
    app.model.release(1);
    app.model.asked("#slow").await;
    send(&mut operator, KEY, "waits", "#waits").await;
    let compacted = operator
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect("answers");
    let result = &compacted["result"];
    assert_eq!(
        (&compacted["ok"], &compacted["compacted"], &compacted["key"]),
        (&json!(true), &json!(true), &json!(KEY))
    );
    assert!(
        result["summary"]
            .as_str()
            .is_some_and(|text| text.starts_with("SUMMARY")),
        "{compacted}"
    );
    assert_eq!(result["details"], json!({"readFiles": [], "modifiedFiles": []}));
    assert!(result["tokensBefore"].as_u64().is_some_and(|tokens| tokens > 0));
    let kept: Vec<String> = app
        .rows()
        .await
        .column(&format!(
            "SELECT id FROM transcript_entry WHERE id = '{}'",
            result["firstKeptEntryId"].as_str().expect("an id")
        ))
        .await;
    assert_eq!(kept.len(), 1);
    let start = operator
        .event("its start", |frame| frame["event"] == "session.operation")
        .await;
    let end = operator
        .event("its end", |frame| frame["event"] == "session.operation")
        .await;
    assert_eq!(
        (&start["payload"]["phase"], &end["payload"]["phase"]),
        (&json!("start"), &json!("end"))
    );
    assert_eq!(start["payload"]["operationId"], end["payload"]["operationId"]);
    assert_eq!(
        (&end["payload"]["operation"], &end["payload"]["completed"]),
        (&json!("compact"), &json!(true))
    );
    // What ran was aborted, what waited was not.
    let ended = operator
        .call("agent.wait", json!({"runId": "slow"}))
        .await
        .expect("waits");
    assert_eq!(ended["stopReason"], "compact", "{ended}");
    let ended = operator
        .call("agent.wait", json!({"runId": "waits"}))
        .await
        .expect("waits");
    assert_eq!(ended["status"], "ok");
    assert!(last_call(&app.model).contains("SUMMARY"));
    // Rows alone: no model is asked.
    let before = summaries(&app.model).len();
    let trimmed = operator
        .call("sessions.compact", json!({"key": KEY, "maxLines": 2}))
        .await
        .expect("answers");
    assert_eq!(
        (&trimmed["compacted"], &trimmed["kept"]),
        (&json!(true), &json!(2)),
        "{trimmed}"
    );
    assert_eq!(summaries(&app.model).len(), before);
    let refused = operator
        .call("sessions.compact", json!({"key": KEY, "maxLines": 0}))
        .await;
    assert_eq!(refused.expect_err("is refused")["code"], "INVALID_REQUEST");
    // Nobody else has this session, whatever they call it.
    app.add_user("demo", MEMBER, "admin");
    app.add_other_tenant();
    let rows = app.rows().await;
    let before = rows.count("transcript_entry").await;
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut other = app
            .operator_as(tenant, email, &["operator.admin"])
            .await
            .expect("connects");
        let answer = other
            .call("sessions.compact", json!({"key": KEY}))
            .await
            .expect("answers");
        assert_eq!(answer["reason"], "no sessionId", "{email}");
    }
    let mut reader = app
        .operator_as("demo", crate::support::app::OWNER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    let refused = reader
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect_err("is refused");
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|text| text.contains("missing scope"))
    );
    assert_eq!(rows.count("transcript_entry").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_compact_by_hand_and_see_what_fills_the_context() {
    let app = TestApp::start().await;
    app.model.summarises(Summary::Says("SUMMARY".to_owned()));
    let mut operator = app.operator().await;
    let told = |event: Value| {
        event["message"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    send(&mut operator, KEY, "early", "/compact").await;
    assert!(told(operator.chat_end("early").await).contains("nothing to summarise"));
    fill(&mut operator, KEY, 4).await;
    send(&mut operator, KEY, "hand", "/compact mind the ZEBRA").await;
    let text = told(operator.chat_end("hand").await);
    assert!(text.starts_with("Summarised"), "{text}");
    assert!(prompt(&summaries(&app.model)[0]).contains("mind the ZEBRA"));
    assert_eq!(compactions(&app).await, 1);
    // The command itself is no message of the conversation.
    let ended = ask(&mut operator, KEY, "after", "#after").await;
    assert_eq!(ended["status"], "ok");
    let sent = last_call(&app.model);
    assert!(sent.contains("SUMMARY") && !sent.contains("ZEBRA"));
    // AGENTS.md's rules are said again beside the summary.
    assert!(sent.contains("it still holds"), "the rules");
    send(&mut operator, KEY, "list", "/context").await;
    let text = told(operator.chat_end("list").await);
    assert!(
        text.contains("of 128000 tokens") && text.contains("Compactions: 1") && text.contains("Skills: none"),
        "{text}"
    );
    send(&mut operator, KEY, "detail", "/context detail").await;
    let text = told(operator.chat_end("detail").await);
    assert!(text.contains("AGENTS.md") && text.contains("session_status"), "{text}");
    send(&mut operator, KEY, "json", "/context json").await;
    let report: Value = serde_json::from_str(&told(operator.chat_end("json").await)).expect("JSON");
    assert_eq!(
        (&report["contextTokens"], &report["compactionCount"]),
        (&json!(128_000), &json!(1))
    );
    // On a platform too, and a guest sees no context.
    for turn in 1..=4 {
        assert_eq!(
            status(
                app.webhooks()
                    .telegram(turn, 700, &question(usize::try_from(turn).expect("small")))
            )
            .await,
            200
        );
        app.platform.message("700", &format!("re: #q{turn} end")).await;
    }
    assert_eq!(status(app.webhooks().telegram(11, 700, "/compact")).await, 200);
    app.platform.message("700", "Summarised the earlier part").await;
    assert_eq!(status(app.webhooks().telegram(12, 700, "/context detail")).await, 200);
    app.platform.message("700", "Only the owner").await;
    app.settled().await;
    assert_eq!(compactions(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn safeguard_asks_once_more_for_what_a_summary_lacks() {
    let config = json!({"agents": {"defaults": {"compaction": {"mode": "safeguard"}}}});
    let app = TestApp::start_with(&config, &[]).await;
    app.model.summarises(Summary::Says("no headings".to_owned()));
    let mut operator = app.operator().await;
    ask(&mut operator, KEY, "id", "my order is INV-20931").await;
    fill(&mut operator, KEY, 4).await;
    let compacted = operator
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect("answers");
    assert_eq!(compacted["compacted"], true);
    let asked = summaries(&app.model);
    assert_eq!(asked.len(), 2, "once more, and not for ever");
    assert!(prompt(&asked[1]).contains("lacks the headings"));
    let summary = compacted["result"]["summary"].as_str().expect("a text");
    assert!(
        summary.contains("INV-20931"),
        "what must not get lost is added: {summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_is_cut_is_asked_for_once_more_and_its_cost_is_on_record() {
    let app = TestApp::start().await;
    app.model.summarises(Summary::IsCut("half a summ".to_owned()));
    let mut operator = app.operator().await;
    fill(&mut operator, KEY, 4).await;
    let answer = operator
        .call("sessions.compact", json!({"key": KEY}))
        .await
        .expect("answers");
    assert_eq!(answer["compacted"], false, "{answer}");
    assert!(
        answer["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("too long")),
        "{answer}"
    );
    let asked = summaries(&app.model);
    assert_eq!((asked.len(), compactions(&app).await), (2, 0));
    assert!(prompt(&asked[1]).contains("too long and was cut off"));
    let rows = app.rows().await;
    let spent = "run WHERE stop_reason = 'compaction' AND status = 'error' AND CAST(usage ->> 'output' AS text) = '6'";
    assert_eq!(rows.count(spent).await, 1, "both calls");
    // What was paid for before an abort too.
    send(&mut operator, KEY, "hand", "/compact").await;
    assert!(operator.chat_end("hand").await.to_string().contains("too long"));
    let spent = "run WHERE stop_reason = 'compaction' AND status = 'error'";
    assert_eq!(rows.count(spent).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_a_summary_stops_it_and_what_waits_is_stopped_too() {
    let app = TestApp::start().await;
    let mut operator = app
        .operator_as("demo", crate::support::app::OWNER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    fill(&mut operator, KEY, 4).await;
    app.model.summarises(Summary::Hangs);
    send(&mut operator, KEY, "hand", "/compact").await;
    becomes("a summary is asked for", 1, || async { summaries(&app.model).len() }).await;
    // Another one waits for its turn.
    let mut second = app.operator().await;
    let id = second.send("sessions.compact", json!({"key": KEY})).await;
    // The first made way for it.
    let told = operator.chat_end("hand").await;
    assert!(told.to_string().contains("Stopped"), "{told}");
    becomes("the other is asked for", 2, || async { summaries(&app.model).len() }).await;
    send(&mut operator, KEY, "stop-it", "/stop").await;
    let answer = second.answer(&id).await.expect("answers");
    assert_eq!(answer["reason"], "aborted", "{answer}");
    send(&mut operator, KEY, "again", "/compact").await;
    becomes("a third is asked for", 3, || async { summaries(&app.model).len() }).await;
    let aborted = operator
        .call("chat.abort", json!({"sessionKey": KEY}))
        .await
        .expect("aborts");
    assert_eq!(aborted["aborted"], true, "the device that sent it: {aborted}");
    let told = operator.chat_end("again").await;
    assert!(told.to_string().contains("Stopped"), "{told}");
    assert_eq!(compactions(&app).await, 0);
}
