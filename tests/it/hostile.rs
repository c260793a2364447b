//! Clients that do not keep to the rules, over real sockets: floods, half-open sockets, broken frames, stolen and
//! invented credentials. Which rule each test proves stands in `docs/isolation.md`, "Hostile clients".

use std::time::Duration;

use futures::StreamExt;
use futures::stream::iter;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::app::{ALL_SCOPES, MEMBER, OWNER, STRANGER, TestApp};
use crate::support::node::{Device, Hello, TestNode};
use crate::support::raw::Raw;
use crate::support::wait::{PATIENCE, becomes};
use crate::support::webhook::status;

mod devices;
mod limits;
mod proofs;

/// What a flood may leave behind in the server's memory. Generous: it is about "does not grow with the flood".
const ROOM: u64 = 192 << 20;
/// This machine is a proxy that tells the client's address.
const PROXY: (&str, &str) = ("CLAWCENTRAL__HTTP__TRUSTED_PROXIES", "127.0.0.1/32");

/// What the proxy says about the client.
fn from(address: &str) -> [(&'static str, &str); 1] {
    [("x-forwarded-for", address)]
}

/// A command-line client with this secret.
fn hello<'a>(auth: Value, scopes: &'a [&'a str], device: Option<&'a Device>) -> Hello<'a> {
    Hello {
        url: "",
        host: "",
        auth,
        role: "operator",
        client: "cli",
        mode: "cli",
        scopes,
        commands: &[],
        caps: &[],
        device,
    }
}

/// Connects somehow, and is told `details.code`, or that it is in.
async fn outcome(app: &TestApp, tenant: &str, headers: &[(&str, &str)], hello: &Hello<'_>) -> String {
    let mut raw = Raw::open(app, tenant, headers).await.expect("the upgrade is allowed");
    let params = raw.params(hello);
    match raw.connect(&params).await {
        Ok(_) => "hello-ok".to_owned(),
        Err(error) => error["details"]["code"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Sends the beginning of a text frame that says it is so long; the rest never comes.
async fn endless(raw: &mut Raw, length: u64) {
    let mut frame = vec![0x81, 0xff];
    frame.extend(length.to_be_bytes());
    // The mask, and a little text.
    frame.extend([0; 4]);
    frame.extend([b' '; 100]);
    raw.socket.get_mut().write_all(&frame).await.expect("is taken");
}

/// A device of the owner's with everything, approved; its device token.
async fn paired(app: &TestApp, device: &Device, scopes: &[&str]) -> String {
    let auth = json!({"token": app.token(OWNER)});
    let refused = app
        .device_operator(device, auth.clone(), scopes)
        .await
        .err()
        .expect("a new device waits");
    let request = json!({"requestId": refused["details"]["requestId"]});
    app.operator()
        .await
        .call("device.pair.approve", request)
        .await
        .expect("approves");
    let node = app.device_operator(device, auth, scopes).await.expect("is paired");
    node.hello["auth"]["deviceToken"]
        .as_str()
        .expect("a device token")
        .to_owned()
}

/// Somebody of another tenant who notices nothing.
struct Neighbour(TestNode);

impl Neighbour {
    async fn move_in(app: &mut TestApp) -> Self {
        app.add_other_tenant();
        Self(app.operator_as("other", STRANGER, ALL_SCOPES).await.expect("connects"))
    }

    /// Their open socket answers, and a new one is let in.
    async fn is_served(&mut self, app: &TestApp) {
        let health = self.0.call("health", json!({})).await.expect("answers");
        assert_eq!(health["ok"], true);
        app.operator_as("other", STRANGER, ALL_SCOPES)
            .await
            .expect("another socket");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_end_the_socket_with_their_code() {
    let app = TestApp::start().await;
    let open = || async { Raw::open(&app, "demo", &[]).await.expect("opens") };
    let long = "x".repeat(64 * 1024 + 1);
    for (what, expected) in [
        ("a long frame", (1009, "preauth payload too large")),
        ("many pieces", (1009, "preauth payload too large")),
        ("a frame without an end", (1009, "preauth payload too large")),
        ("binary", (1003, "binary frames are not supported")),
        ("no UTF-8", (1007, "text is not UTF-8")),
        ("no UTF-8 in pieces", (1007, "text is not UTF-8")),
        ("a piece of nothing", (1002, "protocol error")),
        ("noise", (1008, "invalid handshake: first request must be connect")),
        (
            "another call",
            (1008, "invalid handshake: first request must be connect"),
        ),
        (
            "bad parameters",
            (
                1008,
                "invalid connect params: must have required property 'minProtocol'",
            ),
        ),
    ] {
        let mut raw = open().await;
        match what {
            "a long frame" => raw.say(long.clone()).await,
            "many pieces" => {
                for part in 0..66 {
                    raw.piece(&[b'x'; 1024], part == 0, false).await;
                }
            }
            "a frame without an end" => endless(&mut raw, 1 << 62).await,
            "binary" => drop(futures::SinkExt::send(&mut raw.socket, Message::binary(vec![1, 2, 3])).await),
            "no UTF-8" => raw.piece(&[b'"', 0xff, 0xfe, b'"'], true, true).await,
            "no UTF-8 in pieces" => {
                raw.piece(&[b'"', 0xff], true, false).await;
                raw.piece(b"\"", false, true).await;
            }
            "a piece of nothing" => raw.piece(b"{}", false, true).await,
            "noise" => raw.say("{}").await,
            "another call" => raw.say(r#"{"type":"req","id":"1","method":"health"}"#).await,
            _ => {
                raw.say(r#"{"type":"req","id":"1","method":"connect","params":{}}"#)
                    .await
            }
        }
        let (code, reason) = raw.closed().await;
        assert_eq!((code, reason.as_str()), expected, "{what}");
    }
    // Not more than a few frames wait while a connect is checked: the third wrong proof from here is answered late.
    let wrong = hello(json!({"token": "wrong"}), &[], None);
    for _ in 0..3 {
        assert_eq!(outcome(&app, "demo", &[], &wrong).await, "AUTH_TOKEN_MISMATCH");
    }
    let mut raw = open().await;
    let params = raw.params(&wrong);
    raw.say(json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string())
        .await;
    for number in 0..17 {
        raw.say(json!({"type": "req", "id": number.to_string(), "method": "health"}).to_string())
            .await;
    }
    assert_eq!(raw.closed().await, (1008, "too many frames before hello".to_owned()));
}

/// RFC 6455 §5 and §7.4.1. Each is told by its header: the rest of the frame does not come.
#[tokio::test(flavor = "multi_thread")]
async fn frames_against_the_protocol_are_told_so_at_once() {
    const MASK: [u8; 4] = [0; 4];
    let app = TestApp::start().await;
    let beyond_63_bits = [&[0x81, 0xff][..], &[0x80, 0, 0, 0, 0, 0, 0, 1]].concat();
    let cases: &[(&str, &[&[u8]])] = &[
        ("RSV1, as compression sets it", &[&[0xc1, 0x82]]),
        ("RSV2", &[&[0xa1, 0x82]]),
        ("RSV3", &[&[0x91, 0x82]]),
        ("RSV1 of a ping", &[&[0xc9, 0x80], &MASK]),
        ("an opcode of no data", &[&[0x83, 0x82]]),
        ("an opcode of no control", &[&[0x8b, 0x80], &MASK]),
        ("a ping in pieces", &[&[0x09, 0x82]]),
        ("a close in pieces", &[&[0x08, 0x82]]),
        ("a ping of 126 bytes", &[&[0x89, 0xfe, 0, 126]]),
        ("an endless pong", &[&[0x8a, 0xff]]),
        ("a close of one byte", &[&[0x88, 0x81], &MASK, b"x"]),
        (
            "a close with a code that nobody sends",
            &[&[0x88, 0x82], &MASK, &1005_u16.to_be_bytes()],
        ),
        ("no mask", &[&[0x81, 0x02], b"{}"]),
        ("no mask on a ping", &[&[0x89, 0x00]]),
        ("no mask and too long", &[&[0x81, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0]]),
        ("a continuation without a start", &[&[0x80, 0x82], &MASK, b"{}"]),
        (
            "a text within a text",
            &[&[0x01, 0x81], &MASK, b"{", &[0x81, 0x82], &MASK, b"{}"],
        ),
        ("a length beyond 63 bits", &[&beyond_63_bits]),
    ];
    for (what, bytes) in cases {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
        let sent = raw.socket.get_mut().write_all(&bytes.concat()).await;
        sent.expect("is taken");
        assert_eq!(raw.closed().await, (1002, "protocol error".to_owned()), "{what}");
    }
    // What may stand between the pieces of a text, and as long as it may be.
    let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
    let mut bytes = [&[0x01, 0x81][..], &MASK, b"{", &[0x89, 0xfd], &MASK].concat();
    bytes.extend([b'p'; 125]);
    bytes.extend([&[0x80, 0x81][..], &MASK, b"}"].concat());
    raw.socket.get_mut().write_all(&bytes).await.expect("is taken");
    assert_eq!(raw.closed().await.0, 1008, "the text was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_hello_frames_may_be_large_and_come_in_pieces_up_to_the_limit() {
    let app = TestApp::start().await;
    let connected = || async {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
        let params = raw.params(&hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, None));
        raw.connect(&params).await.expect("is let in");
        raw
    };
    let mut raw = connected().await;
    let call =
        json!({"type": "req", "id": "p", "method": "health", "params": {"fill": "é".repeat(40_000)}}).to_string();
    // Pieces end in the middle of characters.
    let pieces: Vec<_> = call.as_bytes().chunks(777).collect();
    for (at, piece) in pieces.iter().enumerate() {
        raw.piece(piece, at == 0, at + 1 == pieces.len()).await;
    }
    while raw.frame().await.expect("answers")["id"] != "p" {}
    // What is no frame of the protocol is no reason to close.
    for text in [
        "nonsense",
        "[]",
        "{\"type\":\"req\",\"id\":\"7\"}",
        &"[".repeat(100_000),
    ] {
        raw.say(text).await;
    }
    raw.say(r#"{"type":"req","id":"q","method":"health"}"#).await;
    while raw.frame().await.expect("answers")["id"] != "q" {}
    let part = vec![b' '; 1 << 20];
    for number in 0..26 {
        raw.piece(&part, number == 0, false).await;
    }
    assert_eq!(raw.closed().await, (1009, "payload too large".to_owned()));
    let mut raw = connected().await;
    raw.say(" ".repeat((25 << 20) + 1)).await;
    assert_eq!(raw.closed().await, (1009, "payload too large".to_owned()));
    let mut raw = connected().await;
    endless(&mut raw, (25 << 20) + 1).await;
    assert_eq!(raw.closed().await, (1009, "payload too large".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_sockets_are_few_per_address_and_go() {
    let mut app = TestApp::start_with(&json!({}), &[PROXY]).await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let before = app.binary.memory();
    // Heads that never end, and sockets that are silent from the first byte.
    let mut heads = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(app.binary.address()).await.expect("connects");
        if number % 2 == 0 {
            stream
                .write_all(b"GET /gateway/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nx-")
                .await
                .expect("is taken");
        }
        heads.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(
            Raw::open(&app, "demo", &from("203.0.113.5"))
                .await
                .expect("has a place"),
        );
    }
    let refused = |address, tenant| {
        let app = &app;
        async move { Raw::open(app, tenant, &from(address)).await.err() }
    };
    assert_eq!(refused("203.0.113.5", "demo").await, Some(429));
    assert_eq!(
        refused("198.51.100.7, 203.0.113.5", "demo").await,
        Some(429),
        "what the client adds is no address"
    );
    assert_eq!(refused("203.0.113.6", "demo").await, None);
    assert_eq!(refused("203.0.113.5", "other").await, None);
    for number in 0..200_u32 {
        let address = format!("203.0.113.{}", 10 + number % 200);
        silent.push(Raw::open(&app, "demo", &from(&address)).await.expect("has a place"));
    }
    neighbour.is_served(&app).await;
    for raw in &mut silent {
        assert_eq!(raw.closed().await, (1008, "handshake timeout".to_owned()));
    }
    assert_eq!(refused("203.0.113.5", "demo").await, None, "the places are free again");
    for mut head in heads {
        let mut said = Vec::new();
        let ended = timeout(PATIENCE, head.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "a head that does not end is not waited for");
    }
    neighbour.is_served(&app).await;
    assert!(app.binary.memory() < before + ROOM);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_proofs_lock_the_address_whatever_is_claimed() {
    let mut app = TestApp::start_with(&json!({}), &[PROXY]).await;
    app.add_other_tenant();
    let device = Device::generate();
    let good = hello(json!({"token": app.token(OWNER)}), &["operator.read"], None);
    for number in 0..10 {
        // The client's own headers come before what the proxy adds.
        let chain = format!("198.51.100.{number}, 203.0.113.9");
        let claimed = format!("for=198.51.100.{number}");
        let headers = [
            ("forwarded", claimed.as_str()),
            ("x-real-ip", "198.51.100.1"),
            ("x-forwarded-for", &chain),
        ];
        let auth = match number % 4 {
            0 => json!({"token": "wrong"}),
            1 => json!({"password": "wrong"}),
            2 => json!({"deviceToken": "wrong"}),
            _ => json!({"bootstrapToken": "wrong"}),
        };
        let mut with_device = hello(auth, &[], Some(&device));
        with_device.role = if number % 4 == 3 { "node" } else { "operator" };
        let code = outcome(&app, "demo", &headers, &with_device).await;
        assert!(
            code.ends_with("_MISMATCH") || code == "AUTH_BOOTSTRAP_TOKEN_INVALID",
            "{number}: {code}"
        );
    }
    let here = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(outcome(&app, "demo", &here, &good).await, "AUTH_RATE_LIMITED");
    let disguised = [
        ("x-forwarded-for", "192.0.2.1, 203.0.113.9"),
        ("x-real-ip", "192.0.2.1"),
    ];
    assert_eq!(outcome(&app, "demo", &disguised, &good).await, "AUTH_RATE_LIMITED");
    let mut bogus = hello(
        json!({"token": app.token(OWNER), "deviceToken": "wrong"}),
        &[],
        Some(&device),
    );
    assert_eq!(outcome(&app, "demo", &here, &bogus).await, "AUTH_RATE_LIMITED");
    bogus.auth = json!({"deviceToken": "wrong"});
    assert_eq!(outcome(&app, "demo", &here, &bogus).await, "AUTH_RATE_LIMITED");
    // Nobody else is locked out.
    assert_eq!(
        outcome(&app, "demo", &[("x-forwarded-for", "203.0.113.10")], &good).await,
        "hello-ok"
    );
    let stranger = hello(json!({"token": app.token(STRANGER)}), &["operator.read"], None);
    assert_eq!(outcome(&app, "other", &here, &stranger).await, "hello-ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_valid_for_its_device_its_tenant_and_one_connection() {
    let mut app = TestApp::start().await;
    app.add_other_tenant();
    app.add_user("demo", MEMBER, "member");
    let (device, thief) = (Device::generate(), Device::generate());
    let own = paired(&app, &device, &["operator.read"]).await;
    let token = app.token(OWNER).to_owned();
    let told = |tenant, auth, device| {
        let app = &app;
        async move { outcome(app, tenant, &[], &hello(auth, &["operator.read"], device)).await }
    };
    // A token that is there and not valid lets nobody past the other checks.
    assert_eq!(
        told("demo", json!({"token": "wrong"}), Some(&device)).await,
        "AUTH_TOKEN_MISMATCH"
    );
    assert_eq!(
        told("demo", json!({"token": ""}), Some(&device)).await,
        "AUTH_TOKEN_MISSING"
    );
    assert_eq!(
        told("demo", json!({"deviceToken": own}), None).await,
        "DEVICE_IDENTITY_REQUIRED"
    );
    assert_eq!(
        told("demo", json!({"deviceToken": own}), Some(&thief)).await,
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    assert_eq!(
        told("demo", json!({"token": own}), Some(&thief)).await,
        "AUTH_TOKEN_MISMATCH"
    );
    // The same device is a stranger at another tenant, and for another person of the tenant.
    assert_eq!(
        told("other", json!({"deviceToken": own}), Some(&device)).await,
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    assert_eq!(
        told("other", json!({"token": token}), Some(&device)).await,
        "AUTH_TOKEN_MISMATCH"
    );
    assert_eq!(
        told("other", json!({"token": app.token(STRANGER)}), Some(&device)).await,
        "PAIRING_REQUIRED"
    );
    assert_eq!(
        told("demo", json!({"token": app.token(MEMBER)}), Some(&device)).await,
        "PAIRING_REQUIRED"
    );
    // The key, the nonce and the time are checked although the token is good.
    let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
    let wish = hello(json!({"deviceToken": own}), &["operator.read"], Some(&device));
    let first = raw.params(&wish);
    let changed = |change: &dyn Fn(&mut Value, &Value)| {
        let mut params = first.clone();
        change(&mut params, &first);
        params
    };
    let others = raw.params(&hello(json!({"deviceToken": own}), &["operator.read"], Some(&thief)));
    for (params, code) in [
        (
            changed(&|params, _| params["scopes"] = json!(ALL_SCOPES)),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
        (
            changed(&|params, _| params["role"] = json!("node")),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
        (
            changed(&|params, _| params["device"]["signature"] = others["device"]["signature"].clone()),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
        (
            changed(&|params, _| params["device"]["publicKey"] = others["device"]["publicKey"].clone()),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            changed(&|params, _| params["device"]["nonce"] = json!("")),
            "DEVICE_AUTH_NONCE_REQUIRED",
        ),
        (
            changed(&|params, _| params["device"]["signedAt"] = json!(1)),
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
        ),
        // A recorded connect, for another socket's nonce.
        (first.clone(), "DEVICE_AUTH_NONCE_MISMATCH"),
    ] {
        let mut other = Raw::open(&app, "demo", &[]).await.expect("opens");
        let mut params = params;
        if !code.contains("NONCE") {
            // As good as it can be: with the right nonce for this socket, but signed for what it was.
            let nonce = other.challenge["nonce"].clone();
            params["device"]["nonce"] = nonce;
        }
        let refused = other.connect(&params).await.expect_err("is refused");
        assert_eq!(refused["details"]["code"], code, "{params}");
    }
    // On its own socket it is good, once.
    raw.connect(&first).await.expect("is let in");
    let again = raw.connect(&first).await.expect_err("is in already");
    assert_eq!(again["message"], "connect is only valid as the first request");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_what_the_record_says_not_what_is_asked() {
    let mut app = TestApp::start_with(&json!({}), &[PROXY]).await;
    app.add_user("demo", MEMBER, "member");
    let granted = |headers: Vec<(&'static str, &'static str)>, auth: Value, id: &'static str| {
        let app = &app;
        async move {
            let mut raw = Raw::open(app, "demo", &headers).await.expect("opens");
            let mut wish = hello(auth, ALL_SCOPES, None);
            wish.client = id;
            let params = raw.params(&wish);
            let hello = raw.connect(&params).await.expect("the token is good");
            (hello["auth"]["scopes"].clone(), raw)
        }
    };
    let owner = json!({"token": app.token(OWNER)});
    assert_eq!(granted(vec![], owner.clone(), "cli").await.0, json!(ALL_SCOPES));
    // A member is no admin, whatever they ask for.
    let (scopes, mut raw) = granted(vec![], json!({"token": app.token(MEMBER)}), "cli").await;
    assert!(!scopes.to_string().contains("operator.admin"), "{scopes}");
    raw.say(r#"{"type":"req","id":"x","method":"exec.approvals.get"}"#)
        .await;
    let refused = loop {
        let frame = raw.frame().await.expect("answers");
        if frame["id"] == "x" {
            break frame;
        }
    };
    assert_eq!(refused["error"]["details"]["code"], "MISSING_SCOPE");
    // Without a device only a program of this machine has any, and no header makes somebody one.
    for headers in [
        vec![("x-forwarded-for", "203.0.113.9")],
        vec![("x-forwarded-for", "127.0.0.1")],
        vec![("forwarded", "for=127.0.0.1")],
        vec![("x-real-ip", "127.0.0.1")],
        vec![("via", "1.1 proxy")],
    ] {
        assert_eq!(
            granted(headers.clone(), owner.clone(), "cli").await.0,
            json!([]),
            "{headers:?}"
        );
    }
    assert_eq!(granted(vec![], owner, "openclaw-tui").await.0, json!([]));
    // A device has what was approved for it; asking for more is a request, not a grant.
    let device = Device::generate();
    let own = paired(&app, &device, &["operator.read"]).await;
    let more = hello(json!({"deviceToken": own}), ALL_SCOPES, Some(&device));
    assert_eq!(outcome(&app, "demo", &[], &more).await, "AUTH_SCOPE_MISMATCH");
    let more = hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, Some(&device));
    assert_eq!(outcome(&app, "demo", &[], &more).await, "PAIRING_REQUIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_approves_gives_no_more_than_they_have() {
    let app = TestApp::start().await;
    let create = [
        "token",
        "create",
        "--tenant",
        "demo",
        "--user",
        OWNER,
        "--scopes",
        "operator.pairing,operator.read",
    ];
    let narrow = app.binary.cli(&create);
    let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
    let params = raw.params(&hello(json!({"token": narrow}), ALL_SCOPES, None));
    let granted = raw.connect(&params).await.expect("is let in");
    assert_eq!(granted["auth"]["scopes"], json!(["operator.read", "operator.pairing"]));
    let (url, host) = (app.socket_url(), app.host("demo"));
    let here = |wish| Hello {
        url: &url,
        host: &host,
        ..wish
    };
    let mut approver = TestNode::connect(&here(hello(json!({"token": narrow}), ALL_SCOPES, None)))
        .await
        .expect("is let in");
    let (small, large, node) = (Device::generate(), Device::generate(), Device::generate());
    let auth = json!({"token": app.token(OWNER)});
    for (device, role, scopes, allowed) in [
        (&small, "operator", ["operator.read"].as_slice(), true),
        (&large, "operator", ALL_SCOPES, false),
        (&node, "node", &[], false),
    ] {
        let wish = Hello {
            role,
            ..here(hello(auth.clone(), scopes, Some(device)))
        };
        let refused = TestNode::connect(&wish).await.err().expect("a new device waits");
        let request = json!({"requestId": refused["details"]["requestId"]});
        let done = approver.call("device.pair.approve", request).await;
        assert_eq!(done.is_ok(), allowed, "{done:?}");
        if let Err(error) = done {
            assert_eq!(error["message"], "device pairing approval denied");
        }
        assert_eq!(TestNode::connect(&wish).await.is_ok(), allowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_ends_at_once() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let mut operator = app.operator().await;
    // A rotated secret, and a revoked one.
    let device = Device::generate();
    let own = paired(&app, &device, &["operator.read"]).await;
    let connect = |auth: Value| {
        let (app, device) = (&app, &device);
        async move { app.device_operator(device, auth, &["operator.read"]).await }
    };
    let named = json!({"deviceId": device.id, "role": "operator"});
    let mut live = connect(json!({"deviceToken": own})).await.expect("is paired");
    operator
        .call("device.token.rotate", named.clone())
        .await
        .expect("rotates");
    assert_eq!(live.closed().await.0, 4001);
    let refused = connect(json!({"deviceToken": own}))
        .await
        .err()
        .expect("the old token is worth nothing");
    assert_eq!(refused["details"]["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
    let mut live = connect(json!({"token": app.token(OWNER)}))
        .await
        .expect("is still paired");
    operator.call("device.token.revoke", named).await.expect("revokes");
    assert_eq!(live.closed().await.0, 4001);
    // An API token, by whoever it belongs to.
    let (code, made) = app
        .person("demo", MEMBER)
        .post("/api/tokens", &json!({"name": "short"}))
        .await;
    assert_eq!(code, 201, "{made}");
    let mut live = Raw::open(&app, "demo", &[]).await.expect("opens");
    let params = live.params(&hello(json!({"token": made["token"]}), &["operator.read"], None));
    live.connect(&params).await.expect("is let in");
    let path = format!("/api/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(
        status(app.person("demo", MEMBER).request(Method::DELETE, &path)).await,
        204
    );
    assert_eq!(live.closed().await, (4001, "gateway auth changed".to_owned()));
    // A person, then a whole tenant: by commands, beside the server.
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("is let in");
    app.binary
        .cli(&["user", "disable", "--tenant", "demo", "--user", MEMBER]);
    assert_eq!(member.closed().await.0, 4001);
    assert!(app.operator_as("demo", MEMBER, &["operator.read"]).await.is_err());
    assert_eq!(
        operator.call("health", json!({})).await.expect("the owner stays")["ok"],
        true
    );
    app.binary.cli(&["tenant", "suspend", "demo"]);
    assert_eq!(operator.closed().await.0, 4001);
    becomes("status of an upgrade", Some(403), || async {
        Raw::open(&app, "demo", &[]).await.err()
    })
    .await;
    neighbour.is_served(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_rotates_its_own_token_goes_on_alone() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let scopes = &["operator.read", "operator.pairing"];
    let token = paired(&app, &device, scopes).await;
    let connect = |token: Value| {
        let (app, device) = (&app, &device);
        async move { app.device_operator(device, json!({"deviceToken": token}), scopes).await }
    };
    let rotate = |scopes: Value| json!({"deviceId": device.id, "role": "operator", "scopes": scopes});
    let mut own = connect(json!(token)).await.expect("is paired");
    let mut other = connect(json!(token)).await.expect("another program of the device");
    let with_api_token = json!({"token": app.token(OWNER)});
    let mut third = app
        .device_operator(&device, with_api_token, scopes)
        .await
        .expect("a third");
    let rotated = own
        .call("device.token.rotate", rotate(json!(null)))
        .await
        .expect("rotates");
    assert_eq!(rotated["tokenDelivery"], "in-band");
    for live in [&mut other, &mut third] {
        assert_eq!(live.closed().await.0, 4001);
    }
    assert_eq!(own.call("health", json!({})).await.expect("goes on")["ok"], true);
    let old = connect(json!(token))
        .await
        .err()
        .expect("the old token is worth nothing");
    assert_eq!(old["details"]["code"], "AUTH_DEVICE_TOKEN_MISMATCH");
    // With less, the caller itself has to come again; it is told the token first.
    let mut own = connect(rotated["token"].clone()).await.expect("the new token is good");
    let narrowed = own.call("device.token.rotate", rotate(json!(["operator.read"]))).await;
    let narrowed = narrowed.expect("rotates");
    assert_eq!(own.closed().await, (4001, "gateway auth changed".to_owned()));
    let auth = json!({"deviceToken": narrowed["token"]});
    let mut own = app
        .device_operator(&device, auth, &["operator.read"])
        .await
        .expect("with less");
    let refused = own.call("device.pair.list", json!({})).await.expect_err("not any more");
    assert_eq!(refused["details"]["missingScope"], "operator.pairing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_shown_no_more() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let own = paired(&app, &device, &["operator.read"]).await;
    let mut operator = app.operator().await;
    let mut live = app
        .device_operator(&device, json!({"deviceToken": own}), &["operator.read"])
        .await
        .expect("is paired");
    let shown = |frame: &Value| frame["payload"]["presence"].to_string().contains(&device.id);
    operator
        .event("the device's coming", |frame| {
            frame["event"] == "presence" && shown(frame)
        })
        .await;
    let named = json!({"deviceId": device.id, "role": "operator"});
    operator.call("device.token.revoke", named).await.expect("revokes");
    assert_eq!(live.closed().await.0, 4001);
    operator
        .event("the device's going", |frame| {
            frame["event"] == "presence" && !shown(frame)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_gets_no_socket() {
    let app = TestApp::start_with(
        &json!({}),
        &[("CLAWCENTRAL__GATEWAY__ALLOWED_ORIGINS", "https://listed.test")],
    )
    .await;
    let own = format!("http://{}", app.host("demo"));
    let lookalike = format!("{own}.evil.test");
    let other = format!("http://{}", app.host("other"));
    for origin in [
        "https://evil.test",
        "null",
        "",
        &lookalike,
        &other,
        "https://listed.test.evil.test",
        "http://listed.test",
    ] {
        for cookie in ["", "claw_session=made-up"] {
            let headers = [("origin", origin), ("cookie", cookie)];
            assert_eq!(Raw::open(&app, "demo", &headers).await.err(), Some(403), "{origin:?}");
        }
    }
    let two = [("origin", own.as_str()), ("origin", "https://evil.test")];
    assert_eq!(Raw::open(&app, "demo", &two).await.err(), Some(403));
    // A page that may come still needs a device, whatever token it brings.
    let token = hello(json!({"token": app.token(OWNER)}), ALL_SCOPES, None);
    for origin in [own.as_str(), "https://listed.test"] {
        assert_eq!(
            outcome(&app, "demo", &[("origin", origin)], &token).await,
            "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"
        );
    }
}

/// A new device of the member's asks to be let in; the id of its request.
async fn asked(app: &TestApp, device: &Device) -> Value {
    let (url, host) = (app.socket_url(), app.host("demo"));
    let wish = hello(json!({"token": app.token(MEMBER)}), &["operator.read"], Some(device));
    let wish = Hello {
        url: &url,
        host: &host,
        ..wish
    };
    let refused = TestNode::connect(&wish).await.err().expect("a new device waits");
    refused["details"]["requestId"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_pairing_requests_leave_a_hundred_and_disturb_nobody() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let (early, late) = (Device::generate(), Device::generate());
    let first = asked(&app, &early).await;
    let before = app.binary.memory();
    let ids = iter(0..2000).map(|_| async { asked(&app, &Device::generate()).await.is_string() });
    let mut flood = Box::pin(
        ids.buffer_unordered(16)
            .filter(|asked| std::future::ready(!asked))
            .count(),
    );
    let refused = tokio::select! {
        refused = &mut flood => refused,
        () = async { loop { neighbour.is_served(&app).await; tokio::time::sleep(Duration::from_millis(50)).await; } } => 0,
    };
    assert_eq!(refused, 0, "each was told its request");
    drop(flood);
    let last = asked(&app, &late).await;
    let mut member = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    let listed = member.call("device.pair.list", json!({})).await.expect("lists");
    let pending = listed["pending"].as_array().expect("a list");
    assert_eq!(pending.len(), 100);
    let waits = |id: &Value| pending.iter().any(|row| &row["requestId"] == id);
    assert!(!waits(&first) && waits(&last), "the oldest made room");
    let owners = app
        .operator()
        .await
        .call("device.pair.list", json!({}))
        .await
        .expect("lists");
    assert_eq!(owners["pending"], json!([]), "nobody else sees them");
    assert!(app.binary.memory() < before + ROOM);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_cost_bounded_memory_and_stay_with_their_tenant() {
    let mut app = TestApp::start().await;
    let mut neighbour = Neighbour::move_in(&mut app).await;
    let before = app.binary.memory();
    let token = app.token(OWNER).to_owned();
    // Before hello: sockets that come, say something wrong, and are replaced at once.
    let attempts = iter(0..1500).map(|number| {
        let app = &app;
        async move {
            let mut raw = Raw::open(app, "demo", &[]).await.expect("opens");
            match number % 3 {
                0 => {
                    raw.say("{\"type\":\"req\",\"id\":\"1\",\"method\":\"connect\",\"params\":{\"client\":7}}")
                        .await
                }
                1 => raw.say("x".repeat(70_000)).await,
                _ => drop(raw.socket.close(None).await),
            }
        }
    });
    attempts.buffer_unordered(32).collect::<Vec<_>>().await;
    neighbour.is_served(&app).await;
    // After hello: calls without reading an answer, pings without reading a pong, large calls that wait.
    let mut deaf = Vec::new();
    for number in 0..24 {
        let mut raw = Raw::open(&app, "demo", &[]).await.expect("opens");
        let params = raw.params(&hello(json!({"token": token}), ALL_SCOPES, None));
        raw.connect(&params).await.expect("is let in");
        deaf.push((number, raw));
    }
    let floods = deaf.into_iter().map(|(number, mut raw)| async move {
        let (call, times) = match number % 3 {
            0 => (
                Message::text(r#"{"type":"req","id":"f","method":"tools.catalog"}"#),
                20_000,
            ),
            1 => (Message::Ping(vec![7; 125].into()), 200_000),
            _ => {
                let fill = "y".repeat(8 << 20);
                let wait = json!({"runId": "none", "timeoutMs": 60_000, "fill": fill});
                (
                    Message::text(
                        json!({"type": "req", "id": "w", "method": "agent.wait", "params": wait}).to_string(),
                    ),
                    40,
                )
            }
        };
        // Ends early when nothing more is taken: the peer is not read any more, or was closed.
        for _ in 0..times {
            let sent = timeout(
                Duration::from_secs(2),
                futures::SinkExt::send(&mut raw.socket, call.clone()),
            )
            .await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        raw
    });
    let mut flood = Box::pin(iter(floods).buffer_unordered(24).collect::<Vec<_>>());
    let kept = tokio::select! {
        kept = &mut flood => kept,
        () = async { loop { neighbour.is_served(&app).await; tokio::time::sleep(Duration::from_millis(50)).await; } } => Vec::new(),
    };
    assert_eq!(kept.len(), 24);
    let peak = app.binary.memory();
    // All connections of the user may hold 100 MiB of calls together; the rest is answers that nobody reads.
    assert!(peak < before + (2 * 50 + 400) * (1 << 20), "{} MiB", peak >> 20);
    neighbour.is_served(&app).await;
    drop(kept);
    assert_eq!(
        app.operator().await.call("health", json!({})).await.expect("answers")["ok"],
        true
    );
}
