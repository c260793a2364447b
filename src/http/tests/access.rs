use claw_actors::config::identity::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::testing::{TestServer, json, status};

/// Method, path and the least role, of every operation of the document.
fn operations() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&crate::http::openapi()).expect("JSON");
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("a method");
            let path = path
                .replace("{id}", "x")
                .replace("{channel}", "telegram")
                .replace("{account}", "x");
            all.push((method, path));
        }
    }
    all
}

fn is_sign_in(method: &Method, path: &str) -> bool {
    *method == Method::POST && path == "/api/session"
}

#[tokio::test]
async fn nobody_and_strangers_get_nothing() {
    let app = TestServer::with(|settings| settings.limits.failed_proofs_per_minute = 1000).await;
    let stranger = app.user("evil", "owner@evil.test", Role::Owner).await;
    app.user("acme", "owner@acme.test", Role::Owner).await;
    for (method, path) in operations() {
        if is_sign_in(&method, &path) {
            continue;
        }
        let nobody = status(app.request("acme", method.clone(), &path)).await;
        assert_eq!(nobody, 401, "nobody: {method} {path}");
        let token = app
            .request("acme", method.clone(), &path)
            .bearer_auth(stranger.token.expose());
        assert_eq!(status(token).await, 401, "another tenant's token: {method} {path}");
        let cookie = app
            .request("acme", method.clone(), &path)
            .header("cookie", format!("claw_session={}", stranger.cookie.expose()))
            .header("origin", app.origin("acme"));
        assert_eq!(status(cookie).await, 401, "another tenant's cookie: {method} {path}");
        let gone = status(app.request("nowhere", method.clone(), &path)).await;
        assert_eq!(gone, 404, "unknown tenant: {method} {path}");
    }
}

#[tokio::test]
async fn every_change_by_a_page_needs_our_own_origin() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let cookie = format!("claw_session={}", owner.cookie.expose());
    for (method, path) in operations() {
        if method == Method::GET {
            continue;
        }
        for origin in [
            None,
            Some("null"),
            Some("https://evil.test"),
            Some("http://evil.localhost"),
        ] {
            let mut request = app.request("acme", method.clone(), &path).header("cookie", &cookie);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            assert_eq!(status(request).await, 403, "{method} {path} from {origin:?}");
        }
    }
    assert_eq!(status(app.as_page(&owner, Method::POST, "/api/link-codes")).await, 201);
    let other_host = app
        .as_page(&owner, Method::POST, "/api/link-codes")
        .header("origin", "http://x.test");
    assert_eq!(status(other_host).await, 403, "two origins are none");
}

#[tokio::test]
async fn members_manage_their_own_and_no_more() {
    let app = TestServer::start().await;
    let member = app.user("acme", "m@acme.test", Role::Member).await;
    for (method, path) in [
        (Method::PUT, "/api/providers/x"),
        (Method::DELETE, "/api/providers/x"),
        (Method::PUT, "/api/channels/telegram/default"),
        (Method::DELETE, "/api/channels/telegram/default"),
        (Method::GET, "/api/audit"),
        (Method::GET, "/api/users"),
        (Method::POST, "/api/users"),
    ] {
        assert_eq!(
            status(app.as_user(&member, method.clone(), path)).await,
            403,
            "{method} {path}"
        );
    }
    for path in [
        "/api/session",
        "/api/tokens",
        "/api/models",
        "/api/channels",
        "/api/pairing",
        "/api/activity",
    ] {
        assert_eq!(status(app.as_user(&member, Method::GET, path)).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_narrowed_token_stays_narrow() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let narrow = json(
        app.as_user(&owner, Method::POST, "/api/tokens")
            .json(&json!({"name": "reader", "scopes": ["operator.read", "operator.write"]})),
        201,
    )
    .await;
    let with = |method: Method, path: &str| {
        app.request("acme", method, path)
            .bearer_auth(narrow["token"].as_str().expect("a token"))
    };
    assert_eq!(status(with(Method::GET, "/api/models")).await, 200);
    assert_eq!(status(with(Method::POST, "/api/link-codes")).await, 403);
    let more = with(Method::POST, "/api/tokens").json(&json!({"name": "more"}));
    assert_eq!(status(more).await, 403);
    assert_eq!(status(with(Method::GET, "/api/users")).await, 403);

    let id = narrow["id"].as_str().expect("an id");
    let revoke = app.as_user(&owner, Method::DELETE, &format!("/api/tokens/{id}"));
    assert_eq!(status(revoke).await, 204);
    assert_eq!(status(with(Method::GET, "/api/models")).await, 401);
}

#[tokio::test]
async fn wrong_bodies_are_refused_in_one_shape() {
    let app = TestServer::with(|settings| settings.limits.api_body_bytes = 4096).await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let post = || app.as_user(&owner, Method::POST, "/api/tokens");
    let typed = || post().header("content-type", "application/json");
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for (what, request, expected) in [
        ("no body", post(), 400),
        ("a form", post().form(&[("name", "x")]), 400),
        ("no JSON", typed().body("{"), 400),
        ("deep", typed().body(deep), 400),
        ("unknown field", post().json(&json!({"name": "x", "admin": true})), 400),
        (
            "unknown scope",
            post().json(&json!({"name": "x", "scopes": ["root"]})),
            400,
        ),
        ("empty name", post().json(&json!({"name": ""})), 400),
        ("large", post().json(&json!({"name": "x".repeat(5000)})), 413),
        (
            "bad query",
            app.as_user(&owner, Method::GET, "/api/audit?before=x"),
            400,
        ),
        ("no such method", app.as_user(&owner, Method::PATCH, "/api/tokens"), 405),
        ("not there", app.as_user(&owner, Method::GET, "/api/nothing"), 404),
    ] {
        let body = json(request, expected).await;
        assert!(
            body["error"]["code"].is_string() && body["error"]["message"].is_string(),
            "{what}: {body}"
        );
    }
}

#[tokio::test]
async fn failed_proofs_are_limited_and_valid_ones_are_not() {
    let app = TestServer::with(|settings| settings.limits.failed_proofs_per_minute = 3).await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let wrong = || app.request("acme", Method::GET, "/api/session").bearer_auth("nonsense");
    for _ in 0..3 {
        assert_eq!(status(wrong()).await, 401);
    }
    let answer = wrong().send().await.expect("an answer");
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(status(app.as_user(&owner, Method::GET, "/api/session")).await, 200);
    // Guesses are not even looked at.
    let code = owner_code(&app, &owner).await;
    let sign_in = app
        .request("acme", Method::POST, "/api/session")
        .header("origin", app.origin("acme"))
        .json(&json!({"code": code}));
    assert_eq!(status(sign_in).await, 429);
    // Another tenant does not pay for it.
    app.user("other", "o@other.test", Role::Owner).await;
    let elsewhere = app
        .request("other", Method::GET, "/api/session")
        .bearer_auth("nonsense");
    assert_eq!(status(elsewhere).await, 401);
}

async fn owner_code(app: &TestServer, owner: &crate::http::testing::TestUser) -> String {
    let config = &app.server.services.config;
    let code = config.create_sign_in_code(&owner.user.scope).await.expect("creates");
    code.expose().to_owned()
}
