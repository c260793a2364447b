//! Directives: taken out of what the owner writes, for one message or for the session. For guests they are text.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::{prompt, question};
use crate::support::node::TestNode;
use crate::support::platform::Trouble;
use crate::support::wait::{becomes, eventually};

const KEY: &str = "agent:main:side";
const OWNERS_CHAT: i64 = 700;

async fn start(extra: &Value) -> TestApp {
    let model = |id: &str| {
        json!({"id": id, "name": id, "reasoning": id == "mock-2", "input": ["text"], "contextWindow": 128_000, "maxTokens": 4096,
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}})
    };
    let models = json!([model("mock-1"), model("mock-2")]);
    let mut file = json!({"models": {"providers": {"mock": {"models": models}}}});
    crate::support::app::merge(&mut file, extra);
    TestApp::start_with(&file, &[]).await
}

/// The answer to a message.
async fn ask(operator: &mut TestNode, run: &str, text: &str) -> String {
    let params = json!({"sessionKey": KEY, "message": text, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    let end = operator.chat_end(run).await;
    end["message"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_chosen_for_one_message_or_for_the_session() {
    let app = start(&json!({})).await;
    let mut operator = app.operator().await;
    ask(&mut operator, "r1", "hello /model mock/mock-2 #one").await;
    ask(&mut operator, "r2", "hello #two").await;
    assert_eq!(app.model.used(), ["sk-test mock-2", "sk-test mock-1"]);
    assert_eq!(question(&app.model.calls()[0]), "hello #one", "it is taken out");
    // A name that means nothing is text.
    ask(&mut operator, "r3", "what is /model nonsense #three").await;
    assert!(question(&app.model.calls()[2]).contains("/model nonsense"));
    let listed = ask(&mut operator, "r4", "/models").await;
    let at = listed
        .lines()
        .position(|line| line.ends_with("mock/mock-2"))
        .expect("it is listed");
    let set = ask(&mut operator, "r5", &format!("/model {at}")).await;
    assert_eq!(set, "Model set to mock/mock-2.");
    ask(&mut operator, "r6", "#four").await;
    assert_eq!(app.model.used()[3], "sk-test mock-2");
    assert!(ask(&mut operator, "r7", "/model nonsense").await.contains("nonsense"));
    ask(&mut operator, "r8", "/model default").await;
    ask(&mut operator, "r9", "#five").await;
    assert_eq!(app.model.used()[4], "sk-test mock-1");
    // Several at once, and a new conversation with a model of its own.
    let both = ask(&mut operator, "r10", "/verbose on /model mock/mock-2").await;
    assert_eq!(both, "Verbose set to on.\nModel set to mock/mock-2.");
    ask(&mut operator, "r11", "/new mock/mock-1 hello #six").await;
    let last = app.model.calls().pop().expect("asked");
    assert_eq!(
        (question(&last).as_str(), last["model"].as_str()),
        ("hello #six", Some("mock-1"))
    );
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_is_set_for_one_message() {
    let app = start(&json!({"agents": {"defaults": {"model": {"primary": "mock/mock-2"}}}})).await;
    let mut operator = app.operator().await;
    ask(&mut operator, "r1", "/think high what #one").await;
    ask(&mut operator, "r2", "what #two").await;
    let calls = app.model.calls();
    assert_eq!(calls[0]["reasoning_effort"], "high", "{}", calls[0]);
    assert_ne!(calls[1]["reasoning_effort"], "high");
    assert_eq!(question(&calls[0]), "what #one");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_directives_are_text_and_change_nothing() {
    let app = start(&json!({})).await;
    app.says(1, 900, "hello /model mock/mock-2 /verbose full #one").await;
    app.platform.message("900", "#one").await;
    assert_eq!(app.model.used(), ["sk-test mock-1"]);
    assert!(question(&app.model.calls()[0]).contains("/model mock/mock-2 /verbose full"));
    app.says(2, 900, "/verbose on").await;
    app.platform.message("900", "Only the owner").await;
    app.says(3, 900, "/model mock/mock-2").await;
    app.platform.message("900", "Only the owner may choose").await;
    app.settled().await;
    assert_eq!(
        app.rows()
            .await
            .count("session WHERE CAST(entry AS text) LIKE '%verboseLevel%'")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_tells_of_tools_and_usage_of_tokens() {
    let app = start(&json!({})).await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "[tool:session_status] #quiet").await;
    app.platform.message("700", "#quiet").await;
    app.says(3, OWNERS_CHAT, "[tool:session_status] /verbose full #once")
        .await;
    app.platform.message("700", "#once").await;
    app.says(4, OWNERS_CHAT, "/usage tokens").await;
    app.platform.message("700", "Usage footer set to tokens.").await;
    app.says(5, OWNERS_CHAT, "[tool:session_status] #counted").await;
    app.platform.message("700", "#counted").await;
    app.settled().await;
    let texts: Vec<String> = app.platform.messages("700").into_iter().map(|call| call.text).collect();
    let tools: Vec<usize> = (0..texts.len()).filter(|at| texts[*at].contains("🔧")).collect();
    assert_eq!(tools.len(), 2, "the call and its result, once: {texts:?}");
    let answer = texts
        .iter()
        .position(|text| text.contains("re: #once end"))
        .expect("answered");
    assert!(tools.iter().all(|at| *at < answer), "ahead of the answer: {texts:?}");
    let counted: Vec<&String> = texts.iter().filter(|text| text.contains("Usage: ")).collect();
    assert_eq!(counted.len(), 1, "{texts:?}");
    assert!(
        counted[0].contains("#counted end") && counted[0].contains(" in / "),
        "{counted:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_message_holds_no_directives() {
    let app = start(&json!({})).await;
    let mut operator = app.operator().await;
    let params = json!({"sessionKey": KEY, "message": "hello /model mock/mock-2 #one", "idempotencyKey": "a1"});
    let asked = operator.send("agent", params).await;
    operator.answer(&asked).await.expect("accepted");
    operator.answer(&asked).await.expect("ended");
    assert_eq!(app.model.used(), ["sk-test mock-1"]);
    assert!(prompt(&app.model.calls()[0]).contains("/model mock/mock-2"));
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faster_tier_is_asked_for_as_the_owner_says_and_priced_as_such() {
    let app = start(&json!({})).await;
    app.link(OWNER, OWNERS_CHAT).await;
    let model =
        json!({"id": "gpt-x", "contextWindow": 128_000, "maxTokens": 4096, "cost": {"input": 100, "output": 0}});
    let openai = json!({
        "models": {"providers": {"openai": {"baseUrl": app.model.base_url(), "apiKey": "sk-test", "models": [model]}}},
        "agents": {"defaults": {"model": {"primary": "openai/gpt-x"}}},
    });
    app.reconfigure(&openai, "/agents/defaults/model/primary").await;
    let mut operator = app.operator().await;
    let tier = |part: &'static str| async { app.model.asked(part).await["service_tier"].clone() };
    ask(&mut operator, "r1", "#usual").await;
    assert_eq!(tier("#usual").await, Value::Null);
    assert_eq!(ask(&mut operator, "r2", "/fast on").await, "Fast mode set to on.");
    ask(&mut operator, "r3", "#fast").await;
    assert_eq!(tier("#fast").await, "priority");
    ask(&mut operator, "r4", "/fast off just this #slow").await;
    assert_eq!(tier("#slow").await, Value::Null);
    let shown = ask(&mut operator, "r5", "/status").await;
    assert!(shown.contains("Options: Fast mode on"), "{shown}");
    assert!(ask(&mut operator, "r6", "/fast status").await.contains("Fast mode: on"));
    // Twelve tokens at a hundred dollars a million, and twice that.
    let rows = app.rows().await;
    let costs: Vec<String> = rows
        .column("SELECT CAST(usage AS text) FROM run WHERE session_key = 'agent:main:side' AND status = 'ok' ORDER BY started_at")
        .await;
    let cost = |usage: &String| serde_json::from_str::<Value>(usage).expect("JSON")["cost"]["total"].clone();
    let costs: Vec<Value> = costs
        .iter()
        .map(cost)
        .filter(|cost| cost.as_f64() > Some(0.0))
        .collect();
    assert_eq!(costs, [json!(0.0012), json!(0.0024), json!(0.0012)]);
    // By clients, for the session and for one message.
    let patch = |fast: Value| json!({"key": KEY, "fastMode": fast});
    operator
        .call("sessions.patch", patch(json!(false)))
        .await
        .expect("takes it");
    ask(&mut operator, "r7", "#patched").await;
    assert_eq!(tier("#patched").await, Value::Null);
    let send = json!({"sessionKey": KEY, "message": "#once", "idempotencyKey": "r8", "fastMode": true});
    operator.call("chat.send", send).await.expect("accepted");
    operator.chat_end("r8").await;
    assert_eq!(tier("#once").await, "priority");
    let refused = operator
        .call("sessions.patch", patch(json!("sometimes")))
        .await
        .expect_err("means nothing here");
    assert!(
        refused["message"].as_str().expect("text").contains("fastMode"),
        "{refused}"
    );
    // A guest pays nothing and hurries nobody, whatever they write and the settings say.
    let mut eager = openai;
    eager["agents"]["defaults"]["fastModeDefault"] = json!(true);
    app.reconfigure(&eager, "/agents/defaults/fastModeDefault").await;
    app.says(8, 900, "hello /fast on #guest").await;
    app.platform.message("900", "#guest").await;
    assert_eq!(tier("#guest").await, Value::Null);
    app.says(9, OWNERS_CHAT, "#owner").await;
    app.platform.message("700", "#owner").await;
    assert_eq!(tier("#owner").await, "priority");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_are_seen_while_the_model_thinks_and_give_way_to_the_answer() {
    let app = start(&json!({"channels": {"telegram": {"streaming": "partial"}}})).await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "/reasoning stream").await;
    app.platform.message("700", "Reasoning set to stream.").await;
    let thinks = "[slow:700] [thinks:First I look at the question. |Then I look at it again. |Now I know.]";
    app.says(3, OWNERS_CHAT, &format!("{thinks} #deep")).await;
    let shown = app.platform.message("700", "Reasoning:").await;
    assert!(shown.text.contains("First I look at the question."), "{shown:?}");
    app.platform.message("700", "re: #deep end").await;
    app.settled().await;
    // The answer stands where the thoughts were: nothing else was sent.
    let sent: Vec<String> = app.platform.messages("700").into_iter().map(|call| call.text).collect();
    assert_eq!(
        sent.iter().filter(|text| text.contains("Reasoning:")).count(),
        1,
        "{sent:?}"
    );
    assert!(sent.last().expect("sent").contains("Reasoning:"), "{sent:?}");
    let edits = app.platform.calls();
    let last = edits
        .iter()
        .rfind(|call| call.method == "editMessageText")
        .expect("edited");
    assert!(
        last.text.contains("re: #deep end") && !last.text.contains("Reasoning:"),
        "{last:?}"
    );
    // A guest sees none.
    app.says(4, 900, &format!("{thinks} #guest")).await;
    app.platform.message("900", "re: #guest").await;
    let seen = app.platform.calls();
    assert!(
        seen.iter()
            .all(|call| call.chat != "900" || !call.text.contains("Reasoning:"))
    );
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_that_no_answer_follows_are_taken_back() {
    let app = start(&json!({"channels": {"telegram": {"streaming": "partial"}}})).await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "/reasoning stream").await;
    app.platform.message("700", "Reasoning set to stream.").await;
    let taken_back = || {
        let calls = app.platform.calls();
        calls.iter().filter(|call| call.method == "deleteMessage").count()
    };
    // Each chunk waits for the test, and the first comes late enough to be shown.
    let thinks = "[slow:1300] [gate] [thinks:First I look at NUMBER. |Now I know.]";
    app.model.release(1);
    let silent = format!("{} [say:NO_REPLY]", thinks.replace("NUMBER", "one"));
    app.says(3, OWNERS_CHAT, &silent).await;
    app.platform.message("700", "First I look at one.").await;
    // The second thought, the answer, and the two chunks that end it.
    app.model.release(4);
    becomes("previews that were taken back", 1, || async { taken_back() }).await;
    app.settled().await;
    app.model.release(1);
    app.says(4, OWNERS_CHAT, &thinks.replace("NUMBER", "two")).await;
    app.platform.message("700", "First I look at two.").await;
    // A platform that refuses to delete it shows next to nothing of it.
    let refusal = json!({"ok": false, "error_code": 400, "description": "Bad Request"});
    app.platform.trouble("deleteMessage", Trouble::Answer(400, refusal));
    app.says(5, OWNERS_CHAT, "/stop").await;
    becomes("previews that were taken back", 2, || async { taken_back() }).await;
    eventually("next to nothing is shown", || async {
        let calls = app.platform.calls();
        let mut edits = calls.iter().filter(|call| call.method == "editMessageText");
        edits.any(|call| call.text == "…").then_some(())
    })
    .await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_no_tools_is_offered_none() {
    let model = |id: &str, tools: bool| {
        json!({"id": id, "name": id, "reasoning": false, "input": ["text"], "contextWindow": 128_000, "maxTokens": 4096,
            "compat": {"supportsTools": tools}, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}})
    };
    let models = json!([model("mock-1", true), model("mock-2", false)]);
    let file = json!({"models": {"providers": {"mock": {"models": models}}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    ask(&mut operator, "r1", "#with").await;
    ask(&mut operator, "r2", "/model mock/mock-2 #without").await;
    let calls = app.model.calls();
    let offers = |call: &Value| call["tools"].as_array().map_or(0, Vec::len);
    assert_eq!(
        (calls[0]["model"].as_str(), offers(&calls[0]) > 0),
        (Some("mock-1"), true)
    );
    assert_eq!((calls[1]["model"].as_str(), offers(&calls[1])), (Some("mock-2"), 0));
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_a_model_ask_for_the_faster_tier_where_nothing_else_is_said() {
    let app = start(&json!({})).await;
    let model =
        json!({"id": "gpt-x", "contextWindow": 128_000, "maxTokens": 4096, "cost": {"input": 100, "output": 0}});
    let openai = json!({
        "models": {"providers": {"openai": {"baseUrl": app.model.base_url(), "apiKey": "sk-test", "models": [model]}}},
        "agents": {"defaults": {"model": {"primary": "openai/gpt-x"},
            "models": {"openai/gpt-x": {"params": {"fastMode": true}}}}},
    });
    app.reconfigure(&openai, "/agents/defaults/model/primary").await;
    let mut operator = app.operator().await;
    ask(&mut operator, "r1", "#usual").await;
    assert_eq!(app.model.asked("#usual").await["service_tier"], "priority");
    ask(&mut operator, "r2", "/fast off just this #slow").await;
    assert_eq!(app.model.asked("#slow").await["service_tier"], Value::Null);
    // A guest hurries nobody.
    app.says(8, 900, "hello #guest").await;
    app.platform.message("900", "#guest").await;
    assert_eq!(app.model.asked("#guest").await["service_tier"], Value::Null);
    app.settled().await;
}
