//! How many sockets a user and a tenant have, and what becomes of who stops reading.

use serde_json::json;
use tokio_tungstenite::MaybeTlsStream;

use super::{Neighbour, hello};
use crate::support::app::{ALL_SCOPES, MEMBER, OWNER, TestApp, http_client};
use crate::support::raw::Raw;
use crate::support::wait::becomes;

const METRICS: &str = "a-token-for-metrics";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_tenant_have_so_many_sockets_and_a_neighbour_notices_nothing() {
    let settings = [
        ("CLAWCENTRAL__LIMITS__USER_CONNECTIONS", "3"),
        ("CLAWCENTRAL__LIMITS__TENANT_CONNECTIONS", "4"),
    ];
    let mut app = TestApp::start_with(&json!({}), &settings).await;
    app.add_user("demo", MEMBER, "member");
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let mut held = vec![app.operator().await, app.operator().await, app.operator().await];
    let refused = async |email: &str, whose: &str| {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("the upgrade is allowed");
        let params = raw.params(&hello(json!({"token": app.token(email)}), &["operator.read"], None));
        let error = raw.connect(&params).await.expect_err("there is no place");
        assert_eq!(error["code"], "UNAVAILABLE", "{error}");
        assert_eq!(
            (&error["retryable"], &error["retryAfterMs"]),
            (&json!(true), &json!(5000))
        );
        let reason = format!("too many connections of {whose}, try again later");
        assert_eq!(raw.closed().await, (1013, reason));
    };
    refused(OWNER, "this user").await;
    let member = async || app.operator_as("demo", MEMBER, &["operator.read"]).await;
    held.push(member().await.expect("has places of their own"));
    refused(MEMBER, "this workspace").await;
    neighbour.is_served(&app).await;
    assert_eq!(held[0].call("health", json!({})).await.expect("goes on")["ok"], true);
    drop(held.remove(0));
    becomes("a socket in the free place", true, || async { member().await.is_ok() }).await;
}

/// Has the server's process the other end of this connection open.
fn is_held(app: &TestApp, peer: u16) -> bool {
    let ends = (format!(":{:04X}", app.binary.address().port()), format!(":{peer:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells its sockets");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // A socket that no process has any more has no inode.
        fields.len() > 9 && fields[1].ends_with(&ends.0) && fields[2].ends_with(&ends.1) && fields[9] != "0"
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_closed_and_the_others_go_on() {
    let settings = [("CLAWCENTRAL__TELEMETRY__METRICS_TOKEN", METRICS)];
    let mut app = TestApp::start_with(&json!({}), &settings).await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let mut operator = app.operator().await;
    let mut stalled = Raw::open(&app, "demo", &[]).await.expect("opens");
    let params = stalled.params(&hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, None));
    stalled.connect(&params).await.expect("is let in");
    let MaybeTlsStream::Plain(socket) = stalled.socket.get_ref() else {
        panic!("the server speaks without TLS");
    };
    let port = socket.local_addr().expect("is connected").port();
    assert!(is_held(&app, port));
    // It asks for much, and reads nothing of it.
    for _ in 0..200 {
        stalled.say(r#"{"type":"req","id":"s","method":"config.schema"}"#).await;
    }
    // Meanwhile things happen that it wants to hear and that must not be left out.
    for number in 0.. {
        if !is_held(&app, port) {
            break;
        }
        let entries = json!({"entries": {"seen": number}});
        operator.call("users.prefs.set", entries).await.expect("goes on");
    }
    neighbour.is_served(&app).await;
    let metrics = http_client()
        .get(format!("http://{}/metrics", app.binary.address()))
        .bearer_auth(METRICS)
        .send()
        .await
        .expect("answers");
    let metrics = metrics.text().await.expect("a text");
    assert!(
        metrics
            .lines()
            .any(|line| line == "claw_gateway_slow_consumers_total 1"),
        "{metrics}"
    );
}
