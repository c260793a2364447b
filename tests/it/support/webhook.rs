//! Webhooks as the platforms send them.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::HOST;
use reqwest::{Client, RequestBuilder, Response};
use ring::hmac;
use serde_json::{Value, json};

use super::platform::{SLACK_BOT_USER, SLACK_TEAM};

/// Sends webhooks of one tenant's bots.
#[derive(Clone)]
pub(crate) struct Webhooks {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    /// `Host`: names the tenant.
    pub(crate) host: String,
    pub(crate) telegram_secret: String,
    pub(crate) slack_secret: String,
}

impl Webhooks {
    /// A private Telegram message. `update` is the event's identity.
    pub(crate) fn telegram(&self, update: u64, chat: i64, text: &str) -> RequestBuilder {
        self.telegram_body(&telegram_update(update, chat, text))
    }

    pub(crate) fn telegram_body(&self, body: &Value) -> RequestBuilder {
        self.post("/webhooks/telegram", body.to_string())
            .header("x-telegram-bot-api-secret-token", &self.telegram_secret)
    }

    /// A direct Slack message in channel `channel`. `event` is the event's identity.
    pub(crate) fn slack(&self, event: u64, channel: &str, text: &str) -> RequestBuilder {
        self.slack_body(&slack_event(event, channel, text), &self.slack_secret)
    }

    pub(crate) fn slack_body(&self, body: &Value, secret: &str) -> RequestBuilder {
        let body = body.to_string();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
            .as_secs();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let digest = hmac::sign(&key, format!("v0:{now}:{body}").as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.post("/webhooks/slack", body)
            .header("x-slack-request-timestamp", now.to_string())
            .header("x-slack-signature", format!("v0={hex}"))
    }

    /// A POST without any proof.
    pub(crate) fn post(&self, path: &str, body: String) -> RequestBuilder {
        self.client
            .post(format!("http://{}{path}", self.address))
            .header(HOST, &self.host)
            .header("content-type", "application/json")
            .body(body)
    }
}

/// Sends and gives the status.
pub(crate) async fn status(request: RequestBuilder) -> u16 {
    send(request).await.status().as_u16()
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("the server answers")
}

pub(crate) fn telegram_update(update: u64, chat: i64, text: &str) -> Value {
    json!({"update_id": update, "message": {
        "message_id": update, "date": 1_763_800_000,
        "from": {"id": chat, "is_bot": false, "first_name": "Ada", "username": "ada"},
        "chat": {"id": chat, "type": "private", "first_name": "Ada"},
        "text": text,
    }})
}

pub(crate) fn slack_event(event: u64, channel: &str, text: &str) -> Value {
    let ts = format!("1763800000.{event:06}");
    json!({"type": "event_callback", "team_id": SLACK_TEAM, "api_app_id": "A0TEST001",
        "event_id": format!("Ev{event:09}"), "event_time": 1_763_800_000,
        "event": {"type": "message", "channel_type": "im", "user": format!("U{channel}"), "channel": channel,
            "ts": ts, "event_ts": ts, "text": text},
        "authorizations": [{"user_id": SLACK_BOT_USER, "is_bot": true}]})
}
