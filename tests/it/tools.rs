//! The agent's own tools in whole turns: sessions, sub-agents, jobs and chats; what policy takes away, and whom they
//! do not reach.

use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, OWNER, STRANGER, TestApp};
use crate::support::model::calls_tool;
use crate::support::node::TestNode;
use crate::support::tool::{ask, say, told, tool_result, tool_results};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

/// Tools that are the owner's alone.
const OWNERS: [&str; 13] = [
    "agents_list",
    "canvas",
    "cron",
    "exec",
    "gateway",
    "image",
    "message",
    "nodes",
    "pdf",
    "sessions_send",
    "sessions_spawn",
    "subagents",
    "tts",
];

async fn patch(operator: &mut TestNode, change: &Value) {
    let now = operator.call("config.get", json!({})).await.expect("reads");
    let params = json!({"raw": change.to_string(), "baseHash": now["hash"]});
    operator.call("config.patch", params).await.expect("changes");
}

/// Names of the tools a model call offers.
fn offered(call: &Value) -> Vec<&str> {
    let tools = call["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    tools
        .iter()
        .filter_map(|tool| tool["function"]["name"].as_str())
        .collect()
}

/// Ends told to sessions that began sub-agents.
async fn announcements(app: &TestApp) -> i64 {
    app.rows().await.count("inbox WHERE event_key LIKE 'announce:%'").await
}

async fn in_state(app: &TestApp, state: &str) -> i64 {
    app.rows()
        .await
        .count(&format!("subagent WHERE state = '{state}'"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_between_two_calls_of_one_run_counts() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let order = format!("[gate] [rounds:2] {}", calls_tool("agents_list", &json!({})));
    say(&mut operator, "main", "pol", &order).await;
    eventually("the first result", || async { tool_result(&app, "pol") }).await;
    patch(&mut operator, &json!({"tools": {"deny": ["group:agents"]}})).await;
    app.model.release(100);
    assert_eq!(operator.chat_end("pol").await["state"], "final");
    let results = tool_results(&app, "pol");
    assert!(results[0].contains("requester"), "{results:?}");
    assert!(results[1].contains("There is no tool named agents_list"), "{results:?}");
    // And the next turn is not even offered it.
    say(&mut operator, "main", "next", "hello").await;
    operator.chat_end("next").await;
    let asked = app.model.asked("#next").await;
    assert!(!offered(&asked).contains(&"agents_list"), "{:?}", offered(&asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_go_round_in_circles_are_stopped() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let order = format!("[rounds:22] {}", calls_tool("agents_list", &json!({})));
    say(&mut operator, "main", "loop", &order).await;
    assert_eq!(operator.chat_end("loop").await["state"], "final");
    let results = tool_results(&app, "loop");
    assert_eq!(results.len(), 22);
    assert!(!results[9].contains("same arguments"), "{}", results[9]);
    assert!(
        results[10].contains("same arguments") && results[10].contains("requester"),
        "{}",
        results[10]
    );
    assert!(results[20].contains("was not made"), "{}", results[20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_no_tool_of_the_owners_even_when_the_model_tries() {
    let wide = json!({"tools": {"profile": "full", "sessions": {"visibility": "all"}}});
    let app = TestApp::start_with(&wide, &[]).await;
    let mut operator = app.operator().await;
    say(&mut operator, "secret-plans", "own", "hello").await;
    operator.chat_end("own").await;
    let mut update = 0;
    let mut guest = async |run: &str, tool: &str, arguments: &Value| {
        update += 1;
        let text = format!("#{run} {}", calls_tool(tool, arguments));
        assert_eq!(status(app.webhooks().telegram(update, 700, &text)).await, 200);
        eventually("the model hears of it", || async { tool_result(&app, run) }).await
    };
    for tool in OWNERS {
        let heard = guest(
            &format!("g-{tool}"),
            tool,
            &json!({"action": "list", "message": "x", "task": "x"}),
        )
        .await;
        assert!(heard.contains(&format!("There is no tool named {tool}")), "{heard}");
    }
    let asked = app.model.asked("#g-cron").await;
    for tool in OWNERS {
        assert!(!offered(&asked).contains(&tool), "{tool} is offered");
    }
    // Of sessions they see their own alone, and not what it is called.
    let list = guest("g-list", "sessions_list", &json!({})).await;
    assert!(
        list.contains("current") && !list.contains("secret-plans") && !list.contains("agent:main"),
        "{list}"
    );
    for (run, key) in [("g-h1", "secret-plans"), ("g-h2", "agent:main:main"), ("g-h3", "main")] {
        let refusal = guest(run, "sessions_history", &json!({"sessionKey": key})).await;
        assert!(refusal.contains("Session not found"), "{key}: {refusal}");
    }
    let own = guest("g-h4", "sessions_history", &json!({"sessionKey": "current"})).await;
    assert!(own.contains("EXTERNAL_CONTENT") && own.contains("g-tts"), "{own}");
    app.settled().await;
    let rows = app.rows().await;
    for nothing in ["cron_job", "subagent", "tool_intent"] {
        assert_eq!(rows.count(nothing).await, 0, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_others_are_not_found() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    say(&mut operator, "owners-notes", "own", "my words").await;
    operator.chat_end("own").await;
    let wide = json!({"tools": {"sessions": {"visibility": "all"}, "agentToAgent": {"enabled": true}}});
    let target = json!({"sessionKey": "owners-notes", "message": "hello"});
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        app.import(tenant, email, &wide);
        let mut stranger = app.operator_as(tenant, email, ALL_SCOPES).await.expect("connects");
        for (tool, arguments) in [
            ("sessions_history", json!({"sessionKey": "owners-notes"})),
            ("sessions_send", target.clone()),
        ] {
            let run = format!("{tenant}-{tool}");
            ask(&mut stranger, "main", &run, tool, &arguments).await;
            let heard = told(&app, &mut stranger, &run).await;
            assert!(heard.contains("Session not found"), "{email} {tool}: {heard}");
        }
        let run = format!("{tenant}-list");
        ask(
            &mut stranger,
            "main",
            &run,
            "sessions_list",
            &json!({"messageLimit": 5}),
        )
        .await;
        let list = told(&app, &mut stranger, &run).await;
        assert!(!list.contains("owners-notes") && !list.contains("my words"), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_writes_to_another_one_as_far_as_it_may() {
    let no_ping_pong = json!({"session": {"agentToAgent": {"maxPingPongTurns": 0}}});
    let app = TestApp::start_with(&no_ping_pong, &[]).await;
    let mut operator = app.operator().await;
    say(&mut operator, "notes", "n0", "the key is sk-abcdefghijklmnop1234").await;
    operator.chat_end("n0").await;
    let ping = json!({"sessionKey": "notes", "message": "#ping"});
    ask(&mut operator, "main", "s1", "sessions_send", &ping).await;
    let refusal = told(&app, &mut operator, "s1").await;
    assert!(
        refusal.contains("forbidden") && refusal.contains("visibility"),
        "{refusal}"
    );
    patch(&mut operator, &json!({"tools": {"sessions": {"visibility": "agent"}}})).await;
    ask(&mut operator, "main", "s2", "sessions_send", &ping).await;
    let answer = told(&app, &mut operator, "s2").await;
    assert!(
        answer.contains("re: #ping end") && answer.contains("EXTERNAL_CONTENT"),
        "{answer}"
    );
    let asked = app.model.asked("#ping").await;
    assert!(
        asked.to_string().contains("sourceSession=agent:main:main"),
        "the other one knows who asks"
    );
    let later = json!({"sessionKey": "notes", "message": "#later", "timeoutSeconds": 0});
    ask(&mut operator, "main", "s3", "sessions_send", &later).await;
    assert!(told(&app, &mut operator, "s3").await.contains("accepted"));
    app.model.asked("#later").await;
    // The other one may answer, but not write back again.
    let back = calls_tool("sessions_send", &json!({"sessionKey": "main", "message": "#back"}));
    let pong = json!({"sessionKey": "notes", "message": format!("#pong {back}")});
    ask(&mut operator, "main", "s4", "sessions_send", &pong).await;
    told(&app, &mut operator, "s4").await;
    let stopped = tool_result(&app, "pong").expect("it tried");
    assert!(stopped.contains("answered each other"), "{stopped}");
    let history = json!({"sessionKey": "notes", "limit": 100});
    ask(&mut operator, "main", "s5", "sessions_history", &history).await;
    let history = told(&app, &mut operator, "s5").await;
    assert!(
        history.contains("[redacted]") && !history.contains("sk-abc"),
        "{history}"
    );
    ask(
        &mut operator,
        "main",
        "s6",
        "sessions_send",
        &json!({"sessionKey": "main", "message": "x"}),
    )
    .await;
    assert!(told(&app, &mut operator, "s6").await.contains("this very session"));
    // A command from another session is talk.
    ask(
        &mut operator,
        "main",
        "s7",
        "sessions_send",
        &json!({"sessionKey": "notes", "message": "/reset"}),
    )
    .await;
    assert!(told(&app, &mut operator, "s7").await.contains("\\\"ok\\\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_others_read_along_in_answers_another_one_with_a_guests_rights() {
    let wide = json!({"tools": {"sessions": {"visibility": "agent"}}});
    let app = TestApp::start_with(&wide, &[]).await;
    let mut operator = app.operator().await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "#hi there")).await, 200);
    app.model.asked("#hi").await;
    app.settled().await;
    let listing = calls_tool("cron", &json!({"action": "list"}));
    let target = json!({"sessionKey": "agent:main:telegram:direct:700", "message": format!("#inner {listing}")});
    ask(&mut operator, "main", "outer", "sessions_send", &target).await;
    let heard = told(&app, &mut operator, "outer").await;
    assert!(heard.contains("re: #inner end"), "{heard}");
    let inner = tool_result(&app, "inner").expect("it tried");
    assert!(inner.contains("There is no tool named cron"), "{inner}");
    let rows = app.rows().await;
    app.settled().await;
    // What the owner's own session knows does not come there by itself: the two do not go on.
    assert_eq!(
        rows.count("exchange").await + rows.count("inbox WHERE source = 'session'").await,
        1
    );
    assert!(
        !app.platform
            .messages("700")
            .iter()
            .any(|call| call.text.contains("#inner")),
        "the guest heard of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_sub_agent_is_told_once_also_when_the_server_dies_before_it() {
    let mut app = TestApp::start().await;
    let mut operator = app.operator().await;
    let task = json!({"task": "[gate] #child", "label": "dig"});
    ask(&mut operator, "main", "p1", "sessions_spawn", &task).await;
    let begun = told(&app, &mut operator, "p1").await;
    assert!(begun.contains("accepted") && begun.contains(":subagent:"), "{begun}");
    app.model.asked("#child").await;
    assert_eq!((in_state(&app, "running").await, announcements(&app).await), (1, 0));
    app.binary.kill();
    app.binary.start();
    app.model.release(100);
    becomes("told", 1, || announcements(&app)).await;
    app.settled().await;
    let told = |app: &TestApp| {
        let calls = app.model.calls();
        let ends = calls.iter().filter(|call| {
            call["messages"].as_array().is_some_and(|messages| {
                messages
                    .last()
                    .is_some_and(|last| last.to_string().contains("a sub-agent has ended"))
            })
        });
        ends.count()
    };
    let asked = app.model.asked("a sub-agent has ended").await.to_string();
    assert!(
        asked.contains("task: dig") && asked.contains("re: #child end"),
        "{asked}"
    );
    assert_eq!((told(&app), in_state(&app, "announced").await), (1, 1));
    // It had ended, but nobody was told: the next start finds it.
    app.binary.kill();
    let rows = app.rows().await;
    rows.execute("DELETE FROM inbox WHERE event_key LIKE 'announce:%'")
        .await;
    rows.execute("UPDATE subagent SET state = 'running', status = NULL, ended_at = NULL")
        .await;
    drop(rows);
    app.binary.start();
    becomes("told again", (1, 1), || async {
        (announcements(&app).await, in_state(&app, "announced").await)
    })
    .await;
    app.settled().await;
    assert_eq!(told(&app), 2);
    // And once that is on record, never again.
    app.binary.kill();
    app.binary.start();
    let mut operator = app.operator().await;
    say(&mut operator, "main", "after", "hello").await;
    operator.chat_end("after").await;
    assert_eq!((told(&app), announcements(&app).await), (2, 1));
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("reads");
    assert!(
        history.to_string().contains("Sub-agent completed: dig"),
        "people see one line: {history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_agents_have_limits_and_are_stopped_with_who_began_them() {
    let few = json!({"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 1}}}});
    let app = TestApp::start_with(&few, &[]).await;
    let mut operator = app.operator().await;
    let spawn = async |operator: &mut TestNode, run: &str, task: &str| {
        ask(
            operator,
            "main",
            run,
            "sessions_spawn",
            &json!({"task": task, "label": run}),
        )
        .await;
        told(&app, operator, run).await
    };
    assert!(spawn(&mut operator, "c1", "[gate] #one").await.contains("accepted"));
    app.model.asked("#one").await;
    let full = spawn(&mut operator, "c2", "#two").await;
    assert!(full.contains("the limit is 1"), "{full}");
    let foreign = json!({"task": "x", "agentId": "boss"});
    ask(&mut operator, "main", "c3", "sessions_spawn", &foreign).await;
    assert!(told(&app, &mut operator, "c3").await.contains("forbidden"));
    let elsewhere = json!({"task": "x", "channel": "telegram", "to": "1"});
    ask(&mut operator, "main", "c4", "sessions_spawn", &elsewhere).await;
    assert!(
        told(&app, &mut operator, "c4").await.contains("do not match"),
        "it has no chat of its own"
    );
    ask(&mut operator, "main", "c5", "subagents", &json!({})).await;
    let list = told(&app, &mut operator, "c5").await;
    assert!(list.contains("c1") && list.contains("running"), "{list}");
    ask(
        &mut operator,
        "main",
        "c6",
        "subagents",
        &json!({"action": "kill", "target": "c1"}),
    )
    .await;
    assert!(told(&app, &mut operator, "c6").await.contains("killed"));
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    assert_eq!((in_state(&app, "killed").await, announcements(&app).await), (1, 0));
    // Another one ends with /stop in the session that began it.
    assert!(spawn(&mut operator, "c7", "[gate] #three").await.contains("accepted"));
    app.model.asked("#three").await;
    say_plainly(&mut operator, "stop-1", "/stop").await;
    becomes("stopped", 2, || in_state(&app, "killed")).await;
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    app.settled().await;
    assert_eq!(announcements(&app).await, 0, "what was stopped is not told");
    // A sub-agent begins none of its own, and one that is told more goes on with that.
    let inner = calls_tool("sessions_spawn", &json!({"task": "#deeper"}));
    assert!(
        spawn(&mut operator, "c8", &format!("#leaf {inner}"))
            .await
            .contains("accepted")
    );
    let heard = eventually("the leaf hears", || async { tool_result(&app, "leaf") }).await;
    assert!(heard.contains("There is no tool named sessions_spawn"), "{heard}");
    becomes("told", 1, || announcements(&app)).await;
    assert!(spawn(&mut operator, "c9", "[gate] #slow").await.contains("accepted"));
    app.model.asked("#slow").await;
    let more = json!({"action": "steer", "target": "c9", "message": "#faster"});
    ask(&mut operator, "main", "c10", "subagents", &more).await;
    assert!(told(&app, &mut operator, "c10").await.contains("accepted"));
    app.model.asked("#faster").await;
    becomes("told", 2, || announcements(&app)).await;
    app.settled().await;
    let late = json!({"action": "steer", "target": "c9", "message": "x"});
    ask(&mut operator, "main", "c11", "subagents", &late).await;
    assert!(told(&app, &mut operator, "c11").await.contains("has ended"));
}

async fn say_plainly(operator: &mut TestNode, run: &str, text: &str) {
    let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sub_agent_found_is_answered_in_the_chat_it_was_asked_in() {
    let app = TestApp::start().await;
    app.link(OWNER, 900).await;
    let text = format!(
        "#ask {}",
        calls_tool("sessions_spawn", &json!({"task": "#found", "label": "f"}))
    );
    assert_eq!(status(app.webhooks().telegram(2, 900, &text)).await, 200);
    becomes("told", 1, || announcements(&app)).await;
    app.platform.message("900", "re: #found end").await;
    app.settled().await;
    // It was the owner's own chat: the turn that answers has the owner's rights.
    let asked = app.model.asked("a sub-agent has ended").await;
    assert!(offered(&asked).contains(&"cron"));
}

/// What others said there may have led to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sub_agent_begun_where_others_read_along_reaches_no_more_than_they_do() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let room = "agent:main:telegram:group:-500";
    let inner = format!("#inner {}", calls_tool("memory_read", &json!({"path": "MEMORY.md"})));
    ask(&mut operator, room, "r1", "sessions_spawn", &json!({"task": inner})).await;
    becomes("told", 1, || announcements(&app)).await;
    app.settled().await;
    let asked = app.model.asked("#inner").await;
    for tool in ["cron", "memory_read", "write", "message", "sessions_spawn"] {
        assert!(!offered(&asked).contains(&tool), "{tool} is offered");
    }
    let heard = tool_result(&app, "inner").expect("it was tried");
    assert!(heard.contains("There is no tool named memory_read"), "{heard}");
    // Nor does it schedule what runs with the owner's rights later.
    let job = json!({"action": "add", "text": "in a minute", "at": "1m"});
    ask(&mut operator, room, "r2", "cron", &job).await;
    let heard = told(&app, &mut operator, "r2").await;
    assert!(heard.contains("There is no tool named cron"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_keeps_its_users_jobs() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = json!({"name": "tea", "schedule": {"kind": "every", "everyMs": 3_600_000},
        "payload": {"kind": "agentTurn", "message": "#job"}, "delivery": {"mode": "none"}});
    ask(
        &mut operator,
        "main",
        "j1",
        "cron",
        &json!({"action": "add", "job": job}),
    )
    .await;
    assert!(told(&app, &mut operator, "j1").await.contains("tea"));
    let list = operator.call("cron.list", json!({})).await.expect("lists");
    let kept = &list["jobs"][0];
    assert_eq!(
        (&kept["agentId"], &kept["sessionKey"]),
        (&json!("main"), &json!("agent:main:main"))
    );
    let id = kept["id"].as_str().expect("an id");
    let act = async |operator: &mut TestNode, run: &str, arguments: Value| {
        ask(operator, "main", run, "cron", &arguments).await;
        told(&app, operator, run).await
    };
    let update = json!({"action": "update", "jobId": id, "patch": {"name": "coffee"}});
    assert!(act(&mut operator, "j2", update).await.contains("coffee"));
    assert!(
        act(&mut operator, "j3", json!({"action": "run", "jobId": id}))
            .await
            .contains("enqueued")
    );
    app.model.asked("#job").await;
    eventually("the log", || async {
        let runs = app.rows().await.count("cron_run WHERE status = 'ok'").await;
        (runs == 1).then_some(())
    })
    .await;
    assert!(
        act(&mut operator, "j4", json!({"action": "runs", "jobId": id}))
            .await
            .contains("succeeded")
    );
    // A page it read could have asked for that: the address would get the user's token.
    let delivery = json!({"mode": "webhook", "to": "https://example.com/x"});
    for (run, leak) in [
        (
            "w1",
            json!({"action": "update", "jobId": id, "patch": {"delivery": delivery}}),
        ),
        (
            "w2",
            json!({"action": "add", "job": {"name": "x", "schedule": {"kind": "every", "everyMs": 3_600_000},
            "payload": {"kind": "agentTurn", "message": "x"}, "delivery": delivery}}),
        ),
    ] {
        let heard = act(&mut operator, run, leak).await;
        assert!(heard.contains("nly the user"), "{heard}");
    }
    let bad = json!({"action": "add", "job": {"name": "x"}});
    assert!(
        act(&mut operator, "j5", bad).await.contains("schedule"),
        "it is told what is wrong"
    );
    assert!(
        act(&mut operator, "j6", json!({"action": "remove", "jobId": id}))
            .await
            .contains("true")
    );
    assert!(
        act(&mut operator, "j7", json!({"action": "run", "jobId": id}))
            .await
            .contains("not found")
    );
    assert!(
        act(&mut operator, "j8", json!({"action": "wake", "text": "#woken up"}))
            .await
            .contains("ok")
    );
    app.model.asked("#woken").await;
    assert_eq!(app.rows().await.count("cron_job").await, 0);
}

/// A turn that an agent asked for itself, and what follows from that, is counted on: nobody is there to stop it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_wakes_itself_is_counted() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let wake = |text: &str| json!({"action": "wake", "text": text});
    let inner = format!("#second {}", calls_tool("cron", &wake("#third")));
    let outer = format!("#first {}", calls_tool("cron", &wake(&inner)));
    say(&mut operator, "main", "began", &outer).await;
    app.model.asked("#third").await;
    app.settled().await;
    let job = json!({"name": "j", "everyMs": 3_600_000, "message": format!("#job {}", calls_tool("cron", &wake("#after"))),
        "delivery": {"mode": "none"}});
    ask(
        &mut operator,
        "main",
        "adds",
        "cron",
        &json!({"action": "add", "job": job}),
    )
    .await;
    told(&app, &mut operator, "adds").await;
    let jobs = operator.call("cron.list", json!({})).await.expect("lists");
    let run = json!({"action": "run", "jobId": jobs["jobs"][0]["id"]});
    ask(&mut operator, "main", "runs", "cron", &run).await;
    told(&app, &mut operator, "runs").await;
    app.model.asked("#after").await;
    app.settled().await;
    let rows = app.rows().await;
    let wakes = async |source: &str| {
        let sql = format!("SELECT payload FROM inbox WHERE source = '{source}' ORDER BY received_at");
        let payloads: Vec<String> = rows.column(&sql).await;
        let count = |payload: &String| {
            let payload: Value = serde_json::from_str(payload).expect("is JSON");
            payload["relayed"]["chain"]["wakes"].clone()
        };
        payloads.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(wakes("wake").await, [json!(1), json!(2), json!(2)]);
    assert_eq!(wakes("cron").await, [json!(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_a_sub_agents_session_has_no_more_tools_than_the_sub_agent() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(
        &mut operator,
        "main",
        "p1",
        "sessions_spawn",
        &json!({"task": "#child"}),
    )
    .await;
    told(&app, &mut operator, "p1").await;
    becomes("told", 1, || announcements(&app)).await;
    let keys: Vec<String> = app.rows().await.column("SELECT child_key FROM subagent").await;
    for (session, tool, expected) in [
        ("main", "agents_list", 200),
        (keys[0].as_str(), "agents_list", 404),
        ("main", "sessions_list", 200),
        (keys[0].as_str(), "sessions_list", 404),
        (keys[0].as_str(), "memory_search", 404),
    ] {
        let body = json!({"tool": tool, "sessionKey": session, "args": {}});
        let (code, answer) = app.owner().post("/tools/invoke", &body).await;
        assert_eq!(code, expected, "{session} {tool}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_writes_where_its_user_may_and_nowhere_else() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let hello = json!({"action": "send", "channel": "telegram", "target": "555", "message": "hello #out"});
    ask(&mut operator, "main", "m1", "message", &hello).await;
    assert!(told(&app, &mut operator, "m1").await.contains("queued"));
    app.platform.message("555", "hello #out").await;
    let rows = app.rows().await;
    assert_eq!(
        rows.count("tool_intent WHERE run_id = 'm1'").await,
        1,
        "written before it acts"
    );
    let dry = json!({"action": "send", "channel": "telegram", "target": "556", "message": "x", "dryRun": true});
    ask(&mut operator, "main", "m2", "message", &dry).await;
    assert!(told(&app, &mut operator, "m2").await.contains("dryRun"));
    ask(
        &mut operator,
        "main",
        "m3",
        "message",
        &json!({"action": "send", "message": "x"}),
    )
    .await;
    assert!(told(&app, &mut operator, "m3").await.contains("not in a chat"));
    // The bot is the owner's: another member has not linked themselves anywhere on it.
    let mut member = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    ask(&mut member, "main", "m4", "message", &hello).await;
    let refusal = told(&app, &mut member, "m4").await;
    assert!(refusal.contains("there is no channel account"), "{refusal}");
    // From a chat into one of another channel: only if the user says so.
    app.link(OWNER, 900).await;
    let from_chat = async |update: u64, run: &str, arguments: &Value| {
        let text = format!("#{run} {}", calls_tool("message", arguments));
        assert_eq!(status(app.webhooks().telegram(update, 900, &text)).await, 200);
        eventually("the model hears of it", || async { tool_result(&app, run) }).await
    };
    let across = json!({"action": "send", "channel": "slack", "target": "C77", "message": "over there"});
    let refusal = from_chat(2, "x1", &across).await;
    assert!(
        refusal.contains("forbidden") && refusal.contains("allowAcrossProviders"),
        "{refusal}"
    );
    let within = json!({"action": "broadcast", "targets": ["557", "558"], "message": "all of you"});
    assert!(from_chat(3, "x2", &within).await.contains("queued"));
    app.platform.message("557", "[from telegram] all of you").await;
    app.platform.message("558", "[from telegram] all of you").await;
    app.settled().await;
    assert!(app.platform.messages("C77").is_empty() && app.platform.messages("556").is_empty());
    let others = format!("outbox WHERE user_id <> (SELECT id FROM \"user\" WHERE email = '{OWNER}')");
    assert_eq!(rows.count(&others).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_changes_its_users_configuration_but_not_its_own_rights() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(&mut operator, "main", "g1", "gateway", &json!({"action": "config.get"})).await;
    let shown = told(&app, &mut operator, "g1").await;
    assert!(!shown.contains("sk-test") && !shown.contains("test-token"), "{shown}");
    let now = operator.call("config.get", json!({})).await.expect("reads");
    let change = async |operator: &mut TestNode, run: &str, raw: &str| {
        let arguments = json!({"action": "config.patch", "raw": raw, "baseHash": now["hash"]});
        ask(operator, "main", run, "gateway", &arguments).await;
        told(&app, operator, run).await
    };
    for (run, raw) in [
        ("g2", "{tools: {sessions: {visibility: 'all'}}}"),
        ("g3", "{channels: {telegram: null}}"),
    ] {
        assert!(change(&mut operator, run, raw).await.contains("forbidden"), "{raw}");
    }
    let zone = "{agents: {defaults: {userTimezone: 'Europe/Vienna'}}}";
    assert!(change(&mut operator, "g4", zone).await.contains("changedPaths"));
    let after = operator.call("config.get", json!({})).await.expect("reads");
    assert_eq!(after["config"]["agents"]["defaults"]["userTimezone"], "Europe/Vienna");
    assert!(after["config"]["channels"]["telegram"].is_object());
    let stale = change(&mut operator, "g5", "{messages: {responsePrefix: 'x'}}").await;
    assert!(stale.contains("changed since"), "{stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn searching_is_offered_once_there_is_a_service_and_its_key_stays_sealed() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(&mut operator, "main", "w1", "web_search", &json!({"query": "x"})).await;
    assert!(
        told(&app, &mut operator, "w1")
            .await
            .contains("There is no tool named web_search")
    );
    // An address nobody listens at: the answer names neither it nor the key.
    let tavily = json!({"tavily": {"apiKey": "tvly-secret-key-1", "baseUrl": "http://127.0.0.1:9/search"}});
    patch(&mut operator, &json!({"tools": {"web": {"search": tavily}}})).await;
    ask(&mut operator, "main", "w2", "web_search", &json!({"query": "x"})).await;
    let heard = told(&app, &mut operator, "w2").await;
    assert!(
        heard.contains("tavily could not be asked") && !heard.contains("tvly-secret"),
        "{heard}"
    );
    let shown = operator.call("config.get", json!({})).await.expect("reads");
    assert!(!shown.to_string().contains("tvly-secret"), "{shown}");
    let documents: Vec<String> = app
        .rows()
        .await
        .column("SELECT CAST(doc AS text) FROM user_config")
        .await;
    assert!(documents.iter().all(|doc| !doc.contains("tvly-secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_ends_to_wait_for_its_sub_agents() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    ask(&mut operator, "main", "y0", "sessions_yield", &json!({})).await;
    let refused = told(&app, &mut operator, "y0").await;
    assert!(refused.contains("nothing would come"), "{refused}");
    let task = json!({"task": "[gate] #child", "label": "dig"});
    ask(&mut operator, "main", "y1", "sessions_spawn", &task).await;
    told(&app, &mut operator, "y1").await;
    app.model.asked("#child").await;
    ask(
        &mut operator,
        "main",
        "y2",
        "sessions_yield",
        &json!({"message": "waiting"}),
    )
    .await;
    let end = operator.chat_end("y2").await;
    assert_eq!((&end["state"], end.get("message")), (&json!("final"), None), "{end}");
    assert!(tool_result(&app, "y2").is_none(), "the model is not asked again");
    let log = json!({"action": "log", "target": "dig"});
    ask(&mut operator, "main", "y3", "subagents", &log).await;
    let log = told(&app, &mut operator, "y3").await;
    assert!(log.contains("#child") && log.contains("EXTERNAL_CONTENT"), "{log}");
    app.model.release(100);
    let asked = app.model.asked("a sub-agent has ended").await.to_string();
    assert!(asked.contains("re: #child end") && asked.contains("yielded"), "{asked}");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_answer_each_other_and_the_owner_hears_what_came_of_it() {
    let wide = json!({
        "tools": {"sessions": {"visibility": "agent"}},
        "session": {"dmScope": "main", "agentToAgent": {"maxPingPongTurns": 2}},
    });
    let app = TestApp::start_with(&wide, &[]).await;
    app.link(OWNER, 900).await;
    assert_eq!(status(app.webhooks().telegram(2, 900, "#hi")).await, 200);
    app.platform.message("900", "re: #hi end").await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let turns = async || rows.count("inbox WHERE source = 'session'").await;
    // Silence ends it at once.
    let ping = json!({"sessionKey": "main", "message": "[say:REPLY_SKIP]"});
    ask(&mut operator, "notes", "a1", "sessions_send", &ping).await;
    told(&app, &mut operator, "a1").await;
    becomes("over", 0, || rows.count("exchange")).await;
    assert_eq!(turns().await, 1);
    let ping = json!({"sessionKey": "main", "message": "#ping"});
    ask(&mut operator, "notes", "a2", "sessions_send", &ping).await;
    assert!(told(&app, &mut operator, "a2").await.contains("re: #ping end"));
    app.platform.message("900", "re: #ping").await;
    becomes("over", 0, || rows.count("exchange")).await;
    app.settled().await;
    assert_eq!(turns().await, 5, "the message, two turns, and what is told");
    let keys: Vec<String> = rows
        .column("SELECT session_key FROM inbox WHERE event_key LIKE 'a2a:%' ORDER BY received_at, event_key")
        .await;
    assert_eq!(keys.iter().filter(|key| key.ends_with(":notes")).count(), 1, "{keys:?}");
    let second = app.model.asked("turn=2/2").await;
    assert!(second.to_string().contains("EXTERNAL_CONTENT"), "{second}");
    // The chat heard the end and nothing else of it.
    let heard = app.platform.messages("900");
    assert_eq!(
        heard.iter().filter(|call| call.text.contains("#ping")).count(),
        1,
        "{heard:?}"
    );
}

/// A job that its agent sets up again a second later would go on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_runs_by_itself_comes_back_no_sooner_than_a_job_may() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let now = chrono::Utc::now().timestamp_millis();
    let at = |seconds: i64, text: &str| {
        let schedule = json!({"kind": "at", "at": (now + seconds * 1_000).to_string()});
        let job = json!({"name": "again", "schedule": schedule, "message": text, "delivery": {"mode": "none"}});
        json!({"action": "add", "job": job})
    };
    // Not yet past when the first one runs, and less than a minute ahead whenever that is.
    let again = format!("#again {}", calls_tool("cron", &at(55, "#third")));
    ask(&mut operator, "main", "r1", "cron", &at(2, &again)).await;
    let heard = told(&app, &mut operator, "r1").await;
    assert!(heard.contains("again"), "who is asked by a person may: {heard}");
    app.model.asked("#again").await;
    app.settled().await;
    let refused = eventually("the second one is refused", || async {
        let calls = app.model.calls();
        let sent = calls.iter().map(Value::to_string);
        sent.into_iter().find(|call| call.contains("60 s ahead or more"))
    })
    .await;
    assert!(refused.contains("#again"));
    assert_eq!(
        app.rows()
            .await
            .count("cron_job WHERE enabled AND next_run_at IS NOT NULL")
            .await,
        0
    );
}
