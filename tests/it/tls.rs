//! The server's own TLS listener. What real clients make of it is in `peers.rs`.

use reqwest::tls::TlsInfo;
use serde_json::json;

use crate::support::app::{TestApp, http_client};
use crate::support::tls::{FIRST, SECOND, TlsFiles, pin};
use crate::support::wait::becomes;

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
    tls.put(SECOND.key, &tls.key());
    becomes("the served certificate", Some((200, SECOND.pin())), || seen(tls.port)).await;
    assert_eq!(app.binary.pid(), process);
    assert!(app.binary.ready());
}
