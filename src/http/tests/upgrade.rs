use claw_actors::config::identity::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::testing::TestServer;

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Asks once, and reads until the server closes or the socket is open.
async fn ask(app: &TestServer, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(app.server.addr).await.expect("connects");
    let head = format!("GET {path} HTTP/1.1\r\nhost: acme.localhost\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("is taken");
    let mut answer = Vec::new();
    while !answer.starts_with(b"HTTP/1.1 101") || !answer.windows(17).any(|part| part == b"connect.challenge") {
        if stream.read_buf(&mut answer).await.expect("reads") == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test]
async fn an_upgrade_is_answered_like_any_request_or_becomes_a_socket() {
    let app = TestServer::start().await;
    app.user("acme", "owner@acme.test", Role::Owner).await;
    let whole = format!("{UPGRADE}{KEY}");
    for path in ["/gateway/ws", "/", "/?token=old"] {
        let answer = ask(&app, path, &whole).await;
        assert!(answer.starts_with("http/1.1 101"), "{path}: {answer}");
        assert!(answer.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
    for (path, headers, status) in [
        ("/nowhere", whole.as_str(), "400"),
        ("/api/session", whole.as_str(), "400"),
        ("/health", "upgrade: websocket\r\n", "400"),
        ("/gateway/ws", UPGRADE, "400"),
        ("/gateway/ws", "connection: close\r\n", "426"),
        (
            "/gateway/ws",
            "origin: https://evil.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            "403",
        ),
    ] {
        // Ends, because a refused upgrade closes its connection.
        let answer = ask(&app, path, headers).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
    // A proxy that sets the header everywhere hears what is wrong.
    let answer = ask(&app, "/api/session", &whole).await;
    assert!(answer.contains(r#""code":"invalid_request""#), "{answer}");
    assert!(
        answer.contains("`upgrade: websocket` is only for `/` and `/gateway/ws`"),
        "{answer}"
    );
    let foreign = ask(
        &app,
        "/gateway/ws",
        &whole.replace("upgrade: websocket", "upgrade: websocket\r\nhost: b"),
    )
    .await;
    assert!(!foreign.starts_with("http/1.1 101"), "two hosts are none: {foreign}");
}
