//! Skills: uploaded, listed in the prompt, read by the agent, switched, offered by nodes, and kept from guests.

use std::io::{Cursor, Write};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::app::{Person, TestApp, answered};
use crate::support::model::calls_tool;
use crate::support::node::{Device, TestNode};
use crate::support::wait::becomes;
use crate::support::webhook::status;

const TEA: &str = "---\nname: tea\ndescription: Makes <good> tea.\nhomepage: https://tea.test\nmetadata: {\"openclaw\":{\"emoji\":\"🍵\",\"primaryEnv\":\"TEA_KEY\"}}\n---\nBoil water first. See notes/green.md.\n";
const CODE: &str = "---\nname: code\ndescription: Looks after code.\nmetadata:\n  openclaw:\n    requires: {bins: [git], env: [CODE_TOKEN]}\n    install: [{id: brew, kind: brew, label: Install git, bins: [git], formula: git}]\n---\nUse git.\n";

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("starts");
        writer.write_all(text.as_bytes()).expect("writes");
    }
    writer.finish().expect("ends").into_inner()
}

async fn upload(person: &Person<'_>, query: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
    let request = person.request(Method::POST, &format!("/api/skills{query}"));
    answered(request.header(CONTENT_TYPE, kind).body(body)).await
}

async fn install_tea(app: &TestApp) {
    let body = zipped(&[("tea/SKILL.md", TEA), ("tea/notes/green.md", "70 degrees, two minutes")]);
    let (code, skill) = upload(&app.owner(), "", "application/zip", body).await;
    assert_eq!(
        (code, &skill["key"], &skill["files"]),
        (201, &json!("tea"), &json!(2)),
        "{skill}"
    );
}

/// Sends a message in the main session and waits for the end of the run.
async fn say(operator: &mut TestNode, run: &str, text: &str) {
    let params = json!({"sessionKey": "main", "message": format!("#{run} {text}"), "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    let end = operator.chat_end(run).await;
    assert_eq!(end["state"], "final", "{end}");
}

/// The system prompt, the tools' names and the last message of the newest request that asked `run`.
async fn asked(app: &TestApp, run: &str) -> (String, Vec<String>, String) {
    app.model.asked(&format!("#{run}")).await;
    let calls = app.model.calls();
    let call = calls
        .iter()
        .rev()
        .find(|call| call["messages"].to_string().contains(&format!("#{run}")))
        .expect("asked");
    let messages = call["messages"].as_array().expect("messages");
    let tools = call["tools"].as_array().into_iter().flatten();
    (
        messages[0]["content"].to_string(),
        tools
            .filter_map(|tool| tool["function"]["name"].as_str().map(str::to_owned))
            .collect(),
        messages.last().expect("a message")["content"].to_string(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_skill_is_in_the_prompt_and_the_agent_reads_it() {
    let mut app = TestApp::start().await;
    let mut operator = app.operator().await;
    say(&mut operator, "before", "").await;
    let (prompt, tools, _) = asked(&app, "before").await;
    assert!(!prompt.contains("available_skills"));
    assert!(tools.contains(&"read".to_owned()), "{tools:?}");

    install_tea(&app).await;
    say(&mut operator, "listed", "").await;
    let (prompt, _, _) = asked(&app, "listed").await;
    for part in [
        "<name>tea</name>",
        "Makes &lt;good&gt; tea.",
        "<location>skill://tea/SKILL.md</location>",
    ] {
        assert!(prompt.contains(part), "{part}: {prompt}");
    }
    assert!(!prompt.contains("Boil water"), "only the list is in the prompt");

    let read = |path: &str| calls_tool("read", &json!({"path": path}));
    for (run, path, part) in [
        ("r1", "skill://tea/SKILL.md", "Boil water first"),
        ("r2", "skill://tea/notes/green.md", "70 degrees"),
        ("r3", "skill://tea/none.md", "It has: SKILL.md, notes/green.md"),
        ("r4", "skill://tea/../tea/SKILL.md", "no such file"),
        ("r5", "skill://coffee/SKILL.md", "no such skill"),
        ("r6", "/etc/passwd", "a workspace path is relative"),
    ] {
        say(&mut operator, run, &read(path)).await;
        let (_, _, last) = asked(&app, run).await;
        assert!(last.contains(part), "{path}: {last}");
    }
    // It is the database's, not the process's.
    app.binary.kill();
    app.binary.start();
    let mut operator = app.operator().await;
    say(&mut operator, "again", &read("skill://tea/SKILL.md")).await;
    assert!(asked(&app, "again").await.2.contains("Boil water first"));

    // Switched off it is unknown to the model; taken away it is gone for people too.
    let (code, skill) = answered(
        app.owner()
            .request(Method::PUT, "/api/skills/tea")
            .json(&json!({"enabled": false})),
    )
    .await;
    assert_eq!(
        (code, &skill["enabled"], &skill["eligible"]),
        (200, &json!(false), &json!(false))
    );
    say(&mut operator, "off", &read("skill://tea/SKILL.md")).await;
    let (prompt, _, last) = asked(&app, "off").await;
    assert!(
        !prompt.contains("available_skills") && last.contains("no such skill"),
        "{last}"
    );
    assert_eq!(
        status(app.owner().request(Method::DELETE, "/api/skills/tea")).await,
        204
    );
    assert_eq!(app.owner().get("/api/skills").await.1, json!({"skills": []}));
    assert_eq!(app.rows().await.count("skill_file").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_hears_nothing_of_skills() {
    let app = TestApp::start().await;
    install_tea(&app).await;
    let wish = calls_tool("read", &json!({"path": "skill://tea/SKILL.md"}));
    let message = app.webhooks().telegram(1, 77, &format!("#guest {wish}"));
    assert_eq!(status(message).await, 200);
    app.platform.message("77", "re: #guest end").await;
    let (prompt, tools, last) = asked(&app, "guest").await;
    assert!(
        !prompt.contains("skill") && !tools.contains(&"read".to_owned()),
        "{tools:?}"
    );
    assert!(last.contains("no tool named read"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_uploads_are_refused_and_leave_nothing() {
    let app = TestApp::start().await;
    let owner = app.owner();
    let traversal = zipped(&[("SKILL.md", TEA), ("../../evil.md", "x")]);
    let bomb = zipped(&[("SKILL.md", TEA), ("zeros.md", &"\0".repeat(9 << 20))]);
    for (kind, body, code) in [
        ("application/zip", traversal, 400),
        ("application/zip", bomb, 413),
        ("application/zip", b"PK\x03\x04nonsense".to_vec(), 400),
        ("application/zip", zipped(&[("README.md", "hello")]), 400),
        ("application/octet-stream", vec![b'x'; (10 << 20) + 1], 413),
        ("text/markdown", b"# no frontmatter".to_vec(), 400),
        ("application/json", TEA.as_bytes().to_vec(), 400),
        ("text/plain", TEA.as_bytes().to_vec(), 400),
    ] {
        let (got, answer) = upload(&owner, "", kind, body).await;
        assert_eq!(got, code, "{kind}: {answer}");
    }
    assert_eq!(app.rows().await.count("skill").await, 0);
    let (code, _) = upload(&owner, "", "text/markdown", TEA.as_bytes().to_vec()).await;
    assert_eq!(code, 201);
    let (code, answer) = upload(&owner, "", "text/markdown", TEA.as_bytes().to_vec()).await;
    assert_eq!((code, &answer["error"]["code"]), (409, &json!("conflict")));
    let (code, _) = upload(&owner, "?replace=true", "text/markdown", TEA.as_bytes().to_vec()).await;
    assert_eq!(code, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_those_of_a_connected_node() {
    let app = TestApp::start().await;
    let (code, skill) = upload(&app.owner(), "", "text/markdown", CODE.as_bytes().to_vec()).await;
    assert_eq!(code, 201);
    assert_eq!(
        skill["missing"]["bins"],
        json!(["git"]),
        "nothing is connected: {skill}"
    );
    let mut operator = app.operator().await;
    let params = json!({"skillKey": "code", "enabled": true, "env": {"CODE_TOKEN": "zebra-secret"}});
    let updated = operator.call("skills.update", params).await.expect("updates");
    assert_eq!((&updated["ok"], &updated["skillKey"]), (&json!(true), &json!("code")));
    assert_eq!(updated["config"]["enabled"], true);
    assert!(!updated.to_string().contains("zebra-secret"), "{updated}");

    let mut node = app.ready_node(&Device::generate(), &["system.which"]).await;
    let bins = node.call("skills.bins", json!({})).await.expect("answers");
    assert_eq!(bins, json!({"bins": ["git"]}));
    let id = operator.send("skills.status", json!({})).await;
    let (question, params) = node.invoked_as("system.which").await;
    assert_eq!(params, json!({"bins": ["git"]}));
    node.answer_invoke_with(&question, &json!({"bins": {"git": "/usr/bin/git"}}))
        .await;
    let report = operator.answer(&id).await.expect("answers");
    let skill = &report["skills"][0];
    assert_eq!(
        skill,
        &json!({
            "name": "code", "description": "Looks after code.", "source": "openclaw-managed", "bundled": false,
            "filePath": "skill://code/SKILL.md", "baseDir": "skill://code", "skillKey": "code", "always": false,
            "disabled": false, "blockedByAllowlist": false, "blockedByAgentFilter": false, "eligible": true,
            "platformIncompatible": false, "modelVisible": true, "userInvocable": true, "commandVisible": true,
            "requirements": {"bins": ["git"], "anyBins": [], "env": ["CODE_TOKEN"], "config": [], "os": []},
            "missing": {"bins": [], "anyBins": [], "env": [], "config": [], "os": []}, "configChecks": [],
            "install": [{"id": "brew", "kind": "brew", "label": "Install git", "bins": ["git"]}],
        })
    );
    // Asked once per connection.
    say(&mut operator, "there", "").await;
    assert!(asked(&app, "there").await.0.contains("<name>code</name>"));
    let (_, listed) = app.owner().get("/api/skills").await;
    assert_eq!(
        (&listed["skills"][0]["node"], &listed["skills"][0]["eligible"]),
        (&json!("test"), &json!(true))
    );
    assert!(!listed.to_string().contains("zebra-secret"));
    assert!(!node.has_heard("system.which"));
    drop(node);
    becomes("the skill without its node", json!(["git"]), || async {
        app.owner().get("/api/skills").await.1["skills"][0]["missing"]["bins"].clone()
    })
    .await;
    say(&mut operator, "gone", "").await;
    assert!(!asked(&app, "gone").await.0.contains("<name>code</name>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_offers_skills_while_it_is_connected() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, &["system.notify"]).await;
    let mut operator = app.operator().await;
    for odd in [
        json!({"name": "Bad Name", "description": "d", "content": "c"}),
        json!({"name": "a--b", "description": "d", "content": "c"}),
        json!({"name": "x", "description": "", "content": "c"}),
        json!({"name": "x", "description": "d", "content": "c".repeat(65_537)}),
    ] {
        let refused = node.call("node.skills.update", json!({"skills": [odd]})).await;
        let error = refused.expect_err("is refused");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("invalid node.skills.update params"))
        );
    }
    let offer = json!({"name": "lamp", "description": "Switches the lamp.", "content": "Call lamp.on."});
    let answer = node
        .call("node.skills.update", json!({"skills": [offer]}))
        .await
        .expect("taken");
    assert_eq!(answer, json!({"nodeId": device.id, "skills": [offer]}));
    operator
        .event("news of skills", |frame| frame["event"] == "skills.changed")
        .await;
    say(
        &mut operator,
        "lit",
        &calls_tool("read", &json!({"path": "skill://lamp/SKILL.md"})),
    )
    .await;
    let (prompt, _, last) = asked(&app, "lit").await;
    assert!(
        prompt.contains("Switches the lamp.") && last.contains("Call lamp.on."),
        "{last}"
    );
    drop(node);
    becomes("skills without the node", json!([]), || async {
        let mut operator = app.operator().await;
        operator.call("skills.status", json!({})).await.expect("answers")["skills"].clone()
    })
    .await;
    // Forgotten with its node.
    let removed = operator.call("node.pair.remove", json!({"nodeId": device.id})).await;
    removed.expect("removes");
    assert_eq!(app.rows().await.count("skill").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_list_is_all_it_has() {
    let agents = json!({"agents": {"list": [{"id": "main", "default": true, "skills": ["coffee"]}, {"id": "other"}]}});
    let app = TestApp::start_with(&agents, &[]).await;
    install_tea(&app).await;
    let mut operator = app.operator().await;
    for (agent, blocked) in [("main", true), ("other", false)] {
        let report = operator
            .call("skills.status", json!({"agentId": agent}))
            .await
            .expect("answers");
        let skill = &report["skills"][0];
        assert_eq!(
            (&skill["blockedByAgentFilter"], &skill["modelVisible"]),
            (&json!(blocked), &json!(!blocked)),
            "{agent}"
        );
    }
    say(
        &mut operator,
        "listed",
        &calls_tool("read", &json!({"path": "skill://tea/SKILL.md"})),
    )
    .await;
    let (prompt, _, last) = asked(&app, "listed").await;
    assert!(!prompt.contains("available_skills") && last.contains("no such skill"));
}
