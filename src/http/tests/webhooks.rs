use claw_actors::config::accounts::AccountDraft;
use claw_actors::config::identity::Role;
use claw_entities::{PlatformTable, inbox};
use reqwest::{Method, RequestBuilder};
use sea_orm::PaginatorTrait;
use serde_json::{Value, json};

use crate::http::testing::{TestServer, TestUser, json, status};

const SECRET: &str = "a-webhook-secret";

/// A Telegram bot of the user, as if it had been connected.
async fn bot(app: &TestServer, owner: &TestUser, account_id: &str) {
    let config = &app.server.services.config;
    let tenant = owner.user.scope.tenant_scope();
    config
        .put_account(
            tenant,
            AccountDraft {
                channel: "telegram".to_owned(),
                account_id: account_id.to_owned(),
                owner: owner.user.scope.user().clone(),
                enabled: true,
                // Nobody listens there.
                config: json!({"dmPolicy": "disabled", "apiRoot": "http://127.0.0.1:9"}),
                secrets: vec![
                    ("botToken".to_owned(), "1:x".into()),
                    ("webhookSecret".to_owned(), SECRET.into()),
                ],
            },
            &["botToken"],
        )
        .await
        .expect("saves");
}

fn update(id: i64) -> Value {
    json!({
        "update_id": id,
        "message": {
            "message_id": id, "date": 1_790_000_000, "text": "hello",
            "chat": {"id": 5, "type": "private"}, "from": {"id": 5, "is_bot": false, "first_name": "Ann"},
        },
    })
}

fn post(app: &TestServer, path: &str, secret: &str, body: &Value) -> RequestBuilder {
    app.request("acme", Method::POST, path)
        .header("x-telegram-bot-api-secret-token", secret)
        .json(body)
}

async fn stored(app: &TestServer) -> u64 {
    let tx = app.server.services.db.system_read().await.expect("reads");
    inbox::Entity::platform().count(&*tx).await.expect("counts")
}

#[tokio::test]
async fn accepted_once_however_often_it_is_sent() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    bot(&app, &owner, "default").await;
    for _ in 0..3 {
        let answer = post(&app, "/webhooks/telegram", SECRET, &update(1))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-openclaw-delivery-accepted"], "durable");
        assert_eq!(stored(&app).await, 1);
    }
}

#[tokio::test]
async fn what_is_not_proven_is_not_stored() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    bot(&app, &owner, "second").await;
    let path = "/webhooks/telegram/second";
    assert_eq!(status(post(&app, path, "wrong", &update(1))).await, 401);
    let doubled = post(&app, path, SECRET, &update(1)).header("x-telegram-bot-api-secret-token", SECRET);
    assert_eq!(status(doubled).await, 401);
    assert_eq!(
        status(post(&app, "/webhooks/telegram", SECRET, &update(1))).await,
        404,
        "no default account"
    );
    assert_eq!(status(post(&app, "/webhooks/nothing", SECRET, &update(1))).await, 404);
    assert_eq!(status(post(&app, path, SECRET, &json!("?"))).await, 400);
    let large = post(&app, path, SECRET, &json!("x".repeat(2 * 1024 * 1024)));
    assert_eq!(status(large).await, 413);
    app.user("other", "o@other.test", Role::Owner).await;
    let elsewhere = app
        .request("other", Method::POST, path)
        .header("x-telegram-bot-api-secret-token", SECRET)
        .json(&update(1));
    assert_eq!(status(elsewhere).await, 404, "another tenant's account");
    assert_eq!(stored(&app).await, 0);
    assert_eq!(status(post(&app, path, SECRET, &update(1))).await, 200);
    assert_eq!(stored(&app).await, 1);
}

#[tokio::test]
async fn failures_of_strangers_do_not_stop_the_platform() {
    let app = TestServer::with(|settings| settings.limits.failed_proofs_per_minute = 2).await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    bot(&app, &owner, "default").await;
    for expected in [401, 401, 429, 429] {
        assert_eq!(
            status(post(&app, "/webhooks/telegram", "wrong", &update(1))).await,
            expected
        );
    }
    assert_eq!(status(post(&app, "/webhooks/telegram", SECRET, &update(1))).await, 200);
}

#[tokio::test]
async fn an_account_is_saved_without_giving_its_secrets_back() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let put = |body: Value| {
        app.as_user(&owner, Method::PUT, "/api/channels/telegram/default")
            .json(&body)
    };
    let missing = json(put(json!({"enabled": true})), 400).await;
    assert!(
        missing["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("botToken")),
        "{missing}"
    );
    for wrong in [
        json!({"secrets": {"password": "x"}}),
        json!({"config": {"botToken": "x"}}),
        json!({"owner": "nobody@acme.test"}),
    ] {
        let got = status(put(wrong.clone())).await;
        assert!(matches!(got, 400 | 404), "{wrong}: {got}");
    }
    // Nothing listens on port 9 of this machine: saved, but not connected.
    let saved = json(
        put(json!({
            "enabled": true,
            "config": {"apiRoot": "http://127.0.0.1:9"},
            "secrets": {"botToken": "123:secret-token"},
        })),
        200,
    )
    .await;
    assert_eq!(saved["account"]["status"], "error", "{saved}");
    assert_eq!(saved["warnings"].as_array().map(Vec::len), Some(1), "{saved}");
    assert_eq!(saved["account"]["secretsSet"], json!(["botToken"]));
    assert_eq!(saved["account"]["owner"], owner.user.scope.user().as_str());
    let url = format!("{}/webhooks/telegram", app.origin("acme"));
    assert_eq!(saved["account"]["webhookUrl"], url);
    let list = json(app.as_user(&owner, Method::GET, "/api/channels"), 200).await;
    assert!(!format!("{saved}{list}").contains("secret-token"));
    assert!(
        list["channels"]
            .as_array()
            .is_some_and(|channels| channels.iter().any(|c| c["id"] == "telegram"))
    );
    let gone = app.as_user(&owner, Method::DELETE, "/api/channels/telegram/default");
    assert_eq!(status(gone).await, 204);
}

#[tokio::test]
async fn a_provider_keeps_its_key_to_itself() {
    let app = TestServer::start().await;
    let owner = app.user("acme", "owner@acme.test", Role::Owner).await;
    let put = |body: Value| app.as_user(&owner, Method::PUT, "/api/providers/mine").json(&body);
    let saved = json(
        put(json!({
            "api": "openai-completions", "baseUrl": "http://127.0.0.1:9/v1", "apiKey": "sk-secret",
            "models": [{"id": "m1", "name": "One", "contextWindow": 1000, "input": ["text"]}],
        })),
        200,
    )
    .await;
    assert_eq!(
        (&saved["keySet"], &saved["models"][0]["contextWindow"]),
        (&json!(true), &json!(1000))
    );
    let list = json(app.as_user(&owner, Method::GET, "/api/providers"), 200).await;
    assert!(!list.to_string().contains("sk-secret"));
    assert!(
        list["apis"]
            .as_array()
            .is_some_and(|apis| !apis.contains(&json!("demo-echo")))
    );
    let models = json(app.as_user(&owner, Method::GET, "/api/models"), 200).await;
    assert_eq!(models["models"][0]["ref"], "mine/m1");
    let session = json(app.as_user(&owner, Method::GET, "/api/session"), 200).await;
    assert_eq!(session["zeroKey"], false);
    assert_eq!(
        status(put(json!({"api": "demo-echo", "baseUrl": "http://x"}))).await,
        400
    );
    assert_eq!(
        status(put(json!({"api": "openai-completions", "baseUrl": "file:///etc"}))).await,
        400
    );
    assert_eq!(
        status(app.as_user(&owner, Method::DELETE, "/api/providers/mine")).await,
        204
    );
}
