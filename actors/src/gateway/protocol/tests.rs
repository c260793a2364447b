//! The wire types against frames of real clients and the real gateway.

use std::time::Duration;

use serde_json::{Value, json};

use super::connect::ConnectParams;
use super::frames::{Parsed, event_frame, parse, response_error, response_ok};
use super::hello::{Auth, Features, HelloOk, Policy, Server, SessionDefaults, Snapshot};
use super::{PROTOCOL, WireError};
use crate::error::Error;
use crate::gateway::messages::StateVersion;

const FRAMES: &str = include_str!("../../../../tests/fixtures/gateway/frames.jsonl");

fn recorded(name: &str) -> Value {
    FRAMES
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .find(|line| line["name"] == name)
        .map(|line| line["frame"].clone())
        .expect("the recording has this frame")
}

fn connect_of(name: &str) -> ConnectParams {
    let Parsed::Request(request) = parse(&recorded(name).to_string()) else {
        panic!("{name} is a request");
    };
    assert_eq!(request.method, "connect");
    ConnectParams::parse(request.params.expect("has params").get()).expect("real clients are understood")
}

#[test]
fn connects_of_real_clients() {
    let node = connect_of("node connect");
    assert_eq!(node.role(), "node");
    assert_eq!(node.client.device_family.as_deref(), Some("Linux"));
    assert_eq!(node.commands.len(), 21);
    assert_eq!(node.device.expect("a device").signed_at, 1_795_358_647_055);

    let old = connect_of("node connect v3");
    assert_eq!((old.min_protocol, old.max_protocol), (3, 3));

    let tui = connect_of("tui connect");
    assert_eq!(tui.role(), "operator");
    assert_eq!(tui.scopes.expect("asks for scopes").len(), 4);

    assert!(connect_of("cli connect").device.is_none());
    assert_eq!(connect_of("control ui connect").client.mode, "webchat");
}

#[test]
fn unknown_connect_fields_are_ignored_and_missing_ones_named() {
    let mut params = recorded("cli connect")["params"].clone();
    params["brandNew"] = json!({"a": 1});
    params["auth"]["other"] = json!("x");
    assert!(ConnectParams::parse(&params.to_string()).is_ok());

    params["device"] = json!({"id": "a", "publicKey": "b", "signature": "c", "signedAt": 1});
    assert_eq!(
        ConnectParams::parse(&params.to_string()).err().as_deref(),
        Some("at /device: must have required property 'nonce'")
    );
    assert_eq!(
        ConnectParams::parse("{}").err().as_deref(),
        Some("must have required property 'minProtocol'")
    );
}

#[test]
fn long_client_texts_are_cut_at_a_character() {
    let mut params = recorded("cli connect")["params"].clone();
    params["client"]["displayName"] = json!("é".repeat(1000));
    let params = ConnectParams::parse(&params.to_string()).expect("parses");
    assert_eq!(params.client.display_name.expect("kept").chars().count(), 128);
}

#[test]
fn what_is_not_a_request() {
    assert!(matches!(parse("not json"), Parsed::Noise));
    assert!(matches!(parse("[1,2]"), Parsed::Noise));
    assert!(matches!(parse(r#"{"type":"event","event":"x"}"#), Parsed::Noise));
    assert!(matches!(parse(r#"{"type":"req","id":"","method":"x"}"#), Parsed::Noise));
    assert!(matches!(parse(r#"{"type":"req","id":"7"}"#), Parsed::Malformed { id, .. } if id == "7"));
    assert!(matches!(
        parse(r#"{"type":"req","id":"7","method":"health"}"#),
        Parsed::Request(_)
    ));
}

#[test]
fn answers_look_like_the_recorded_ones() {
    let expected = recorded("missing scope");
    let frame = response_error("a", &WireError::missing_scope("operator.admin"));
    assert_eq!(serde_json::from_str::<Value>(&frame).expect("JSON"), expected);

    let frame = response_ok("10", &json!({"ok": true}));
    assert_eq!(frame, r#"{"type":"res","id":"10","ok":true,"payload":{"ok":true}}"#);

    let payload = serde_json::value::to_raw_value(&json!({"ts": 1_795_358_707_467_i64})).expect("JSON");
    let frame = event_frame("tick", &payload, Some(1), None);
    assert_eq!(serde_json::from_str::<Value>(&frame).expect("JSON"), recorded("tick"));

    let frame = event_frame(
        "presence",
        &payload,
        None,
        Some(StateVersion { presence: 3, health: 4 }),
    );
    let frame: Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!(frame["stateVersion"], json!({"presence": 3, "health": 4}));
    assert!(frame.get("seq").is_none());
}

#[test]
fn errors_of_the_runtime_become_wire_errors() {
    let busy = WireError::from(Error::Busy {
        message: "the queue is full".to_owned(),
        retry_after: Duration::from_secs(2),
    });
    assert_eq!(
        (busy.code, busy.retryable, busy.retry_after_ms),
        ("UNAVAILABLE", Some(true), Some(2000))
    );

    let gone = WireError::from(Error::NotConnected("node not connected".to_owned()));
    assert_eq!(gone.details, Some(json!({"code": "NOT_CONNECTED"})));

    let bug = WireError::from(Error::internal("a secret detail"));
    assert!(!bug.message.contains("secret"), "{}", bug.message);
    assert_eq!(bug.retryable, None);
}

/// The keys that strictly decoding clients require are there, and nothing of the original's build is claimed.
#[test]
fn hello_ok_has_the_required_keys() {
    let features = Features {
        methods: vec!["health"],
        events: vec!["tick"],
        capabilities: Vec::new(),
    };
    let features = serde_json::value::to_raw_value(&features).expect("serialises");
    let hello = HelloOk {
        kind: "hello-ok",
        protocol: PROTOCOL,
        server: Server {
            version: "1".to_owned(),
            conn_id: "c".to_owned(),
            boot_id: "b".to_owned(),
        },
        features: &features,
        snapshot: Snapshot {
            presence: Vec::new(),
            health: serde_json::value::to_raw_value(&json!({})).expect("JSON"),
            state_version: StateVersion::default(),
            uptime_ms: 5,
            session_defaults: SessionDefaults::of_agent("main"),
            suspension: json!({"phase": "accepting"}),
        },
        auth: Auth {
            device_tokens: None,
            method: "token",
            role: "node",
            scopes: Vec::new(),
            device_token: Some("t".to_owned()),
            issued_at_ms: Some(1),
        },
        policy: Policy::default(),
    };
    let ours = serde_json::to_value(&hello).expect("serialises");
    let theirs = &recorded("hello-ok node")["payload"];
    for path in [
        "/type",
        "/protocol",
        "/server/version",
        "/server/connId",
        "/server/bootId",
        "/features/methods",
        "/features/events",
        "/snapshot/presence",
        "/snapshot/health",
        "/snapshot/stateVersion/presence",
        "/snapshot/stateVersion/health",
        "/snapshot/uptimeMs",
        "/snapshot/sessionDefaults/mainSessionKey",
        "/auth/role",
        "/auth/scopes",
        "/auth/deviceToken",
        "/auth/issuedAtMs",
        "/policy/maxPayload",
        "/policy/maxBufferedBytes",
        "/policy/tickIntervalMs",
        "/policy/attachments/maxBytes",
    ] {
        assert!(theirs.pointer(path).is_some(), "the recording lacks {path}");
        assert!(ours.pointer(path).is_some(), "ours lacks {path}");
    }
    assert_eq!(ours["policy"]["attachments"], theirs["policy"]["attachments"]);
    assert_eq!(
        ours["snapshot"]["sessionDefaults"],
        theirs["snapshot"]["sessionDefaults"]
    );
    assert!(ours["server"].get("buildId").is_none());
}
