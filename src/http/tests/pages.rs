use claw_actors::config::identity::Role;
use reqwest::Method;

use crate::http::testing::{TestServer, json, status};

#[tokio::test]
async fn the_shell_is_for_everybody_and_nothing_is_inline() {
    let app = TestServer::start().await;
    app.user("acme", "owner@acme.test", Role::Owner).await;
    let answer = app.request("acme", Method::GET, "/").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    let policy = headers["content-security-policy"].to_str().expect("text");
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe-inline"),
        "{policy}"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["cache-control"], "no-cache");
    assert!(headers["content-type"].to_str().expect("text").starts_with("text/html"));
    let again = app
        .request("acme", Method::GET, "/")
        .header("if-none-match", headers["etag"].clone());
    assert_eq!(status(again).await, 304);
    assert_eq!(status(app.request("acme", Method::HEAD, "/")).await, 200);
    assert_eq!(status(app.request("nowhere", Method::GET, "/")).await, 404);
}

#[tokio::test]
async fn pages_of_the_ui_get_the_shell_and_machines_get_the_truth() {
    let app = TestServer::start().await;
    app.user("acme", "owner@acme.test", Role::Owner).await;
    let html = "text/html,application/xhtml+xml";
    for (path, accept, expected) in [
        ("/chat", html, 200),
        ("/settings/ai-providers", html, 200),
        ("/chat", "application/json", 404),
        ("/assets/gone.js", "*/*", 404),
        ("/api/nothing", html, 404),
        ("/v1/models", html, 401),
        ("/v1/nothing", html, 401),
        ("/mcp", html, 404),
        ("/hooks/wake", html, 405),
        ("/tools/invoke", html, 405),
        ("/webhooks/nothing", html, 404),
        ("/metrics", html, 404),
    ] {
        let request = app.request("acme", Method::GET, path).header("accept", accept);
        assert_eq!(status(request).await, expected, "{path} {accept}");
    }
    assert_eq!(status(app.request("acme", Method::POST, "/chat")).await, 404);
    assert_eq!(status(app.request("acme", Method::GET, "/gateway/ws")).await, 426);
}

#[tokio::test]
async fn health_answers_on_any_host() {
    let app = TestServer::start().await;
    for path in ["/health", "/healthz"] {
        let body = json(app.request("nowhere", Method::GET, path), 200).await;
        assert_eq!(body, serde_json::json!({"ok": true, "status": "live"}));
    }
    for path in ["/ready", "/readyz"] {
        let body = json(app.request("nowhere", Method::GET, path), 200).await;
        assert_eq!(body, serde_json::json!({"ready": true}));
    }
    let document = json(app.request("nowhere", Method::GET, "/api/openapi.json"), 200).await;
    assert_eq!(document["info"]["title"], "ClawCentral");
}

#[tokio::test]
async fn metrics_need_their_token() {
    let app = TestServer::with(|settings| settings.telemetry.metrics_token = "0123456789abcdef".into()).await;
    let get = || app.request("nowhere", Method::GET, "/metrics");
    assert_eq!(status(get()).await, 401);
    assert_eq!(status(get().bearer_auth("0123456789abcdeg")).await, 401);
    let answer = get().bearer_auth("0123456789abcdef").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(
        answer
            .text()
            .await
            .expect("text")
            .contains("process_resident_memory_bytes")
    );
}

#[tokio::test]
async fn a_foreign_page_cannot_open_the_socket() {
    let app = TestServer::start().await;
    app.user("acme", "owner@acme.test", Role::Owner).await;
    for path in ["/", "/gateway/ws"] {
        let upgrade = app
            .request("acme", Method::GET, path)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("origin", "https://evil.test");
        assert_eq!(status(upgrade).await, 403, "{path}");
    }
}
