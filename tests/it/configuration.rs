//! Clients read and change the configuration, agents and channels over the gateway socket.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
use crate::support::node::TestNode;
use crate::support::tool;
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

const MARKER: &str = "__OPENCLAW_REDACTED__";
const SECRETS: &[&str] = &[
    "sk-test",
    "4242:test-token",
    "telegram-hook-secret",
    "xoxb-test",
    "ghp-1",
];

async fn get(node: &mut TestNode) -> Value {
    node.call("config.get", json!({})).await.expect("config.get")
}

async fn patch(node: &mut TestNode, patch: Value) -> Result<Value, Value> {
    let hash = get(node).await["hash"].clone();
    node.call("config.patch", json!({"raw": patch.to_string(), "baseHash": hash}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_reads_it_can_write_back_without_losing_a_secret() {
    let app = TestApp::start_with(&json!({"skills": {"entries": {"github": {"apiKey": "ghp-1"}}}}), &[]).await;
    let (mut editor, mut other) = (app.operator().await, app.operator().await);
    let before = get(&mut editor).await;
    for secret in SECRETS {
        assert!(!before.to_string().contains(secret), "config.get shows {secret}");
    }
    assert_eq!(before["config"]["models"]["providers"]["mock"]["apiKey"], MARKER);
    assert_eq!(before["config"]["channels"]["telegram"]["botToken"], MARKER);
    let mut config = before["config"].clone();
    config["models"]["providers"]["mock"]["models"][0]["name"] = json!("Renamed");
    config["channels"]["telegram"]["dmPolicy"] = json!("pairing");
    config["agents"]["defaults"]["timeoutSeconds"] = json!(77);
    let set = json!({"raw": config.to_string(), "baseHash": before["hash"]});
    let stored = editor.call("config.set", set.clone()).await.expect("stores");
    assert_eq!(stored["ok"], true);
    assert_eq!(
        stored["changedPaths"],
        json!([
            "agents.defaults.timeoutSeconds",
            "channels.telegram.dmPolicy",
            "models.providers.mock.models"
        ])
    );
    for secret in SECRETS {
        assert!(!stored.to_string().contains(secret), "config.set shows {secret}");
    }
    let event = other
        .event("config.changed", |frame| frame["event"] == "config.changed")
        .await;
    assert_eq!(event["payload"]["hash"], stored["hash"]);
    // The hash is another now: the same write again, one without a hash and one by a made-up hash change nothing.
    for params in [
        set.clone(),
        json!({"raw": "{}"}),
        json!({"raw": "{}", "baseHash": "stale"}),
    ] {
        let refused = editor.call("config.set", params).await.expect_err("is refused");
        assert_eq!(refused["code"], "INVALID_REQUEST");
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .contains("re-run config.get and retry"),
            "{refused}"
        );
    }
    assert_eq!(get(&mut editor).await["hash"], stored["hash"]);
    // Running services see it at once, and the secrets are still the ones that work.
    let models = other.call("models.list", json!({})).await.expect("models.list");
    assert_eq!(models["models"][0]["name"], "Renamed");
    let send = json!({"sessionKey": "main", "message": "#one", "idempotencyKey": "run-1"});
    editor.call("chat.send", send).await.expect("accepted");
    while editor.chat("run-1").await["state"] != "final" {}
    assert_eq!(status(app.webhooks().telegram(1, 700, "#hello")).await, 200);
    app.platform.message("700", "#hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_merges_and_what_is_not_honoured_is_refused_by_path() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let done = patch(&mut operator, json!({"ui": {"seamColor": "#12ab34"}}))
        .await
        .expect("stores");
    assert_eq!(done["changedPaths"], json!(["ui.seamColor"]));
    assert_eq!(get(&mut operator).await["config"]["ui"]["seamColor"], "#12ab34");
    let talk = operator.call("talk.config", json!({})).await.expect("talk.config");
    assert_eq!(talk["config"]["ui"]["seamColor"], "#12ab34");
    let hash = get(&mut operator).await["hash"].clone();
    for (change, path) in [
        (json!({"gateway": {"port": 1}}), "gateway.port"),
        (json!({"flubber": 1}), "flubber"),
        (json!({"session": {"dmScope": "everybody"}}), "session.dmScope"),
        (
            json!({"models": {"providers": {"x": {"baseUrl": "ftp://x"}}}}),
            "models.providers.x.baseUrl",
        ),
        (json!({"channels": {"whatsapp": {}}}), "channels.whatsapp"),
    ] {
        let refused = patch(&mut operator, change).await.expect_err("is refused");
        let issues = refused["details"]["issues"].as_array().expect("issues");
        assert!(issues.iter().any(|issue| issue["path"] == path), "{path}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(path), "{refused}");
    }
    assert_eq!(get(&mut operator).await["hash"], hash);
    for raw in ["{", "[]", "", &"{a:".repeat(5000)] {
        let params = json!({"raw": raw, "baseHash": hash});
        operator
            .call("config.patch", params)
            .await
            .expect_err("no configuration");
    }
    let kept = patch(&mut operator, json!({"messages": {"messagePrefix": "x"}}))
        .await
        .expect("stores");
    assert!(
        kept["warnings"].to_string().contains("messages.messagePrefix"),
        "{kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_says_what_may_be_written() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let schema = operator.call("config.schema", json!({})).await.expect("config.schema");
    assert_eq!(schema["schema"]["properties"]["session"]["type"], "object");
    // Of the original's `gateway` only what is a person's choice here.
    let gateway = schema["schema"]["properties"]["gateway"]["properties"].as_object();
    let gateway: Vec<&String> = gateway.expect("a section").keys().collect();
    assert_eq!(gateway, ["nodes", "tools"]);
    assert_eq!(schema["uiHints"]["channels.telegram.botToken"]["sensitive"], true);
    for (path, children) in [("gateway", 2), ("ui", 2), ("agents.list[0].identity", 4)] {
        let part = operator
            .call("config.schema.lookup", json!({ "path": path }))
            .await
            .expect("is found");
        assert_eq!(part["children"].as_array().unwrap().len(), children, "{part}");
    }
    let unknown = operator
        .call("config.schema.lookup", json!({"path": "no.such.key"}))
        .await
        .expect_err("is not found");
    assert_eq!(unknown["message"], "config schema path not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_other_tenants_neither_change_nor_see_it() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_user("demo", "admin@demo.local", "admin");
    app.add_other_tenant();
    let scopes = &["operator.admin", "operator.read", "operator.write"];
    let mut owner = app.operator().await;
    let mut member = app.operator_as("demo", MEMBER, scopes).await.expect("connects");
    let mut admin = app
        .operator_as("demo", "admin@demo.local", scopes)
        .await
        .expect("connects");
    let mut stranger = app.operator_as("other", STRANGER, scopes).await.expect("connects");
    let seen = get(&mut member).await["config"].clone();
    assert!(seen.get("channels").is_none() && seen.get("agents").is_none(), "{seen}");
    assert_eq!(get(&mut stranger).await["config"], json!({}));
    for change in [
        json!({"models": {"providers": {"mock": {"apiKey": "sk-mine"}}}}),
        json!({"channels": {"telegram": null}}),
    ] {
        let refused = patch(&mut member, change).await.expect_err("a member may not");
        assert_eq!(refused["code"], "FORBIDDEN", "{refused}");
    }
    let refused = member.call("channels.stop", json!({"channel": "telegram"})).await;
    assert_eq!(refused.expect_err("a member may not")["code"], "FORBIDDEN");
    let shown = member.call("channels.status", json!({})).await.expect("status");
    assert_eq!(shown["channelAccounts"]["telegram"], json!([]));

    // What the owner changes of their own is nobody else's business; a provider is the tenant's.
    let (members, strangers) = (
        get(&mut member).await["hash"].clone(),
        get(&mut stranger).await["hash"].clone(),
    );
    let admins = get(&mut admin).await["hash"].clone();
    patch(&mut owner, json!({"session": {"dmScope": "main"}}))
        .await
        .expect("stores");
    assert_eq!(get(&mut member).await["hash"], members);
    assert_eq!(get(&mut admin).await["hash"], admins);
    let added = json!({"models": {"providers": {"openai": {"apiKey": "sk-2", "models": ["o1"]}}}});
    patch(&mut admin, added).await.expect("an admin may");
    let models = member
        .call("models.list", json!({}))
        .await
        .expect("models.list")
        .to_string();
    assert!(models.contains("\"o1\"") && !models.contains("sk-2"), "{models}");
    let auth = member.call("models.authStatus", json!({})).await.expect("authStatus");
    assert_eq!(auth["providers"].as_array().unwrap().len(), 2, "{auth}");
    assert_eq!(get(&mut stranger).await["hash"], strangers);
    let none = stranger.call("models.authStatus", json!({})).await.expect("authStatus");
    assert_eq!(none["providers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_come_and_go_with_their_files() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut owner = app.operator().await;
    let params = json!({"name": "Night Shift", "workspace": "~/night", "emoji": "🌙", "model": "mock/mock-1"});
    let made = owner.call("agents.create", params.clone()).await.expect("creates");
    assert_eq!(
        (made["agentId"].as_str(), made["ok"].as_bool()),
        (Some("night-shift"), Some(true))
    );
    owner.call("agents.create", params).await.expect_err("exists already");
    let listed = owner.call("agents.list", json!({})).await.expect("agents.list");
    assert_eq!(listed["defaultId"], "main");
    let agents = listed["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 2);
    let night = agents
        .iter()
        .find(|agent| agent["id"] == "night-shift")
        .expect("is listed");
    assert_eq!(
        (&night["identity"]["emoji"], &night["model"]["primary"]),
        (&json!("🌙"), &json!("mock/mock-1"))
    );
    let of = |name: &str| json!({"agentId": "night-shift", "name": name});
    let files = owner.call("agents.files.list", of("")).await.expect("files");
    assert!(
        files["files"]
            .as_array()
            .unwrap()
            .iter()
            .any(|file| file["name"] == "SOUL.md")
    );
    let mut write = of("SOUL.md");
    write["content"] = json!("You work at night.");
    owner.call("agents.files.set", write).await.expect("writes");
    let read = owner.call("agents.files.get", of("SOUL.md")).await.expect("reads");
    assert_eq!(read["file"]["content"], "You work at night.");
    for (name, size) in [("../SOUL.md", 1), ("notes.md", 1), ("SOUL.md", 300_000)] {
        let mut write = of(name);
        write["content"] = json!("x".repeat(size));
        owner.call("agents.files.set", write).await.expect_err("is refused");
    }
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("connects");
    member
        .call("agents.files.get", of("SOUL.md"))
        .await
        .expect_err("not theirs");

    let update = json!({"agentId": "night-shift", "name": "Owl", "model": null});
    owner.call("agents.update", update).await.expect("changes");
    let mut own = of("IDENTITY.md");
    own["content"] = json!("- **Name:** Nib\n- **Emoji:** 🖋\n- **Avatar:** N\n");
    owner.call("agents.files.set", own).await.expect("writes");
    let identity = json!({"agentId": "night-shift"});
    let identity = owner.call("agent.identity.get", identity).await.expect("identity");
    let shown = [&identity["name"], &identity["emoji"], &identity["avatar"]];
    assert_eq!(
        shown,
        ["Owl", "🌙", "N"],
        "what is set goes before what the agent wrote"
    );
    patch(
        &mut owner,
        json!({"bindings": [{"agentId": "night-shift", "match": {"channel": "slack"}}]}),
    )
    .await
    .expect("binds");
    owner
        .call("agents.delete", json!({"agentId": "main"}))
        .await
        .expect_err("is the default");
    let gone = owner
        .call("agents.delete", json!({"agentId": "night-shift"}))
        .await
        .expect("removes");
    assert_eq!(gone["removedBindings"], 1);
    owner
        .call("agents.files.get", of("SOUL.md"))
        .await
        .expect_err("is gone");
    assert_eq!(
        app.rows()
            .await
            .count("workspace_file WHERE agent_id = 'night-shift'")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_stopped_started_and_logged_out() {
    let app = TestApp::start().await;
    let mut owner = app.operator().await;
    let telegram = json!({"channel": "telegram"});
    let account = async |owner: &mut TestNode| {
        let status = owner
            .call("channels.status", json!({"probe": false}))
            .await
            .expect("status");
        status["channelAccounts"]["telegram"][0].clone()
    };
    eventually("Telegram is connected", || async {
        let mut owner = app.operator().await;
        (account(&mut owner).await["connected"] == true).then_some(())
    })
    .await;
    let stopped = owner.call("channels.stop", telegram.clone()).await.expect("stops");
    assert_eq!(
        stopped,
        json!({"channel": "telegram", "accountId": "default", "stopped": true})
    );
    app.platform.call("deleteWebhook").await;
    assert_eq!(account(&mut owner).await["running"], false);
    assert_eq!(
        get(&mut owner).await["config"]["channels"]["telegram"]["enabled"],
        false
    );
    owner.call("channels.start", telegram.clone()).await.expect("starts");
    eventually("Telegram is connected again", || async {
        let mut owner = app.operator().await;
        (account(&mut owner).await["connected"] == true).then_some(())
    })
    .await;
    let out = owner.call("channels.logout", telegram.clone()).await.expect("logs out");
    assert_eq!(out["cleared"], true);
    let row = account(&mut owner).await;
    assert_eq!((&row["configured"], &row["enabled"]), (&json!(false), &json!(false)));
    let refused = owner.call("channels.start", telegram).await.expect_err("has no token");
    assert!(refused["message"].as_str().unwrap().contains("botToken"), "{refused}");
    owner
        .call("channels.stop", json!({"channel": "nope"}))
        .await
        .expect_err("no such channel");
    owner
        .call("channels.stop", json!({"channel": "slack", "accountId": "nope"}))
        .await
        .expect_err("no such account");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_lets_guests_in() {
    let mut app = TestApp::start_with(
        &json!({"channels": {"telegram": {"dmPolicy": "pairing", "allowFrom": []}}}),
        &[],
    )
    .await;
    app.add_user("demo", "admin@demo.local", "admin");
    let mut owner = app.operator().await;
    for (update, chat) in [(1, 700), (2, 701)] {
        assert_eq!(status(app.webhooks().telegram(update, chat, "hello")).await, 200);
        app.platform.message(&chat.to_string(), "code").await;
    }
    let list = owner.call("channels.pairing.list", json!({})).await.expect("list");
    let requests = list["requests"].as_array().unwrap().clone();
    assert_eq!(requests.len(), 2, "{list}");
    let answer =
        |request: &Value| json!({"channel": "telegram", "accountId": "default", "requestId": request["requestId"]});
    let scopes = &["operator.admin", "operator.pairing"];
    let mut admin = app
        .operator_as("demo", "admin@demo.local", scopes)
        .await
        .expect("connects");
    let refused = admin.call("channels.pairing.approve", answer(&requests[0])).await;
    assert_eq!(refused.expect_err("not their guests")["message"], "unknown requestId");
    let mut wrong = answer(&requests[0]);
    wrong["channel"] = json!("slack");
    owner
        .call("channels.pairing.approve", wrong)
        .await
        .expect_err("another channel");
    let approved = owner
        .call("channels.pairing.approve", answer(&requests[0]))
        .await
        .expect("approves");
    assert_eq!(approved["senderId"], requests[0]["senderId"]);
    owner
        .call("channels.pairing.dismiss", answer(&requests[1]))
        .await
        .expect("dismisses");
    let list = owner.call("channels.pairing.list", json!({})).await.expect("list");
    assert_eq!(list["requests"], json!([]));
    let sender: i64 = approved["senderId"].as_str().unwrap().parse().unwrap();
    assert_eq!(status(app.webhooks().telegram(3, sender, "#welcome")).await, 200);
    app.platform.message(&sender.to_string(), "#welcome").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_reads_are_truthful() {
    let app = TestApp::start().await;
    let mut owner = app.operator().await;
    for (run, text) in [("run-1", "#one"), ("run-2", "#two")] {
        let send = json!({"sessionKey": "main", "message": text, "idempotencyKey": run});
        owner.call("chat.send", send).await.expect("accepted");
        while owner.chat(run).await["state"] != "final" {}
    }
    becomes("finished runs", 2, || async {
        app.rows().await.count("run WHERE status = 'ok'").await
    })
    .await;
    let first = owner.call("audit.list", json!({"limit": 1})).await.expect("audit");
    assert_eq!(
        (&first["events"][0]["runId"], &first["events"][0]["status"]),
        (&json!("run-2"), &json!("succeeded"))
    );
    let next = json!({"limit": 1, "cursor": first["nextCursor"]});
    let next = owner.call("audit.list", next).await.expect("audit");
    assert_eq!(next["events"][0]["runId"], "run-1");
    assert!(next.get("nextCursor").is_none() && !next.to_string().contains("#one"));
    let none = owner
        .call("audit.list", json!({"status": "failed"}))
        .await
        .expect("audit");
    assert_eq!(none["events"], json!([]));
    owner
        .call("audit.list", json!({"kind": "tool_action"}))
        .await
        .expect_err("not recorded");
    owner
        .call("audit.list", json!({"cursor": "x"}))
        .await
        .expect_err("no cursor of ours");
    let skills = owner.call("skills.status", json!({})).await.expect("skills");
    assert_eq!((&skills["skills"], &skills["agentId"]), (&json!([]), &json!("main")));
    let tts = owner.call("tts.status", json!({})).await.expect("tts");
    assert_eq!((&tts["enabled"], &tts["auto"]), (&json!(false), &json!("off")));
    assert_eq!(tts["providerStates"][0]["configured"], json!(false));
    let providers = owner.call("tts.providers", json!({})).await.expect("tts");
    assert_eq!(
        (&providers["providers"][0]["id"], &providers["active"]),
        (&json!("openai"), &json!(""))
    );
    let mut reader = app
        .operator_as("demo", OWNER, &["operator.read"])
        .await
        .expect("connects");
    let refused = reader.call("talk.config", json!({"includeSecrets": true})).await;
    assert_eq!(
        refused.expect_err("needs a scope")["details"]["missingScope"],
        "operator.talk.secrets"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_refused_before_anybody_waits_for_it() {
    let app = TestApp::start().await;
    let mut editor = app.operator().await;
    let agents: Vec<Value> = (0..1001).map(|number| json!({"id": format!("a{number}")})).collect();
    let refused = patch(&mut editor, json!({"agents": {"list": agents}})).await;
    let error = refused.expect_err("too many");
    assert!(error["message"].as_str().unwrap().contains("1000 entries"), "{error}");
}

/// The hash of the next `config.changed`.
async fn told(client: &mut TestNode) -> Value {
    let event = client
        .event("config.changed", |frame| frame["event"] == "config.changed")
        .await;
    event["payload"]["hash"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_whose_configuration_is_another_hears_of_it() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_user("demo", "ada@demo.local", "admin");
    app.add_other_tenant();
    let reads = &["operator.read"];
    let mut owner = app.operator().await;
    let mut admin = app
        .operator_as("demo", "ada@demo.local", reads)
        .await
        .expect("connects");
    let mut member = app.operator_as("demo", MEMBER, reads).await.expect("connects");
    let mut stranger = app.operator_as("other", STRANGER, reads).await.expect("connects");
    // A model of the tenant's concerns everybody in it; each hears the hash of their own.
    let renamed = json!({"models": {"providers": {"mock": {"models": [{"id": "mock-1", "name": "Renamed"}]}}}});
    patch(&mut owner, renamed).await.expect("stores");
    for client in [&mut owner, &mut admin, &mut member] {
        let hash = told(client).await;
        assert_eq!(hash, get(client).await["hash"]);
    }
    // By REST, too.
    let provider = json!({"api": "openai-completions", "baseUrl": app.model.base_url(), "enabled": true, "models": []});
    let request = app.owner().request(Method::PUT, "/api/providers/second");
    assert_eq!(status(request.json(&provider)).await, 200);
    for client in [&mut owner, &mut admin, &mut member] {
        let hash = told(client).await;
        assert_eq!(hash, get(client).await["hash"]);
    }
    // The owner's bot is the admins' business, not the member's.
    owner
        .call("channels.stop", json!({"channel": "telegram"}))
        .await
        .expect("stops");
    for client in [&mut owner, &mut admin] {
        let hash = told(client).await;
        assert_eq!(hash, get(client).await["hash"]);
    }
    // What is somebody's own is theirs alone. The member's next event is about the model after it.
    patch(&mut owner, json!({"ui": {"seamColor": "#12ab34"}}))
        .await
        .expect("stores");
    told(&mut owner).await;
    let delete = app.owner().request(Method::DELETE, "/api/providers/second");
    assert_eq!(status(delete).await, 204);
    for client in [&mut admin, &mut member] {
        let hash = told(client).await;
        assert_eq!(hash, get(client).await["hash"]);
    }
    stranger.call("health", json!({})).await.expect("answers");
    assert!(!stranger.has_heard("config.changed"));
}

/// How to get to know each other is said where somebody talks alone with an agent that can write it down.
#[tokio::test(flavor = "multi_thread")]
async fn first_contact_is_with_who_talks_alone_with_an_agent_that_writes() {
    let app = TestApp::start().await;
    let mut owner = app.operator().await;
    let told = async |part: &str| {
        let asked = app.model.asked(part).await;
        asked["messages"].to_string().contains("# First contact")
    };
    tool::say(&mut owner, "main", "one", "").await;
    assert!(told("#one").await);
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #guest")).await, 200);
    assert!(!told("#guest").await);
    patch(&mut owner, json!({"tools": {"deny": ["write"]}}))
        .await
        .expect("takes it");
    tool::say(&mut owner, "main", "two", "").await;
    assert!(!told("#two").await);
    app.settled().await;
}
