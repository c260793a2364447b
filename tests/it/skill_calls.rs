//! Skills that a person calls by name, and their keys: who may, what the model hears, and where a value goes.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::app::{Person, TestApp, answered};
use crate::support::mcp::{McpServer, acts};
use crate::support::node::{Device, TestNode};
use crate::support::tool::{ask, told};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

const SECRET: &str = "zebra-secret-42";

fn tea(more: &str) -> String {
    format!("---\nname: Green Tea\ndescription: Makes tea.\n{more}\n---\nBoil water first.\n")
}

async fn install(person: &Person<'_>, text: String) {
    let request = person
        .request(Method::POST, "/api/skills")
        .header(CONTENT_TYPE, "text/markdown");
    let (code, made) = answered(request.body(text)).await;
    assert_eq!(code, 201, "{made}");
}

/// The newest question that the model was asked under this name.
async fn heard(app: &TestApp, name: &str) -> String {
    app.model.asked(name).await;
    let calls = app.model.calls();
    let call = calls
        .iter()
        .rev()
        .find(|call| call["messages"].to_string().contains(name));
    let messages = call.expect("asked")["messages"].as_array().expect("messages").clone();
    let asked = messages.iter().rev().find(|message| message["role"] == "user");
    asked.expect("a question").to_string()
}

async fn say(operator: &mut TestNode, run: &str, text: &str) -> Value {
    let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    operator.chat_end(run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_calls_a_skill_by_name() {
    let app = TestApp::start().await;
    install(&app.owner(), tea("")).await;
    let mut operator = app.operator().await;
    let listed = operator.call("commands.list", json!({})).await.expect("lists");
    let of_skill = listed["commands"]
        .as_array()
        .expect("commands")
        .iter()
        .find(|one| one["source"] == "skill");
    assert_eq!(
        of_skill.expect("is listed"),
        &json!({"name": "green_tea", "nativeName": "green_tea", "textAliases": ["/green_tea"],
            "description": "Makes tea.", "source": "skill", "scope": "both", "acceptsArgs": true, "category": "tools",
            "skillDisplayName": "Green Tea", "skillModelVisible": true})
    );
    for (run, text) in [
        ("r1", "/green_tea for #one"),
        ("r2", "/skill green-tea for #two"),
        ("r3", "/SKILL Green_Tea #three"),
    ] {
        let end = say(&mut operator, run, text).await;
        assert_eq!(end["state"], "final", "{end}");
        let name = text.rsplit(' ').next().expect("a name");
        let asked = heard(&app, name).await;
        assert!(
            asked.contains("read skill://green-tea/SKILL.md first") && asked.contains("User input:"),
            "{text}: {asked}"
        );
    }
    // What the person wrote is what stands in the history.
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("reads");
    assert!(history.to_string().contains("/green_tea for #one") && !history.to_string().contains("User input:"));
    for (run, text, part) in [
        ("r4", "/skill coffee", "Skills: green_tea."),
        ("r5", "/skill", "Usage: /skill <name> [input]"),
        ("r6", "/commands 2", "/green_tea [input]: Makes tea."),
    ] {
        let end = say(&mut operator, run, text).await;
        assert!(end.to_string().contains(part), "{text}: {end}");
    }
    // An unknown slash word is plain text.
    say(&mut operator, "r7", "/coffee #four").await;
    assert!(heard(&app, "#four").await.contains("/coffee #four"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_calls_what_is_opened_to_guests_and_hears_of_nothing_else() {
    let app = TestApp::start().await;
    install(&app.owner(), tea("")).await;
    let guest =
        async |update: u64, text: &str| assert_eq!(status(app.webhooks().telegram(update, 77, text)).await, 200);
    guest(1, "/green_tea #one").await;
    let asked = heard(&app, "#one").await;
    assert!(!asked.contains("skill") && !asked.contains("Boil"), "{asked}");
    guest(2, "/skill green-tea").await;
    app.platform.message("77", "There is no skill to use here.").await;
    guest(3, "/commands 2").await;
    let commands = app.platform.message("77", "Commands (page 2 of 2):").await;
    assert!(!commands.text.contains("green_tea"), "{}", commands.text);

    let (code, opened) = app.owner().put("/api/skills/green-tea", &json!({"guests": true})).await;
    assert_eq!((code, &opened["guests"]), (200, &json!(true)));
    guest(4, "/green_tea #two").await;
    let asked = heard(&app, "#two").await;
    assert!(
        asked.contains("Boil water first.") && asked.contains("User input:"),
        "{asked}"
    );
    assert!(!asked.contains("skill://"), "a guest's run reads no skills: {asked}");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_calls_a_tool_asks_no_model() {
    let app = TestApp::start().await;
    install(&app.owner(), tea("command-dispatch: tool\ncommand-tool: web_fetch")).await;
    let other = "---\nname: boss\ndescription: d\ncommand-dispatch: tool\ncommand-tool: gateway\n---\nx\n";
    install(&app.owner(), other.to_owned()).await;
    let mut operator = app.operator().await;
    let end = say(&mut operator, "r1", "/green_tea https://example.com").await;
    // The tool has its own idea of arguments, and says so; what matters is who was asked.
    assert!(end.to_string().contains("do not match"), "{end}");
    let end = say(&mut operator, "r2", "/boss restart").await;
    assert!(end.to_string().contains("skills may not call"), "{end}");
    assert!(app.model.calls().is_empty(), "the model was asked");
    assert_eq!(status(app.webhooks().telegram(1, 77, "/green_tea x")).await, 200);
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("run WHERE status = 'running'").await, 0);
    assert_eq!(rows.count("inbox WHERE state <> 'done'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skills_key_reaches_its_command_on_a_node_and_nobody_else() {
    let rules = json!({"tools": {"exec": {"security": "full", "ask": "off"}}});
    let app = TestApp::start_with(&rules, &[]).await;
    install(&app.owner(), tea("metadata: {openclaw: {primaryEnv: TEA_KEY}}")).await;
    let keys = json!({"apiKey": SECRET, "env": {"TEA_SHOP": "corner-shop", "LD_PRELOAD": "/tmp/evil.so"}});
    let (code, kept) = app.owner().put("/api/skills/green-tea", &keys).await;
    assert_eq!((code, kept.to_string().contains(SECRET)), (200, false));
    let device = Device::generate();
    let mut node = app.ready_node(&device, &["system.run"]).await;
    let mut operator = app.operator().await;
    let approvals = json!({"file": {"version": 1, "agents": {"main": {"security": "full", "ask": "off"}}}});
    let before = operator.call("exec.approvals.get", json!({})).await.expect("reads");
    let mut params = approvals;
    params["baseHash"] = before["hash"].clone();
    operator.call("exec.approvals.set", params).await.expect("sets");

    let run = json!({"action": "run", "command": ["brew-tea"], "cwd": "/tmp", "skill": "green-tea"});
    ask(&mut operator, "main", "r1", "nodes", &run).await;
    let (asked, params) = node.invoked_as("system.run").await;
    assert_eq!(params["env"], json!({"TEA_KEY": SECRET, "TEA_SHOP": "corner-shop"}));
    let answer = json!({"exitCode": 0, "stdout": format!("key={SECRET}"), "stderr": "", "success": true});
    node.answer_invoke_with(&asked, &answer).await;
    let told = told(&app, &mut operator, "r1").await;
    assert!(told.contains("[hidden]") && !told.contains(SECRET), "{told}");

    // A command that names no skill has none, and neither has one of a skill that is off or unknown.
    let bare = json!({"action": "run", "command": ["env"], "cwd": "/tmp"});
    ask(&mut operator, "main", "r2", "nodes", &bare).await;
    let (asked, params) = node.invoked_as("system.run").await;
    assert_eq!(params["env"], Value::Null);
    node.answer_invoke_with(
        &asked,
        &json!({"exitCode": 0, "stdout": "", "stderr": "", "success": true}),
    )
    .await;
    operator.chat_end("r2").await;
    let (code, _) = app
        .owner()
        .put("/api/skills/green-tea", &json!({"enabled": false}))
        .await;
    assert_eq!(code, 200);
    ask(&mut operator, "main", "r3", "nodes", &run).await;
    let refused = crate::support::tool::told(&app, &mut operator, "r3").await;
    assert!(refused.contains("no such skill"), "{refused}");
    let (code, _) = app
        .owner()
        .put("/api/skills/green-tea", &json!({"enabled": true}))
        .await;
    assert_eq!(code, 200);

    // Keys go to hosts that the user chose, and nowhere else.
    let fetch = json!({"url": "https://tea.example/v1", "skill": "green-tea",
        "secretHeaders": ["Authorization: Bearer ${TEA_KEY}"]});
    ask(&mut operator, "main", "r4", "web_fetch", &fetch).await;
    let refused = crate::support::tool::told(&app, &mut operator, "r4").await;
    assert!(refused.contains("has not allowed"), "{refused}");

    // It is nowhere in what is kept and shown.
    eventually("the end of it", || async { (app.model.running() == 0).then_some(()) }).await;
    let rows = app.rows().await;
    for (table, column) in [("transcript_entry", "body"), ("run", "result"), ("approval", "request")] {
        let found = rows
            .count(&format!("{table} WHERE CAST({column} AS text) LIKE '%{SECRET}%'"))
            .await;
        assert_eq!(found, 0, "{table}");
    }
    let (_, shown) = app.owner().get("/api/skills").await;
    let whole = operator.call("config.get", json!({})).await.expect("reads");
    for text in [
        shown.to_string(),
        whole.to_string(),
        app.binary.log(),
        format!("{:?}", app.model.calls()),
    ] {
        assert!(!text.contains(SECRET));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_says_that_it_stopped_a_command_that_called_a_tool() {
    let server = McpServer::start();
    server.offers(vec![acts("slow", "Takes its time.")]);
    let servers = json!({"mcp": {"servers": {"docs": {"url": server.url(), "transport": "streamable-http"}}}});
    let app = TestApp::start_with(&servers, &[]).await;
    install(&app.owner(), tea("command-dispatch: tool\ncommand-tool: docs__slow")).await;
    let mut operator = app.operator().await;
    let call = json!({"sessionKey": "main", "message": "/green_tea x", "idempotencyKey": "r1"});
    operator.call("chat.send", call).await.expect("accepted");
    server.hears("tools/call").await;
    let end = say(&mut operator, "r2", "/stop").await;
    assert!(end.to_string().contains("Stopped."), "{end}");
    app.settled().await;
    let end = say(&mut operator, "r3", "/stop").await;
    assert!(end.to_string().contains("Nothing was running."), "{end}");
    // A bare word means it too.
    let call = json!({"sessionKey": "main", "message": "/green_tea y", "idempotencyKey": "r4"});
    operator.call("chat.send", call).await.expect("accepted");
    becomes("called again", 2, || async { server.heard("tools/call").len() }).await;
    let end = say(&mut operator, "r5", "please stop").await;
    assert!(end.to_string().contains("Stopped."), "{end}");
    app.settled().await;
    assert!(app.model.calls().is_empty(), "the model was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fills_the_context_counts_skills_and_schemas_of_tools_as_they_are_sent() {
    let app = TestApp::start().await;
    install(&app.owner(), tea("")).await;
    let mut operator = app.operator().await;
    say(&mut operator, "r1", "hello #hello").await;
    let sent = app.model.asked("#hello").await;
    let system = sent["messages"][0]["content"].to_string();
    assert!(system.contains("<name>Green Tea</name>"), "{system}");
    let text = |end: Value| {
        end["message"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let report = text(say(&mut operator, "r2", "/context json").await);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let element = "  <skill>\n    <name>Green Tea</name>\n    <description>Makes tea.</description>\n    \
                   <location>skill://green-tea/SKILL.md</location>\n  </skill>\n";
    let skill = &report["skills"][0];
    assert_eq!(
        (&skill["name"], &skill["chars"]),
        (&json!("Green Tea"), &json!(element.len())),
        "{report}"
    );
    assert!(
        report["skillsPrompt"]["chars"].as_u64() > skill["chars"].as_u64(),
        "{report}"
    );
    let read = sent["tools"].as_array().expect("tools").iter();
    let read = read
        .map(|tool| &tool["function"])
        .find(|tool| tool["name"] == "read")
        .expect("it is there");
    let tools = report["tools"].as_array().expect("tools");
    let told = tools.iter().find(|tool| tool["name"] == "read").expect("it is told");
    assert_eq!(
        told["schemaChars"],
        json!(read["parameters"].to_string().chars().count()),
        "{told}"
    );
    let list = text(say(&mut operator, "r3", "/context").await);
    assert!(list.contains("\nSkills: 1 with "), "{list}");
    let detail = text(say(&mut operator, "r4", "/context detail").await);
    assert!(
        detail.contains(&format!("\nGreen Tea: {} characters", element.len())),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_people_are_told_of_the_same_commands() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let listed = operator.call("commands.list", json!({})).await.expect("lists");
    let names: Vec<&str> = listed["commands"]
        .as_array()
        .expect("commands")
        .iter()
        .filter_map(|command| command["name"].as_str())
        .collect();
    for name in [
        "queue",
        "model",
        "verbose",
        "reasoning",
        "usage",
        "send",
        "activation",
        "skill",
        "think",
        "stop",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let mut told = say(&mut operator, "r1", "/commands").await.to_string();
    told += &say(&mut operator, "r2", "/commands 2").await.to_string();
    for name in names {
        assert!(told.contains(&format!("/{name}")), "/commands does not tell of {name}");
    }
}
