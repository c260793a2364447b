//! Proofs that are used again, or somewhere else.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Neighbour, hello, paired};
use crate::joining::payload;
use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
use crate::support::node::Device;
use crate::support::raw::Raw;

/// Opens a socket, and connects there with parameters that were made for another one.
async fn replayed(app: &TestApp, tenant: &str, params: &Value) -> Value {
    let mut raw = Raw::open(app, tenant, &[]).await.expect("opens");
    raw.connect(params).await.expect_err("is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_given_once_and_serves_one_connect() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let own = paired(&app, &device, &["operator.read"]).await;
    let wish = hello(json!({"deviceToken": own}), &["operator.read"], Some(&device));
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(Raw::open(&app, "demo", &[]).await.expect("opens"));
    }
    let nonces: HashSet<&str> = sockets
        .iter()
        .filter_map(|raw| raw.challenge["nonce"].as_str())
        .collect();
    assert_eq!(nonces.len(), 100);
    drop(nonces);
    let mut first = sockets.remove(0);
    let recorded = first.params(&wish);
    first.connect(&recorded).await.expect("is let in");
    // Recorded and sent again: while its socket is open, beside it, and after it has gone.
    let beside = sockets
        .remove(0)
        .connect(&recorded)
        .await
        .expect_err("is another socket's");
    assert_eq!(beside["details"]["code"], "DEVICE_AUTH_NONCE_MISMATCH", "{beside}");
    drop(first);
    let after = replayed(&app, "demo", &recorded).await;
    assert_eq!(
        (&after["message"], &after["details"]),
        (
            &json!("device nonce mismatch"),
            &json!({"code": "DEVICE_AUTH_NONCE_MISMATCH", "reason": "device-nonce-mismatch"})
        )
    );
    // A nonce that was spent on a refused connect is spent: the socket closes, and nothing else is read there.
    let mut spent = sockets.remove(0);
    let good = spent.params(&wish);
    let mut bad = good.clone();
    bad["auth"] = json!({"deviceToken": "wrong"});
    for params in [&bad, &good] {
        spent
            .say(json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string())
            .await;
    }
    let mut answers = Vec::new();
    while let Some(frame) = spent.frame().await {
        answers.push(frame["error"]["details"]["code"].clone());
    }
    assert_eq!(answers, ["DEVICE_AUTH_SIGNATURE_INVALID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_devices_token_opens_nothing_and_counts_as_a_wrong_proof() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let (device, thief) = (Device::generate(), Device::generate());
    let own = paired(&app, &device, &["operator.read"]).await;
    let thiefs = paired(&app, &thief, &["operator.read"]).await;
    assert_ne!(own, thiefs);
    for (auth, role, code) in [
        (json!({"deviceToken": own}), "operator", "AUTH_DEVICE_TOKEN_MISMATCH"),
        (json!({"deviceToken": own}), "node", "AUTH_DEVICE_TOKEN_MISMATCH"),
        (json!({"token": own}), "operator", "AUTH_TOKEN_MISMATCH"),
        (json!({"password": own}), "operator", "AUTH_PASSWORD_MISMATCH"),
        (
            json!({"deviceToken": own, "bootstrapToken": thiefs}),
            "node",
            "AUTH_DEVICE_TOKEN_MISMATCH",
        ),
        (json!({"bootstrapToken": own}), "node", "AUTH_BOOTSTRAP_TOKEN_INVALID"),
    ] {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
        let mut wish = hello(auth, &["operator.read"], Some(&thief));
        wish.role = role;
        let params = raw.params(&wish);
        let refused = raw.connect(&params).await.expect_err("is another device's");
        assert_eq!(refused["details"]["code"], code, "{params}");
        assert_eq!(raw.closed().await.0, 1008);
    }
    // The device itself still comes in with it, and its own is still good for the other.
    for (token, device) in [(&own, &device), (&thiefs, &thief)] {
        app.device_operator(device, json!({"deviceToken": token}), &["operator.read"])
            .await
            .expect("with its own token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_opens_one_tenant_opens_another() {
    let mut app = TestApp::start().await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let device = Device::generate();
    let own = paired(&app, &device, &["operator.read"]).await;
    let mut admin = app.operator().await;
    let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": "node"});
    let code = admin.call("device.pair.setupCode", wish).await.expect("makes one");
    for (auth, code) in [
        (json!({"token": app.token(OWNER)}), "AUTH_TOKEN_MISMATCH"),
        (json!({"password": app.token(OWNER)}), "AUTH_PASSWORD_MISMATCH"),
        (json!({"deviceToken": own}), "AUTH_DEVICE_TOKEN_MISMATCH"),
        (
            json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]}),
            "AUTH_BOOTSTRAP_TOKEN_INVALID",
        ),
    ] {
        let mut raw = Raw::open(&app, "other", &[]).await.expect("opens");
        let params = raw.params(&hello(auth, &["operator.read"], Some(&device)));
        let refused = raw.connect(&params).await.expect_err("is another tenant's");
        assert_eq!(refused["details"]["code"], code, "{params}");
    }
    // A connect of one tenant's socket, sent to another's, and a device that is known here only.
    let mut here = Raw::open(&app, "demo", &[]).await.expect("opens");
    let recorded = here.params(&hello(json!({"deviceToken": own}), &["operator.read"], Some(&device)));
    let there = replayed(&app, "other", &recorded).await;
    assert_eq!(there["details"]["code"], "DEVICE_AUTH_NONCE_MISMATCH");
    here.connect(&recorded).await.expect("is good where it was made");
    let mut there = Raw::open(&app, "other", &[]).await.expect("opens");
    let params = there.params(&hello(
        json!({"token": app.token(STRANGER)}),
        &["operator.read"],
        Some(&device),
    ));
    let refused = there.connect(&params).await.expect_err("nobody paired it there");
    assert_eq!(refused["details"]["code"], "PAIRING_REQUIRED");
    let listed = admin.call("device.pair.list", json!({})).await.expect("lists");
    assert_eq!(listed["pending"], json!([]), "its request is the other tenant's alone");
    neighbour.is_served(&app).await;
}
