//! Scheduled jobs with the real binary: on time, once, whoever dies; and their log, delivery and owners.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{FixedOffset, SecondsFormat, Timelike, Utc};
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, STRANGER, TestApp, answered};
use crate::support::model::{calls_tool, question};
use crate::support::node::TestNode;
use crate::support::wait::eventually;

fn soon(ms: i64) -> String {
    (Utc::now() + chrono::Duration::milliseconds(ms)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Waits for the job's event with this action.
async fn event(operator: &mut TestNode, job: &Value, action: &str) -> Value {
    let frame = operator
        .event(&format!("cron {action}"), |frame| {
            frame["event"] == "cron" && frame["payload"]["action"] == action && frame["payload"]["jobId"] == *job
        })
        .await;
    frame["payload"].clone()
}

async fn entries(operator: &mut TestNode, params: Value) -> Vec<Value> {
    let log = operator.call("cron.runs", params).await.expect("reads");
    log["entries"].as_array().expect("entries").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_job_as_the_command_line_lives_it() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = json!({"name": "probe", "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
        "sessionTarget": "isolated", "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "say hi #one"},
        "delivery": {"mode": "none", "channel": "last"}});
    let added = operator.call("cron.add", job).await.expect("adds");
    let id = added["id"].clone();
    let anchor = added["createdAtMs"].as_i64().expect("a time");
    assert_eq!(
        added["schedule"],
        json!({"kind": "every", "everyMs": 3_600_000, "anchorMs": anchor})
    );
    assert_eq!(added["nextRunAtMs"], anchor + 3_600_000);
    assert_eq!(added["state"]["nextRunAtMs"], added["nextRunAtMs"]);
    assert_eq!(added["deliveryPreview"]["label"], "not requested");
    assert_eq!(event(&mut operator, &id, "added").await["job"]["name"], "probe");

    let list = operator.call("cron.list", json!({"limit": 200})).await.expect("lists");
    assert_eq!((&list["total"], &list["jobs"][0]["id"]), (&json!(1), &id));
    assert_eq!((&list["hasMore"], &list["nextOffset"]), (&json!(false), &Value::Null));
    let status = operator.call("cron.status", json!({})).await.expect("answers");
    assert_eq!((&status["jobs"], &status["enabled"]), (&json!(1), &json!(true)));
    assert_eq!(status["nextWakeAtMs"], added["nextRunAtMs"]);
    let got = operator.call("cron.get", json!({"jobId": id})).await.expect("reads");
    assert_eq!(got["configRevision"], added["configRevision"]);

    let off = operator
        .call("cron.update", json!({"id": id, "patch": {"enabled": false}}))
        .await
        .expect("updates");
    assert!(off["enabled"] == false && off.get("nextRunAtMs").is_none(), "{off}");
    let list = operator
        .call("cron.list", json!({"includeDisabled": false}))
        .await
        .expect("lists");
    assert_eq!(list["total"], 0);
    let list = operator
        .call("cron.list", json!({"enabled": "disabled", "compact": true}))
        .await
        .expect("lists");
    assert_eq!(
        (&list["jobs"][0]["scheduleKind"], &list["jobs"][0]["lastRunAtMs"]),
        (&json!("every"), &Value::Null)
    );
    let stale = json!({"id": id, "patch": {"name": "x"}, "expectedConfigRevision": added["configRevision"]});
    let refused = operator
        .call("cron.update", stale)
        .await
        .expect_err("it was changed since");
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|text| text.contains("re-run cron.get")),
        "{refused}"
    );
    let on = json!({"id": id, "patch": {"enabled": true}});
    assert_eq!(
        operator.call("cron.update", on).await.expect("updates")["enabled"],
        true
    );

    let ran = operator
        .call("cron.run", json!({"id": id, "mode": "due"}))
        .await
        .expect("answers");
    assert_eq!(ran, json!({"ok": true, "ran": false, "reason": "not-due"}));
    let ran = operator
        .call("cron.run", json!({"id": id, "mode": "force"}))
        .await
        .expect("runs");
    assert_eq!((&ran["ok"], &ran["enqueued"]), (&json!(true), &json!(true)));
    let finished = event(&mut operator, &id, "finished").await;
    assert_eq!((&finished["status"], &finished["runId"]), (&json!("ok"), &ran["runId"]));
    assert_eq!(finished["summary"], "re: #one end");
    let log = entries(&mut operator, json!({"id": id, "limit": 5})).await;
    let [entry] = &log[..] else { panic!("{log:?}") };
    assert_eq!((&entry["action"], &entry["status"]), (&json!("finished"), &json!("ok")));
    assert_eq!(
        (&entry["provider"], &entry["model"]),
        (&json!("mock"), &json!("mock-1"))
    );
    assert_eq!(entry["usage"]["total_tokens"], 15);
    assert_eq!(
        (&entry["deliveryStatus"], &entry["jobName"]),
        (&json!("not-requested"), &json!("probe"))
    );
    let got = operator.call("cron.get", json!({"id": id})).await.expect("reads");
    assert_eq!(got["state"]["lastRunStatus"], "ok");
    assert!(
        got["state"].get("runningAtMs").is_none() && got["nextRunAtMs"].is_i64(),
        "{got}"
    );

    let removed = operator.call("cron.remove", json!({"id": id})).await.expect("removes");
    assert_eq!(removed, json!({"ok": true, "removed": true}));
    event(&mut operator, &id, "removed").await;
    let again = operator.call("cron.remove", json!({"id": id})).await.expect("answers");
    assert_eq!(again, json!({"ok": true, "removed": false}));
    let gone = operator
        .call("cron.get", json!({"id": id}))
        .await
        .expect_err("it is gone");
    assert_eq!(gone["details"], json!({"code": "CRON_JOB_NOT_FOUND", "jobId": id}));
    assert_eq!(
        entries(&mut operator, json!({"id": id})).await.len(),
        1,
        "the log stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_due_soon_runs_once_and_is_removed() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = json!({"name": "tea", "schedule": {"kind": "at", "at": soon(86_400_000)}, "message": "brew #tea",
        "delivery": {"mode": "none"}});
    let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
    // Given another time: it is that one that counts.
    let patch = json!({"id": id, "patch": {"schedule": {"kind": "at", "at": soon(300)}}});
    operator.call("cron.update", patch).await.expect("updates");
    let started = event(&mut operator, &id, "started").await;
    assert!(started["job"]["state"]["runningAtMs"].is_i64(), "{started}");
    let finished = event(&mut operator, &id, "finished").await;
    assert_eq!(
        (&finished["status"], &finished["summary"]),
        (&json!("ok"), &json!("re: #tea end"))
    );
    event(&mut operator, &id, "removed").await;
    let list = operator
        .call("cron.list", json!({"includeDisabled": true}))
        .await
        .expect("lists");
    assert_eq!(list["total"], 0);
    let key = format!("agent:main:cron:{}", id.as_str().expect("an id"));
    let history = operator
        .call("chat.history", json!({"sessionKey": key}))
        .await
        .expect("reads");
    let text = history["messages"].to_string();
    assert!(text.contains("brew #tea") && text.contains("re: #tea end"), "{text}");
    assert_eq!(app.model.calls().len(), 1);
}

/// One-shots around a moment at which the server is killed, again and again: each fires once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_tick_nothing_is_missed_or_doubled() {
    const JOBS: i64 = 12;
    let rounds: u64 = std::env::var("CLAW_CHAOS_ROUNDS")
        .ok()
        .map_or(6, |text| text.parse().expect("a number of rounds"));
    let settings = [
        ("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1"),
        ("CLAWCENTRAL__LIMITS__ATTEMPTS", "1000000"),
        ("CLAWCENTRAL__LIMITS__CRON_JOBS", "100000"),
    ];
    let mut app = TestApp::start_with(&json!({"cron": {"maxConcurrentRuns": 8}}), &settings).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(rand::random());
    let mut tags = BTreeMap::new();
    for round in 0..rounds {
        let mut operator = app.operator().await;
        for number in 0..JOBS {
            let tag = format!("#c{round}x{number}e");
            let job = json!({"name": tag, "schedule": {"kind": "at", "at": soon(300 + number * 10)},
                "message": format!("[slow:5] {tag}"), "delivery": {"mode": "none"}, "deleteAfterRun": number % 2 == 0});
            let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
            tags.insert(id.as_str().expect("an id").to_owned(), tag);
        }
        let wait = Duration::from_millis(random.random_range(250..650));
        tokio::time::sleep(wait).await;
        drop(operator);
        tokio::task::block_in_place(|| {
            app.binary.kill();
            app.binary.start();
        });
    }
    let rows = app.rows().await;
    eventually("every job has ended", || async {
        let open = rows.count("cron_run WHERE ended_at IS NULL").await;
        let waiting = rows.count("cron_job WHERE next_run_at IS NOT NULL").await;
        (open == 0 && waiting == 0).then_some(())
    })
    .await;
    app.settled().await;
    let mut fired = BTreeMap::<String, usize>::new();
    for job in rows.column::<String>("SELECT job_id FROM cron_run").await {
        *fired.entry(job).or_default() += 1;
    }
    let bodies: Vec<String> = rows
        .column("SELECT body FROM transcript_entry WHERE kind = 'message'")
        .await;
    let said = |tag: &str, role: &str| {
        let holds = |body: &&String| body.contains(tag) && body.contains(&format!("\"role\":\"{role}\""));
        bodies.iter().filter(holds).count()
    };
    for (id, tag) in &tags {
        assert_eq!(fired.get(id), Some(&1), "{tag} fired");
        assert_eq!(
            (said(tag, "user"), said(tag, "assistant")),
            (1, 1),
            "{tag} was asked and answered"
        );
    }
    assert_eq!(rows.count("cron_run WHERE status = 'ok'").await, tags.len() as i64);
    assert_eq!(
        rows.count("cron_job").await,
        i64::try_from(rounds).expect("few") * JOBS / 2,
        "kept ones"
    );
    assert_eq!(rows.count("cron_job WHERE enabled OR running_at IS NOT NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeating_job_goes_on_after_a_restart() {
    let settings = [("CLAWCENTRAL__LIMITS__CRON_INTERVAL_SECS", "1")];
    let mut app = TestApp::start_with(&json!({}), &settings).await;
    let mut operator = app.operator().await;
    let job = json!({"name": "beat", "everyMs": 1000, "message": "#beat", "delivery": {"mode": "none"}});
    let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
    event(&mut operator, &id, "finished").await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let mut operator = app.operator().await;
    event(&mut operator, &id, "finished").await;
    let off = json!({"id": id, "patch": {"enabled": false}});
    operator.call("cron.update", off).await.expect("updates");
    let rows = app.rows().await;
    eventually("the last run is on record", || async {
        (rows.count("cron_run WHERE ended_at IS NULL").await == 0).then_some(())
    })
    .await;
    let times: Vec<i64> = rows
        .column("SELECT scheduled_at FROM cron_run ORDER BY scheduled_at")
        .await;
    let anchor = times[0];
    assert!(
        times.iter().all(|at| (at - anchor) % 1000 == 0),
        "it does not drift: {times:?}"
    );
    assert_eq!(rows.count("run WHERE status <> 'ok'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_announced_in_a_chat_and_a_line_waits_for_the_owner() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = |to: &str| {
        json!({"name": "news", "everyMs": 3_600_000, "message": "what is new #news",
            "delivery": {"mode": "announce", "channel": "telegram", "to": to}})
    };
    let id = operator.call("cron.add", job("4242")).await.expect("adds")["id"].clone();
    operator.call("cron.run", json!({"id": id})).await.expect("runs");
    let finished = event(&mut operator, &id, "finished").await;
    assert_eq!(
        (&finished["status"], &finished["deliveryStatus"]),
        (&json!("ok"), &json!("unknown"))
    );
    app.platform.message("4242", "re: #news end").await;
    app.settled().await;
    let log = entries(&mut operator, json!({"id": id, "deliveryStatus": "delivered"})).await;
    assert_eq!((log.len(), &log[0]["delivered"]), (1, &json!(true)));
    let got = operator.call("cron.get", json!({"id": id})).await.expect("reads");
    assert_eq!(got["state"]["lastDeliveryStatus"], "delivered");
    let copies = app.platform.messages("4242").len();
    assert_eq!(copies, 1, "it is sent once");
    // The main session learns of it with its next turn.
    let hello = json!({"sessionKey": "main", "message": "hello #me", "idempotencyKey": "k1"});
    operator.call("chat.send", hello).await.expect("accepted");
    let call = app.model.asked("#me").await;
    let text = call["messages"].to_string();
    assert!(
        text.contains("System: [") && text.contains("Cron (news): re: #news end"),
        "{text}"
    );

    // A channel that is not there is said so, and fails the run.
    let nowhere = json!({"name": "lost", "everyMs": 3_600_000, "message": "#lost",
        "delivery": {"mode": "announce", "channel": "discord", "to": "1"}});
    let id = operator.call("cron.add", nowhere).await.expect("adds")["id"].clone();
    operator.call("cron.run", json!({"id": id})).await.expect("runs");
    let finished = event(&mut operator, &id, "finished").await;
    assert_eq!(
        (&finished["status"], &finished["deliveryStatus"]),
        (&json!("error"), &json!("not-delivered"))
    );
    assert!(
        finished["error"].as_str().is_some_and(|text| text.contains("discord")),
        "{finished}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_on_record_and_told() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let job = json!({"name": "bad", "everyMs": 3_600_000, "message": "[status:401] #bad", "delivery": {"mode": "none"},
        "failureAlert": {"after": 2, "channel": "telegram", "to": "77"}});
    let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
    for failures in 1..=2 {
        operator.call("cron.run", json!({"id": id})).await.expect("runs");
        let finished = event(&mut operator, &id, "finished").await;
        assert_eq!(
            (&finished["status"], &finished["completionStatus"]),
            (&json!("error"), &json!("failed"))
        );
        assert_eq!(finished["job"]["state"]["consecutiveErrors"], failures);
    }
    app.platform.message("77", "failed 2 times").await;
    app.settled().await;
    assert_eq!(app.platform.messages("77").len(), 1, "told once");
    let log = entries(&mut operator, json!({"id": id, "status": "error"})).await;
    assert_eq!(log.len(), 2);
    assert!(log[0]["error"].is_string(), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_job_is_not_found() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    let job = json!({"name": "mine", "everyMs": 3_600_000, "message": "#mine", "delivery": {"mode": "none"}});
    let id = owner.call("cron.add", job).await.expect("adds")["id"].clone();
    let scopes = ["operator.read", "operator.write", "operator.admin"];
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut caller = app.operator_as(tenant, email, &scopes).await.expect("connects");
        for method in ["cron.get", "cron.update", "cron.run"] {
            let params = json!({"id": id, "patch": {"enabled": false}, "mode": "force"});
            let refused = caller.call(method, params).await.expect_err("it is not theirs");
            let known = refused["details"]["code"] == "CRON_JOB_NOT_FOUND"
                || refused["message"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("missing scope"));
            assert!(known, "{method} as {email}: {refused}");
        }
        let list = caller
            .call("cron.list", json!({"includeDisabled": true}))
            .await
            .expect("lists");
        assert_eq!(list["total"], 0, "{email}");
        assert!(entries(&mut caller, json!({"id": id})).await.is_empty(), "{email}");
    }
    let mut reader = app
        .operator_as("demo", crate::support::app::OWNER, &["operator.read"])
        .await
        .expect("connects");
    assert!(reader.call("cron.get", json!({"id": id})).await.is_ok());
    for method in ["cron.add", "cron.update", "cron.remove", "cron.run"] {
        let refused = reader
            .call(method, json!({"id": id}))
            .await
            .expect_err("reading is not writing");
        assert_eq!(refused["details"]["missingScope"], "operator.admin", "{method}");
    }
    let got = owner.call("cron.get", json!({"id": id})).await.expect("reads");
    assert_eq!(
        (&got["enabled"], got["state"].get("lastRunStatus")),
        (&json!(true), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_jobs_go_with_it() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let night = json!({"name": "night", "workspace": "night"});
    operator.call("agents.create", night).await.expect("creates");
    for agent in [json!("night"), Value::Null] {
        let job = json!({"name": "n", "agentId": agent, "everyMs": 3_600_000, "message": "m"});
        operator.call("cron.add", job).await.expect("adds");
    }
    operator
        .call("agents.delete", json!({"agentId": "night"}))
        .await
        .expect("deletes");
    let list = operator.call("cron.list", json!({})).await.expect("lists");
    assert_eq!((&list["total"], list["jobs"][0].get("agentId")), (&json!(1), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_tells_the_main_session() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let later = json!({"mode": "next-heartbeat", "text": "the post came #post"});
    assert_eq!(
        operator.call("wake", later).await.expect("answers"),
        json!({"ok": true})
    );
    let now = json!({"mode": "now", "text": "the bell rang #bell"});
    assert_eq!(operator.call("wake", now).await.expect("answers"), json!({"ok": true}));
    let call = app.model.asked("#bell").await;
    let text = call["messages"].to_string();
    assert!(text.contains("#post"), "what waited comes along: {text}");
    app.settled().await;
    let keys: Vec<String> = app
        .rows()
        .await
        .column("SELECT session_key FROM inbox WHERE source = 'wake'")
        .await;
    assert_eq!(keys, ["agent:main:main"]);
    for (params, complaint) in [
        (json!({"mode": "now", "text": " "}), "/text"),
        (json!({"mode": "later", "text": "x"}), "/mode"),
        (json!({"mode": "now"}), "'text'"),
        (
            json!({"mode": "now", "text": "x", "agentId": "nobody"}),
            "unknown agent",
        ),
        (
            json!({"mode": "next-heartbeat", "text": "x", "sessionKey": "agent:main:telegram:direct:1"}),
            "of the user alone",
        ),
    ] {
        let refused = operator.call("wake", params.clone()).await.expect_err("is refused");
        assert!(
            refused["message"].as_str().is_some_and(|text| text.contains(complaint)),
            "{params}: {refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_says_something_of_itself_or_of_the_world() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut listener = app.operator().await;
    let said = json!({
        "text": "Node: desk (mac) · last input 7s ago", "host": "desk", "lastInputSeconds": 7, "reason": "periodic",
        "modelIdentifier": "Mac16,1", "tags": ["home"], "roles": ["node"], "scopes": ["everything"],
    });
    let done = operator.call("system-event", said).await.expect("answers");
    assert_eq!(done, json!({"ok": true}));
    let told = listener
        .event("presence", |frame| {
            frame["event"] == "presence" && frame.to_string().contains("desk")
        })
        .await;
    let entries = told["payload"]["presence"].as_array().expect("a list");
    let entry = entries.iter().find(|entry| entry["host"] == "desk").expect("is shown");
    assert_eq!(entry["lastInputSeconds"], 7);
    assert_eq!(
        (&entry["reason"], &entry["tags"], &entry["modelIdentifier"]),
        (&json!("periodic"), &json!(["home"]), &json!("Mac16,1"))
    );
    assert_eq!(entry["roles"], json!(["operator"]), "nobody gives themselves a role");
    assert!(!entry["scopes"].to_string().contains("everything"), "{entry}");
    let rows = || async { app.rows().await };
    let waiting: Vec<String> = rows().await.column("SELECT text FROM system_event").await;
    assert!(waiting.is_empty(), "presence is no message: {waiting:?}");
    let heard = json!({"text": "the lights went out #dark"});
    operator.call("system-event", heard).await.expect("answers");
    let waiting: Vec<String> = rows().await.column("SELECT text FROM system_event").await;
    assert!(waiting.concat().contains("#dark"), "{waiting:?}");
    let now = json!({"text": "the door is open #door", "wake": true});
    operator.call("system-event", now).await.expect("answers");
    let call = app.model.asked("#door").await;
    assert!(
        call["messages"].to_string().contains("#dark"),
        "what waited comes along"
    );
    let long = json!({"text": "Node: x", "host": "h".repeat(600)});
    let many = json!({"text": "Node: x", "tags": vec!["t"; 17]});
    for (params, complaint) in [
        (json!({"text": " "}), "/text"),
        (json!({}), "/text"),
        (long, "/host"),
        (many, "/tags"),
        (json!({"text": "x".repeat(17_000)}), "/text"),
    ] {
        let refused = operator.call("system-event", params).await.expect_err("is refused");
        assert!(
            refused["message"].as_str().is_some_and(|text| text.contains(complaint)),
            "{refused}"
        );
    }
}

/// The job's own answer is none while what it began goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_jobs_sub_agent_found_is_announced_where_the_job_is() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let task = calls_tool("sessions_spawn", &json!({"task": "#dug"}));
    let job = json!({"name": "digger", "schedule": {"kind": "every", "everyMs": 3_600_000}, "sessionTarget": "isolated",
        "payload": {"kind": "agentTurn", "message": format!("#begun {task}")},
        "delivery": {"mode": "announce", "channel": "telegram", "to": "4242"}});
    let added = operator.call("cron.add", job).await.expect("adds");
    let run = json!({"id": added["id"], "mode": "force"});
    operator.call("cron.run", run).await.expect("runs");
    let finished = event(&mut operator, &added["id"], "finished").await;
    assert_eq!(
        (&finished["status"], &finished["deliveryStatus"]),
        (&json!("ok"), &json!("unknown"))
    );
    app.platform.message("4242", "#dug").await;
    app.settled().await;
    let sent = app.platform.messages("4242");
    let texts: Vec<&str> = sent.iter().map(|call| call.text.as_str()).collect();
    assert!(
        texts.len() == 1 && !texts[0].contains("#begun"),
        "the person gets the result and nothing before it: {texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_models_of_its_own_that_stand_in() {
    let model = |id: &str| json!({"id": id, "contextWindow": 128_000, "maxTokens": 4096});
    let two = json!({
        "models": {"providers": {"mock": {"models": [model("mock-1"), model("mock-2"), model("mock-3")]}}},
        "agents": {"defaults": {"model": {"primary": "mock/mock-1", "fallbacks": ["mock/mock-2"]}}},
    });
    let app = TestApp::start_with(&two, &[]).await;
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    for (name, fallbacks, status, called) in [
        ("own", Some(json!(["mock/mock-3"])), "ok", vec!["mock-1", "mock-3"]),
        ("none", Some(json!([])), "error", vec!["mock-1"]),
        ("agents", None, "ok", vec!["mock-1", "mock-2"]),
    ] {
        let before = app.model.calls().len();
        let mut payload = json!({"kind": "agentTurn", "message": format!("[model:mock-1:500] #{name}")});
        if let Some(fallbacks) = fallbacks {
            payload["fallbacks"] = fallbacks;
        }
        let job = json!({"name": name, "everyMs": 3_600_000, "sessionTarget": "isolated", "payload": payload,
            "delivery": {"mode": "none"}});
        let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
        operator.call("cron.run", json!({"id": id})).await.expect("runs");
        let finished = event(&mut operator, &id, "finished").await;
        assert_eq!(finished["status"], status, "{name}: {finished}");
        let mut models: Vec<String> = app.model.calls()[before..]
            .iter()
            .map(|call| call["model"].as_str().expect("a model").to_owned())
            .collect();
        // One model is asked again before another is.
        models.dedup();
        assert_eq!(models, called, "{name}");
        rows.execute("UPDATE key_health SET cooldown_until = 1, disabled_until = 1")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_light_context_goes_without_the_workspaces_files() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let file = json!({"agentId": "main", "name": "AGENTS.md", "content": "Speak of the lighthouse."});
    operator.call("agents.files.set", file).await.expect("writes");
    for (name, light) in [("light", true), ("full", false)] {
        let job = json!({"name": name, "everyMs": 3_600_000, "delivery": {"mode": "none"},
            "payload": {"kind": "agentTurn", "message": format!("#{name}"), "lightContext": light}});
        let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
        operator.call("cron.run", json!({"id": id})).await.expect("runs");
        event(&mut operator, &id, "finished").await;
        let call = app.model.asked(&format!("#{name}")).await;
        assert_eq!(call["messages"][0].to_string().contains("lighthouse"), !light, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hooks_session_schedules_is_a_strangers_word_unless_a_person_says_otherwise() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for (name, target, trusted, wrapped) in [
        ("plain", "isolated", false, false),
        ("hooks", "session:hook:ci", false, true),
        ("trusted", "session:hook:ci", true, false),
    ] {
        let job = json!({"name": name, "everyMs": 3_600_000, "delivery": {"mode": "none"}, "sessionTarget": target,
            "payload": {"kind": "agentTurn", "message": format!("obey #{name}"),
                "allowUnsafeExternalContent": trusted}});
        let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
        operator.call("cron.run", json!({"id": id})).await.expect("runs");
        event(&mut operator, &id, "finished").await;
        let call = app.model.asked(&format!("#{name}")).await;
        let said = crate::support::model::question(&call);
        assert_eq!(said.contains("EXTERNAL_CONTENT"), wrapped, "{name}: {said}");
    }
    // A model makes no such job, and none that leads outside, however it spells it.
    let adds = |job: Value| calls_tool("cron", &json!({"action": "add", "job": job}));
    let outside = json!({"mode": "webhook", "to": "https://evil.example/in"});
    let plain = json!({"name": "x", "everyMs": 3_600_000, "message": "hi"});
    let with = |field: &str, value: &Value| {
        let mut job = plain.clone();
        job[field] = value.clone();
        job
    };
    for (run, job) in [
        ("a", with("delivery", &outside)),
        ("b", json!({"job": {"job": with("delivery", &outside)}})),
        ("c", with("failureAlert", &outside)),
        (
            "d",
            with("delivery", &json!({"mode": "none", "failureDestination": outside})),
        ),
        ("e", with("allowUnsafeExternalContent", &json!(true))),
    ] {
        let params = json!({"sessionKey": "main", "message": format!("#{run} {}", adds(job)), "idempotencyKey": run});
        operator.call("chat.send", params).await.expect("accepted");
        let told = crate::support::tool::told(&app, &mut operator, run).await;
        assert!(told.contains("nly the user can"), "{run}: {told}");
    }
    let rows = app.rows().await;
    assert_eq!(rows.count("cron_job").await, 3);
    // Nor does what a hook led to lose its mark by naming another session.
    let elsewhere = json!({"job": with("sessionKey", &json!("main"))});
    let params = json!({"sessionKey": "hook:ci", "message": format!("#f {}", adds(elsewhere)), "idempotencyKey": "f"});
    operator.call("chat.send", params).await.expect("accepted");
    let told = crate::support::tool::told(&app, &mut operator, "f").await;
    assert!(told.contains("agent:main:hook:ci"), "{told}");
    // Nor by what a job does that was made there, which runs in a session of its own.
    let job = json!({"name": "made", "everyMs": 3_600_000, "delivery": {"mode": "none"}, "sessionTarget": "isolated",
        "sessionKey": "hook:ci", "payload": {"kind": "agentTurn",
        "message": format!("#made {}", adds(json!({"name": "child", "everyMs": 3_600_000, "message": "hi"})))}});
    let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
    operator.call("cron.run", json!({"id": id})).await.expect("runs");
    event(&mut operator, &id, "finished").await;
    let question = crate::support::model::question(&app.model.asked("#made").await);
    assert!(question.contains("EXTERNAL_CONTENT"), "{question}");
    let jobs = operator.call("cron.list", json!({})).await.expect("lists")["jobs"].clone();
    let child = jobs
        .as_array()
        .expect("a list")
        .iter()
        .find(|job| job["name"] == "child");
    let child = child.expect("the run adds a job");
    assert_eq!(child["sessionKey"], "hook:ci");
    let patch = json!({"action": "update", "jobId": child["id"], "patch": {"sessionKey": null}});
    let message = format!("#h {}", calls_tool("cron", &patch));
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": "h"});
    operator.call("chat.send", params).await.expect("accepted");
    let told = crate::support::tool::told(&app, &mut operator, "h").await;
    assert!(told.contains("stays in that hook's session"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_jobs_answer_names_are_announced_with_it() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let note = json!({"path": "notes/report.md", "content": "all is well"});
    crate::support::tool::ask(&mut operator, "main", "w1", "write", &note).await;
    crate::support::tool::told(&app, &mut operator, "w1").await;
    for (name, answer) in [
        ("words", "The report.\nMEDIA:notes/report.md"),
        ("alone", "MEDIA:notes/report.md"),
    ] {
        let job = json!({"name": name, "everyMs": 3_600_000, "message": crate::support::model::says(answer),
            "delivery": {"mode": "announce", "channel": "telegram", "to": "4242"}});
        let id = operator.call("cron.add", job).await.expect("adds")["id"].clone();
        operator.call("cron.run", json!({"id": id})).await.expect("runs");
        assert_eq!(event(&mut operator, &id, "finished").await["status"], "ok");
    }
    app.settled().await;
    let sent = app.platform.messages("4242");
    let seen: Vec<(&str, &str)> = sent
        .iter()
        .map(|call| (call.method.as_str(), call.text.as_str()))
        .collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0], ("sendMessage", "The report."));
    for file in &seen[1..] {
        assert!(file.0 == "sendDocument" && file.1.contains("all is well"), "{file:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_and_days_of_a_chat_are_those_of_the_persons_profile() {
    // Half an hour off: what was midday there was another time of day in UTC.
    let there = FixedOffset::east_opt(5 * 3600 + 1800).expect("a zone");
    let hour = Utc::now().with_timezone(&there).hour();
    let daily = json!({"session": {"reset": {"mode": "daily", "atHour": hour}}});
    let app = TestApp::start_with(&daily, &[]).await;
    let change = app.owner().request(Method::PATCH, "/api/session/profile");
    let (code, user) = answered(change.json(&json!({"timeZone": "Asia/Kolkata"}))).await;
    assert_eq!((code, &user["timeZone"]), (200, &json!("Asia/Kolkata")), "{user}");
    app.says(1, 700, "hello #one").await;
    app.platform.message("700", "re: #one end").await;
    app.settled().await;
    let asked = question(&app.model.asked("#one").await);
    assert!(asked.contains(" IST] "), "{asked}");
    // The day began within the last hour there, and long before these two hours in UTC.
    app.rows()
        .await
        .execute("UPDATE session SET updated_at = updated_at - 7200000")
        .await;
    app.says(2, 700, "hello #two").await;
    app.platform.message("700", "re: #two end").await;
    app.settled().await;
    let sessions: Vec<String> = app
        .rows()
        .await
        .column("SELECT DISTINCT session_id FROM transcript_entry")
        .await;
    assert_eq!(sessions.len(), 2, "a new day is a new conversation");
}
