use claw_actors::config::identity::Role;
use reqwest::Method;
use serde_json::json;

use crate::http::testing::{TestServer, json, status};

#[tokio::test]
async fn a_code_opens_a_session_once_and_signing_out_ends_it() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let config = &app.server.services.config;
    let code = config.create_sign_in_code(&owner.user.scope).await.expect("creates");
    let sign_in = || {
        app.request("acme", Method::POST, "/api/session")
            .header("origin", app.origin("acme"))
            .json(&json!({"code": code.expose()}))
    };
    let answer = sign_in().send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.starts_with("claw_session="), "{cookie}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let body: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(body["tenant"]["slug"], "acme");
    assert_eq!(body["user"]["email"], "owner@acme.test");
    assert_eq!(body["user"]["role"], "owner");
    assert_eq!(body["zeroKey"], true);
    assert_eq!(status(sign_in()).await, 401, "a code is good once");

    let value = cookie.split(';').next().expect("a pair").to_owned();
    let me = || {
        app.request("acme", Method::GET, "/api/session")
            .header("cookie", &value)
    };
    let again = json(me(), 200).await;
    assert_eq!(again, body);
    let out = app
        .request("acme", Method::DELETE, "/api/session")
        .header("cookie", &value)
        .header("origin", app.origin("acme"));
    let answer = out.send().await.expect("an answer");
    assert_eq!(answer.status(), 204);
    assert!(
        answer.headers()["set-cookie"]
            .to_str()
            .expect("text")
            .contains("Max-Age=0")
    );
    assert_eq!(status(me()).await, 401);
}

#[tokio::test]
async fn a_password_signs_in_and_a_new_one_signs_others_out() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let other = app.user("acme", "owner@acme.test", Role::Owner).await;
    let set = app
        .as_page(&owner, Method::PUT, "/api/session/password")
        .json(&json!({"password": "correct horse battery"}));
    assert_eq!(status(set).await, 204);
    assert_eq!(status(app.as_page(&owner, Method::GET, "/api/session")).await, 200);
    assert_eq!(status(app.as_page(&other, Method::GET, "/api/session")).await, 401);
    let sign_in = |password: &str| {
        app.request("acme", Method::POST, "/api/session")
            .header("origin", app.origin("acme"))
            .json(&json!({"email": "Owner@acme.test", "password": password}))
    };
    assert_eq!(status(sign_in("wrong horse battery")).await, 401);
    assert_eq!(status(sign_in("correct horse battery")).await, 200);
    let both = app
        .request("acme", Method::POST, "/api/session")
        .header("origin", app.origin("acme"))
        .json(&json!({"code": "x", "email": "a", "password": "b"}));
    assert_eq!(status(both).await, 400);
}

#[tokio::test]
async fn an_api_token_changes_no_password_without_the_present_one() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let put = |body: serde_json::Value| {
        app.request("acme", Method::PUT, "/api/session/password")
            .bearer_auth(owner.token.expose())
            .json(&body)
    };
    assert_eq!(status(put(json!({"password": "correct horse battery"}))).await, 204);
    assert_eq!(status(put(json!({"password": "another horse battery"}))).await, 403);
    let wrong = json!({"password": "another horse battery", "currentPassword": "wrong horse battery"});
    assert_eq!(status(put(wrong)).await, 403);
    let right = json!({"password": "another horse battery", "currentPassword": "correct horse battery"});
    assert_eq!(status(put(right)).await, 204);
}

#[tokio::test]
async fn the_present_password_is_not_guessed_from_everywhere() {
    let app = TestServer::with(|settings| settings.limits.failed_proofs_per_minute = 1000).await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let put = |body: serde_json::Value| {
        app.request("acme", Method::PUT, "/api/session/password")
            .bearer_auth(owner.token.expose())
            .json(&body)
    };
    assert_eq!(status(put(json!({"password": "correct horse battery"}))).await, 204);
    let guess = |present: &str| json!({"password": "another horse battery", "currentPassword": present});
    for _ in 0..10 {
        assert_eq!(status(put(guess("wrong horse battery"))).await, 403);
    }
    assert_eq!(status(put(guess("wrong horse battery"))).await, 429);
    assert_eq!(
        status(put(guess("correct horse battery"))).await,
        429,
        "not even looked at"
    );
}

#[tokio::test]
async fn behind_tls_the_cookie_is_bound_to_the_host() {
    let app = TestServer::with(|settings| {
        settings.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.http.public_url = Some("https://localhost".to_owned());
    })
    .await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let code = app
        .server
        .services
        .config
        .create_sign_in_code(&owner.user.scope)
        .await
        .expect("creates");
    let answer = app
        .request("acme", Method::POST, "/api/session")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", "203.0.113.5")
        .header("origin", "https://acme.localhost")
        .json(&json!({"code": code.expose()}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    assert!(
        cookie.starts_with("__Host-claw_session=") && cookie.contains("Secure"),
        "{cookie}"
    );
    // The plain cookie is for plain connections only.
    let plain = app
        .request("acme", Method::GET, "/api/session")
        .header("x-forwarded-proto", "https")
        .header("cookie", format!("claw_session={}", owner.cookie.expose()));
    assert_eq!(status(plain).await, 401);
}

#[tokio::test]
async fn an_admin_invites_but_never_above_their_own_role() {
    let app = TestServer::start().await;
    let admin = app.user("acme", "admin@acme.test", Role::Admin).await;
    let invite = |role: &str| {
        app.as_user(&admin, Method::POST, "/api/users")
            .json(&json!({"email": format!("{role}@acme.test"), "role": role}))
    };
    assert_eq!(status(invite("owner")).await, 403);
    let made = json(invite("member"), 201).await;
    let link = made["signInLink"].as_str().expect("a link");
    let (site, code) = link.split_once("/#sign-in=").expect("the code is in the fragment");
    assert_eq!(site, app.origin("acme"));
    let sign_in = app
        .request("acme", Method::POST, "/api/session")
        .header("origin", site)
        .json(&json!({"code": code}));
    assert_eq!(json(sign_in, 200).await["user"]["email"], "member@acme.test");
    assert_eq!(status(invite("member")).await, 409);
    let audit = json(app.as_user(&admin, Method::GET, "/api/audit"), 200).await;
    assert!(audit["entries"].as_array().is_some_and(|entries| !entries.is_empty()));
}

#[tokio::test]
async fn a_person_chooses_a_name_and_a_time_zone() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let config = &app.server.services.config;
    let change = |body: serde_json::Value| app.as_page(&owner, Method::PATCH, "/api/session/profile").json(&body);
    let session = || app.as_page(&owner, Method::GET, "/api/session");
    assert_eq!(json(session(), 200).await["user"]["timeZone"], json!(null));
    let zone = async || {
        config
            .settings(&owner.user.scope)
            .await
            .expect("reads")
            .time_zone
            .clone()
    };
    assert_eq!(zone().await, None);
    let user = json(change(json!({"timeZone": "Europe/Vienna"})), 200).await;
    assert_eq!(
        (&user["timeZone"], &user["name"]),
        (&json!("Europe/Vienna"), &json!("owner"))
    );
    assert_eq!(
        zone().await.as_deref(),
        Some("Europe/Vienna"),
        "what was cached is forgotten"
    );
    let user = json(change(json!({"name": " Ada "})), 200).await;
    assert_eq!(
        (&user["timeZone"], &user["name"]),
        (&json!("Europe/Vienna"), &json!("Ada"))
    );
    for wrong in [
        json!({"timeZone": "Mars/North"}),
        json!({"timeZone": ""}),
        json!({"name": " "}),
        json!({"role": "owner"}),
    ] {
        assert_eq!(status(change(wrong.clone())).await, 400, "{wrong}");
    }
    assert_eq!(json(session(), 200).await["user"], json(change(json!({})), 200).await);
    let doc = json!({"agents": {"defaults": {"userTimezone": "Asia/Tokyo"}}});
    config.put_document(&owner.user.scope, doc, None).await.expect("stores");
    assert_eq!(
        zone().await.as_deref(),
        Some("Asia/Tokyo"),
        "the configuration goes first"
    );
}
