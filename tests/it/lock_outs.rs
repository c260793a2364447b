//! Disabled users and suspended tenants: everything stops wherever the change was made, and comes back.

use reqwest::Method;
use reqwest::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, OWNER, STRANGER, TestApp, answered};
use crate::support::node::{Device, TestNode};
use crate::support::platform::Trouble;
use crate::support::wait::becomes;
use crate::support::webhook::{send, status};

const ADMIN: &str = "ada@demo.local";
const CHANGED: (u16, &str) = (4001, "gateway auth changed");

/// `user disable|enable`, in a process of its own.
fn set_user(app: &TestApp, verb: &str, email: &str) -> Value {
    let said = app
        .binary
        .cli(&["user", verb, "--tenant", "demo", "--user", email, "--json"]);
    serde_json::from_str(&said).expect("JSON")
}

fn set_tenant(app: &TestApp, verb: &str, slug: &str) -> Value {
    serde_json::from_str(&app.binary.cli(&["tenant", verb, slug, "--json"])).expect("JSON")
}

/// A one-time code that signs somebody in.
fn sign_in_code(app: &TestApp, tenant: &str, email: &str) -> String {
    let link = app.binary.cli(&["sign-in-link", "--tenant", tenant, "--user", email]);
    link.rsplit_once("sign-in=").expect("a link").1.to_owned()
}

/// A browser's cookie.
async fn signed_in(app: &TestApp, email: &str) -> String {
    let body = json!({"code": sign_in_code(app, "demo", email)});
    let request = app.anonymous().request(Method::POST, "/api/session").json(&body);
    let response = send(request).await;
    assert_eq!(response.status(), 200);
    let cookie = response.headers()[SET_COOKIE].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

async fn with_cookie(app: &TestApp, cookie: &str) -> (u16, Value) {
    let request = app.anonymous().request(Method::GET, "/api/session");
    answered(request.header(COOKIE, cookie)).await
}

async fn with_token(app: &TestApp, email: &str) -> u16 {
    app.person("demo", email).get("/api/session").await.0
}

/// Pairs a device of the admin's.
async fn paired(app: &TestApp, admin: &mut TestNode, device: &Device) -> TestNode {
    let auth = json!({"token": app.token(ADMIN)});
    let refused = app
        .device_operator(device, auth.clone(), &["operator.read"])
        .await
        .err()
        .expect("a new device waits");
    let request = json!({"requestId": refused["details"]["requestId"]});
    admin.call("device.pair.approve", request).await.expect("approves");
    app.device_operator(device, auth, &["operator.read"])
        .await
        .expect("is paired")
}

async fn sends(operator: &mut TestNode, run: &str, message: &str) {
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

/// How often the model was asked this.
fn asked(app: &TestApp, part: &str) -> usize {
    let calls = app.model.calls();
    calls.iter().filter(|call| call.to_string().contains(part)).count()
}

/// State and reason of the inbox rows whose payload holds this.
async fn inbox(app: &TestApp, part: &str) -> Vec<String> {
    let sql =
        format!("SELECT state || coalesce(': ' || reason, '') FROM inbox WHERE payload LIKE '%{part}%' ORDER BY id");
    app.rows().await.column(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_out_everywhere_and_loses_nothing() {
    let mut app = TestApp::start().await;
    app.add_user("demo", ADMIN, "admin");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.read"])
        .await
        .expect("connects");
    let mut admin = app.operator_as("demo", ADMIN, ALL_SCOPES).await.expect("connects");
    app.import("demo", ADMIN, &json!({"channels": null}));
    let cookie = signed_in(&app, ADMIN).await;
    let unused = sign_in_code(&app, "demo", ADMIN);
    let (known, unknown) = (Device::generate(), Device::generate());
    let mut phone = paired(&app, &mut admin, &known).await;
    let device_token = json!({"deviceToken": phone.hello["auth"]["deviceToken"]});
    let token = json!({"token": app.token(ADMIN)});
    let waits = app.device_operator(&unknown, token, &["operator.read"]).await;
    assert!(waits.is_err(), "a new device waits");
    let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": "node", "includeQr": false, "joinUrl": true});
    let code = admin.call("device.pair.setupCode", wish).await.expect("makes one");
    let join = code["joinUrl"].as_str().expect("a URL");
    let join = join
        .split_once(&app.binary.address().to_string())
        .expect("is here")
        .1
        .to_owned();
    // A chat of theirs with the owner's bot, and a turn that goes on.
    app.link(ADMIN, 700).await;
    sends(&mut admin, "long", "[gate] #long").await;
    app.model.asked("#long").await;

    assert_eq!(set_user(&app, "disable", ADMIN)["disabled"], true);
    let closed = (CHANGED.0, CHANGED.1.to_owned());
    assert_eq!(admin.closed().await, closed);
    assert_eq!(phone.closed().await, closed);
    becomes("answers being streamed", 0, || async { app.model.running() }).await;
    assert_eq!(with_cookie(&app, &cookie).await.0, 401);
    assert_eq!(with_token(&app, ADMIN).await, 401);
    assert!(app.operator_as("demo", ADMIN, &["operator.read"]).await.is_err());
    let refused = app
        .device_operator(&known, device_token.clone(), &["operator.read"])
        .await;
    let refused = refused.err().expect("is refused");
    assert_eq!(refused["details"]["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
    assert_eq!(app.anonymous().get(&join).await.0, 404);
    let late = json!({"code": unused});
    assert_eq!(app.anonymous().post("/api/session", &late).await.0, 401);
    let rows = app.rows().await;
    for table in ["setup_code", "device_request", "sign_in_code", "web_session"] {
        let theirs = format!("{table} WHERE user_id = (SELECT id FROM \"user\" WHERE email = '{ADMIN}')");
        assert_eq!(rows.count(&theirs).await, 0, "{table}");
    }
    let link = app.binary.run(&["sign-in-link", "--tenant", "demo", "--user", ADMIN]);
    assert!(!link.status.success() && link.stderr.contains("disabled"), "{link:?}");
    // Their chat is heard and left; what was accepted before waits; everybody else is served.
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #linked")).await, 200);
    assert_eq!(inbox(&app, "#linked").await, ["skipped: the user is disabled"]);
    assert_eq!(status(app.webhooks().telegram(3, 701, "hello #guest")).await, 200);
    app.platform.message("701", "re: #guest").await;
    assert_eq!(inbox(&app, "#long").await, ["running"]);
    let given_back = "inbox WHERE payload LIKE '%#long%' AND attempts = 0";
    assert_eq!(rows.count(given_back).await, 1, "being cut off is no attempt");
    for other in [&mut owner, &mut stranger] {
        assert_eq!(other.call("health", json!({})).await.expect("is served")["ok"], true);
    }
    assert_eq!(asked(&app, "#long"), 1);

    // Twice is once.
    set_user(&app, "disable", ADMIN);
    assert_eq!(set_user(&app, "enable", ADMIN)["disabled"], false);
    becomes("status of the token", 200, || async { with_token(&app, ADMIN).await }).await;
    let mut admin = app
        .operator_as("demo", ADMIN, ALL_SCOPES)
        .await
        .expect("connects again");
    app.device_operator(&known, device_token, &["operator.read"])
        .await
        .expect("the device is still paired");
    assert_eq!(with_cookie(&app, &cookie).await.0, 401, "browsers sign in anew");
    becomes("times the model was asked", 2, || async { asked(&app, "#long") }).await;
    app.model.release(1000);
    app.settled().await;
    assert_eq!(inbox(&app, "#long").await, ["done"]);
    let history = admin
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("history");
    let answers = history["messages"].to_string();
    assert_eq!(answers.matches("re: #long").count(), 1, "{answers}");
    assert_eq!(status(app.webhooks().telegram(4, 700, "hello #back")).await, 200);
    app.platform.message("700", "re: #back").await;
    assert!(
        !app.platform
            .messages("700")
            .iter()
            .any(|call| call.text.contains("#linked"))
    );
    let (_, audit) = app.owner().get("/api/audit").await;
    let changes: Vec<&Value> = audit["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["action"] == "user.update")
        .map(|entry| &entry["detail"]["value"])
        .collect();
    assert_eq!(changes, ["active", "disabled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenant_is_not_served_and_loses_nothing() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("connects");
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.read"])
        .await
        .expect("connects");
    let cookie = signed_in(&app, OWNER).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #held")).await, 200);
    app.model.asked("#held").await;

    assert_eq!(set_tenant(&app, "suspend", "demo")["suspended"], true);
    let closed = (CHANGED.0, CHANGED.1.to_owned());
    assert_eq!(owner.closed().await, closed);
    assert_eq!(member.closed().await, closed);
    becomes("answers being streamed", 0, || async { app.model.running() }).await;
    let refused = app.operator_as("demo", OWNER, &["operator.read"]).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("403")));
    for (code, body) in [
        with_cookie(&app, &cookie).await,
        app.owner().get("/api/session").await,
        app.anonymous().post("/api/session", &json!({"code": "x"})).await,
        app.anonymous().get("/j/made-up").await,
    ] {
        assert_eq!(
            (code, &body["error"]["message"]),
            (403, &json!("this workspace is suspended"))
        );
    }
    assert_ne!(
        status(app.anonymous().request(Method::GET, "/")).await,
        403,
        "the page says it, too"
    );
    // The platform keeps what it was told to bring again: proven or not, nothing is looked at.
    for request in [
        app.webhooks().telegram(2, 700, "hello #late"),
        app.webhooks().slack(1, "D0ADA0001", "hello #late"),
        app.webhooks().post("/webhooks/telegram", "{}".to_owned()),
    ] {
        let response = send(request).await;
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert!(!response.headers().contains_key("x-openclaw-delivery-accepted"));
    }
    assert_eq!(inbox(&app, "#late").await, [""; 0]);
    assert_eq!(stranger.call("health", json!({})).await.expect("is served")["ok"], true);

    // Not after a restart either. The other tenant's turn comes after everything the start did.
    app.binary.kill();
    app.binary.start();
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    sends(&mut stranger, "theirs", "hello").await;
    stranger.chat_end("theirs").await;
    assert_eq!(asked(&app, "#held"), 1);
    assert_eq!(inbox(&app, "#held").await, ["running"]);

    assert_eq!(set_tenant(&app, "resume", "demo")["suspended"], false);
    becomes("times the model was asked", 2, || async { asked(&app, "#held") }).await;
    app.model.release(1000);
    app.platform.message("700", "re: #held").await;
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #late")).await, 200);
    app.platform.message("700", "re: #late").await;
    app.settled().await;
    assert_eq!(with_cookie(&app, &cookie).await.0, 200);
    app.operator().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_owners_bot_says_nothing_until_they_are_back() {
    let mut app = TestApp::start().await;
    app.add_user("demo", ADMIN, "owner");
    // A reply that waits for its time when its user is disabled.
    let wait =
        json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 2}});
    app.platform.trouble("sendMessage", Trouble::Answer(429, wait));
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #first")).await, 200);
    let rows = app.rows().await;
    becomes("replies put off", 1, || async {
        rows.count("outbox WHERE state = 'pending' AND next_attempt_at > 0")
            .await
    })
    .await;
    set_user(&app, "disable", OWNER);
    becomes("status of the token", 401, || async { with_token(&app, OWNER).await }).await;
    let due: Vec<i64> = rows.column("SELECT next_attempt_at FROM outbox").await;
    becomes("the time has come", true, || async {
        claw_actors::clock::now_ms() > due[0] + 1000
    })
    .await;
    assert_eq!(status(app.webhooks().telegram(2, 701, "hello #second")).await, 200);
    assert_eq!(inbox(&app, "#second").await, ["skipped: the user is disabled"]);
    assert_eq!(app.platform.messages("700").len(), 0);
    assert_eq!(rows.count("outbox WHERE state = 'pending'").await, 1);
    set_user(&app, "enable", OWNER);
    app.platform.message("700", "re: #first").await;
    assert_eq!(status(app.webhooks().telegram(3, 701, "hello #third")).await, 200);
    app.platform.message("701", "re: #third").await;
    app.settled().await;
    assert_eq!(app.platform.messages("701").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_persons_reply_waits_for_the_bots_owner() {
    let mut app = TestApp::start().await;
    app.add_user("demo", ADMIN, "owner");
    app.link(ADMIN, 700).await;
    let wait =
        json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 2}});
    app.platform.trouble("sendMessage", Trouble::Answer(429, wait));
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #linked")).await, 200);
    let rows = app.rows().await;
    let put_off = "outbox WHERE state = 'pending' AND next_attempt_at > 0";
    becomes("replies put off", 1, || async { rows.count(put_off).await }).await;
    set_user(&app, "disable", OWNER);
    becomes("status of the token", 401, || async { with_token(&app, OWNER).await }).await;
    let due: Vec<i64> = rows
        .column("SELECT next_attempt_at FROM outbox WHERE next_attempt_at > 0")
        .await;
    becomes("the time has come", true, || async {
        claw_actors::clock::now_ms() > due[0] + 1000
    })
    .await;
    assert_eq!(rows.count("outbox WHERE state = 'pending'").await, 1);
    set_user(&app, "enable", OWNER);
    app.platform.message("700", "re: #linked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_disabled_user_fire_when_they_are_back() {
    let mut app = TestApp::start().await;
    app.add_user("demo", ADMIN, "admin");
    let mut owner = app.operator().await;
    let mut admin = app.operator_as("demo", ADMIN, ALL_SCOPES).await.expect("connects");
    let at = chrono::DateTime::from_timestamp_millis(claw_actors::clock::now_ms() + 4000).expect("a time");
    for (who, name) in [(&mut admin, "theirs"), (&mut owner, "ours")] {
        let job =
            json!({"name": name, "schedule": {"kind": "at", "at": at.to_rfc3339()}, "message": format!("#{name}")});
        who.call("cron.add", job).await.expect("adds");
    }
    set_user(&app, "disable", ADMIN);
    assert_eq!(admin.closed().await.0, 4001);
    app.model.asked("#ours").await;
    let rows = app.rows().await;
    becomes("held jobs", 1, || async { rows.count("cron_job WHERE held").await }).await;
    assert_eq!((asked(&app, "#theirs"), rows.count("cron_run").await), (0, 1));
    set_user(&app, "enable", ADMIN);
    becomes("firings", 2, || async { rows.count("cron_run").await }).await;
    app.settled().await;
    assert_eq!(inbox(&app, "#theirs").await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_disable_members_and_nobody_above_or_themselves() {
    let mut app = TestApp::start().await;
    app.add_user("demo", ADMIN, "admin");
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let (code, listed) = app.owner().get("/api/users").await;
    assert_eq!(code, 200);
    let users = listed["users"].as_array().expect("users").clone();
    assert!(
        users
            .iter()
            .all(|user| user["disabled"] == false && user["createdAt"].as_i64() > Some(0))
    );
    let id = |email: &str| {
        let user = users.iter().find(|user| user["email"] == email).expect("is listed");
        user["id"].as_str().expect("an id").to_owned()
    };
    let (_, theirs) = app.person("other", STRANGER).get("/api/users").await;
    let foreign = theirs["users"][0]["id"].as_str().expect("an id").to_owned();
    let change = |who: &str, id: &str, body: Value| {
        let request = app
            .person("demo", who)
            .request(Method::PATCH, &format!("/api/users/{id}"));
        answered(request.json(&body))
    };
    let (on, off) = (json!({"disabled": false}), json!({"disabled": true}));
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("connects");
    for (who, id, body, wanted) in [
        (MEMBER, id(ADMIN), &off, 403),
        (ADMIN, id(OWNER), &off, 403),
        (ADMIN, id(ADMIN), &off, 409),
        (OWNER, id(OWNER), &off, 409),
        (OWNER, foreign, &off, 404),
        (OWNER, "none".to_owned(), &off, 404),
        (OWNER, id(MEMBER), &json!({}), 400),
        (OWNER, id(MEMBER), &json!({"disabled": true, "role": "owner"}), 400),
    ] {
        let (code, answer) = change(who, &id, body.clone()).await;
        assert_eq!(code, wanted, "{who} {id} {body}: {answer}");
    }
    assert_eq!(member.call("health", json!({})).await.expect("is served")["ok"], true);
    let (code, changed) = change(ADMIN, &id(MEMBER), off.clone()).await;
    assert_eq!((code, &changed["disabled"]), (200, &json!(true)));
    assert_eq!(member.closed().await, (CHANGED.0, CHANGED.1.to_owned()));
    assert_eq!(with_token(&app, MEMBER).await, 401);
    let (_, listed) = app.owner().get("/api/users").await;
    assert!(listed["users"].to_string().contains("\"disabled\":true"));
    assert_eq!(change(ADMIN, &id(MEMBER), on).await.0, 200);
    assert_eq!(with_token(&app, MEMBER).await, 200);
    // The command line keeps an owner, too.
    let last = app
        .binary
        .run(&["user", "disable", "--tenant", "demo", "--user", OWNER]);
    assert!(!last.status.success() && last.stderr.contains("last owner"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_image_is_its_owners_alone() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    // What the bytes begin with counts.
    let image = json!({"type": "image", "mimeType": "text/html", "fileName": "x.html", "content": "iVBORw0KGgo="});
    let params = json!({"sessionKey": "main", "message": "look #here", "idempotencyKey": "r", "attachments": [image]});
    operator.call("chat.send", params).await.expect("accepted");
    operator.chat_end("r").await;
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("history");
    let text = history.to_string();
    let stored = text.split_once("\"ref\":\"").expect("a reference").1;
    let path = format!("/api/blobs/{}", stored.split('"').next().expect("an id"));
    let response = send(app.owner().request(Method::GET, &path)).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    let etag = header("etag");
    assert_eq!(response.bytes().await.expect("a body").as_ref(), b"\x89PNG\r\n\x1a\n");
    let again = app.owner().request(Method::GET, &path).header("if-none-match", etag);
    assert_eq!(status(again).await, 304);
    for (who, wanted) in [
        (app.person("demo", MEMBER), 404),
        (app.person("other", STRANGER), 404),
        (app.anonymous(), 401),
    ] {
        assert_eq!(who.get(&path).await.0, wanted);
    }
}
