//! Asking the agent to call a tool, and what its model heard of it.

use serde_json::{Value, json};

use super::app::TestApp;
use super::model::calls_tool;
use super::node::TestNode;

/// Asks the agent, in a session, to call a tool.
pub(crate) async fn ask(operator: &mut TestNode, session: &str, run: &str, tool: &str, arguments: &Value) {
    say(operator, session, run, &calls_tool(tool, arguments)).await;
}

/// Says something in a session, under a run of this name.
pub(crate) async fn say(operator: &mut TestNode, session: &str, run: &str, text: &str) {
    let params = json!({"sessionKey": session, "message": format!("#{run} {text}"), "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

/// What the model was told about the call of this run, after the run ended well.
pub(crate) async fn told(app: &TestApp, operator: &mut TestNode, run: &str) -> String {
    let end = operator.chat_end(run).await;
    assert_eq!(end["state"], "final", "the turn goes on after a refused call: {end}");
    tool_result(app, run).unwrap_or_else(|| panic!("the model heard nothing of {run}"))
}

/// The newest result of the run's calls.
pub(crate) fn tool_result(app: &TestApp, run: &str) -> Option<String> {
    let call = newest_call(app, run)?;
    Some(call["messages"].as_array()?.last()?["content"].to_string())
}

/// All results of the run's calls, oldest first.
pub(crate) fn tool_results(app: &TestApp, run: &str) -> Vec<String> {
    let Some(call) = newest_call(app, run) else {
        return Vec::new();
    };
    let messages = call["messages"].as_array().expect("messages").iter().rev();
    let answers = messages.take_while(|message| message["role"] != "user");
    let mut results: Vec<String> = answers
        .filter(|message| message["role"] == "tool")
        .map(|message| message["content"].to_string())
        .collect();
    results.reverse();
    results
}

/// The newest model call of the run that carries a result.
fn newest_call(app: &TestApp, run: &str) -> Option<Value> {
    let calls = app.model.calls();
    let call = calls.iter().rev().find(|call| {
        let messages = call["messages"].as_array().expect("messages");
        let asked = messages.iter().rev().find(|message| message["role"] == "user");
        asked.is_some_and(|asked| asked.to_string().contains(&format!("#{run} ")))
            && messages.last().is_some_and(|last| last["role"] == "tool")
    })?;
    Some(call.clone())
}

/// What the agent was told of a command that went on behind its turn: the question of that turn.
pub(crate) async fn end_of(app: &TestApp, request: &Value) -> String {
    let id = request["id"].as_str().expect("an id");
    super::model::question(&app.model.asked(&format!("id={id}")).await)
}

/// The turn that asked was told that a person has to decide, and ended.
pub(crate) async fn waits(app: &TestApp, operator: &mut TestNode, run: &str, request: &Value) {
    let told = told(app, operator, run).await;
    let id = request["id"].as_str().expect("an id");
    assert!(told.contains("approval-pending") && told.contains(id), "{told}");
}
