//! Spending limits hold before the model is called, whoever calls, however many at once, and whoever dies.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, Person, STRANGER, TestApp, answered};
use crate::support::model::{calls_tool, is_summary};
use crate::support::node::TestNode;
use crate::support::wait::becomes;
use crate::support::webhook::status;

/// What the fake model says of each call.
const USED: i64 = 15;

/// Many turns of one person at the same time.
fn crowd() -> Value {
    json!({"agents": {"defaults": {"maxConcurrent": 256}}})
}

fn tokens(kind: &str, amount: i64) -> Value {
    json!({"kind": kind, "unit": "tokens", "amount": amount, "period": "month"})
}

async fn limit(person: Person<'_>, body: &Value) -> Value {
    let (code, made) = person.post("/api/budgets", body).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn patch(app: &TestApp, id: &Value, body: &Value) -> (u16, Value) {
    let path = format!("/api/budgets/{}", id.as_str().expect("an id"));
    answered(app.owner().request(Method::PATCH, &path).json(body)).await
}

async fn send(operator: &mut TestNode, key: &str, run: &str, message: &str) {
    let params = json!({"sessionKey": key, "message": message, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

/// Waits for the end of a run.
async fn end(operator: &mut TestNode, run: &str) -> Value {
    let wait = json!({"runId": run, "timeoutMs": 60_000});
    operator.call("agent.wait", wait).await.expect("waits")
}

async fn ask(operator: &mut TestNode, key: &str, run: &str, message: &str) -> Value {
    send(operator, key, run, message).await;
    end(operator, run).await
}

/// The limit of this id as its owner sees it.
async fn seen(app: &TestApp, id: &Value) -> Value {
    let (code, list) = app.owner().get("/api/budgets").await;
    assert_eq!(code, 200, "{list}");
    let budgets = list["budgets"].as_array().expect("a list");
    budgets
        .iter()
        .find(|budget| budget["id"] == *id)
        .expect("is listed")
        .clone()
}

/// Waits until nothing is held; gives what is spent.
async fn spent(app: &TestApp, id: &Value) -> i64 {
    let rows = app.rows().await;
    becomes("holds", 0, || rows.count("budget_hold WHERE amount > 0")).await;
    let budget = seen(app, id).await;
    assert_eq!(budget["reserved"], 0, "{budget}");
    budget["spent"].as_i64().expect("a number")
}

/// Puts a limit at what one call puts aside, so that one more is all there is.
async fn one_more(app: &TestApp, operator: &mut TestNode, id: &Value) -> i64 {
    send(operator, "probe", "probe", "[gate] #probe").await;
    app.model.asked("#probe").await;
    let held: Vec<i64> = app.rows().await.column("SELECT amount FROM budget_hold").await;
    app.model.release(100);
    assert_eq!(end(operator, "probe").await["status"], "ok");
    let used = spent(app, id).await;
    let amount = used + held[0];
    let (code, body) = patch(app, id, &json!({"amount": amount})).await;
    assert_eq!(code, 200, "{body}");
    amount
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_turns_at_once_one_gets_what_is_left() {
    let mut app = TestApp::start_with(&crowd(), &[]).await;
    app.add_user("demo", MEMBER, "member");
    app.import("demo", MEMBER, &crowd());
    let made = limit(app.owner(), &tokens("tenant", 1_000_000)).await;
    let mut owner = app.operator().await;
    let amount = one_more(&app, &mut owner, &made["id"]).await;
    let before = app.model.calls().len();
    let scopes = ["operator.read", "operator.write"];
    let mut member = app.operator_as("demo", MEMBER, &scopes).await.expect("connects");
    // The permits that are left over from before.
    while app.model.running() > 0 {
        tokio::task::yield_now().await;
    }
    for turn in 0..100 {
        for operator in [&mut owner, &mut member] {
            send(
                operator,
                &format!("many-{turn}"),
                &format!("many-{turn}"),
                "[hang] #many",
            )
            .await;
        }
    }
    let rows = app.rows().await;
    becomes("refused turns", 199, || {
        rows.count("run WHERE status = 'error' AND error_class = 'budget'")
    })
    .await;
    assert_eq!(app.model.calls().len() - before, 1, "one call fitted");
    assert_eq!(rows.count("run WHERE status = 'running'").await, 1);
    let held = seen(&app, &made["id"]).await;
    let used = held["spent"].as_i64().expect("a number") + held["reserved"].as_i64().expect("a number");
    assert!(used <= amount, "{held}");
    let sentences: Vec<String> = rows
        .column("SELECT DISTINCT error_message FROM run WHERE error_class = 'budget'")
        .await;
    assert!(
        sentences
            .iter()
            .all(|sentence| sentence.contains("for all users together")
                && sentence.contains("An administrator can raise it under Settings → Budgets.")),
        "{sentences:?}"
    );
    // Whoever has it is stopped: what the provider had taken is counted, and nothing is left over.
    for operator in [&mut owner, &mut member] {
        for turn in 0..100 {
            let stop = json!({"sessionKey": format!("many-{turn}"), "runId": format!("many-{turn}")});
            operator.call("chat.abort", stop).await.expect("answers");
        }
    }
    assert!(spent(&app, &made["id"]).await <= amount);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_held_is_given_back_before_the_turn_runs_again() {
    let mut app = TestApp::start().await;
    let made = limit(app.owner(), &tokens("user", 1_000_000)).await;
    let mut operator = app.operator().await;
    send(&mut operator, "main", "again", "[gate] #again").await;
    app.model.asked("#again").await;
    let held: Vec<i64> = app.rows().await.column("SELECT amount FROM budget_hold").await;
    let prompt: Vec<i64> = app.rows().await.column("SELECT prompt FROM budget_hold").await;
    assert!((1..held[0]).contains(&prompt[0]), "{prompt:?} of {held:?}");
    // There is room for this one call, and for the prompt that the provider has already.
    let (code, body) = patch(&app, &made["id"], &json!({"amount": held[0] + prompt[0]})).await;
    assert_eq!((code, &body["remaining"]), (200, &json!(prompt[0])), "{body}");
    app.binary.kill();
    let rows = app.rows().await;
    assert_eq!(
        rows.count("budget_hold WHERE amount > 0").await,
        1,
        "it died with what it held"
    );
    app.binary.start();
    app.model.release(100);
    let mut operator = app.operator().await;
    assert_eq!(end(&mut operator, "again").await["status"], "ok");
    assert_eq!(spent(&app, &made["id"]).await, prompt[0] + USED);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_which_limit_and_until_when_and_a_guest_learns_no_amounts() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let body = json!({"kind": "user", "unit": "tokens", "amount": 10, "period": "month", "timeZone": "Europe/Berlin"});
    let made = limit(app.owner(), &body).await;
    assert_eq!(
        (&made["origin"], &made["editable"], &made["remaining"], &made["email"]),
        (&json!("admin"), &json!(true), &json!(10), &json!(OWNER))
    );
    let ended = ask(&mut operator, "main", "one", "#one").await;
    let sentence = ended["error"].as_str().expect("a sentence");
    assert_eq!(ended["status"], "error");
    assert!(
        sentence.starts_with("The monthly limit of 10 tokens for this user has no room for this answer (0 of 10 used). It opens again on 1 ")
            && sentence.ends_with("00:00 (Europe/Berlin). An administrator can raise it under Settings → Budgets."),
        "{sentence}"
    );
    assert_eq!(app.model.calls().len(), 0);
    assert_eq!(status(app.webhooks().telegram(1, 700, "#guest")).await, 200);
    let told = app.platform.message("700", "spending limit").await;
    assert!(
        !told.text.contains(|letter: char| letter.is_ascii_digit()),
        "{}",
        told.text
    );
    // The next span starts with nothing: the counter of another one is not asked.
    let (code, _) = patch(&app, &made["id"], &json!({"amount": 100_000})).await;
    assert_eq!(code, 200);
    assert_eq!(ask(&mut operator, "main", "two", "#two").await["status"], "ok");
    let rows = app.rows().await;
    becomes("holds", 0, || rows.count("budget_hold")).await;
    rows.execute("UPDATE budget_use SET spent = 100000").await;
    let ended = ask(&mut operator, "main", "three", "#three").await;
    let used_up = ended["error"].as_str().expect("a sentence");
    assert!(used_up.contains("is used up (100,000 of 100,000)"), "{used_up}");
    rows.execute("UPDATE budget_use SET starts_at = starts_at - 86400000")
        .await;
    assert_eq!(ask(&mut operator, "main", "four", "#four").await["status"], "ok");
    assert_eq!(spent(&app, &made["id"]).await, USED);
    // Switched off it counts nothing and stops nobody.
    let (code, off) = patch(&app, &made["id"], &json!({"enabled": false})).await;
    assert_eq!((code, &off["enabled"]), (200, &json!(false)));
    assert_eq!(ask(&mut operator, "main", "five", "#five").await["status"], "ok");
    assert_eq!(spent(&app, &made["id"]).await, USED);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_jobs_have_limits_of_their_own_and_sub_agents_spend_them() {
    let agents = json!({"agents": {"list": [{"id": "main"}, {"id": "work"}]}});
    let app = TestApp::start_with(&agents, &[]).await;
    let mut operator = app.operator().await;
    let mut body = tokens("agent", 10);
    body["target"] = json!("work");
    limit(app.owner(), &body).await;
    let ended = ask(&mut operator, "agent:work:main", "w1", "#work").await;
    let sentence = ended["error"].as_str().expect("a sentence");
    assert!(
        sentence.contains("for the agent work") && sentence.contains("You can change it"),
        "{sentence}"
    );
    assert_eq!(ask(&mut operator, "main", "m1", "#main").await["status"], "ok");

    let job = json!({"name": "Morning news", "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
        "sessionTarget": "isolated", "payload": {"kind": "agentTurn", "message": calls_tool("sessions_spawn", &json!({"task": "#child"}))},
        "delivery": {"mode": "none"}});
    let job = operator.call("cron.add", job).await.expect("adds");
    let mut body = tokens("cron", 1_000_000);
    body["target"] = job["id"].clone();
    let made = limit(app.owner(), &body).await;
    assert_eq!(made["targetName"], "Morning news");
    let run = json!({"id": job["id"], "mode": "force"});
    operator.call("cron.run", run.clone()).await.expect("runs");
    app.model.asked("#child").await;
    let asked = "a sub-agent has ended";
    app.model.asked(asked).await;
    app.settled().await;
    // The job's own two calls, the sub-agent's, and the one that hears of its end.
    let calls = app.model.calls().len() as i64 - 1;
    assert_eq!(spent(&app, &made["id"]).await, calls * USED);
    assert!(calls >= 4, "{calls}");
    let (code, _) = patch(&app, &made["id"], &json!({"amount": 61})).await;
    assert_eq!(code, 200);
    operator.call("cron.run", run).await.expect("runs");
    let rows = app.rows().await;
    becomes("refused", 2, || rows.count("run WHERE error_class = 'budget'")).await;
    let why: Vec<String> = rows
        .column("SELECT error_message FROM run WHERE error_class = 'budget' AND error_message LIKE '%Morning news%'")
        .await;
    assert_eq!(why.len(), 1, "{why:?}");
    assert_eq!(app.model.calls().len() as i64 - 1, calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_another_agent_pays_for_its_answers_too() {
    let wide = json!({
        "agents": {"list": [{"id": "main", "default": true}, {"id": "work"}]},
        "tools": {"sessions": {"visibility": "all"}, "agentToAgent": {"enabled": true, "allow": ["*"]}},
        "session": {"agentToAgent": {"maxPingPongTurns": 2}},
    });
    let app = TestApp::start_with(&wide, &[]).await;
    let mut operator = app.operator().await;
    let mut body = tokens("agent", 1_000_000);
    body["target"] = json!("main");
    let made = limit(app.owner(), &body).await;
    assert_eq!(
        ask(&mut operator, "agent:work:main", "w1", "#work").await["status"],
        "ok"
    );
    assert_eq!(
        spent(&app, &made["id"]).await,
        0,
        "it is nobody's but the other agent's"
    );
    let wish = json!({"sessionKey": "agent:work:main", "message": "#wish", "timeoutSeconds": 30});
    let message = format!("#mine {}", calls_tool("sessions_send", &wish));
    assert_eq!(ask(&mut operator, "main", "m1", &message).await["status"], "ok");
    let rows = app.rows().await;
    becomes("exchanges", 0, || rows.count("exchange")).await;
    app.settled().await;
    // Its own two calls, the other agent's first answer, and what the two said by turns.
    let calls = app.model.calls().len() as i64 - 1;
    assert!(calls >= 5, "{calls}");
    assert_eq!(spent(&app, &made["id"]).await, calls * USED);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_turn_is_counted_summaries_too() {
    let small = json!({"agents": {"defaults": {"contextTokens": 20_000}}, "tools": {"profile": "minimal"}});
    let app = TestApp::start_with(&small, &[]).await;
    let made = limit(app.owner(), &tokens("user", 100_000_000)).await;
    app.model.counts_tokens();
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    for turn in 1..=12 {
        let message = format!("#q{turn} {}", "word ".repeat(1_200));
        assert_eq!(
            ask(&mut operator, "long", &format!("long-{turn}"), &message).await["status"],
            "ok"
        );
        if rows.count("transcript_entry WHERE kind = 'compaction'").await > 0 {
            break;
        }
    }
    assert!(app.model.calls().iter().any(is_summary), "it was never summarised");
    let usages: Vec<String> = rows.column("SELECT CAST(usage AS text) FROM run").await;
    let recorded: i64 = usages
        .iter()
        .filter_map(|usage| serde_json::from_str::<Value>(usage).ok()?["totalTokens"].as_i64())
        .sum();
    assert_eq!(spent(&app, &made["id"]).await, recorded);
    // A call that was stopped on its way counts what the provider had taken.
    send(&mut operator, "stopped", "stopped", "[gate] #stopped").await;
    app.model.asked("#stopped").await;
    app.model.release(2);
    while operator.chat("stopped").await["state"] != "delta" {}
    let held = seen(&app, &made["id"]).await["reserved"].as_i64().expect("a number");
    assert!(held > 4_096, "{held}");
    let stop = json!({"sessionKey": "stopped", "runId": "stopped"});
    operator.call("chat.abort", stop).await.expect("answers");
    let after = spent(&app, &made["id"]).await;
    let prompt = held - 4_096;
    assert!(
        (recorded + prompt..recorded + held).contains(&after),
        "{after} {recorded} {held}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_hear_of_it_in_openais_words() {
    let vectors = json!({"models": {"providers": {"mock": {"models": [{"id": "mock-1", "name": "Mock",
        "contextWindow": 128_000, "maxTokens": 4096, "cost": {"input": 0, "output": 0}}]}}},
        "agents": {"defaults": {"memorySearch": {"provider": "mock", "model": "embed-1"}}}});
    let app = TestApp::start_with(&vectors, &[]).await;
    let made = limit(app.owner(), &tokens("user", 1)).await;
    let question = json!({"model": "openclaw", "messages": [{"role": "user", "content": "#one"}]});
    let request = app
        .owner()
        .request(Method::POST, "/v1/chat/completions")
        .json(&question);
    let response = request.send().await.expect("answers");
    assert_eq!(response.headers()["x-should-retry"], "false");
    assert_eq!(response.status(), 429);
    let error: Value = response.json().await.expect("JSON");
    assert_eq!(
        (&error["error"]["type"], &error["error"]["code"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota")),
        "{error}"
    );
    let sentence = error["error"]["message"].as_str().expect("a sentence");
    assert!(sentence.contains("limit of 1 tokens for this user"), "{sentence}");
    let mut streamed = question.clone();
    streamed["stream"] = json!(true);
    let request = app
        .owner()
        .request(Method::POST, "/v1/chat/completions")
        .json(&streamed);
    let text = request.send().await.expect("answers").text().await.expect("a body");
    assert!(text.contains("insufficient_quota"), "{text}");
    let (code, error) = app
        .owner()
        .post("/v1/responses", &json!({"model": "openclaw", "input": "#two"}))
        .await;
    assert_eq!(
        (code, &error["error"]["code"]),
        (429, &json!("insufficient_quota")),
        "{error}"
    );
    assert_eq!(app.model.calls().len(), 0);
    let wish = json!({"model": "openclaw", "input": ["a car", "a cat"]});
    let (code, error) = app.owner().post("/v1/embeddings", &wish).await;
    assert_eq!(
        (code, &error["error"]["code"]),
        (429, &json!("insufficient_quota")),
        "{error}"
    );
    assert_eq!(app.model.embedded().len(), 0);
    let (code, _) = patch(&app, &made["id"], &json!({"amount": 1_000})).await;
    assert_eq!(code, 200);
    let (code, list) = app.owner().post("/v1/embeddings", &wish).await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(
        spent(&app, &made["id"]).await,
        list["usage"]["total_tokens"].as_i64().expect("a number")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_notes_are_searched_by_words() {
    let vectors = json!({"agents": {"defaults": {"memorySearch": {"provider": "mock", "model": "embed-1"}}}});
    let app = TestApp::start_with(&vectors, &[]).await;
    let mut operator = app.operator().await;
    limit(app.owner(), &tokens("user", 1)).await;
    let note = json!({"agentId": "main", "name": "MEMORY.md", "content": "We had pasta on Friday."});
    operator.call("agents.files.set", note).await.expect("writes");
    let query = json!({"query": "pasta", "agentId": "main"});
    let found = operator.call("memory.search", query).await.expect("no failure");
    assert_eq!(
        (&found["searchMode"], &found["results"][0]["path"]),
        (&json!("fts-only"), &json!("MEMORY.md")),
        "{found}"
    );
    assert!(found.to_string().contains("limit of 1 tokens for this user"), "{found}");
    assert_eq!(app.model.embedded().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_counted_by_the_models_price_and_a_model_without_one_is_not_called() {
    let priced = |cost: Value| {
        json!({"models": {"providers": {"mock": {"models": [
            {"id": "mock-1", "name": "Mock", "contextWindow": 128_000, "maxTokens": 4096, "cost": cost},
            {"id": "mock-2", "name": "No price", "contextWindow": 128_000, "maxTokens": 4096}]}}}})
    };
    let app = TestApp::start_with(&priced(json!({"input": 3, "output": 15})), &[]).await;
    let body = json!({"kind": "user", "unit": "money", "amount": 0.25, "period": "day"});
    let made = limit(app.owner(), &body).await;
    assert_eq!((&made["amount"], &made["spent"]), (&json!(0.25), &json!(0.0)), "{made}");
    let mut operator = app.operator().await;
    assert_eq!(ask(&mut operator, "main", "one", "#one").await["status"], "ok");
    let rows = app.rows().await;
    becomes("holds", 0, || rows.count("budget_hold")).await;
    // 12 tokens in at 3 USD a million, 3 out at 15.
    assert_eq!(seen(&app, &made["id"]).await["spent"], json!(0.000_081));
    let params = json!({"sessionKey": "other", "message": "/model mock/mock-2", "idempotencyKey": "choose"});
    operator.call("chat.send", params).await.expect("accepted");
    app.settled().await;
    let ended = ask(&mut operator, "other", "two", "#two").await;
    let sentence = ended["error"].as_str().unwrap_or_default();
    assert!(
        sentence.contains("nobody has said what the model mock/mock-2 costs")
            && sentence.contains("cost: input and output"),
        "{ended}"
    );
    assert_eq!(app.model.calls().len(), 1);
    rows.execute("UPDATE budget_use SET spent = 249999").await;
    let ended = ask(&mut operator, "main", "three", "#three").await;
    let sentence = ended["error"].as_str().expect("a sentence");
    assert!(
        sentence.starts_with(
            "The daily limit of 0.25 USD for this user has no room for this answer (0.249999 of 0.25 used)."
        ),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_and_other_peoples_limits() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let tenant = limit(app.owner(), &tokens("tenant", 1_000)).await;
    for body in [
        json!({}),
        json!([]),
        json!({"kind": "user", "unit": "tokens", "amount": 1, "period": "month", "extra": 1}),
        json!({"kind": "planet", "unit": "tokens", "amount": 1, "period": "month"}),
        json!({"kind": "user", "unit": "hearts", "amount": 1, "period": "month"}),
        json!({"kind": "user", "unit": "tokens", "amount": 1, "period": "year"}),
        json!({"kind": "user", "unit": "tokens", "amount": -1, "period": "month"}),
        json!({"kind": "user", "unit": "tokens", "amount": 0.5, "period": "month"}),
        json!({"kind": "user", "unit": "tokens", "amount": 1e300, "period": "month"}),
        json!({"kind": "user", "unit": "tokens", "amount": "1", "period": "month"}),
        json!({"kind": "user", "unit": "money", "amount": 0.000_000_1, "period": "month"}),
        json!({"kind": "user", "unit": "tokens", "amount": 1, "period": "month", "timeZone": "../../etc/passwd"}),
        json!({"kind": "user", "unit": "tokens", "amount": 1, "period": "month", "target": "main"}),
        json!({"kind": "tenant", "unit": "tokens", "amount": 1, "period": "month", "user": "x"}),
        json!({"kind": "agent", "unit": "tokens", "amount": 1, "period": "month", "target": "a".repeat(5_000)}),
    ] {
        let (code, answer) = app.owner().post("/api/budgets", &body).await;
        assert_eq!(code, 400, "{answer}");
    }
    let nobody = json!({"kind": "user", "unit": "tokens", "amount": 1, "period": "month", "user": "' OR 1=1 --"});
    assert_eq!(app.owner().post("/api/budgets", &nobody).await.0, 404);
    assert_eq!(app.owner().post("/api/budgets", &tokens("tenant", 5)).await.0, 409);
    for body in [
        json!({}),
        json!({"amount": 0}),
        json!({"amount": null, "enabled": null}),
        json!({"kind": "user"}),
    ] {
        assert_eq!(patch(&app, &tenant["id"], &body).await.0, 400, "{body}");
    }
    let path = format!("/api/budgets/{}", tenant["id"].as_str().expect("an id"));
    let raise = json!({"amount": 1_000_000});
    for (tenant, email, refused, listed) in [("demo", MEMBER, 403, 1), ("other", STRANGER, 404, 0)] {
        let person = app.person(tenant, email);
        let code = status(person.request(Method::PATCH, &path).json(&raise)).await;
        assert_eq!(code, refused, "{email}");
        assert_eq!(status(person.request(Method::DELETE, &path)).await, refused, "{email}");
        let (_, list) = person.get("/api/budgets").await;
        assert_eq!(
            list["budgets"].as_array().map(Vec::len),
            Some(listed),
            "{email}: {list}"
        );
        assert!(!list.to_string().contains("\"editable\":true"), "{list}");
    }
    let member = app.person("demo", MEMBER);
    assert_eq!(member.post("/api/budgets", &tokens("tenant", 5)).await.0, 403);
    let own = limit(app.person("demo", MEMBER), &tokens("user", 50)).await;
    assert_eq!((&own["origin"], &own["editable"]), (&json!("user"), &json!(true)));
    // A limit of the owner's own agent is nobody else's business.
    let mut agents = tokens("agent", 10);
    agents["target"] = json!("main");
    let agents = limit(app.owner(), &agents).await;
    let path = format!("/api/budgets/{}", agents["id"].as_str().expect("an id"));
    assert_eq!(status(member.request(Method::DELETE, &path)).await, 404);
    // A limit is felt by whom it is for.
    let scopes = ["operator.read", "operator.write"];
    let mut theirs = app.operator_as("demo", MEMBER, &scopes).await.expect("connects");
    let ended = ask(&mut theirs, "main", "m1", "#member").await;
    assert_eq!(ended["status"], "error", "{ended}");
    assert_eq!(status(app.owner().request(Method::DELETE, &path)).await, 204);
    assert_eq!(status(app.owner().request(Method::DELETE, &path)).await, 404);
    let (_, audit) = app.owner().get("/api/audit").await;
    for action in ["budget.create", "budget.delete"] {
        assert!(audit.to_string().contains(action), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sets_limits_of_a_running_server() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    assert_eq!(ask(&mut operator, "main", "one", "#one").await["status"], "ok");
    let set = |amount: &str| {
        app.binary.cli(&[
            "budget", "set", "--tenant", "demo", "--user", OWNER, "--tokens", amount, "--per", "day",
        ])
    };
    let id = set("10");
    // The server sees it within a second.
    let mut turn = 0;
    loop {
        turn += 1;
        let run = format!("cli-{turn}");
        if ask(&mut operator, "main", &run, "#two").await["status"] == "error" {
            break;
        }
        assert!(turn < 1_000, "the limit is never seen");
    }
    assert_eq!(set("1000000"), id, "the same limit with another amount");
    let list = app.binary.cli(&["budget", "list", "--tenant", "demo", "--json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(
        (&list[0]["id"], &list[0]["amount"], &list[0]["user"]),
        (&json!(id), &json!(1_000_000.0), &json!(OWNER))
    );
    assert!(
        app.binary
            .cli(&["budget", "list", "--tenant", "demo"])
            .contains("of 1000000 tokens used, per day")
    );
    app.binary.cli(&["budget", "remove", "--tenant", "demo", &id]);
    assert_eq!(
        app.rows().await.count("budget").await + app.rows().await.count("budget_use").await,
        0
    );
}
