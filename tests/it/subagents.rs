//! Sub-agents whose sessions stay, what they are begun with, and the model of a session as its agent chooses it.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::model::{question, says};
use crate::support::node::TestNode;
use crate::support::tool::{ask, say, told};
use crate::support::wait::becomes;

/// Begins one from the main session. Gives what the model heard of it.
async fn spawn(app: &TestApp, operator: &mut TestNode, run: &str, wish: &Value) -> String {
    ask(operator, "main", run, "sessions_spawn", wish).await;
    told(app, operator, run).await
}

async fn told_of(app: &TestApp, operator: &mut TestNode, run: &str, wish: &Value) -> String {
    ask(operator, "main", run, "subagents", wish).await;
    told(app, operator, run).await
}

/// Ends told to sessions that began sub-agents.
async fn announcements(app: &TestApp) -> i64 {
    app.rows().await.count("inbox WHERE event_key LIKE 'announce:%'").await
}

/// Models of these names for the settings.
fn models(ids: &[&str]) -> Value {
    let models = ids.iter().map(|id| {
        json!({"id": id, "name": id, "reasoning": false, "input": ["text"], "contextWindow": 128_000,
            "maxTokens": 4096, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}})
    });
    models.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_stays_is_told_more_until_it_is_ended() {
    let short = json!({"session": {"agentToAgent": {"maxPingPongTurns": 0}},
        "agents": {"defaults": {"subagents": {"archiveAfterMinutes": 1, "maxChildrenPerAgent": 1}}}});
    let app = TestApp::start_with(&short, &[]).await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let wish = json!({"task": "#first", "label": "helper", "mode": "session"});
    let begun = spawn(&app, &mut operator, "a1", &wish).await;
    assert!(begun.contains("accepted") && begun.contains("session"), "{begun}");
    becomes("told", 1, || announcements(&app)).await;
    app.settled().await;
    let stands = "subagent WHERE state = 'announced' AND closes_at IS NULL";
    assert_eq!(rows.count(stands).await, 1, "it is not put away");
    let child: Vec<String> = rows.column("SELECT child_key FROM subagent").await;
    let child = child.first().expect("there is one").clone();

    let steer = json!({"action": "steer", "target": "helper", "message": "#more"});
    assert!(told_of(&app, &mut operator, "a2", &steer).await.contains("accepted"));
    becomes("told again", 2, || announcements(&app)).await;
    app.settled().await;
    let history = operator.call("chat.history", json!({"sessionKey": child})).await;
    let history = history.expect("there is a history").to_string();
    assert!(
        history.contains("re: #first end") && history.contains("re: #more end"),
        "{history}"
    );
    let results = app.model.calls();
    let results = results
        .iter()
        .filter(|call| question(call).contains("a sub-agent has ended"));
    assert!(results.clone().any(|call| question(call).contains("re: #more end")));
    assert_eq!(rows.count(stands).await, 1);

    let message = json!({"sessionKey": child, "message": "#ask", "timeoutSeconds": 30});
    ask(&mut operator, "main", "a3", "sessions_send", &message).await;
    let heard = told(&app, &mut operator, "a3").await;
    assert!(heard.contains("#ask end"), "{heard}");
    app.settled().await;
    assert_eq!(announcements(&app).await, 2, "who asked has heard the answer");

    let list = told_of(
        &app,
        &mut operator,
        "a4",
        &json!({"action": "list", "recentMinutes": 1}),
    )
    .await;
    assert!(list.contains("helper") && list.contains("session"), "{list}");
    let kill = json!({"action": "kill", "target": "helper"});
    let killed = told_of(&app, &mut operator, "a5", &kill).await;
    assert!(killed.contains("\\\"killed\\\": 1"), "{killed}");
    assert_eq!(
        rows.count("subagent WHERE state = 'killed' AND closes_at IS NOT NULL")
            .await,
        1
    );
    let late = told_of(&app, &mut operator, "a6", &steer).await;
    assert!(late.contains("has ended"), "{late}");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_rests_begins_again_within_the_limit_and_goes_with_its_session() {
    let few = json!({"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 1}}}});
    let app = TestApp::start_with(&few, &[]).await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    spawn(
        &app,
        &mut operator,
        "b1",
        &json!({"task": "#one", "label": "one", "mode": "session"}),
    )
    .await;
    becomes("told", 1, || announcements(&app)).await;
    app.settled().await;
    spawn(
        &app,
        &mut operator,
        "b2",
        &json!({"task": "[gate] #two", "label": "two"}),
    )
    .await;
    app.model.asked("#two").await;
    let steer = json!({"action": "steer", "target": "one", "message": "#again"});
    let full = told_of(&app, &mut operator, "b3", &steer).await;
    assert!(full.contains("the limit is 1"), "{full}");
    assert_eq!(rows.count("subagent WHERE state = 'running'").await, 1);
    app.model.release(100);
    becomes("told", 2, || announcements(&app)).await;
    app.settled().await;
    let child: Vec<String> = rows
        .column("SELECT child_key FROM subagent WHERE cleanup = 'session'")
        .await;
    let gone = json!({"key": child.first().expect("there is one")});
    operator.call("sessions.delete", gone).await.expect("deletes");
    let late = told_of(&app, &mut operator, "b4", &steer).await;
    assert!(late.contains("has ended") || late.contains("no sub-agent"), "{late}");
    becomes("its row goes too", 0, || {
        rows.count("subagent WHERE cleanup = 'session'")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_of_a_sub_agent_is_said() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for (run, wish, why) in [
        (
            "c1",
            json!({"task": "x", "mode": "session", "cleanup": "delete"}),
            "is not deleted",
        ),
        ("c2", json!({"task": "x", "thread": true}), "Leave thread out"),
        ("c3", json!({"task": "x", "channel": "telegram"}), "channel"),
    ] {
        let refused = spawn(&app, &mut operator, run, &wish).await;
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(app.rows().await.count("subagent").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_agent_is_begun_with_files_and_thinks_as_the_settings_say() {
    let rules = json!({
        "tools": {"sessions_spawn": {"attachments": {"maxFiles": 2, "maxFileBytes": 40, "maxTotalBytes": 50}}},
        "agents": {"defaults": {"subagents": {"thinking": "high"}}},
    });
    let app = TestApp::start_with(&rules, &[]).await;
    let mut operator = app.operator().await;
    let file = |name: &str, content: &str| json!({"name": name, "content": content});
    let wish = |files: Value| json!({"task": "#dig", "attachments": files});
    let long = "x".repeat(41);
    let zip = json!({"name": "a.zip", "content": "UEsDBAo=", "encoding": "base64"});
    let odd = json!({"name": "b.png", "content": "%%", "encoding": "base64"});
    for (run, files, why) in [
        (
            "d1",
            json!([file("a", "1"), file("b", "2"), file("c", "3")]),
            "at most 2 files",
        ),
        (
            "d2",
            json!([file("long.md", &long)]),
            "long.md has 41 bytes, the limit is 40",
        ),
        (
            "d3",
            json!([file("a", &long[..30]), file("b", &long[..30])]),
            "60 bytes together, the limit is 50",
        ),
        ("d4", json!([zip]), "a.zip is no text"),
        ("d5", json!([odd]), "b.png is no base64"),
    ] {
        let refused = spawn(&app, &mut operator, run, &wish(files)).await;
        assert!(refused.contains(why), "{run}: {refused}");
    }
    let rows = app.rows().await;
    assert_eq!(rows.count("subagent").await, 0);
    let encoded = json!({"name": "b.md", "content": "IzI=", "encoding": "base64"});
    let begun = spawn(
        &app,
        &mut operator,
        "d6",
        &wish(json!([file("plan.md", "step 1"), encoded])),
    )
    .await;
    assert!(begun.contains("accepted"), "{begun}");
    let asked = question(&app.model.asked("#dig").await);
    assert!(
        asked.contains("[attached file plan.md]") && asked.contains("step 1"),
        "{asked}"
    );
    assert!(
        asked.contains("[attached file b.md]") && asked.contains("#2"),
        "{asked}"
    );
    let levels: Vec<String> = rows
        .column("SELECT coalesce(entry ->> 'thinkingLevel', '-') FROM session WHERE key LIKE '%:subagent:%'")
        .await;
    assert_eq!(levels, ["high"]);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sub_agent_was_begun_with_holds_for_all_that_it_is_told() {
    let file = json!({"models": {"providers": {"mock": {"models": models(&["mock-1", "mock-2"])}}},
        "agents": {"defaults": {"models": {"mock/mock-1": {}, "mock/mock-2": {}}}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    for (run, wish, why) in [
        ("t1", json!({"task": "x", "model": "mock/mock-9"}), "mock/mock-9"),
        (
            "t2",
            json!({"task": "x", "thinking": "sideways"}),
            "There is no thinking level sideways",
        ),
    ] {
        let refused = spawn(&app, &mut operator, run, &wish).await;
        assert!(refused.contains(why), "{run}: {refused}");
    }
    let wish = json!({"task": "#first", "label": "helper", "mode": "session", "model": "mock/mock-2",
        "runTimeoutSeconds": 50});
    assert!(spawn(&app, &mut operator, "t3", &wish).await.contains("accepted"));
    becomes("told", 1, || announcements(&app)).await;
    app.settled().await;
    let steer = json!({"action": "steer", "target": "helper", "message": "#more"});
    assert!(told_of(&app, &mut operator, "t4", &steer).await.contains("accepted"));
    becomes("told again", 2, || announcements(&app)).await;
    app.settled().await;
    for asked in ["[Task] #first", "began you] #more"] {
        let call = app.model.asked(asked).await;
        assert_eq!(call["model"], "mock-2", "{asked}");
        assert!(call.to_string().contains("You are a sub-agent of session"), "{asked}");
    }
    let told: Vec<String> = app
        .rows()
        .await
        .column("SELECT CAST(payload AS text) FROM inbox WHERE session_key LIKE '%:subagent:%' ORDER BY id")
        .await;
    assert_eq!(told.len(), 2);
    for payload in &told {
        let payload: Value = serde_json::from_str(payload).expect("is JSON");
        assert_eq!(payload["timeoutMs"], 50_000, "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_sets_the_model_of_its_session_by_the_rules_of_the_command() {
    let allowed = json!({"mock/mock-1": {}, "mock/mock-2": {}});
    let file = json!({"models": {"providers": {"mock": {"models": models(&["mock-1", "mock-2", "mock-3"])}}},
        "agents": {"defaults": {"models": allowed}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    let choose = async |operator: &mut TestNode, run: &str, model: &str| {
        ask(operator, "main", run, "session_status", &json!({"model": model})).await;
        told(&app, operator, run).await
    };
    for (run, model) in [("m1", "mock/nonsense"), ("m2", "mock/mock-3")] {
        let refused = choose(&mut operator, run, model).await;
        assert!(!refused.contains("from the next turn on"), "{refused}");
    }
    let chosen = choose(&mut operator, "m3", "mock/mock-2").await;
    assert!(chosen.contains("Model from the next turn on: mock/mock-2"), "{chosen}");
    say(&mut operator, "main", "m4", "hello").await;
    operator.chat_end("m4").await;
    assert_eq!(app.model.used().last().map(String::as_str), Some("sk-test mock-2"));
    choose(&mut operator, "m5", "default").await;
    say(&mut operator, "main", "m6", "hello").await;
    operator.chat_end("m6").await;
    assert_eq!(app.model.used().last().map(String::as_str), Some("sk-test mock-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_sub_agent_are_named_to_who_began_it_and_can_be_sent_on() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let note = json!({"path": "notes/report.md", "content": "all is well"});
    ask(&mut operator, "main", "w1", "write", &note).await;
    told(&app, &mut operator, "w1").await;
    let task = says("Done.\nMEDIA:notes/report.md");
    spawn(&app, &mut operator, "f1", &json!({"task": task, "label": "helper"})).await;
    let heard = question(&app.model.asked("a sub-agent has ended").await);
    let (_, named) = heard
        .split_once("File report.md (text/markdown): ")
        .unwrap_or_else(|| panic!("the file is not named: {heard}"));
    let name = named.split_whitespace().next().expect("a name");
    assert!(name.starts_with("blob:"), "{heard}");
    app.settled().await;
    say(&mut operator, "main", "f2", &says(&format!("Here.\nMEDIA:{name}"))).await;
    assert_eq!(operator.chat_end("f2").await["state"], "final");
    let id = name.trim_start_matches("blob:");
    let bodies: Vec<String> = app.rows().await.column("SELECT body FROM transcript_entry").await;
    let sent = bodies
        .iter()
        .any(|body| body.contains("Here.") && body.contains("\"ref\"") && body.contains(id));
    assert!(sent, "{bodies:?}");
}
