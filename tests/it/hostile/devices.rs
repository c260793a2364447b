//! Who decides about which devices of a user.

use serde_json::{Value, json};

use super::paired;
use crate::joining::payload;
use crate::support::app::{ALL_SCOPES, MEMBER, TestApp};
use crate::support::node::{Device, TestNode};

const COMMANDS: &[&str] = &["system.which"];
/// All that a member has as an operator.
const ALL_OF_A_MEMBER: &[&str] = &[
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.questions",
    "operator.pairing",
    "operator.talk.secrets",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_device_manages_no_wider_one() {
    let app = TestApp::start().await;
    let (narrow, wide, node) = (Device::generate(), Device::generate(), Device::generate());
    let mut connected = app.ready_node(&node, COMMANDS).await;
    let scopes = &["operator.read", "operator.pairing"];
    let token = paired(&app, &narrow, scopes).await;
    let wide_token = paired(&app, &wide, ALL_SCOPES).await;
    let auth = json!({"deviceToken": token});
    let mut own = app.device_operator(&narrow, auth, scopes).await.expect("is paired");
    for (method, device, role, refusal) in [
        ("device.pair.remove", &wide, "operator", "device pairing removal denied"),
        ("device.pair.remove", &node, "node", "device pairing removal denied"),
        ("device.pair.rename", &wide, "operator", "device pairing rename denied"),
        ("device.token.rotate", &wide, "operator", "device token rotation denied"),
        ("device.token.rotate", &node, "node", "device token rotation denied"),
        ("device.token.rotate", &narrow, "node", "device token rotation denied"),
        (
            "device.token.revoke",
            &wide,
            "operator",
            "device token revocation denied",
        ),
        ("device.token.revoke", &narrow, "node", "device token revocation denied"),
        ("node.pair.remove", &node, "node", "node pairing removal denied"),
        ("node.rename", &node, "node", "node rename denied"),
    ] {
        let params =
            json!({"deviceId": device.id, "nodeId": device.id, "role": role, "label": "mine", "displayName": "mine"});
        let refused = own.call(method, params).await.expect_err(method);
        assert_eq!(refused["message"], refusal, "{method}");
    }
    assert_eq!(connected.call("health", json!({})).await.expect("goes on")["ok"], true);
    // What is its own it may change, and who has everything may change everything.
    let itself = json!({"deviceId": narrow.id, "role": "operator"});
    let rotated = own.call("device.token.rotate", itself).await.expect("its own token");
    assert_eq!(rotated["tokenDelivery"], "in-band");
    let mut admin = app
        .device_operator(&wide, json!({"deviceToken": wide_token}), ALL_SCOPES)
        .await
        .expect("is as it was");
    for device in [&narrow, &node] {
        let removed = admin.call("device.pair.remove", json!({"deviceId": device.id})).await;
        removed.expect("an admin's device removes others");
    }
    assert_eq!(connected.closed().await.0, 4001);
}

/// Calls a node that answers `1`.
async fn calls(caller: &mut TestNode, node: &mut TestNode, device: &Device, key: &str) -> Value {
    let id = caller.send("node.invoke", invoke(device, key)).await;
    let (asked, _) = node.invoked_as("system.which").await;
    node.answer_invoke(&asked).await;
    caller.answer(&id).await.expect("answers")["payload"].clone()
}

fn invoke(device: &Device, key: &str) -> Value {
    json!({"nodeId": device.id, "command": "system.which", "params": {}, "idempotencyKey": key})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_pairs_and_calls_nodes_of_their_own_and_reaches_nobody_elses() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let (device, phone, owners) = (Device::generate(), Device::generate(), Device::generate());
    let mut owners_node = app.ready_node(&owners, COMMANDS).await;
    let mut member = app
        .operator_as("demo", MEMBER, ALL_OF_A_MEMBER)
        .await
        .expect("connects");
    let auth = json!({"token": app.token(MEMBER)});
    let refused = app.node(&device, auth.clone(), COMMANDS).await;
    let refused = refused.err().expect("a new device waits");
    let request = json!({"requestId": refused["details"]["requestId"]});
    // A device of theirs that has less than they have lets no node in.
    let screen = Device::generate();
    let mut narrow = None;
    for (scopes, denial) in [
        (["operator.read"].as_slice(), "missing scope: operator.pairing"),
        (&["operator.read", "operator.pairing"], "device pairing approval denied"),
    ] {
        let waits = app.device_operator(&screen, auth.clone(), scopes).await;
        let waits = json!({"requestId": waits.err().expect("has to ask")["details"]["requestId"]});
        member.call("device.pair.approve", waits).await.expect("approves");
        let mut device = app
            .device_operator(&screen, auth.clone(), scopes)
            .await
            .expect("is paired");
        let denied = device.call("device.pair.approve", request.clone()).await;
        assert_eq!(denied.expect_err("has less")["message"], denial);
        narrow = Some(device);
    }
    let mut narrow = narrow.expect("the wider of the two");
    member.call("device.pair.approve", request).await.expect("approves");
    let mut node = app.node(&device, auth, COMMANDS).await.expect("is paired");
    let list = member.call("node.pair.list", json!({})).await.expect("lists");
    let surface = json!({"requestId": list["pending"][0]["requestId"]});
    let denied = narrow.call("node.pair.approve", surface.clone()).await;
    assert_eq!(denied.expect_err("has less")["code"], "FORBIDDEN");
    member.call("node.pair.approve", surface).await.expect("approves");
    assert_eq!(calls(&mut member, &mut node, &device, "m1").await, json!(1));
    // A code of theirs brings in one more.
    let wish = json!({"publicUrl": app.socket_url(), "bootstrapProfile": "node"});
    let code = member
        .call("device.pair.setupCode", wish.clone())
        .await
        .expect("makes one");
    let denied = narrow.call("device.pair.setupCode", wish).await.expect_err("has less");
    assert_eq!(denied["details"]["code"], "MISSING_SCOPE", "{denied}");
    let bootstrap = json!({"bootstrapToken": payload(&code["setupCode"])["bootstrapToken"]});
    let mut second = app.node(&phone, bootstrap, COMMANDS).await.expect("comes in");
    assert_eq!(calls(&mut member, &mut second, &phone, "m2").await, json!(1));
    // Neither of the two people reaches the other's.
    let mut owner = app.operator().await;
    let absent = member.call("node.invoke", invoke(&Device::generate(), "m3")).await;
    let absent = absent.expect_err("nobody has it");
    let foreign = member.call("node.invoke", invoke(&owners, "m4")).await;
    assert_eq!(foreign.expect_err("is the owner's"), absent);
    let foreign = owner.call("node.invoke", invoke(&device, "o1")).await;
    assert_eq!(foreign.expect_err("is the member's"), absent);
    for device in [&owners, &screen] {
        let theirs = json!({"deviceId": device.id, "role": "node"});
        let person = if device.id == owners.id {
            &mut member
        } else {
            &mut owner
        };
        let foreign = person.call("device.pair.remove", theirs).await;
        assert_eq!(foreign.expect_err("is not theirs")["message"], "unknown deviceId");
    }
    assert_eq!(calls(&mut owner, &mut owners_node, &owners, "o2").await, json!(1));
}
