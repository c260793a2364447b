//! How many sockets a user and a tenant have, and what becomes of who stops reading.

use futures::future::join_all;
use serde_json::{Value, json};
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

/// Bytes that the server has written to this connection and its peer has not taken; `None` when the server's process has
/// its end no more.
fn untaken(app: &TestApp, peer: u16) -> Option<u64> {
    let ends = (format!(":{:04X}", app.binary.address().port()), format!(":{peer:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells its sockets");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // A socket that no process has any more has no inode.
        let held = fields.len() > 9 && fields[1].ends_with(&ends.0) && fields[2].ends_with(&ends.1) && fields[9] != "0";
        let (written, _) = fields.get(4).filter(|_| held)?.split_once(':')?;
        u64::from_str_radix(written, 16).ok()
    })
}

/// Has the server's process the other end of this connection open.
fn is_held(app: &TestApp, peer: u16) -> bool {
    untaken(app, peer).is_some()
}

/// The port this client has at its own end.
fn port(raw: &Raw) -> u16 {
    let MaybeTlsStream::Plain(socket) = raw.socket.get_ref() else {
        panic!("the server speaks without TLS");
    };
    socket.local_addr().expect("is connected").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_closed_and_the_others_go_on() {
    let settings = [("CLAWCENTRAL__TELEMETRY__METRICS_TOKEN", METRICS)];
    let mut app = TestApp::start_with(&json!({}), &settings).await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    // In before there is much to do.
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(app.operator().await);
    }
    let mut stalled = Raw::open(&app, "demo", &[]).await.expect("opens");
    let params = stalled.params(&hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, None));
    stalled.connect(&params).await.expect("is let in");
    let port = port(&stalled);
    assert!(is_held(&app, port));
    // It asks for more than a kernel keeps, and reads nothing of it. Meanwhile things happen that it wants to hear and that must not be left out.
    for _ in 0..150 {
        stalled.say(r#"{"type":"req","id":"s","method":"config.schema"}"#).await;
    }
    for round in 0.. {
        if !is_held(&app, port) {
            break;
        }
        assert!(round < 1_000, "it is held for ever");
        let seen = others
            .iter_mut()
            .enumerate()
            .map(|(number, other)| other.call("users.prefs.set", json!({"entries": {format!("seen{number}"): round}})));
        for set in join_all(seen).await {
            set.expect("goes on");
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_delays_nobody_and_is_told_everything_later() {
    let mut app = TestApp::start().await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let mut reader = app.operator().await;
    let schema = reader.call("config.schema", json!({})).await.expect("answers");
    // More than a kernel keeps for a peer that reads nothing, and less than the server does.
    let calls = (12 << 20) / schema.to_string().len() + 1;
    assert!(calls < 150, "the schema has become small");
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
        let params = raw.params(&hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, None));
        raw.connect(&params).await.expect("is let in");
        slow.push(raw);
    }
    // All are in before the first asks: what they ask for is work, too.
    for raw in &mut slow {
        for number in 0..calls {
            raw.say(json!({"type": "req", "id": format!("s{number}"), "method": "config.schema"}).to_string())
                .await;
        }
    }
    let behind = |slow: &[Raw]| {
        slow.iter()
            .filter(|raw| untaken(&app, port(raw)).is_some_and(|bytes| bytes > 0))
            .count()
    };
    becomes("clients that are behind", 6, || async { behind(&slow) }).await;
    // Somebody else of the same user has a whole turn, event by event, while none of them reads a byte.
    let words: Vec<String> = (0..20).map(|number| format!("#w{number}")).collect();
    let params = json!({"sessionKey": "main", "message": words.join(" "), "idempotencyKey": "slow-1"});
    reader.call("chat.send", params).await.expect("is taken");
    let (mut seq, mut text) = (None::<u64>, Value::Null);
    while text.is_null() {
        let event = reader
            .event("the turn's events", |frame| frame["seq"].is_number())
            .await;
        let number = event["seq"].as_u64().expect("a number");
        assert!(seq.is_none_or(|before| number == before + 1), "{seq:?} {event}");
        seq = Some(number);
        if event["event"] == "chat" && event["payload"]["state"] == "final" {
            text = event["payload"]["message"]["content"][0]["text"].clone();
        }
    }
    assert_eq!(text, format!("re: {} end", words.join(" ")));
    neighbour.is_served(&app).await;
    assert_eq!(behind(&slow), 6, "they are where they were");
    // Then they read: all their answers, and the same turn to its end.
    for mut raw in slow {
        let (mut answers, mut ended) = (0, false);
        while answers < calls || !ended {
            let frame = raw.frame().await.expect("was not closed");
            answers += usize::from(frame["type"] == "res" && frame["ok"] == true);
            ended |= frame["event"] == "chat" && frame["payload"]["state"] == "final";
        }
    }
}
