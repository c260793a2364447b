//! Setup codes and join URLs: one paste, one device, one use.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp, answered};
use crate::support::node::{Device, Hello, TestNode};
use crate::support::wait::becomes;

const COMMANDS: &[&str] = &["system.run", "system.which"];

fn wish(app: &TestApp) -> Value {
    json!({"publicUrl": app.socket_url(), "bootstrapProfile": "node", "includeQr": false, "joinUrl": true})
}

/// What a setup code says.
pub(crate) fn payload(code: &Value) -> Value {
    let bytes = URL_SAFE_NO_PAD
        .decode(code.as_str().expect("a code"))
        .expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The path of a join URL on this server.
fn path(answer: &Value, app: &TestApp) -> String {
    let url = answer["joinUrl"].as_str().expect("a join URL");
    let start = format!("http://{}", app.binary.address());
    url.strip_prefix(&start).expect("on this server").to_owned()
}

/// One half of a phone's app: its node, or its operator.
async fn phone(app: &TestApp, device: &Device, role: &str, auth: &Value, scopes: &[&str]) -> Result<TestNode, Value> {
    let (url, host) = (app.socket_url(), app.host("demo"));
    let (mode, commands, caps): (_, &[&str], &[&str]) = match role {
        "node" => ("node", &["device.info"], &["device"]),
        _ => ("ui", &[], &[]),
    };
    TestNode::connect(&Hello {
        url: &url,
        host: &host,
        auth: auth.clone(),
        role,
        client: "openclaw-ios",
        mode,
        scopes,
        commands,
        caps,
        device: Some(device),
    })
    .await
}

/// The `details.code` a phone is refused with.
fn refusal(outcome: Result<TestNode, Value>) -> String {
    let error = outcome.err().expect("is refused");
    error["details"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_scans_a_code_comes_in_with_both_halves_and_comes_back() {
    const CODE_IS_OVER: &str = "AUTH_BOOTSTRAP_TOKEN_INVALID";
    let app = TestApp::start().await;
    let mut admin = app.operator().await;
    let wish = json!({"publicUrl": app.socket_url(), "includeQr": true, "joinUrl": true});
    let code = admin.call("device.pair.setupCode", wish).await.expect("makes one");
    assert_eq!(code["access"], "full");
    assert!(
        code["qrDataUrl"]
            .as_str()
            .is_some_and(|url| url.starts_with("data:image/png;base64,"))
    );
    // What the picture and the link say is the same.
    let scanned = payload(&code["setupCode"]);
    assert_eq!(app.anonymous().get(&path(&code, &app)).await, (200, scanned.clone()));
    assert_eq!(scanned["url"], app.socket_url());
    let bootstrap = json!({"bootstrapToken": scanned["bootstrapToken"]});
    let (device, other) = (Device::generate(), Device::generate());
    // It is for a device's node half; what cannot use it does not use it up.
    let wrong = phone(&app, &device, "operator", &bootstrap, &["operator.read"]).await;
    assert_eq!(refusal(wrong), CODE_IS_OVER);
    let mut node = phone(&app, &device, "node", &bootstrap, &[]).await.expect("comes in");
    let auth = &node.hello["auth"];
    assert_eq!(
        (&auth["method"], &auth["role"]),
        (&json!("bootstrap-token"), &json!("node"))
    );
    let own = json!({"deviceToken": auth["deviceToken"]});
    let handed = &auth["deviceTokens"][0];
    assert_eq!(
        (&handed["role"], handed["issuedAtMs"].is_i64()),
        (&json!("operator"), true)
    );
    let scopes: Vec<String> = serde_json::from_value(handed["scopes"].clone()).expect("texts");
    assert!(
        scopes.iter().any(|scope| scope == "operator.admin"),
        "full access: {scopes:?}"
    );
    let operators = json!({"deviceToken": handed["deviceToken"]});
    let asked: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let mut screen = phone(&app, &device, "operator", &operators, &asked)
        .await
        .expect("connects");
    assert_eq!(screen.hello["auth"]["scopes"], json!(scopes));
    // Paired in both roles, its surface approved, nothing left to approve, and it can be called.
    let list = screen.call("device.pair.list", json!({})).await.expect("lists");
    let paired = &list["paired"][0];
    assert_eq!((&list["pending"], &paired["deviceId"]), (&json!([]), &json!(device.id)));
    assert_eq!(
        (&paired["roles"], &paired["connected"]),
        (&json!(["node", "operator"]), &json!(true))
    );
    let pending = admin.call("node.pair.list", json!({})).await.expect("lists")["pending"].clone();
    assert_eq!(pending, json!([]));
    let invoke = json!({"nodeId": device.id, "command": "device.info", "idempotencyKey": "phone-1"});
    let id = screen.send("node.invoke", invoke).await;
    let (asked_of, _) = node.invoked_as("device.info").await;
    node.answer_invoke(&asked_of).await;
    assert_eq!(screen.answer(&id).await.expect("answers")["payload"], json!(1));
    // The code is over for everybody, alone and beside a token that is not the device's.
    assert_eq!(
        refusal(phone(&app, &other, "node", &bootstrap, &[]).await),
        CODE_IS_OVER
    );
    assert_eq!(
        refusal(phone(&app, &device, "node", &bootstrap, &[]).await),
        CODE_IS_OVER
    );
    let mut both = bootstrap.clone();
    both["deviceToken"] = own["deviceToken"].clone();
    assert_eq!(
        refusal(phone(&app, &other, "node", &both, &[]).await),
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    assert_eq!(app.anonymous().get(&path(&code, &app)).await.0, 404);
    // Started anew it has its tokens; the older socket gives way. An app that still sends the code beside it comes in too.
    let again = phone(&app, &device, "node", &own, &[]).await.expect("comes back");
    assert_eq!(again.hello["auth"]["method"], "device-token");
    assert_eq!(again.hello["auth"]["deviceToken"], own["deviceToken"]);
    assert_eq!(again.hello["auth"].get("deviceTokens"), None, "handed out once");
    assert_eq!(node.closed().await.0, 1008);
    let mut node = phone(&app, &device, "node", &both, &[]).await.expect("comes back");
    // Removed, it is out with both halves, and the code does not bring it back.
    admin
        .call("device.pair.remove", json!({"deviceId": device.id}))
        .await
        .expect("removes");
    for half in [&mut node, &mut screen] {
        assert_eq!(half.closed().await, (4001, "device removed".to_owned()));
    }
    assert_eq!(
        refusal(phone(&app, &device, "node", &own, &[]).await),
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    assert_eq!(
        refusal(phone(&app, &device, "operator", &operators, &asked).await),
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    assert_eq!(
        refusal(phone(&app, &device, "node", &bootstrap, &[]).await),
        CODE_IS_OVER
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_phones_that_scan_one_code_together_one_comes_in() {
    let app = TestApp::start().await;
    let mut admin = app.operator().await;
    for access in ["limited", "node"] {
        let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": access});
        let code = admin.call("device.pair.setupCode", wish).await.expect("makes one");
        let bootstrap = json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]});
        let devices: Vec<Device> = (0..6).map(|_| Device::generate()).collect();
        let scans = devices
            .iter()
            .map(|device| phone(&app, device, "node", &bootstrap, &[]));
        let (came, refused): (Vec<_>, Vec<_>) = join_all(scans).await.into_iter().partition(Result::is_ok);
        assert_eq!((came.len(), refused.len()), (1, 5), "{access}");
        for outcome in refused {
            assert_eq!(refusal(outcome), "AUTH_BOOTSTRAP_TOKEN_INVALID");
        }
    }
    assert_eq!(app.rows().await.count("device").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_for_which_there_is_no_place_does_not_use_the_code_up() {
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__USER_CONNECTIONS", "2")]).await;
    let (mut admin, other) = (app.operator().await, app.operator().await);
    let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": "node"});
    let code = admin.call("device.pair.setupCode", wish).await.expect("makes one");
    let bootstrap = json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]});
    let device = Device::generate();
    let refused = app.node(&device, bootstrap.clone(), COMMANDS).await;
    let refused = refused.err().expect("there is no place");
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("UNAVAILABLE"), &json!(true)),
        "{refused}"
    );
    let status = json!({"setupId": code["setupId"]});
    let told = admin.call("device.pair.setupStatus", status.clone()).await;
    assert_eq!(told.expect("tells"), json!({}));
    assert_eq!(app.rows().await.count("device").await, 0);
    drop(other);
    becomes("a node in the free place", true, || async {
        app.node(&device, bootstrap.clone(), COMMANDS).await.is_ok()
    })
    .await;
    let completed = admin
        .event("setup.completed", |frame| {
            frame["event"] == "device.pair.setup.completed"
        })
        .await;
    assert_eq!(completed["payload"]["deviceId"], device.id.as_str());
    let told = admin.call("device.pair.setupStatus", status).await;
    assert_eq!(told.expect("tells")["completion"], completed["payload"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_url_brings_one_node_in_ready_to_be_called() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let code = operator
        .call("device.pair.setupCode", wish(&app))
        .await
        .expect("makes one");
    assert_eq!((&code["access"], &code["auth"]), (&json!("node"), &json!("token")));
    assert_eq!(
        (&code["gatewayUrl"], &code["urlSource"]),
        (&json!(app.socket_url()), &json!("request.publicUrl"))
    );
    assert_eq!(code.get("qrDataUrl"), None, "nobody asked for one");
    let said = payload(&code["setupCode"]);
    assert_eq!(said.get("tlsFingerprint"), None, "there is no certificate here");
    assert_eq!(
        (&said["url"], &said["expiresAtMs"]),
        (&code["gatewayUrl"], &code["expiresAtMs"])
    );
    let status = json!({"setupId": code["setupId"]});
    let before = operator
        .call("device.pair.setupStatus", status.clone())
        .await
        .expect("tells");
    assert_eq!(before, json!({}));
    let path = path(&code, &app);
    assert!(
        path.starts_with("/gateway/ws/j/") && path.len() == "/gateway/ws/j/".len() + 22,
        "{path}"
    );
    let (first, given) = app.anonymous().get(&path).await;
    assert_eq!((first, &given), (200, &said));
    let (second, error) = app.anonymous().get(&path).await;
    assert_eq!((second, error), (404, json!({"error": "not_found"})));
    let device = Device::generate();
    let auth = json!({"bootstrapToken": given["bootstrapToken"]});
    let node = app.node(&device, auth.clone(), COMMANDS).await.expect("comes in");
    assert_eq!(node.hello["auth"]["method"], "bootstrap-token");
    assert_eq!(node.hello["auth"].get("deviceTokens"), None, "a node is no operator");
    let completed = operator
        .event("setup.completed", |frame| {
            frame["event"] == "device.pair.setup.completed"
        })
        .await;
    assert_eq!(completed["payload"]["deviceId"], device.id.as_str());
    let after = operator.call("device.pair.setupStatus", status).await.expect("tells");
    assert_eq!(after["completion"], completed["payload"]);
    let nodes = operator.call("node.list", json!({})).await.expect("lists");
    assert_eq!(nodes["nodes"][0]["approvalState"], "approved");
    assert_eq!(nodes["nodes"][0]["commands"], json!(COMMANDS));
    let list = operator.call("device.pair.list", json!({})).await.expect("lists");
    assert_eq!(list["paired"][0]["approvedVia"], "bootstrap");
    assert_eq!(list["pending"], json!([]));
    // Spent, for this device and for any other; the device goes on with its own token.
    let own = json!({"deviceToken": node.hello["auth"]["deviceToken"]});
    drop(node);
    for other in [&device, &Device::generate()] {
        let refused = app.node(other, auth.clone(), COMMANDS).await.err().expect("is used up");
        assert_eq!(refused["details"]["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID", "{refused}");
    }
    app.node(&device, own, COMMANDS).await.expect("comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_opens_its_own_tenant_only_and_not_for_long() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    let code = operator
        .call("device.pair.setupCode", wish(&app))
        .await
        .expect("makes one");
    let path = path(&code, &app);
    let there = app.person("other", STRANGER).request(Method::GET, &path);
    assert_eq!(answered(there).await, (404, json!({"error": "not_found"})));
    let auth = json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]});
    let device = Device::generate();
    let abroad = app.node_at("other", &device, auth.clone(), COMMANDS).await;
    assert_eq!(
        abroad.err().expect("not theirs")["details"]["code"],
        "AUTH_BOOTSTRAP_TOKEN_INVALID"
    );
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.admin"])
        .await
        .expect("connects");
    let status = stranger
        .call("device.pair.setupStatus", json!({"setupId": code["setupId"]}))
        .await;
    assert_eq!(status.expect("tells nothing"), json!({}));
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.admin"])
        .await
        .expect("connects");
    let refused = member
        .call("device.pair.setupCode", wish(&app))
        .await
        .expect_err("may not");
    assert_eq!(refused["details"]["missingScope"], "operator.pairing");
    app.rows()
        .await
        .execute("UPDATE setup_code SET expires_at = created_at")
        .await;
    assert_eq!(app.anonymous().get(&path).await.0, 404);
    let late = app.node(&device, auth, COMMANDS).await;
    assert_eq!(
        late.err().expect("too late")["details"]["code"],
        "AUTH_BOOTSTRAP_TOKEN_INVALID"
    );
    assert_eq!(app.rows().await.count("device").await, 0, "nobody came in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_gets_an_operator_token_beside() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": "limited"});
    let code = operator.call("device.pair.setupCode", wish).await.expect("makes one");
    assert_eq!(code.get("joinUrl"), None, "was not asked for");
    let auth = json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]});
    let device = Device::generate();
    let node = app.node(&device, auth, COMMANDS).await.expect("comes in");
    let token = &node.hello["auth"]["deviceTokens"][0];
    assert_eq!(token["role"], "operator");
    let wanted = ["approvals", "questions", "read", "talk.secrets", "write"].map(|scope| format!("operator.{scope}"));
    assert_eq!(token["scopes"], json!(wanted));
    let with = |scopes: &'static [&'static str]| {
        app.device_operator(&device, json!({"deviceToken": token["deviceToken"]}), scopes)
    };
    let mut phone = with(&["operator.read", "operator.write"]).await.expect("connects");
    phone.call("node.list", json!({})).await.expect("lists");
    let more = with(&["operator.admin"]).await.err().expect("not that much");
    assert_eq!(more["details"]["code"], "AUTH_SCOPE_MISMATCH", "{more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_join_codes_ends_in_429() {
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__FAILED_PROOFS_PER_MINUTE", "5")]).await;
    let mut operator = app.operator().await;
    let code = operator
        .call("device.pair.setupCode", wish(&app))
        .await
        .expect("makes one");
    for at in 0..5 {
        let guess = format!("/j/{at:022}");
        assert_eq!(app.anonymous().get(&guess).await.0, 404);
    }
    assert_eq!(app.anonymous().get("/j/0000000000000000000009").await.0, 429);
    // Not even the right one is looked at now, so it is not spent.
    let path = path(&code, &app);
    assert_eq!(app.anonymous().get(&path).await.0, 429);
    assert_eq!(
        app.rows().await.count("setup_code WHERE fetched_at IS NOT NULL").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_without_an_address_has_the_tenants_own() {
    let app = TestApp::start().await;
    let mut operator = app
        .operator_as("demo", OWNER, &["operator.admin"])
        .await
        .expect("connects");
    let code = operator
        .call("device.pair.setupCode", json!({}))
        .await
        .expect("makes one");
    let port = app.binary.address().port();
    assert_eq!(code["gatewayUrl"], format!("ws://demo.localhost:{port}/gateway/ws"));
    assert_eq!(code["access"], "full");
    for bad in ["ws://acme.example.com", "nonsense", "wss://a.example/?x=1"] {
        let refused = operator.call("device.pair.setupCode", json!({"publicUrl": bad})).await;
        let refused = refused.expect_err(bad);
        assert!(refused["message"].as_str().unwrap().contains("publicUrl"), "{refused}");
    }
}
