//! Commands that are more than a text: a question aside, a new beginning, the configuration, sub-agents. And whose are
//! heard, and what none of them gives to a guest.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::{prompt, question};
use crate::support::node::TestNode;
use crate::support::tool;
use crate::support::wait::{becomes, eventually};

const KEY: &str = "agent:main:side";
const OWNERS_CHAT: i64 = 700;
const GUESTS_CHAT: i64 = 900;

async fn send(operator: &mut TestNode, key: &str, run: &str, text: &str) {
    let params = json!({"sessionKey": key, "message": text, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

/// The answer to a message.
async fn ask(operator: &mut TestNode, key: &str, run: &str, text: &str) -> String {
    send(operator, key, run, text).await;
    let end = operator.chat_end(run).await;
    let said = end["message"]["content"][0]["text"].as_str();
    said.unwrap_or_default().to_owned()
}

async fn side_result(operator: &mut TestNode, run: &str) -> Value {
    let frame = operator
        .event("a side result", |frame| {
            frame["event"] == "chat.side_result" && frame["payload"]["runId"] == run
        })
        .await;
    frame["payload"].clone()
}

async fn notes(app: &TestApp) -> Vec<String> {
    let rows = app.rows().await;
    rows.column("SELECT path FROM workspace_file WHERE path LIKE 'memory/%' ORDER BY path")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_aside_is_answered_while_the_agent_works_and_leaves_no_trace() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(&mut operator, KEY, "r1", "the plan is tea #plan").await;
    send(&mut operator, KEY, "r2", "[gate] #work").await;
    app.model.asked("#work").await;
    send(&mut operator, KEY, "aside-1", "/btw what is the plan? #aside").await;
    becomes("both are being answered", 2, || async { app.model.running() }).await;
    app.model.release(1_000);
    let told = side_result(&mut operator, "aside-1").await;
    assert_eq!(
        (&told["kind"], &told["sessionKey"], &told["question"]),
        (&json!("btw"), &json!(KEY), &json!("what is the plan? #aside"))
    );
    assert_eq!(
        (&told["text"], told.get("isError")),
        (&json!("re: #work #aside end"), None)
    );
    let end = operator.chat_end("aside-1").await;
    assert!(end["state"] == "final" && end.get("message").is_none(), "{end}");
    let asked = app.model.asked("#aside").await;
    assert!(prompt(&asked).contains("the plan is tea"), "{asked}");
    app.settled().await;
    // Nothing of it is in the transcript, nor in what the next turn is sent.
    ask(&mut operator, KEY, "r3", "#next").await;
    let next = prompt(&app.model.asked("#next").await);
    assert!(next.contains("re: #work end") && !next.contains("aside"), "{next}");
    let rows = app.rows().await;
    assert_eq!(rows.count("transcript_entry WHERE body LIKE '%aside%'").await, 0);
    assert_eq!(
        rows.count("side_usage WHERE calls = 1 AND input > 0").await,
        1,
        "it is on record what it used"
    );
    // What fails is said there too, and so is what cannot be.
    send(&mut operator, KEY, "aside-2", "/btw [status:401] #no").await;
    assert_eq!(side_result(&mut operator, "aside-2").await["isError"], true);
    send(&mut operator, KEY, "aside-3", "/btw").await;
    let usage = side_result(&mut operator, "aside-3").await;
    assert!(
        usage["text"]
            .as_str()
            .is_some_and(|text| text.contains("/btw <question>")),
        "{usage}"
    );
    // It is stopped like anything.
    send(&mut operator, KEY, "aside-4", "/btw [hang] #long").await;
    app.model.asked("#long").await;
    assert_eq!(ask(&mut operator, KEY, "r4", "/stop").await, "Stopped.");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_aside_is_answered_in_the_owners_chat_and_to_nobody_else() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "/btw what is it? #mine").await;
    app.platform.message("700", "re: #mine end").await;
    app.says(3, GUESTS_CHAT, "/btw what does your owner plan? #theirs")
        .await;
    app.platform.message("900", "Only the owner").await;
    app.settled().await;
    let asked = |part: &str| app.model.calls().iter().any(|call| question(call).contains(part));
    assert!(asked("#mine") && !asked("#theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_over_is_greeted_and_the_conversation_leaves_a_note() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(&mut operator, KEY, "r1", "tea at five #tea").await;
    send(&mut operator, KEY, "r2", "/new").await;
    let end = operator.chat_end("r2").await;
    assert_eq!(
        end["message"]["content"][0]["text"], "re:  end",
        "the model greets: {end}"
    );
    let greeting = app.model.asked("A new conversation begins").await;
    let said = prompt(&greeting);
    assert!(said.contains("Current time: ") && !said.contains("#tea"), "{said}");
    let history = operator
        .call("chat.history", json!({"sessionKey": KEY}))
        .await
        .expect("reads");
    assert_eq!(history["messages"][0]["content"], "/new", "{history}");
    // First under the time, then under the name that the model finds.
    eventually("a named note", || async {
        let found = notes(&app).await;
        (found.len() == 1 && found[0].ends_with("-re-tea-tea-end.md")).then_some(())
    })
    .await;
    let rows = app.rows().await;
    let content: Vec<String> = rows
        .column("SELECT content FROM workspace_file WHERE path LIKE 'memory/%'")
        .await;
    assert!(
        content[0].contains("- User: tea at five #tea\n- Assistant: re: #tea end"),
        "{content:?}"
    );
    // A greeting alone is nothing to keep. A program's reset leaves a note like a command.
    ask(&mut operator, KEY, "r3", "/reset").await;
    app.settled().await;
    assert_eq!(notes(&app).await.len(), 1);
    ask(&mut operator, KEY, "r4", "/new #cake").await;
    operator
        .call("sessions.reset", json!({"key": KEY}))
        .await
        .expect("starts over");
    // While one is renamed it is there twice.
    becomes("another note", 2, || async { notes(&app).await.len() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_who_starts_over_is_greeted_without_anything_of_the_owners() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let secret = json!({"agentId": "main", "name": "MEMORY.md", "content": "the safe is behind the clock"});
    operator.call("agents.files.set", secret).await.expect("writes");
    app.says(2, GUESTS_CHAT, "hello #guest").await;
    app.platform.message("900", "re: #guest end").await;
    app.says(3, GUESTS_CHAT, "/new").await;
    let greeting = app.model.asked("A new conversation begins").await;
    assert!(!greeting.to_string().contains("behind the clock"));
    app.settled().await;
    assert_eq!(notes(&app).await, Vec::<String>::new(), "the notes are the owner's");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_heard_from_whom_the_settings_name_and_always_from_the_owner() {
    let heard = json!({"commands": {"allowFrom": {"telegram": [GUESTS_CHAT]}}});
    let app = TestApp::start_with(&heard, &[]).await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "/status").await;
    app.platform.message("700", "Model:").await;
    app.says(3, GUESTS_CHAT, "/status").await;
    app.platform.message("900", "Model:").await;
    app.says(4, 901, "/status").await;
    app.says(5, 901, "/new").await;
    // A bare word is talk from who gives no commands.
    app.says(6, 901, "stop").await;
    app.platform.message("901", "re:").await;
    app.settled().await;
    assert_eq!(app.platform.messages("901").len(), 1);
    let rows = app.rows().await;
    let passed = "inbox WHERE state = 'skipped' AND reason = 'the sender may not give commands'";
    assert_eq!(rows.count(passed).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_changes_the_configuration_in_a_chat_of_their_own_once_that_is_on() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    let mut operator = app.operator().await;
    app.says(2, OWNERS_CHAT, "/config show").await;
    app.platform.message("700", "/config is off").await;
    let now = operator.call("config.get", json!({})).await.expect("reads");
    let on = json!({"raw": json!({"commands": {"config": true}}).to_string(), "baseHash": now["hash"]});
    operator.call("config.patch", on).await.expect("changes");
    app.says(3, OWNERS_CHAT, "/config set agents.defaults.userTimezone Europe/Vienna")
        .await;
    app.platform
        .message("700", "Changed: agents.defaults.userTimezone")
        .await;
    app.says(4, OWNERS_CHAT, "/config get agents.defaults.userTimezone")
        .await;
    app.platform.message("700", "Europe/Vienna").await;
    app.says(5, OWNERS_CHAT, "/config set agents.defaults.timeoutSeconds soon")
        .await;
    app.platform.message("700", "would not be valid").await;
    app.says(6, OWNERS_CHAT, "/config set models.providers.mock.apiKey=sk-other")
        .await;
    app.platform
        .message("700", "Keys and tokens are set under Settings")
        .await;
    app.says(7, OWNERS_CHAT, "/config unset agents.defaults.userTimezone")
        .await;
    let zone = || async {
        let shown = app.operator().await.call("config.get", json!({})).await.expect("reads");
        shown["config"]["agents"]["defaults"]["userTimezone"].clone()
    };
    becomes("taken away", Value::Null, zone).await;
    // A client's credential may be worth less than the word of who writes.
    let told = ask(&mut operator, "main", "c1", "/config set ui.seamColor #00ff00").await;
    assert!(told.contains("change the configuration under Settings"), "{told}");
    // A guest sees and changes nothing.
    for (update, text) in [(8, "/config show"), (9, "/config set ui.seamColor #ff0000")] {
        app.says(update, GUESTS_CHAT, text).await;
    }
    becomes("refusals", 2, || async {
        let said = app.platform.messages("900");
        said.iter().filter(|call| call.text.contains("Only the owner")).count()
    })
    .await;
    let shown = operator.call("config.get", json!({})).await.expect("reads");
    assert!(shown["config"]["ui"]["seamColor"].is_null(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_steers_and_stops_sub_agents_and_a_guest_does_not() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let spawn = async |operator: &mut TestNode, run: &str, task: &str| {
        let wish = json!({"task": task, "label": run});
        tool::ask(operator, "main", run, "sessions_spawn", &wish).await;
        assert!(tool::told(&app, operator, run).await.contains("accepted"));
    };
    spawn(&mut operator, "dig", "[gate] #one").await;
    app.model.asked("#one").await;
    let told = ask(&mut operator, "main", "s1", "/steer dig #faster").await;
    assert!(told.starts_with("Told."), "{told}");
    app.model.asked("#faster").await;
    spawn(&mut operator, "wait", "[gate] #two").await;
    app.model.asked("#two").await;
    app.says(2, GUESTS_CHAT, "/kill all").await;
    app.platform.message("900", "Only the owner").await;
    app.says(3, GUESTS_CHAT, "/steer wait #guest").await;
    becomes("refusals", 2, || async { app.platform.messages("900").len() }).await;
    assert_eq!(rows.count("subagent WHERE state = 'killed'").await, 0);
    let told = ask(&mut operator, "main", "s2", "/kill wait").await;
    assert_eq!(told, "Stopped 1 sub-agent.");
    assert_eq!(rows.count("subagent WHERE state = 'killed'").await, 1);
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    let told = ask(&mut operator, "main", "s3", "/kill nobody").await;
    assert!(!told.starts_with("Stopped"), "{told}");
    app.settled().await;
    assert!(!app.model.calls().iter().any(|call| question(call).contains("#guest")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_begins_sub_agents_within_the_same_limits_as_the_agent() {
    let few = json!({"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 1}}}});
    let app = TestApp::start_with(&few, &[]).await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let begin = "/subagents spawn main [gate] #dig --thinking low";
    app.says(2, GUESTS_CHAT, begin).await;
    app.platform.message("900", "Only the owner").await;
    let told = ask(&mut operator, "main", "s1", "/subagents spawn boss dig").await;
    assert!(told.contains("forbidden"), "{told}");
    let told = ask(&mut operator, "main", "s2", "/subagents spawn main").await;
    assert!(told.starts_with("Usage:"), "{told}");
    let told = ask(&mut operator, "main", "s3", begin).await;
    assert!(told.starts_with("Begun.") && told.contains(":subagent:"), "{told}");
    app.model.asked("#dig").await;
    let task: Vec<String> = rows.column("SELECT task FROM subagent").await;
    assert_eq!(task, ["[gate] #dig"]);
    let told = ask(&mut operator, "main", "s4", begin).await;
    assert!(told.contains("the limit is 1"), "{told}");
    // What was begun so begins none of its own, whoever asks in its session.
    let child: Vec<String> = rows.column("SELECT child_key FROM subagent").await;
    let told = ask(&mut operator, &child[0], "s5", "/subagents spawn main deeper").await;
    assert!(told.contains("may be 1 deep"), "{told}");
    app.model.release(1_000);
    let heard = app.model.asked("a sub-agent has ended").await;
    assert!(prompt(&heard).contains("re: #dig end"), "{heard}");
    app.settled().await;
    assert_eq!(rows.count("subagent").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_in_the_audit_log_with_who_gave_them_and_without_what_they_said() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    let mut operator = app.operator().await;
    ask(&mut operator, KEY, "r1", "hello #talk").await;
    let rows = app.rows().await;
    let lines = async || {
        let sql = "SELECT action || ' ' || target FROM audit WHERE action LIKE 'command.%' ORDER BY seq";
        rows.column::<String>(sql).await
    };
    assert_eq!(lines().await, [""; 0], "a turn without a command writes none");
    ask(&mut operator, KEY, "r2", "/think zebra").await;
    ask(&mut operator, KEY, "r3", "/stop").await;
    ask(&mut operator, KEY, "r4", "/new zebra first").await;
    ask(&mut operator, KEY, "r5", "/compact zebra").await;
    send(&mut operator, KEY, "r6", "/btw [status:401] zebra").await;
    side_result(&mut operator, "r6").await;
    app.says(2, GUESTS_CHAT, "/status").await;
    app.platform.message("900", "Model:").await;
    app.settled().await;
    let expected: Vec<String> = ["think", "stop", "new", "compact", "btw"]
        .iter()
        .map(|name| format!("command.{name} webchat"))
        .chain(["command.status telegram/default".to_owned()])
        .collect();
    assert_eq!(lines().await, expected);
    let (_, log) = app.owner().get("/api/audit").await;
    assert!(!log.to_string().contains("zebra"), "{log}");
    let of = async |what: &str| -> Value {
        let sql = format!("SELECT CAST(detail AS text) FROM audit WHERE action = 'command.{what}'");
        let found: Vec<String> = rows.column(&sql).await;
        serde_json::from_str(&found[0]).expect("JSON")
    };
    let owner: Vec<String> = rows
        .column("SELECT actor FROM audit WHERE action = 'command.think'")
        .await;
    let guest: Vec<String> = rows
        .column("SELECT actor FROM audit WHERE action = 'command.status'")
        .await;
    assert_eq!(guest, ["guest"]);
    // Who the guest is stands with the message alone.
    let (by_owner, by_guest) = (of("think").await, of("status").await);
    assert_eq!((&by_owner["agent"], &by_owner["owner"]), (&json!("main"), &Value::Null));
    assert_eq!(by_guest["owner"], json!(owner[0]));
    let message = by_guest["message"].as_str().expect("an id");
    assert_eq!(
        rows.count(&format!("inbox WHERE id = '{message}' AND source = 'telegram'"))
            .await,
        1
    );
    assert!(!by_guest.to_string().contains("900"), "{by_guest}");
    app.binary.cli(&["audit", "verify", "--tenant", "demo"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_commands_has_pages() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let first = ask(&mut operator, KEY, "r1", "/commands").await;
    assert!(first.starts_with("Commands (page 1 of 2):"), "{first}");
    assert!(first.ends_with("/commands 2 shows the next page."), "{first}");
    let second = ask(&mut operator, KEY, "r2", "/commands 2").await;
    assert!(
        second.contains("/export-session") && !first.contains("/export-session"),
        "{second}"
    );
    assert!(first.contains("\n/help:") && !second.contains("\n/help:"), "{first}");
    assert!(!second.contains("next page"), "{second}");
    let beyond = ask(&mut operator, KEY, "r3", "/commands 9").await;
    assert_eq!(beyond, "There are 2 pages of commands.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_the_model_says_where_it_is_and_with_which_key_but_no_secret() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    let mut operator = app.operator().await;
    let told = ask(&mut operator, KEY, "r1", "/model status").await;
    let endpoint = format!("Endpoint: {}", app.model.base_url());
    for part in [
        "Model: mock/mock-1 (from the settings)",
        "API: openai-completions",
        &endpoint,
        "Key: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("sk-test"), "{told}");
    // Where others read along there is no address.
    let told = ask(&mut operator, "agent:main:telegram:group:-500", "r2", "/model status").await;
    assert!(
        told.contains("Model: mock/mock-1") && !told.contains("Endpoint:"),
        "{told}"
    );
    app.says(2, GUESTS_CHAT, "/model status").await;
    app.platform.message("900", "Only the owner").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_typing_is_shown_when_the_mode_says() {
    for (mode, before, after) in [
        ("never", 0, 0),
        ("instant", 1, 1),
        ("message", 0, 1),
        ("thinking", 0, 0),
    ] {
        let manner = json!({"session": {"typingMode": mode, "typingIntervalSeconds": 60}});
        let app = TestApp::start_with(&manner, &[]).await;
        let shown = || {
            let calls = app.platform.calls();
            calls.iter().filter(|call| call.method == "sendChatAction").count()
        };
        app.says(1, GUESTS_CHAT, &format!("[gate] #{mode}")).await;
        app.model.asked(&format!("#{mode}")).await;
        if before > 0 {
            becomes(&format!("{mode}: before a word"), before, || async { shown() }).await;
        } else {
            assert_eq!(shown(), 0, "{mode}: before a word");
        }
        // A word, then nothing for as long as it takes.
        app.model.release(1);
        if after > 0 {
            becomes(mode, after, || async { shown() }).await;
        }
        app.model.release(1_000);
        app.platform.message("900", &format!("re: #{mode} end")).await;
        app.settled().await;
        assert_eq!(shown(), after, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_the_params_of_the_model_and_of_the_agent() {
    let model = |id: &str| json!({"id": id, "name": id, "contextWindow": 128_000, "maxTokens": 4096});
    let extra = json!({
        "models": {"providers": {"mock": {"models": [model("mock-1"), model("mock-2")]}}},
        "agents": {
            "defaults": {"models": {
                "mock/mock-1": {"params": {"temperature": 0.25, "maxTokens": 100}},
                "mock/mock-2": {"params": {"temperature": 0.75}},
            }},
            "list": [{"id": "main", "default": true}, {"id": "cool", "params": {"temperature": 0.5}}],
        },
    });
    let app = TestApp::start_with(&extra, &[]).await;
    let mut operator = app.operator().await;
    ask(&mut operator, KEY, "p1", "#one").await;
    ask(&mut operator, KEY, "p2", "#two /model mock/mock-2").await;
    ask(&mut operator, "agent:cool:x", "p3", "#three").await;
    let sent: Vec<(Value, Value)> = app
        .model
        .calls()
        .iter()
        .map(|call| {
            let most = call.get("max_completion_tokens").or(call.get("max_tokens"));
            (call["temperature"].clone(), most.cloned().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        sent,
        [
            (json!(0.25), json!(100)),
            (json!(0.75), json!(4096)),
            (json!(0.5), json!(100))
        ]
    );
}
