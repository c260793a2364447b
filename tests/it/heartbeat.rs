//! Heartbeats with the real binary: an agent looks by itself, says what it found once, and nothing when all is well.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
use crate::support::model::says;
use crate::support::node::TestNode;
use crate::support::tool::{ask, told};
use crate::support::wait::{becomes, eventually};

const SETTINGS: [(&str, &str); 3] = [
    ("CLAWCENTRAL__LIMITS__CRON_INTERVAL_SECS", "1"),
    ("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1"),
    ("CLAWCENTRAL__LIMITS__ATTEMPTS", "1000000"),
];

fn configured(heartbeat: Value) -> Value {
    json!({"agents": {"defaults": {"heartbeat": heartbeat}}})
}

/// Every second, in a chat on Telegram.
fn in_chat(prompt: &str) -> Value {
    configured(json!({"every": "1s", "target": "telegram", "to": "4242", "prompt": prompt}))
}

/// Waits for an event of this status and reason.
async fn looked(operator: &mut TestNode, status: &str, reason: Option<&str>) -> Value {
    let frame = operator
        .event(&format!("heartbeat {status} {reason:?}"), |frame| {
            frame["event"] == "heartbeat"
                && frame["payload"]["status"] == status
                && frame["payload"].get("reason").and_then(Value::as_str) == reason
        })
        .await;
    frame["payload"].clone()
}

async fn history(operator: &mut TestNode) -> Vec<Value> {
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("reads");
    history["messages"].as_array().expect("messages").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_looks_by_itself_and_says_what_it_found_once() {
    let mut app = TestApp::start_with(&in_chat("look [say:HEARTBEAT_OK]"), &SETTINGS).await;
    let mut operator = app.operator().await;
    looked(&mut operator, "ok-token", None).await;
    looked(&mut operator, "ok-token", None).await;
    assert!(history(&mut operator).await.is_empty(), "looking leaves nothing behind");
    assert!(!operator.has_heard("\"event\":\"chat\""), "and shows nothing");
    assert!(app.platform.messages("4242").is_empty());

    app.import("demo", OWNER, &in_chat("look #dry"));
    let sent = looked(&mut operator, "sent", None).await;
    assert_eq!(sent["preview"], "re: #dry end");
    looked(&mut operator, "skipped", Some("duplicate")).await;
    looked(&mut operator, "skipped", Some("duplicate")).await;
    app.platform.message("4242", "re: #dry end").await;
    let said = history(&mut operator).await;
    let roles: Vec<&Value> = said.iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant"], "{said:?}");
    assert!(said[0].to_string().contains("Heartbeat"), "{said:?}");
    let longest = app
        .model
        .calls()
        .iter()
        .map(|call| call["messages"].as_array().map_or(0, Vec::len))
        .max();
    assert!(longest <= Some(4), "the context does not grow: {longest:?}");
    let last = operator.call("last-heartbeat", json!({})).await.expect("answers");
    assert_eq!(
        (&last["status"], &last["reason"]),
        (&json!("skipped"), &json!("duplicate"))
    );
    let health = operator.call("health", json!({})).await.expect("answers");
    assert_eq!(health["heartbeatSeconds"], 1);
    let beat = &health["agents"][0]["heartbeat"];
    assert_eq!(
        (
            &beat["enabled"],
            &beat["everyMs"],
            &beat["target"],
            &beat["ackMaxChars"]
        ),
        (&json!(true), &json!(1000), &json!("telegram"), &json!(300))
    );

    // What fails is told to clients and fills nothing.
    app.import("demo", OWNER, &in_chat("look [status:400]"));
    let failed = operator
        .event("a failed beat", |frame| {
            frame["event"] == "heartbeat" && frame["payload"]["status"] == "failed"
        })
        .await;
    assert!(failed["payload"]["reason"].is_string(), "{failed}");
    assert_eq!(history(&mut operator).await.len(), 2);

    // Off is off, after a restart too.
    let off = operator.call("set-heartbeats", json!({"enabled": false})).await;
    assert_eq!(off.expect("answers"), json!({"ok": true, "enabled": false}));
    let refused = operator
        .call("set-heartbeats", json!({}))
        .await
        .expect_err("says nothing");
    assert_eq!(refused["code"], "INVALID_REQUEST", "{refused}");
    let rows = app.rows().await;
    becomes("the last beat is on record", 0, || async {
        rows.count("heartbeat WHERE running_at IS NOT NULL").await
    })
    .await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let begun = rows.count("inbox WHERE source = 'heartbeat'").await;
    let planned = async || rows.column::<i64>("SELECT next_beat_at FROM heartbeat").await[0];
    let before = planned().await;
    eventually("three beats were left out", || async {
        (planned().await >= before + 3000).then_some(())
    })
    .await;
    assert_eq!(rows.count("inbox WHERE source = 'heartbeat'").await, begun);
    app.settled().await;
    assert_eq!(app.platform.messages("4242").len(), 1, "it is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_beat_it_is_finished_once() {
    let mut app = TestApp::start_with(&in_chat("look [gate] #gate"), &SETTINGS).await;
    eventually("the agent looks", || async { (app.model.running() == 1).then_some(()) }).await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    eventually("the agent looks again", || async {
        (app.model.calls().len() == 2).then_some(())
    })
    .await;
    app.model.release(10_000);
    app.platform.message("4242", "re: #gate end").await;
    let mut operator = app.operator().await;
    operator
        .call("set-heartbeats", json!({"enabled": false}))
        .await
        .expect("answers");
    let rows = app.rows().await;
    becomes("the last beat is on record", 0, || async {
        rows.count("heartbeat WHERE running_at IS NOT NULL").await
    })
    .await;
    app.settled().await;
    let first: Vec<String> = rows
        .column("SELECT event_key FROM inbox WHERE source = 'heartbeat' AND attempts = 2")
        .await;
    let [first] = &first[..] else { panic!("{first:?}") };
    assert_eq!(
        rows.count(&format!("transcript_entry WHERE run_id = '{first}'")).await,
        2,
        "asked and answered once"
    );
    assert_eq!(rows.count("outbox").await, 1);
    assert_eq!(app.platform.messages("4242").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_beats_go_on_and_leave_nothing() {
    let mut app = TestApp::start_with(
        &in_chat("[slow:40] look [say:HEARTBEAT_OK all is well here]"),
        &SETTINGS,
    )
    .await;
    let mut random = rand::rngs::StdRng::seed_from_u64(rand::random());
    let rows = app.rows().await;
    for _ in 0..5 {
        let begun = rows.count("inbox WHERE source = 'heartbeat'").await;
        eventually("another beat begins", || async {
            (rows.count("inbox WHERE source = 'heartbeat'").await > begun).then_some(())
        })
        .await;
        let wait = Duration::from_millis(random.random_range(0..500));
        tokio::time::sleep(wait).await;
        tokio::task::block_in_place(|| {
            app.binary.kill();
            app.binary.start();
        });
    }
    let mut operator = app.operator().await;
    looked(&mut operator, "ok-token", None).await;
    operator
        .call("set-heartbeats", json!({"enabled": false}))
        .await
        .expect("answers");
    becomes("the last beat is on record", 0, || async {
        rows.count("heartbeat WHERE running_at IS NOT NULL").await
    })
    .await;
    app.settled().await;
    assert_eq!(rows.count("run WHERE status <> 'ok'").await, 0);
    assert_eq!(
        rows.count("run WHERE id LIKE 'heartbeat:%'").await,
        rows.count("inbox WHERE source = 'heartbeat' AND state = 'done'").await,
        "each beat has one run"
    );
    assert_eq!(rows.count("transcript_entry").await, 0);
    assert!(app.platform.messages("4242").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_said_where_the_agent_says_what_it_finds() {
    let daily = configured(json!({"every": "24h", "target": "telegram", "to": "4242"}));
    let app = TestApp::start_with(&daily, &SETTINGS).await;
    let mut operator = app.operator().await;
    let wake = json!({"mode": "now", "text": "the bell rang #bell"});
    assert_eq!(operator.call("wake", wake).await.expect("answers"), json!({"ok": true}));
    app.platform.message("4242", "re: #bell end").await;
    looked(&mut operator, "sent", None).await;
    let call = app.model.asked("#bell").await;
    assert!(call["messages"].to_string().contains("System: ["), "{call}");
    // A job's event for the main session too, and what waits comes with a beat.
    let tea = json!({"name": "tea", "everyMs": 3_600_000, "text": "tea time #tea"});
    let id = operator.call("cron.add", tea).await.expect("adds")["id"].clone();
    operator.call("cron.run", json!({"id": id})).await.expect("runs");
    app.platform.message("4242", "re: #tea end").await;
    let later = json!({"mode": "next-heartbeat", "text": "the post came #post"});
    operator.call("wake", later).await.expect("answers");
    let now = json!({"mode": "now", "text": "the phone rang #phone"});
    operator.call("wake", now).await.expect("answers");
    app.platform.message("4242", "re: #post #phone end").await;
    app.settled().await;
    assert_eq!(app.platform.messages("4242").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_heartbeats_are_theirs() {
    let mut app = TestApp::start_with(&in_chat("look #mine"), &SETTINGS).await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    // The first may have been before the owner's client was there.
    looked(&mut owner, "skipped", Some("duplicate")).await;
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let scopes = ["operator.read", "operator.write", "operator.admin"];
        let mut caller = app.operator_as(tenant, email, &scopes).await.expect("connects");
        let last = caller.call("last-heartbeat", json!({})).await.expect("answers");
        assert_eq!(
            (&last["status"], &last["reason"]),
            (&json!("skipped"), &json!("disabled"))
        );
        // A member's role may not; nobody switches off anybody else's.
        let _ = caller.call("set-heartbeats", json!({"enabled": false})).await;
        looked(&mut owner, "skipped", Some("duplicate")).await;
        assert!(!caller.has_heard("heartbeat"), "{email} heard of it");
    }
    let on = format!("\"user\" WHERE email = '{OWNER}' AND heartbeats");
    assert_eq!(app.rows().await.count(&on).await, 1);
    let mut reader = app
        .operator_as("demo", OWNER, &["operator.read"])
        .await
        .expect("connects");
    let refused = reader
        .call("set-heartbeats", json!({"enabled": false}))
        .await
        .expect_err("reading is not writing");
    assert_eq!(refused["details"]["missingScope"], "operator.admin");
    assert_eq!(
        reader.call("last-heartbeat", json!({})).await.expect("answers")["hasMedia"],
        false
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_beat_shows_is_sent_with_its_words_or_alone() {
    let app = TestApp::start_with(&json!({}), &SETTINGS).await;
    let mut operator = app.operator().await;
    let note = json!({"path": "notes/report.md", "content": "all is well"});
    ask(&mut operator, "main", "w1", "write", &note).await;
    told(&app, &mut operator, "w1").await;
    for (at, answer) in ["MEDIA:notes/report.md", "The report.\nMEDIA:notes/report.md"]
        .iter()
        .enumerate()
    {
        app.import("demo", OWNER, &in_chat(&format!("look {}", says(answer))));
        let sent = operator
            .event("a beat with a file", |frame| {
                let payload = &frame["payload"];
                frame["event"] == "heartbeat"
                    && payload["status"] == "sent"
                    && payload["hasMedia"] == true
                    && payload["preview"].is_string() == (at == 1)
            })
            .await;
        assert_eq!(sent["payload"]["reason"], Value::Null, "{sent}");
    }
    operator
        .call("set-heartbeats", json!({"enabled": false}))
        .await
        .expect("answers");
    app.settled().await;
    let sent = app.platform.messages("4242");
    let shown = |at: usize| (sent[at].method.as_str(), sent[at].text.as_str());
    assert!(
        shown(0).0 == "sendDocument" && shown(0).1.contains("all is well"),
        "{:?}",
        shown(0)
    );
    let words = sent.iter().position(|call| call.text == "The report.");
    let words = words.expect("the words are sent");
    assert!(shown(words + 1).0 == "sendDocument", "{:?}", shown(words + 1));
    let said = history(&mut operator).await;
    assert!(said.len() > 2, "what was shown stays in the conversation: {said:?}");
}
