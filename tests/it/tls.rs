//! The server's own TLS listener. What real clients make of it is in `peers.rs`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::tls::TlsInfo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::app::{TestApp, http_client};
use crate::support::node::TestNode;
use crate::support::tls::{FIRST, SECOND, TlsFiles, pin};
use crate::support::wait::{PATIENCE, becomes};

/// Asks on a connection of its own; status of the answer and pin of the certificate.
async fn seen(port: u16) -> Option<(u16, String)> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .tls_info(true)
        .pool_max_idle_per_host(0)
        .build()
        .expect("the client's settings are valid");
    let answer = client
        .get(format!("https://localhost:{port}/readyz"))
        .send()
        .await
        .ok()?;
    let certificate = answer.extensions().get::<TlsInfo>()?.peer_certificate()?;
    Some((answer.status().as_u16(), pin(certificate)))
}

/// What a new setup code of the server's own address says.
async fn setup_code(operator: &mut TestNode) -> Value {
    let code = operator.call("device.pair.setupCode", json!({"includeQr": true})).await;
    let code = code.expect("makes one");
    let picture = code["qrDataUrl"].as_str().expect("a picture");
    assert!(picture.starts_with("data:image/png;base64,iVBORw0KGgo"), "{picture}");
    let said = URL_SAFE_NO_PAD.decode(code["setupCode"].as_str().expect("a code"));
    serde_json::from_slice(&said.expect("base64url")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_without_a_restart() {
    let tls = TlsFiles::new();
    let settings = tls.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::start_with(&json!({}), &settings).await;
    // It names the cryptography of the process, which the next client needs.
    drop(http_client());
    let process = app.binary.pid();
    assert_eq!(seen(tls.port).await, Some((200, FIRST.pin())));
    // A certificate without its key: the old pair goes on.
    tls.put(SECOND.cert, &tls.cert());
    becomes("warnings about half a pair", true, || async {
        app.binary.log().contains("keeping the old TLS certificate")
    })
    .await;
    assert_eq!(seen(tls.port).await, Some((200, FIRST.pin())));
    let mut operator = app.operator().await;
    let code = setup_code(&mut operator).await;
    assert_eq!(code["tlsFingerprint"], FIRST.pin().as_str(), "{code}");
    tls.put(SECOND.key, &tls.key());
    becomes("the served certificate", Some((200, SECOND.pin())), || seen(tls.port)).await;
    assert_eq!(setup_code(&mut operator).await["tlsFingerprint"], SECOND.pin().as_str());
    assert_eq!(app.binary.pid(), process);
    assert!(app.binary.ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_not_end_hold_up_nobody_and_are_given_up() {
    let tls = TlsFiles::new();
    let settings = tls.settings();
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // One worker meets them all. None of them is given up before the others were answered.
    settings.extend([
        ("CLAWCENTRAL__HTTP__WORKERS", "1"),
        ("CLAWCENTRAL__HTTP__HEAD_TIMEOUT_SECS", "20"),
    ]);
    let app = TestApp::start_with(&json!({}), &settings).await;
    drop(http_client());
    let mut half_open = Vec::new();
    for number in 0..600 {
        let mut stream = TcpStream::connect(("127.0.0.1", tls.port)).await.expect("connects");
        // Silence; the head of a record that does not come; a ClientHello that breaks off.
        let said: &[u8] = match number % 3 {
            0 => &[],
            1 => &[0x16, 0x03, 0x01, 0x02, 0x00],
            _ => &[0x16, 0x03, 0x01, 0x00, 0x40, 0x01, 0x00, 0x00, 0x3c, 0x03, 0x03],
        };
        stream.write_all(said).await.expect("is taken");
        half_open.push(stream);
    }
    let encrypted = seen(tls.port).await;
    let mut operator = app.operator().await;
    let plain = operator.call("health", json!({})).await.expect("answers");
    let ended = half_open
        .iter()
        .filter(|stream| stream.try_read(&mut [0]).is_ok())
        .count();
    assert_eq!(
        (encrypted, &plain["ok"], ended),
        (Some((200, FIRST.pin())), &json!(true), 0)
    );
    for mut stream in half_open {
        let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "a handshake that does not end is not waited for");
    }
    assert_eq!(seen(tls.port).await, Some((200, FIRST.pin())));
    // What is no TLS at all ends at once.
    let mut stream = TcpStream::connect(("127.0.0.1", tls.port)).await.expect("connects");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("is taken");
    let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok());
}
