//! Pointing a bot at us, and away again.

use std::time::Duration;

use claw_actors::crypto::{Secret, token};
use claw_actors::ports::channel::{Account, Connected, DeliverError};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::inbound::{known_id, token_id};
use super::{Telegram, WEBHOOK_SECRET};
use crate::channels::lenient;

const LIMIT: Duration = Duration::from_secs(20);

/// What we read; anything else would only be thrown away.
const UPDATES: [&str; 7] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "callback_query",
    "message_reaction",
    "my_chat_member",
];

/// Field of an account's identity: which updates the platform was asked to send.
const ASKED_FOR: &str = "updates";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Me {
    #[serde(deserialize_with = "lenient::field")]
    id: i64,
    #[serde(deserialize_with = "lenient::field")]
    username: String,
    #[serde(deserialize_with = "lenient::field")]
    first_name: String,
    #[serde(deserialize_with = "lenient::field")]
    can_read_all_group_messages: bool,
    #[serde(deserialize_with = "lenient::field")]
    has_topics_enabled: bool,
}

impl Telegram {
    /// `getMe`, then `setWebhook`. The account keeps the secret it has (an imported one, or an earlier connection's),
    /// so that events already on their way still prove themselves; without one it gets a fresh one, and so does another
    /// bot than the one that was connected before: that one knows the old secret.
    pub(super) async fn set_up(&self, account: &Account, webhook_url: &str) -> Result<Connected, DeliverError> {
        let me = self.call(account, "getMe", &json!({}), LIMIT).await?;
        let me: Me = lenient::read(me.to_string().as_bytes()).unwrap_or_default();
        let secret = account
            .secrets
            .get(WEBHOOK_SECRET)
            .filter(|secret| is_usable(secret.expose()) && known_id(account).is_none_or(|known| known == me.id))
            .cloned()
            .unwrap_or_else(|| Secret::new(token::random_token()));
        let webhook = json!({
            "url": webhook_url,
            "secret_token": secret.expose(),
            "allowed_updates": UPDATES,
            "max_connections": 40,
        });
        self.call(account, "setWebhook", &webhook, LIMIT).await?;
        let mut warnings = Vec::new();
        if !me.can_read_all_group_messages {
            warnings.push(
                "Privacy mode is on: in groups the bot hears only commands, mentions and replies. To change that, use \
                 /setprivacy of @BotFather and add the bot to the group again."
                    .to_owned(),
            );
        }
        Ok(Connected {
            identity: json!({
                "id": me.id.to_string(),
                "tokenId": token_id(account).map(|id| id.to_string()),
                "username": me.username,
                "name": me.first_name,
                "canReadAllGroupMessages": me.can_read_all_group_messages,
                "hasTopicsEnabled": me.has_topics_enabled,
                ASKED_FOR: UPDATES,
            }),
            generated: [(WEBHOOK_SECRET.to_owned(), secret)].into(),
            warnings,
        })
    }

    /// Where updates go, if not to `webhook_url`.
    pub(super) async fn webhook_elsewhere(
        &self,
        account: &Account,
        webhook_url: &str,
    ) -> Result<Option<String>, DeliverError> {
        let info = self.call(account, "getWebhookInfo", &json!({}), LIMIT).await?;
        let Some(url) = info.get("url").and_then(Value::as_str) else {
            return Ok(None);
        };
        if url == webhook_url {
            // An earlier version asked for less.
            let all = account.identity[ASKED_FOR] == json!(UPDATES);
            return Ok((!all).then(|| "the bot was not sent all of its updates".to_owned()));
        }
        // A path may hold somebody's secret.
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Ok(Some(match host {
            Some(host) => format!("the bot's updates were sent to {host}"),
            None => "the bot had no webhook any more".to_owned(),
        }))
    }

    pub(super) async fn take_down(&self, account: &Account) -> Result<(), DeliverError> {
        self.call(account, "deleteWebhook", &json!({}), LIMIT).await?;
        Ok(())
    }
}

/// `secret_token` takes 1 to 256 of these characters.
fn is_usable(secret: &str) -> bool {
    (1..=256).contains(&secret.len())
        && secret
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
