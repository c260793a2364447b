//! Methods that clients use beside the chat: sessions made and stopped, background tasks, tools, files, places.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::model::calls_tool;
use crate::support::node::TestNode;
use crate::support::tool::{ask, say, told};
use crate::support::wait::{becomes, eventually};

async fn call(operator: &mut TestNode, method: &str, params: Value) -> Value {
    operator
        .call(method, params)
        .await
        .unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn refused(operator: &mut TestNode, method: &str, params: Value) -> String {
    let error = operator.call(method, params).await.expect_err("is refused");
    error["message"].as_str().expect("a message").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_status_say_what_there_is() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let health = call(&mut operator, "health", json!({})).await;
    assert_eq!(health["channelOrder"], json!(["telegram", "slack"]), "{health}");
    assert_eq!(health["channelLabels"]["telegram"], "Telegram");
    assert_eq!(health["channels"]["telegram"]["configured"], true);
    let wake = json!({"mode": "next-heartbeat", "text": "the kettle boils"});
    call(&mut operator, "wake", wake).await;
    let status = call(&mut operator, "status", json!({})).await;
    let lines = status["channelSummary"].as_array().expect("a list");
    assert!(
        lines
            .iter()
            .any(|line| line.as_str().is_some_and(|line| line.starts_with("Telegram: "))),
        "{status}"
    );
    assert_eq!(status["queuedSystemEvents"], json!(["the kettle boils"]));
    assert_eq!(
        (&status["tasks"]["total"], &status["tasks"]["active"]),
        (&json!(0), &json!(0))
    );
    let job = json!({"name": "now", "schedule": {"kind": "every", "everyMs": 86_400_000}, "sessionTarget": "isolated",
        "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "#work"}, "delivery": {"mode": "none"}});
    let job = call(&mut operator, "cron.add", job).await;
    call(&mut operator, "cron.run", json!({"id": job["id"], "mode": "force"})).await;
    app.model.asked("#work").await;
    becomes("finished tasks", json!(1), || async {
        let mut operator = app.operator().await;
        call(&mut operator, "status", json!({})).await["tasks"]["byStatus"]["succeeded"].clone()
    })
    .await;
    say(&mut operator, "main", "t1", "").await;
    assert_eq!(operator.chat_end("t1").await["state"], "final");
    let listed = call(&mut operator, "sessions.list", json!({})).await;
    let sessions = call(&mut operator, "status", json!({})).await["sessions"].clone();
    for name in ["model", "contextTokens"] {
        assert!(!listed["defaults"][name].is_null(), "{listed}");
        assert_eq!(sessions["defaults"][name], listed["defaults"][name], "{sessions}");
    }
    let recent = sessions["recent"].as_array().expect("rows");
    let row = recent
        .iter()
        .find(|row| row["key"] == "agent:main:main")
        .expect("the chat's row");
    let (used, window) = (row["totalTokens"].as_u64(), row["contextTokens"].as_u64());
    let rest = used.zip(window).map(|(used, window)| window - used);
    assert!(used.is_some_and(|used| used > 0), "{row}");
    assert_eq!(row["remainingTokens"].as_u64(), rest, "{row}");
    assert!(row["percentUsed"].is_u64(), "{row}");
    assert_eq!(row["model"], listed["defaults"]["model"]);
    assert_eq!(
        [&sessions["byAgent"][0]["agentId"], &sessions["byAgent"][0]["count"]],
        [&json!("main"), &sessions["count"]]
    );
    // Health follows the configuration, with a version that grows.
    let mut reader = app.operator().await;
    let before = reader.hello["snapshot"]["stateVersion"]["health"]
        .as_u64()
        .expect("a version");
    let config = call(&mut operator, "config.get", json!({})).await;
    let raw = json!({"agents": {"defaults": {"heartbeat": {"every": "45m"}}}}).to_string();
    call(
        &mut operator,
        "config.patch",
        json!({"raw": raw, "baseHash": config["hash"]}),
    )
    .await;
    let told = reader
        .event("health of now", |frame| {
            frame["event"] == "health" && frame["payload"]["heartbeatSeconds"] == 45 * 60
        })
        .await;
    assert!(
        told["stateVersion"]["health"]
            .as_u64()
            .is_some_and(|version| version > before),
        "{told}"
    );
    assert_eq!(told["payload"]["channelOrder"], json!(["telegram", "slack"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_shown_to_who_follows_the_session() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut follower = app.operator().await;
    call(&mut follower, "sessions.messages.subscribe", json!({"key": "main"})).await;
    let mut other = app.operator().await;
    call(
        &mut other,
        "sessions.messages.subscribe",
        json!({"key": "agent:main:else"}),
    )
    .await;
    let message = "[tool:session_status] #look";
    call(
        &mut operator,
        "chat.send",
        json!({"sessionKey": "main", "message": message, "idempotencyKey": "t1"}),
    )
    .await;
    for phase in ["start", "result"] {
        let event = follower
            .event("a tool", |frame| {
                frame["event"] == "session.tool" && frame["payload"]["data"]["phase"] == phase
            })
            .await;
        let payload = &event["payload"];
        assert_eq!(
            (&payload["stream"], &payload["sessionKey"]),
            (&json!("tool"), &json!("agent:main:main"))
        );
        assert_eq!(payload["data"]["name"], "session_status", "{event}");
        let result = payload["data"]["result"]["content"][0]["text"].as_str();
        assert_eq!(
            result.is_some_and(|text| !text.is_empty()),
            phase == "result",
            "{event}"
        );
    }
    for reader in [&mut operator, &mut other] {
        let end = |frame: &Value| {
            assert_ne!(frame["event"], "session.tool", "it follows another session, or none");
            frame["event"] == "chat" && frame["payload"]["state"] == "final"
        };
        reader.event("the end of the run", end).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_made_spoken_in_and_stopped() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let made = call(
        &mut operator,
        "sessions.create",
        json!({"label": "Plans", "category": "work"}),
    )
    .await;
    let key = made["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("agent:main:dashboard:"), "{made}");
    assert_eq!(
        (&made["runStarted"], &made["entry"]["label"]),
        (&json!(false), &json!("Plans")),
        "{made}"
    );
    assert_eq!(made["resolved"], json!({"modelProvider": "mock", "model": "mock-1"}));
    // One key makes one session and one run.
    let first = json!({"idempotencyKey": "once", "message": "#hello", "parentSessionKey": key});
    let one = call(&mut operator, "sessions.create", first.clone()).await;
    operator.chat_end("once").await;
    let again = call(&mut operator, "sessions.create", first).await;
    assert_eq!((&one["key"], &one["runId"]), (&again["key"], &json!("once")));
    assert_eq!(
        (&one["entry"]["parentSessionKey"], &one["runStarted"]),
        (&json!(key), &json!(true))
    );
    let rows = app.rows().await;
    assert_eq!(rows.count("run").await, 1);
    let sent = call(
        &mut operator,
        "sessions.send",
        json!({"key": key, "message": "[gate] #wait"}),
    )
    .await;
    assert_eq!(sent["status"], "started");
    app.model.asked("#wait").await;
    let queued = call(&mut operator, "sessions.send", json!({"key": key, "message": "#later"})).await;
    // A command is answered at once, and read after what was said before it.
    let status = call(
        &mut operator,
        "sessions.send",
        json!({"key": key, "message": "/status"}),
    )
    .await;
    operator.chat_end(status["runId"].as_str().expect("a run")).await;
    let stopped = call(
        &mut operator,
        "sessions.abort",
        json!({"key": key, "clearQueued": true}),
    )
    .await;
    assert_eq!(
        stopped,
        json!({"ok": true, "abortedRunId": sent["runId"], "status": "aborted"})
    );
    assert_ne!(queued["runId"], sent["runId"]);
    app.settled().await;
    assert!(!app.model.calls().iter().any(|call| call.to_string().contains("#later")));
    let idle = json!({"ok": true, "abortedRunId": null, "status": "no-active-run"});
    for nothing in [json!({"key": key}), json!({"runId": "nobodys"})] {
        assert_eq!(call(&mut operator, "sessions.abort", nothing).await, idle);
    }
    // One run, without the name of its session.
    let sent = call(
        &mut operator,
        "sessions.send",
        json!({"key": key, "message": "[gate] #more"}),
    )
    .await;
    app.model.asked("#more").await;
    let stopped = call(&mut operator, "sessions.abort", json!({"runId": sent["runId"]})).await;
    assert_eq!(stopped["abortedRunId"], sent["runId"]);
    for (method, params, why) in [
        ("sessions.create", json!({"worktree": true}), "does not support it"),
        (
            "sessions.create",
            json!({"fork": true, "parentSessionKey": key}),
            "does not support it",
        ),
        ("sessions.create", json!({"agentId": "nobody"}), "Unknown agent id"),
        (
            "sessions.create",
            json!({"agentId": "main", "key": "agent:other:x"}),
            "does not match",
        ),
        (
            "sessions.create",
            json!({"parentSessionKey": "no-such"}),
            "unknown parent",
        ),
        ("sessions.create", json!({"label": "Plans"}), "label already in use"),
        ("sessions.create", json!({"model": 3}), "/model"),
        ("sessions.create", json!({"attachments": "x"}), "/attachments"),
        (
            "sessions.send",
            json!({"key": "no-such", "message": "x"}),
            "session not found",
        ),
        ("sessions.abort", json!({}), "key required"),
    ] {
        let text = refused(&mut operator, method, params.clone()).await;
        assert!(text.contains(why), "{method} {params}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_in_the_background_is_listed_and_stopped() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = json!({"name": "Tidy up", "schedule": {"kind": "every", "everyMs": 86_400_000},
        "payload": {"kind": "agentTurn", "message": "#tidied"}, "sessionTarget": "isolated", "delivery": {"mode": "none"}});
    let job = call(&mut operator, "cron.add", job).await;
    call(&mut operator, "cron.run", json!({"id": job["id"], "mode": "force"})).await;
    app.model.asked("#tidied").await;
    app.settled().await;
    let task = json!({"task": "[gate] #child", "label": "dig"});
    ask(&mut operator, "main", "t1", "sessions_spawn", &task).await;
    told(&app, &mut operator, "t1").await;
    app.model.asked("#child").await;
    let over = async |operator: &mut TestNode| {
        let all = call(operator, "tasks.list", json!({"status": ["completed", "failed"]})).await;
        all["tasks"].as_array().expect("tasks").len()
    };
    eventually("the job is over", async || {
        (over(&mut app.operator().await).await == 1).then_some(())
    })
    .await;
    let all = call(&mut operator, "tasks.list", json!({})).await;
    let [sub, cron] = all["tasks"].as_array().expect("tasks").as_slice() else {
        panic!("{all}")
    };
    assert_eq!(
        [
            &sub["kind"],
            &sub["status"],
            &sub["title"],
            &sub["sessionKey"],
            &sub["deliveryStatus"]
        ],
        ["subagent", "running", "dig", "agent:main:main", "pending"]
    );
    assert_eq!(
        [&cron["kind"], &cron["status"], &cron["title"]],
        ["cron", "completed", "Tidy up"]
    );
    assert_eq!(cron["sourceId"], job["id"]);
    assert!(sub.get("prompt").is_none() && sub.get("endedAt").is_none(), "{sub}");
    // Page by page it is the same.
    let first = call(&mut operator, "tasks.list", json!({"limit": 1})).await;
    let second = call(
        &mut operator,
        "tasks.list",
        json!({"limit": 1, "cursor": first["nextCursor"]}),
    )
    .await;
    assert_eq!(
        [&first["tasks"][0]["id"], &second["tasks"][0]["id"]],
        [&sub["id"], &cron["id"]]
    );
    assert!(second.get("nextCursor").is_none(), "{second}");
    let running = call(
        &mut operator,
        "tasks.list",
        json!({"status": "running", "sessionKey": "main"}),
    )
    .await;
    assert_eq!(running["tasks"].as_array().expect("tasks").len(), 1);
    let whole = call(&mut operator, "tasks.get", json!({"taskId": sub["id"]})).await;
    assert_eq!(whole["task"]["prompt"], "[gate] #child");
    let stopped = call(&mut operator, "tasks.cancel", json!({"taskId": sub["id"]})).await;
    assert_eq!(
        [&stopped["found"], &stopped["cancelled"], &stopped["task"]["status"]],
        [&json!(true), &json!(true), &json!("cancelled")]
    );
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    let late = call(&mut operator, "tasks.cancel", json!({"taskId": cron["id"]})).await;
    assert_eq!([&late["found"], &late["cancelled"]], [&json!(true), &json!(false)]);
    let unknown = call(&mut operator, "tasks.cancel", json!({"taskId": "spawn:no-such"})).await;
    assert_eq!(unknown["found"], false);
    for (params, why) in [
        (json!({"status": "odd"}), "/status"),
        (json!({"cursor": "x"}), "cursor"),
    ] {
        let text = refused(&mut operator, "tasks.list", params).await;
        assert!(text.contains(why), "{text}");
    }
    assert!(
        refused(&mut operator, "tasks.get", json!({"taskId": "x"}))
            .await
            .contains("task not found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_and_calls_the_tools_of_a_session() {
    let narrow = json!({"tools": {"profile": "messaging"}});
    let app = TestApp::start_with(&narrow, &[]).await;
    let mut operator = app.operator().await;
    let tools = call(&mut operator, "tools.effective", json!({"sessionKey": "main"})).await;
    assert_eq!(
        (&tools["agentId"], &tools["profile"]),
        (&json!("main"), &json!("messaging"))
    );
    let listed = tools["groups"][0]["tools"].as_array().expect("tools");
    let names: Vec<&str> = listed.iter().filter_map(|tool| tool["id"].as_str()).collect();
    assert!(
        names.contains(&"sessions_list") && !names.contains(&"web_fetch"),
        "{names:?}"
    );
    say(&mut operator, "main", "r", "#hi").await;
    operator.chat_end("r").await;
    let list = call(
        &mut operator,
        "tools.invoke",
        json!({"name": "sessions_list", "args": {}}),
    )
    .await;
    assert_eq!((&list["ok"], &list["source"]), (&json!(true), &json!("core")));
    assert!(
        list["output"]["content"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("agent:main:main"))
    );
    for (params, code) in [
        (
            json!({"name": "web_fetch", "args": {"url": "http://example.com"}}),
            "not_found",
        ),
        (json!({"name": "sessions_spawn", "args": {"task": "x"}}), "not_found"),
        (
            json!({"name": "sessions_list", "args": {"limit": "x"}}),
            "internal_error",
        ),
        (
            json!({"name": "sessions_history", "args": {"sessionKey": "no-such"}}),
            "internal_error",
        ),
    ] {
        let answer = call(&mut operator, "tools.invoke", params.clone()).await;
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"]),
            (&json!(false), &json!(code)),
            "{params}: {answer}"
        );
    }
    for (odd, why) in [
        (json!({"sessionKey": "main", "agentId": "other"}), "unknown agent id"),
        (json!({"sessionKey": "no-such"}), "unknown session key"),
    ] {
        assert!(refused(&mut operator, "tools.effective", odd).await.contains(why));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_agent_and_the_places_work_is_done_in() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let note = calls_tool("write", &json!({"path": "notes/tea.txt", "content": "boil water"}));
    say(&mut operator, "main", "w", &note).await;
    operator.chat_end("w").await;
    let top = call(&mut operator, "agents.workspace.list", json!({"agentId": "main"})).await;
    assert_eq!(
        (&top["path"], &top["entries"][0]["kind"]),
        (&json!(""), &json!("directory")),
        "{top}"
    );
    let inside = json!({"agentId": "main", "path": "notes"});
    let inside = call(&mut operator, "agents.workspace.list", inside).await;
    assert_eq!(
        (&inside["parentPath"], &inside["totalEntries"]),
        (&json!(""), &json!(1)),
        "{inside}"
    );
    let path = inside["entries"][0]["path"].clone();
    let file = call(
        &mut operator,
        "agents.workspace.get",
        json!({"agentId": "main", "path": path}),
    )
    .await;
    assert_eq!(
        (&file["file"]["content"], &file["file"]["encoding"]),
        (&json!("boil water"), &json!("utf8"))
    );
    for (method, params) in [
        ("agents.workspace.get", json!({"agentId": "main", "path": "no/such"})),
        ("agents.workspace.get", json!({"agentId": "main", "path": "../secret"})),
        ("agents.workspace.list", json!({"agentId": "main", "path": "no-such"})),
        ("agents.workspace.list", json!({"agentId": "nobody"})),
        ("environments.status", json!({"environmentId": "node:nobody"})),
    ] {
        refused(&mut operator, method, params).await;
    }
    let places = call(&mut operator, "environments.list", json!({})).await;
    assert_eq!(places["environments"][0]["id"], "gateway");
    let status = call(
        &mut operator,
        "environments.status",
        json!({"environmentId": "gateway"}),
    )
    .await;
    assert_eq!(status, places["environments"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_with_their_model_and_how_it_thinks() {
    let model = |id: &str| {
        json!({"id": id, "name": id, "reasoning": id == "mock-2", "input": ["text"], "contextWindow": 128_000,
            "maxTokens": 4096})
    };
    let models = json!([model("mock-1"), model("mock-2")]);
    let file = json!({"models": {"providers": {"mock": {"models": models}}}});
    let app = TestApp::start_with(&file, &[]).await;
    let mut operator = app.operator().await;
    let thinker = json!({"name": "Thinker", "workspace": "~/thinker", "model": "mock/mock-2"});
    call(&mut operator, "agents.create", thinker).await;
    let listed = call(&mut operator, "agents.list", json!({})).await;
    let [main, thinker] = listed["agents"].as_array().expect("agents").as_slice() else {
        panic!("{listed}")
    };
    assert_eq!(main["model"], json!({"primary": "mock/mock-1"}));
    assert_eq!(
        (&main["thinkingOptions"], &main["thinkingDefault"]),
        (&json!(["off"]), &json!("off"))
    );
    assert_eq!(thinker["model"], json!({"primary": "mock/mock-2"}));
    assert_eq!(thinker["thinkingDefault"], "low");
    let levels = thinker["thinkingLevels"].as_array().expect("levels");
    assert!(levels.contains(&json!({"id": "high", "label": "high"})), "{thinker}");
    assert_eq!(thinker["thinkingOptions"].as_array().map(Vec::len), Some(levels.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_found_by_who_began_it_and_by_its_short_id() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(
        &mut operator,
        "main",
        "t1",
        "sessions_spawn",
        &json!({"task": "#child"}),
    )
    .await;
    told(&app, &mut operator, "t1").await;
    let listed = call(&mut operator, "sessions.list", json!({"spawnedBy": "main"})).await;
    assert_eq!(listed["count"], 1, "{listed}");
    let child = listed["sessions"][0]["key"].as_str().expect("a key").to_owned();
    assert!(child.starts_with("agent:main:subagent:"), "{child}");
    let listed = call(&mut operator, "sessions.list", json!({"spawnedBy": "agent:main:else"})).await;
    assert_eq!(listed["count"], 0, "{listed}");
    let own = json!({"key": child, "spawnedBy": "main"});
    assert_eq!(call(&mut operator, "sessions.resolve", own).await["key"], child);
    let elses = json!({"key": child, "spawnedBy": "else"});
    let said = refused(&mut operator, "sessions.resolve", elses).await;
    assert!(said.contains("No session found"), "{said}");
    // Two sessions whose ids begin alike are told apart by name.
    for (end, label) in [("1", "Trip to Rome"), ("2", "Taxes")] {
        let key = format!("dashboard:0a1b2c3d-4e5f-4789-8abc-def01234567{end}");
        call(&mut operator, "sessions.create", json!({"key": key, "label": label})).await;
    }
    let rome = "agent:main:dashboard:0a1b2c3d-4e5f-4789-8abc-def012345671";
    let short = |id: &str| json!({"shortId": id, "agentId": "main", "allowMissing": true});
    let mut hinted = short("0a1b2c3d");
    hinted["slugHint"] = json!("trip-to-rome");
    for params in [hinted, short("0A1B2C3D4E5F47898ABCDEF012345671")] {
        let found = call(&mut operator, "sessions.resolve", params).await;
        let shown = json!({"ok": true, "key": rome, "agentId": "main", "displayName": "Trip to Rome"});
        assert_eq!(found, shown);
    }
    let several = call(&mut operator, "sessions.resolve", short("0a1b2c3d4e5f")).await;
    assert_eq!(
        (&several["ok"], several["candidates"].as_array().map(Vec::len)),
        (&json!(false), Some(2))
    );
    let none = call(&mut operator, "sessions.resolve", short("0a1b2c3d4e60")).await;
    assert_eq!(none, json!({"ok": false}));
    let elsewhere = json!({"shortId": "0a1b2c3d", "slugHint": "taxes", "agentId": "work"});
    for (params, why) in [
        (elsewhere, "No session found"),
        (short("0a1b2c3"), "8-32 hexadecimal"),
        (json!({"key": "main", "slugHint": "x"}), "slugHint requires shortId"),
    ] {
        let said = refused(&mut operator, "sessions.resolve", params).await;
        assert!(said.contains(why), "{said}");
    }
}
