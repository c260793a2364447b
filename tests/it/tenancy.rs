//! Nobody, another tenant and another user of the tenant, at every REST operation and every gateway method.
//!
//! Generated from what the product says it has: the OpenAPI document and `hello-ok.features.methods`. A new operation is
//! covered before anybody writes a test for it; what is meant to be open is listed here with its reason.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp, merge};
use crate::support::node::Device;
use crate::support::webhook::status;

/// Operations that answer without any proof.
const PUBLIC: &[(&str, &str, &str)] = &[
    ("post", "/api/session", "signing in"),
    ("delete", "/api/session", "signing out is harmless for nobody"),
    ("get", "/api/openapi.json", "the contract itself"),
];

/// Methods that can be called without being advertised.
const HIDDEN: [&str; 12] = [
    "chat.inject",
    "device.pair.setupCode",
    "device.pair.setupStatus",
    "node.invoke.cancel",
    "node.invoke.input",
    "poll",
    "sessions.get",
    "sessions.resolve",
    "sessions.steer",
    "sessions.usage",
    "sessions.usage.logs",
    "sessions.usage.timeseries",
];

/// Words that only the owner's data holds.
const MARK: &str = "zebra-quartz-42";

/// Every operation of the document, with its path parameters filled by ids that exist for the owner.
fn operations(app: &TestApp, ids: &Value) -> Vec<(Method, String, String)> {
    let document: Value = serde_json::from_str(&app.binary.cli(&["openapi"])).expect("the document is JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for verb in item.as_object().expect("operations").keys() {
            let Ok(method) = verb.to_ascii_uppercase().parse::<Method>() else {
                continue;
            };
            if ![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&method) {
                continue;
            }
            found.push((method, path.clone(), fill(path, ids)));
        }
    }
    assert!(found.len() >= 10, "the document names too few operations: {found:?}");
    found
}

/// `/api/tokens/{id}` with the owner's id of that kind.
fn fill(path: &str, ids: &Value) -> String {
    let mut filled = String::new();
    let mut before = "";
    for part in path.split('/').skip(1) {
        filled.push('/');
        if part.starts_with('{') {
            filled.push_str(ids[before].as_str().unwrap_or("0190aaaabbbbccccddddeeeeffff0000"));
        } else {
            filled.push_str(part);
            before = part;
        }
    }
    filled
}

/// Data of the owner's with [`MARK`] in it, and ids of it by path segment.
async fn owned(app: &TestApp) -> Value {
    let (code, token) = app.owner().post("/api/tokens", &json!({"name": MARK})).await;
    assert_eq!(code, 201, "{token}");
    let (code, hook) = app.owner().post("/api/hook-tokens", &json!({"name": MARK})).await;
    assert_eq!(code, 201, "{hook}");
    let mut operator = app.operator().await;
    let bytes = STANDARD.encode([b"\x89PNG\r\n\x1a\n".as_slice(), MARK.as_bytes()].concat());
    let image = json!({"type": "image", "mimeType": "image/png", "fileName": "x.png", "content": bytes});
    operator
        .call(
            "chat.send",
            json!({"sessionKey": "main", "message": MARK, "idempotencyKey": "owners-run", "attachments": [image]}),
        )
        .await
        .expect("accepted");
    while operator.chat("owners-run").await["state"] != "final" {}
    // An approval that stays open: somebody is there who could decide it.
    let _approver = app.approver("demo", OWNER).await;
    let wish = json!({"id": "owners-approval", "command": MARK, "timeoutMs": 600_000, "twoPhase": true});
    let id = operator.send("exec.approval.request", wish).await;
    operator.answer(&id).await.expect("waits for a decision");
    operator
        .call("voicewake.set", json!({"triggers": [MARK]}))
        .await
        .expect("sets");
    operator
        .call("agents.create", json!({"name": "vault", "emoji": MARK}))
        .await
        .expect("creates");
    let file = json!({"agentId": "vault", "name": "SOUL.md", "content": MARK});
    operator.call("agents.files.set", file).await.expect("writes");
    let job = json!({"name": MARK, "schedule": {"kind": "every", "everyMs": 86_400_000}, "message": MARK});
    let job = operator.call("cron.add", job).await.expect("adds");
    let limit =
        json!({"kind": "cron", "target": job["id"], "unit": "tokens", "amount": 1_000_000_000, "period": "month"});
    let (code, limit) = app.owner().post("/api/budgets", &limit).await;
    assert_eq!((code, &limit["targetName"]), (201, &json!(MARK)), "{limit}");
    let skill = format!("---\nname: vault\ndescription: {MARK}\n---\n{MARK}\n");
    let request = app.owner().request(Method::POST, "/api/skills");
    let skill = status(request.header("content-type", "text/markdown").body(skill)).await;
    assert_eq!(skill, 201);
    let server = json!({"url": "http://127.0.0.1:9/mcp", "exclude": [MARK]});
    assert_eq!(app.owner().put("/api/mcp-servers/vault", &server).await.0, 200);
    let looked = format!(
        "INSERT INTO heartbeat (tenant_id, user_id, agent_id, every_ms, woken, last, epoch) \
         SELECT tenant_id, id, 'main', 86400000, false, '{{\"ts\": 1, \"preview\": \"{MARK}\"}}', 1 \
         FROM \"user\" WHERE email = '{OWNER}'"
    );
    app.rows().await.execute(&looked).await;
    let began = format!(
        "INSERT INTO subagent (tenant_id, user_id, id, parent_key, child_key, agent_id, task, depth, state, status, \
         cleanup, origin, created_at, ended_at) SELECT tenant_id, id, 'owners-task', 'agent:main:main', \
         'agent:main:subagent:owners-task', 'main', '{MARK}', 1, 'announced', 'ok', 'keep', '{{}}', 1, 2 \
         FROM \"user\" WHERE email = '{OWNER}'"
    );
    app.rows().await.execute(&began).await;
    let task = operator
        .call("tasks.get", json!({"taskId": "spawn:owners-task"}))
        .await
        .expect("there is one");
    assert_eq!(task["task"]["prompt"], MARK);
    let (_, users) = app.owner().get("/api/users").await;
    let owners = users["users"].as_array().expect("users").iter();
    let owner = owners.clone().find(|user| user["email"] == OWNER).expect("the owner");
    let blobs: Vec<String> = app.rows().await.column("SELECT id FROM blob").await;
    let own = app.owner().request(Method::GET, &format!("/api/blobs/{}", blobs[0]));
    assert_eq!(status(own).await, 200);
    json!({"budgets": limit["id"], "hook-tokens": hook["id"], "skills": "vault", "mcp-servers": "vault", "users": owner["id"], "blobs": blobs[0], "cron": job["id"], "tokens": token["id"], "providers": "mock", "channels": "telegram", "telegram": "default", "sessions": "agent:main:main",
        "approvals": "owners-approval"})
}

fn is_public(method: &Method, path: &str) -> bool {
    PUBLIC
        .iter()
        .any(|(verb, open, _)| *open == path && method.as_str().eq_ignore_ascii_case(verb))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_nothing_from_any_operation() {
    let app = TestApp::start().await;
    let ids = owned(&app).await;
    for (method, path, url) in operations(&app, &ids) {
        if is_public(&method, &path) {
            continue;
        }
        let request = app.anonymous().request(method.clone(), &url).json(&json!({}));
        let got = status(request).await;
        assert!(matches!(got, 401 | 403), "{method} {path} as nobody: {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_tenant_is_nobody_here() {
    // One wrong proof per operation: more than a minute allows.
    let setting = ("CLAWCENTRAL__LIMITS__FAILED_PROOFS_PER_MINUTE", "1000");
    let mut app = TestApp::start_with(&json!({}), &[setting]).await;
    app.add_other_tenant();
    let ids = owned(&app).await;
    let before = marks(&app).await;
    for (method, path, url) in operations(&app, &ids) {
        if is_public(&method, &path) {
            continue;
        }
        let here = app
            .anonymous()
            .request(method.clone(), &url)
            .bearer_auth(app.token(STRANGER))
            .json(&json!({}));
        let got = status(here).await;
        assert!(matches!(got, 401 | 403), "{method} {path} with a foreign token: {got}");
        // At their own host the owner's ids do not exist.
        let there = app
            .person("other", STRANGER)
            .request(method.clone(), &url)
            .json(&json!({}));
        let response = there.send().await.expect("answers");
        let (code, body) = (response.status().as_u16(), response.text().await.expect("a body"));
        assert!(!body.contains(MARK), "{method} {path} gave another tenant's data");
        assert!(
            code != 403 || !path.contains('{'),
            "{method} {path}: a foreign row is not found, never forbidden"
        );
        assert!(code < 500, "{method} {path}: {code} {body}");
    }
    assert_eq!(marks(&app).await, before, "somebody else changed the owner's rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_tenant_sees_nothing_of_the_owners() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let ids = owned(&app).await;
    let before = marks(&app).await;
    for (method, path, url) in operations(&app, &ids) {
        let request = app
            .person("demo", MEMBER)
            .request(method.clone(), &url)
            .json(&json!({}));
        let response = request.send().await.expect("answers");
        let (code, body) = (response.status().as_u16(), response.text().await.expect("a body"));
        assert!(
            !body.contains(MARK),
            "{method} {path} gave a member the owner's data: {body}"
        );
        assert!(code < 500, "{method} {path}: {code} {body}");
    }
    assert_eq!(marks(&app).await, before, "a member changed the owner's rows");
}

/// Rows of the owner's that a foreign call must leave alone.
async fn marks(app: &TestApp) -> [i64; 10] {
    let rows = app.rows().await;
    [
        rows.count(&format!("hook_token WHERE name = '{MARK}'")).await,
        rows.count(&format!("api_token WHERE name = '{MARK}' AND revoked_at IS NULL"))
            .await,
        rows.count(&format!("transcript_entry WHERE body LIKE '%{MARK}%'"))
            .await,
        rows.count("provider WHERE enabled").await,
        rows.count("approval WHERE id = 'owners-approval' AND resolved_at IS NULL")
            .await,
        rows.count(&format!("workspace_file WHERE content = '{MARK}'")).await,
        rows.count(&format!(
            "cron_job WHERE CAST(definition AS text) LIKE '%{MARK}%' AND enabled AND epoch = 1"
        ))
        .await,
        rows.count("cron_run").await,
        rows.count("skill WHERE key = 'vault'").await,
        rows.count("budget WHERE amount = 1000000000 AND enabled").await,
    ]
}

/// Parameters that fit many methods: the owner's ids under every usual name.
fn foreign(session: &str, job: &Value) -> Value {
    let mut params = json!({
        "jobId": job, "patch": {"enabled": false, "name": "taken over"}, "mode": "force", "includeDisabled": true,
        "sessionKey": session, "key": session, "keys": [session], "runId": "owners-run", "messageId": "owners-run",
        "message": "hello",
        "id": "owners-approval", "ids": ["owners-approval"], "decision": "allow-once", "setupId": "owners-setup",
        "nodeId": "0".repeat(64), "deviceId": "0".repeat(64), "requestId": "0190aaaabbbbccccddddeeeeffff0000",
        "idempotencyKey": "owners-call", "limit": 50, "timeoutMs": 200, "agentId": "vault", "name": "SOUL.md", "content": "mine", "path": "agents",
        "channel": "telegram", "accountId": "default", "raw": "{}", "baseHash": "0", "enabled": false,
    });
    let more = json!({
        "skillKey": "vault", "skills": [], "taskId": "spawn:owners-task", "query": "zebra quartz", "entryId": "owners-run",
        "leafEntryId": "owners-run", "names": ["mine"], "to": "theirs", "entries": {"mine": 1},
        "targets": [{"key": session}], "artifactId": "0190aaaabbbbccccddddeeeeffff0000", "action": "delete",
        "question": "mine?", "options": ["a", "b"], "params": {"to": "700", "messageId": "1"},
    });
    merge(&mut params, &more);
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_gives_one_user_anothers_data() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let ids = owned(&app).await;
    let session: Vec<String> = app.rows().await.column("SELECT session_id FROM session").await;
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut caller = app
            .operator_as(tenant, email, &["operator.read", "operator.write", "operator.admin"])
            .await
            .expect("connects");
        let methods = methods(&caller.hello);
        for method in methods {
            // Ten calls in a row of the other role's methods would end the connection.
            caller.call("health", json!({})).await.expect("answers");
            for key in ["main", "agent:main:main", &session[0]] {
                let answer = match caller.call(&method, foreign(key, &ids["cron"])).await {
                    Ok(payload) => payload,
                    Err(error) => error,
                };
                assert!(answer["closed"].is_null(), "{method} closed the socket of {email}");
                assert!(
                    !answer.to_string().contains(MARK),
                    "{method} gave {email} the owner's data: {answer}"
                );
            }
        }
    }
    let [
        hooks,
        tokens,
        _,
        providers,
        approvals,
        files,
        jobs,
        fired,
        skills,
        limits,
    ] = marks(&app).await;
    assert_eq!(
        [hooks, tokens, providers, approvals, files, jobs, fired, skills, limits],
        [1, 1, 1, 1, 1, 1, 0, 1, 1]
    );
    let off = "user_config WHERE CAST(doc AS text) LIKE '%vault%enabled%'";
    let owners = "user_id = (SELECT id FROM \"user\" WHERE email = 'owner@demo.local')";
    assert_eq!(app.rows().await.count(&format!("{off} AND {owners}")).await, 0);
    let theirs = format!("\"user\" WHERE email = '{OWNER}' AND heartbeats");
    assert_eq!(
        app.rows().await.count(&theirs).await,
        1,
        "somebody else switched the owner's off"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_works_without_scopes() {
    let app = TestApp::start().await;
    let mut caller = app.operator_as("demo", OWNER, &[]).await.expect("connects");
    for method in methods(&caller.hello.clone()) {
        // Liveness is for every connection; so is what belongs to the node role, refused by role.
        if method == "health" {
            continue;
        }
        let mut answer = caller.call(&method, foreign("main", &json!("owners-job"))).await;
        if answer.as_ref().is_err_and(|error| error["closed"] == true) {
            // Ten calls in a row of the other role's methods ended the connection before this one.
            caller = app.operator_as("demo", OWNER, &[]).await.expect("connects");
            answer = caller.call(&method, foreign("main", &json!("owners-job"))).await;
        }
        let error = answer
            .err()
            .unwrap_or_else(|| panic!("{method} answered a caller without scopes"));
        let text = error.to_string();
        assert!(
            text.contains("missing scope") || text.contains("unauthorized role"),
            "{method}: {text}"
        );
    }
}

/// Each method of the product's own table under each scope alone: what the table says is what is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_opens_with_its_own_scope_and_no_lower_one() {
    let table = include_str!("../../actors/src/gateway/methods.snapshot");
    let rows = table
        .lines()
        .map(|line| line.split_once(' ').expect("a name and its access"));
    let rows: Vec<(&str, &str)> = rows.collect();
    assert!(rows.len() >= 100, "{}", rows.len());
    let app = TestApp::start().await;
    for held in [
        "operator.read",
        "operator.write",
        "operator.approvals",
        "operator.pairing",
    ] {
        let mut caller = app.operator_as("demo", OWNER, &[held]).await.expect("connects");
        for (method, access) in &rows {
            let needed = access.split('"').nth(1);
            let opens = needed == Some(held) || (held == "operator.write" && needed == Some("operator.read"));
            if opens || access.starts_with("ScopeOrNode") {
                continue;
            }
            let mut answer = caller.call(method, foreign("main", &json!("owners-job"))).await;
            if answer.as_ref().is_err_and(|error| error["closed"] == true) {
                // Ten calls in a row of the other role's methods ended the connection before this one.
                caller = app.operator_as("demo", OWNER, &[held]).await.expect("connects");
                answer = caller.call(method, foreign("main", &json!("owners-job"))).await;
            }
            let error = answer.expect_err("is refused").to_string();
            let expected = needed.map_or("unauthorized role".to_owned(), |scope| {
                format!("missing scope: {scope}")
            });
            assert!(error.contains(&expected), "{method} with {held}: {error}");
        }
    }
    // A node has no scopes, and no way to an operator's method.
    let mut node = app.ready_node(&Device::generate(), &["system.which"]).await;
    for (method, _) in rows.iter().filter(|(_, access)| access.starts_with("Scope(")) {
        node.call("health", json!({})).await.expect("answers");
        let error = node.call(method, foreign("main", &json!("owners-job"))).await;
        let error = error.expect_err("is refused").to_string();
        assert!(error.contains("unauthorized role: node"), "{method} as a node: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_open_another_tenants_gateway() {
    let mut app = TestApp::start().await;
    app.add_other_tenant();
    let refused = app.operator_as("demo", STRANGER, &["operator.read"]).await;
    assert!(refused.is_err(), "a foreign token connected");
}

fn methods(hello: &Value) -> Vec<String> {
    let mut methods: Vec<String> = serde_json::from_value(hello["features"]["methods"].clone()).expect("method names");
    assert!(methods.len() >= 20, "{methods:?}");
    methods.extend(HIDDEN.map(str::to_owned));
    methods
}
