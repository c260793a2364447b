//! Several keys and several models: which is called when one fails, what rests for how long, and what never switches.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, STRANGER, TestApp};
use crate::support::model::{calls_tool, is_summary};
use crate::support::node::TestNode;
use crate::support::wait::eventually;
use crate::support::webhook::status;

const FIRST: &str = "sk-test mock-1";
const SECOND: &str = "sk-b mock-1";

/// A provider with two keys and two models, the second of which stands in for the first.
fn two() -> Value {
    let model = |id: &str| json!({"id": id, "contextWindow": 128_000, "maxTokens": 4096});
    json!({
        "models": {"providers": {"mock": {"apiKeys": {"b": "sk-b"}, "models": [model("mock-1"), model("mock-2")]}}},
        "agents": {"defaults": {"model": {"primary": "mock/mock-1", "fallbacks": ["mock/mock-2"]}}},
    })
}

async fn start() -> TestApp {
    TestApp::start_with(&two(), &[]).await
}

/// Asks in a session, and gives how the run ended and what was called for it.
async fn ask(app: &TestApp, operator: &mut TestNode, session: &str, message: &str) -> (Value, Vec<String>) {
    let before = app.model.used().len();
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let params = json!({"sessionKey": format!("agent:main:{session}"), "message": message, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    let wait = json!({"runId": run, "timeoutMs": 60_000});
    let ended = operator.call("agent.wait", wait).await.expect("waits");
    (ended, app.model.used().split_off(before))
}

/// As if the rest of all keys was over.
async fn rested(app: &TestApp) {
    let rows = app.rows().await;
    rows.execute("UPDATE key_health SET cooldown_until = 1, disabled_until = 1")
        .await;
}

async fn lifecycle(operator: &mut TestNode, phase: &str) -> Value {
    let event = operator
        .event(phase, |frame| {
            frame["payload"]["stream"] == "lifecycle" && frame["payload"]["data"]["phase"] == phase
        })
        .await;
    event["payload"]["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_gives_way_and_rests_for_its_user_alone() {
    let mut app = start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    app.import("other", STRANGER, &two());
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "one", "[key:sk-test:429] #a").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST, SECOND]);
    assert_eq!(ask(&app, &mut operator, "one", "#b").await.1, [SECOND]);
    assert_eq!(
        ask(&app, &mut operator, "two", "#c").await.1,
        [SECOND],
        "in every session"
    );
    drop(operator);
    app.binary.kill();
    app.binary.start();
    let mut operator = app.operator().await;
    assert_eq!(
        ask(&app, &mut operator, "three", "#d").await.1,
        [SECOND],
        "after a restart"
    );
    let rest: Vec<i64> = app
        .rows()
        .await
        .column("SELECT cooldown_until - last_failed_at FROM key_health WHERE errors > 0")
        .await;
    assert_eq!(rest, [60_000]);

    // It says nothing about anybody else's requests.
    let mut stranger = app.operator_as("other", STRANGER, ALL_SCOPES).await.expect("connects");
    assert_eq!(ask(&app, &mut stranger, "one", "#e").await.1, [FIRST]);
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    let choice = json!({"key": "agent:main:one", "model": "mock/mock-1"});
    let patched = member.call("sessions.patch", choice).await;
    assert!(patched.is_ok(), "{patched:?}");
    assert_eq!(ask(&app, &mut member, "one", "#f").await.1, [FIRST]);

    // A conversation stays with its key, a new one takes the key that was idle longest.
    rested(&app).await;
    assert_eq!(ask(&app, &mut operator, "one", "#g").await.1, [SECOND]);
    assert_eq!(ask(&app, &mut operator, "four", "#h").await.1, [FIRST]);
    let marked = app.rows().await.count("key_health WHERE errors > 0").await;
    assert_eq!(marked, 0, "a success forgives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_is_left_out() {
    let mut app = start().await;
    let rows = app.rows().await;
    let names: Vec<String> = rows
        .column("SELECT name FROM secret WHERE name LIKE 'provider%' ORDER BY name")
        .await;
    app.binary.kill();
    // Sealed for another name, as after a restore that went wrong.
    let spoil = async |name: &str| {
        let other = "(SELECT sealed FROM secret WHERE name NOT LIKE 'provider%' LIMIT 1)";
        rows.execute(&format!("UPDATE secret SET sealed = {other} WHERE name = '{name}'"))
            .await;
    };
    let [first, second] = &names[..] else {
        panic!("{names:?}")
    };
    spoil(first).await;
    app.binary.start();
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "a", "#one").await;
    assert_eq!((&ended["status"], used.len()), (&json!("ok"), 1), "{ended} {used:?}");
    app.binary.kill();
    spoil(second).await;
    app.binary.start();
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "b", "#two").await;
    assert_eq!((&ended["status"], used.len()), (&json!("error"), 0), "{ended} {used:?}");
    assert!(
        ended.to_string().contains("its key cannot be read"),
        "the person is told why: {ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_credit_is_left_alone_for_hours() {
    let app = start().await;
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "one", "[key:sk-test:402] #a").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST, SECOND]);
    let rest: Vec<i64> = app
        .rows()
        .await
        .column("SELECT disabled_until - last_failed_at FROM key_health WHERE refusals > 0")
        .await;
    assert_eq!(rest, [5 * 3_600_000]);
    // Whatever the model.
    let model = json!({"key": "agent:main:two", "model": "mock/mock-2"});
    operator.call("sessions.patch", model).await.expect("patches");
    assert_eq!(ask(&app, &mut operator, "two", "#b").await.1, ["sk-b mock-2"]);
    let (_, shown) = app.owner().get("/api/providers").await;
    let keys = &shown["providers"][0]["keys"];
    assert_eq!(
        (&keys[0]["name"], &keys[0]["reason"]),
        (&json!("default"), &json!("billing")),
        "{shown}"
    );
    assert!(
        keys[1]["reason"].is_null() && !shown.to_string().contains("sk-"),
        "{shown}"
    );
    // A new key is a new start.
    let put = app
        .owner()
        .put("/api/providers/mock/keys/default", &json!({"apiKey": "sk-new"}))
        .await;
    assert_eq!(put.0, 200, "{put:?}");
    assert!(
        put.1["providers"].is_null() && !put.1.to_string().contains("sk-new"),
        "{put:?}"
    );
    eventually("the new key is used", || async {
        let mut operator = app.operator().await;
        let key = format!("fresh-{}", app.model.used().len());
        let (_, used) = ask(&app, &mut operator, &key, "#c").await;
        (used == ["sk-new mock-1"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_stands_in_and_the_first_choice_comes_back() {
    let app = start().await;
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "one", "[model:mock-1:429] #a").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST, SECOND, "sk-test mock-2"]);
    let step = lifecycle(&mut operator, "fallback_step").await;
    assert_eq!(step["fallbackStepFromModel"], "mock/mock-1");
    assert_eq!(step["fallbackStepToModel"], "mock/mock-2");
    assert_eq!(step["fallbackStepFromFailureReason"], "rate_limit");
    let event = lifecycle(&mut operator, "fallback").await;
    assert_eq!(
        (&event["selectedModel"], &event["activeModel"]),
        (&json!("mock-1"), &json!("mock-2")),
        "{event}"
    );

    // While it rests nobody waits for it, and nothing is said twice.
    assert_eq!(ask(&app, &mut operator, "one", "#b").await.1, ["sk-test mock-2"]);
    let run = json!({"sessionKey": "agent:main:one", "message": "/status", "idempotencyKey": "status"});
    operator.call("chat.send", run).await.expect("accepted");
    let said = operator.chat_end("status").await["message"].to_string();
    assert!(
        said.contains("Model: mock/mock-1") && said.contains("Fallback: mock/mock-2 (rate limit"),
        "{said}"
    );
    let listed = operator.call("models.list", json!({})).await.expect("lists");
    let first = &listed["models"][0];
    assert_eq!(
        (&first["available"], &first["unavailableReason"]),
        (&json!(false), &json!("cooldown")),
        "{listed}"
    );

    rested(&app).await;
    assert_eq!(ask(&app, &mut operator, "one", "#c").await.1.len(), 1);
    let event = lifecycle(&mut operator, "fallback_cleared").await;
    assert_eq!(event["previousActiveModel"], "mock/mock-2");
    assert_eq!(event["activeModel"], "mock-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_choice_that_is_nearly_back_is_tried_by_one_at_a_time() {
    let app = start().await;
    let mut operator = app.operator().await;
    ask(&app, &mut operator, "one", "[model:mock-1:429] #a").await;
    let rows = app.rows().await;
    rows.execute("UPDATE key_health SET last_failed_at = last_failed_at - 40000")
        .await;
    let (ended, used) = ask(&app, &mut operator, "one", "[model:mock-1:429] #b").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used.len(), 2, "one try, and no other key: {used:?}");
    assert!(used[0].ends_with("mock-1") && used[1].ends_with("mock-2"), "{used:?}");
    assert_eq!(
        ask(&app, &mut operator, "one", "#c").await.1.len(),
        1,
        "not again at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_told_once_in_a_direct_chat() {
    let app = start().await;
    assert_eq!(
        status(app.webhooks().telegram(1, 700, "[model:mock-1:500] #a")).await,
        200
    );
    app.settled().await;
    assert_eq!(status(app.webhooks().telegram(2, 700, "#b")).await, 200);
    app.settled().await;
    let told = app.platform.messages("700");
    let texts: Vec<&str> = told.iter().map(|message| message.text.as_str()).collect();
    // Who writes to the bot is a guest: the models are not their business.
    assert_eq!(texts, ["re: #a end", "re: #b end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_switches_only_while_nothing_was_seen() {
    let app = start().await;
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "one", "[key:sk-test:cut] #a").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    // A connection that broke before anything came is tried once more.
    let (last, before) = used.split_last().expect("it was called");
    assert_eq!(last, SECOND);
    assert!(before.len() <= 2 && before.iter().all(|used| used == FIRST), "{used:?}");
    rested(&app).await;
    let before = app.model.used().len();
    let message = "[key:sk-test:seen] [key:sk-b:seen] #b";
    let params = json!({"sessionKey": "agent:main:two", "message": message, "idempotencyKey": "seen"});
    operator.call("chat.send", params).await.expect("accepted");
    while !operator.chat("seen").await["message"].to_string().contains("half") {}
    app.model.release(1);
    assert_eq!(operator.chat_end("seen").await["state"], "error");
    assert_eq!(app.model.used().len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_is_no_reason_to_switch() {
    let app = start().await;
    let mut operator = app.operator().await;
    for turn in 0..3 {
        ask(
            &app,
            &mut operator,
            "one",
            &format!("#fill{turn} {}", "word ".repeat(300)),
        )
        .await;
    }
    let (ended, used) = ask(&app, &mut operator, "one", "[model:mock-1:limit] #a").await;
    assert_eq!(ended["status"], "error", "{ended}");
    assert!(used.len() > 1 && used.iter().all(|used| used == FIRST), "{used:?}");
    assert!(app.model.calls().iter().any(is_summary), "it is summarised instead");
    assert_eq!(app.rows().await.count("key_health WHERE errors > 0").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_stop_is_not_answered_by_another_model() {
    let app = start().await;
    let mut operator = app.operator().await;
    let params =
        json!({"sessionKey": "agent:main:one", "message": "[model:mock-1:gate] #a", "idempotencyKey": "stopped"});
    operator.call("chat.send", params).await.expect("accepted");
    app.model.asked("#a").await;
    let stop = json!({"sessionKey": "agent:main:one", "runId": "stopped"});
    operator.call("chat.abort", stop).await.expect("aborts");
    assert_eq!(operator.chat_end("stopped").await["state"], "aborted");
    app.model.release(1);
    assert_eq!(ask(&app, &mut operator, "one", "#b").await.1, [FIRST]);
    assert_eq!(app.model.used(), [FIRST, FIRST]);
    assert_eq!(app.rows().await.count("key_health WHERE errors > 0").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_ran_is_not_run_again() {
    let app = start().await;
    let mut operator = app.operator().await;
    let (ended, used) = ask(
        &app,
        &mut operator,
        "one",
        "[tool:session_status] [after:mock-1:500] #a",
    )
    .await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST, FIRST, SECOND, "sk-test mock-2"]);
    let calls = app.model.calls();
    let results = |call: &Value| {
        let messages = call["messages"].as_array().expect("messages").iter();
        messages.filter(|message| message["role"] == "tool").count()
    };
    assert_eq!(calls.iter().map(results).collect::<Vec<_>>(), [0, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_one_sentence_says_why_and_when_to_try_again() {
    let app = start().await;
    let mut operator = app.operator().await;
    let (ended, used) = ask(&app, &mut operator, "one", "[model:mock-1:429] [model:mock-2:402] #a").await;
    assert_eq!(used.len(), 4, "{used:?}");
    let said = ended["error"].as_str().expect("an error").to_owned();
    assert!(said.contains("mock/mock-1: rate limit; mock/mock-2: billing"), "{said}");
    assert!(said.contains("Please try again in 60 seconds."), "{said}");
    // All of them rest: the one that is back soonest is called.
    let (ended, used) = ask(&app, &mut operator, "one", "#b").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_chosen_with_the_model_is_the_only_one() {
    let app = start().await;
    let mut operator = app.operator().await;
    let choice = json!({"key": "agent:main:one", "model": "mock/mock-1@mock:b"});
    operator.call("sessions.patch", choice).await.expect("patches");
    assert_eq!(ask(&app, &mut operator, "one", "#a").await.1, [SECOND]);
    let (_, used) = ask(&app, &mut operator, "one", "[key:sk-b:429] [model:mock-1:429] #b").await;
    assert_eq!(used[0], SECOND);
    assert!(used[1..].iter().all(|used| used.ends_with("mock-2")), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_tenants_and_are_never_shown() {
    let mut app = start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let set = |provider: &str| json!({"provider": provider, "apiKey": "sk-c", "profileId": "mock:c"});
    let stored = operator
        .call("models.authSetApiKey", set("mock"))
        .await
        .expect("stores");
    assert_eq!(stored, json!({"provider": "mock", "profileId": "mock:c"}));
    let order = json!({"provider": "mock", "profileIds": ["mock:c", "mock:b", "mock:default"]});
    operator.call("models.authOrderSet", order).await.expect("orders");
    let shown = operator.call("models.authStatus", json!({})).await.expect("shows");
    let provider = &shown["providers"][0];
    assert_eq!(
        provider["profileOrder"],
        json!(["mock:c", "mock:b", "mock:default"]),
        "{shown}"
    );
    assert_eq!(provider["profiles"].as_array().map(Vec::len), Some(3), "{shown}");
    let config = operator.call("config.get", json!({})).await.expect("reads");
    assert!(!format!("{shown}{config}").contains("sk-"), "{config}");
    assert_eq!(ask(&app, &mut operator, "one", "#a").await.1, ["sk-c mock-1"]);
    let some = json!({"provider": "mock", "profileIds": ["mock:c"]});
    assert!(operator.call("models.authOrderSet", some.clone()).await.is_err());
    operator.call("models.authLogout", some).await.expect("removes");
    let listed = app
        .binary
        .cli(&["provider", "key", "list", "--tenant", "demo", "--provider", "mock"]);
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["default", "b"]);
    let member = app.operator_as("demo", MEMBER, ALL_SCOPES).await;
    if let Ok(mut member) = member {
        assert!(member.call("models.authSetApiKey", set("mock")).await.is_err());
    }
    let refused = app
        .person("demo", MEMBER)
        .put("/api/providers/mock/keys/x", &json!({"apiKey": "k"}))
        .await;
    assert_eq!(refused.0, 403, "{refused:?}");
    let rows = app.rows().await;
    assert_eq!(rows.count("secret WHERE name LIKE 'provider/mock/%'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_orders_keys_and_has_one_that_rests_tried_again() {
    let mut app = start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    ask(&app, &mut operator, "one", "[key:sk-test:402] #a").await;
    let key = |shown: &Value, name: &str| {
        let keys = shown["providers"][0]["keys"].as_array().expect("keys").clone();
        keys.into_iter().find(|key| key["name"] == name).expect("is listed")
    };
    let (_, shown) = app.owner().get("/api/providers").await;
    let resting = key(&shown, "default");
    assert_eq!(resting["reason"], "billing", "{shown}");
    assert!(resting["restsUntil"].as_i64().is_some());
    assert_eq!(ask(&app, &mut operator, "two", "#b").await.1, [SECOND]);
    for (tenant, email, code) in [("demo", MEMBER, 403), ("other", STRANGER, 404)] {
        let person = app.person(tenant, email);
        for path in ["keys/default/retry", "key-order"] {
            let path = format!("/api/providers/mock/{path}");
            let answer = if path.ends_with("retry") {
                person.post(&path, &json!({})).await
            } else {
                person.put(&path, &json!({"order": ["b"]})).await
            };
            assert_eq!(answer.0, code, "{path} as {email}: {}", answer.1);
        }
    }
    let (_, still) = app.owner().get("/api/providers").await;
    assert_eq!(key(&still, "default")["reason"], "billing");
    let (code, after) = app
        .owner()
        .post("/api/providers/mock/keys/default/retry", &json!({}))
        .await;
    assert_eq!(code, 200, "{after}");
    let (_, shown) = app.owner().get("/api/providers").await;
    assert!(key(&shown, "default")["restsUntil"].is_null(), "{shown}");
    let (code, _) = app
        .owner()
        .post("/api/providers/mock/keys/none/retry", &json!({}))
        .await;
    assert_eq!(code, 404);

    let order = json!({"order": ["default", "b"]});
    let (code, ordered) = app.owner().put("/api/providers/mock/key-order", &order).await;
    assert_eq!((code, &ordered["keyOrder"]), (200, &order["order"]), "{ordered}");
    assert_eq!(ask(&app, &mut operator, "three", "#c").await.1, [FIRST]);
    let (_, free) = app
        .owner()
        .put("/api/providers/mock/key-order", &json!({"order": []}))
        .await;
    assert_eq!(free["keyOrder"], json!([]), "{free}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_hard_a_model_thinks_is_the_sessions_choice() {
    let model = json!({"id": "mock-1", "reasoning": true, "contextWindow": 128_000, "maxTokens": 4096});
    let file = json!({"models": {"providers": {"mock": {"models": [model, "mock-2"]}}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    let effort = |app: &TestApp| app.model.calls().last().expect("a call")["reasoning_effort"].clone();
    ask(&app, &mut operator, "one", "#a").await;
    assert_eq!(effort(&app), "low", "what suits a model that thinks");
    let level = |level: Value| json!({"key": "agent:main:one", "thinkingLevel": level});
    operator
        .call("sessions.patch", level(json!("Think-Harder")))
        .await
        .expect("patches");
    ask(&app, &mut operator, "one", "#b").await;
    assert_eq!(effort(&app), "medium");
    assert!(operator.call("sessions.patch", level(json!("very"))).await.is_err());
    let run = json!({"sessionKey": "agent:main:one", "message": "/think high", "idempotencyKey": "think"});
    operator.call("chat.send", run).await.expect("accepted");
    let said = operator.chat_end("think").await["message"].to_string();
    assert!(said.contains("Thinking set to high"), "{said}");
    let shown = operator
        .call("chat.history", json!({"sessionKey": "agent:main:one"}))
        .await
        .expect("shows");
    assert_eq!(shown["thinkingLevel"], "high");
    ask(&app, &mut operator, "one", "#c").await;
    assert_eq!(effort(&app), "high");
    // A model that cannot think is not told to.
    let other = json!({"key": "agent:main:one", "model": "mock/mock-2"});
    operator.call("sessions.patch", other).await.expect("patches");
    ask(&app, &mut operator, "one", "#d").await;
    assert_eq!(effort(&app), Value::Null);
    assert!(operator.call("sessions.patch", level(json!("high"))).await.is_err());
}

/// No key was kept for it, and nothing was forgiven.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_ends_to_wait_for_its_sub_agents_keeps_the_key_that_worked() {
    let app = start().await;
    let mut operator = app.operator().await;
    let spawn = calls_tool("sessions_spawn", &json!({"task": "[gate] #child"}));
    let (ended, _) = ask(&app, &mut operator, "one", &format!("{spawn} #a")).await;
    assert_eq!(ended["status"], "ok", "{ended}");
    app.model.asked("#child").await;
    let (ended, used) = ask(&app, &mut operator, "one", "[tool:sessions_yield] [key:sk-test:429] #b").await;
    assert_eq!(ended["status"], "ok", "{ended}");
    assert_eq!(used, [FIRST, SECOND], "it ends with the tool");
    rested(&app).await;
    assert_eq!(ask(&app, &mut operator, "one", "#c").await.1, [SECOND]);
    app.model.release(100);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_short_outage_the_first_choice_is_called_again_at_once() {
    let app = start().await;
    let mut operator = app.operator().await;
    for (session, fault) in [("one", "500"), ("two", "cut"), ("three", "529")] {
        let (ended, used) = ask(&app, &mut operator, session, &format!("[model:mock-1:{fault}] #a")).await;
        assert_eq!(ended["status"], "ok", "{fault}: {ended}");
        assert!(used.last().is_some_and(|used| used.ends_with("mock-2")), "{used:?}");
        let (_, used) = ask(&app, &mut operator, session, "#b").await;
        assert!(used.len() == 1 && used[0].ends_with("mock-1"), "{fault}: {used:?}");
    }
    let marked = app.rows().await.count("key_health WHERE cooldown_until > 0").await;
    assert_eq!(marked, 0, "no key rests for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_model_that_is_not_allowed_any_more_is_left_out() {
    let model = |id: &str| json!({"id": id, "contextWindow": 128_000, "maxTokens": 4096});
    let mut file = json!({"models": {"providers": {"mock": {"models": [model("mock-1"), model("mock-2")]}}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    let choice = json!({"key": "agent:main:one", "model": "mock/mock-2"});
    operator.call("sessions.patch", choice).await.expect("patches");
    assert_eq!(ask(&app, &mut operator, "one", "#a").await.1, ["sk-test mock-2"]);
    file["agents"] = json!({"defaults": {"models": {"mock/mock-1": {}}}});
    app.reconfigure(&file, "/agents/defaults/models").await;
    let (ended, used) = ask(&app, &mut operator, "one", "#b").await;
    assert_eq!(
        (&ended["status"], used),
        (&json!("ok"), vec![FIRST.to_owned()]),
        "{ended}"
    );
    let event = lifecycle(&mut operator, "fallback").await;
    assert_eq!(
        (&event["selectedModel"], &event["activeModel"]),
        (&json!("mock-2"), &json!("mock-1")),
        "{event}"
    );
    assert_eq!(event["reasonSummary"], "model not found");
    assert_eq!(ask(&app, &mut operator, "one", "#c").await.1, [FIRST]);
    // Whoever chooses such a model is told so, as before.
    let choice = json!({"key": "agent:main:two", "model": "mock/mock-2"});
    assert!(operator.call("sessions.patch", choice).await.is_err());
}
