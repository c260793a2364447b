//! Pointing a bot at us, and away again.

use std::time::Duration;

use claw_actors::clock;
use claw_actors::crypto::{Secret, token};
use claw_actors::ports::channel::{Account, Connected, DeliverError, Reached};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::inbound::{known_id, token_id};
use super::{Telegram, WEBHOOK_SECRET};
use crate::channels::lenient;

const LIMIT: Duration = Duration::from_secs(20);

/// Seconds for which a failed delivery counts: as long as a look at the webhook is the newest, and where updates wait.
const JUST_FAILED: i64 = 600;
const STILL_FAILING: i64 = 3_600;

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

    /// Do updates go to `webhook_url`, and do they arrive.
    pub(super) async fn reached(&self, account: &Account, webhook_url: &str) -> Result<Reached, DeliverError> {
        let info = self.call(account, "getWebhookInfo", &json!({}), LIMIT).await?;
        let url = info.get("url").and_then(Value::as_str);
        // An earlier version asked for less.
        if url == Some(webhook_url) && account.identity[ASKED_FOR] != json!(UPDATES) {
            return Ok(Reached::Elsewhere("the bot was not sent all of its updates".to_owned()));
        }
        let Some(url) = url.filter(|url| *url != webhook_url) else {
            return Ok(Reached::Here {
                trouble: trouble(&info, clock::now_ms() / 1_000),
            });
        };
        // A path may hold somebody's secret.
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Ok(Reached::Elsewhere(match host {
            Some(host) => format!("the bot's updates were sent to {host}"),
            None => "the bot had no webhook any more".to_owned(),
        }))
    }

    pub(super) async fn take_down(&self, account: &Account) -> Result<(), DeliverError> {
        self.call(account, "deleteWebhook", &json!({}), LIMIT).await?;
        Ok(())
    }
}

/// What Telegram says of updates that did not arrive, as of `now` in seconds. Where some wait, it tries again after a
/// while, so that an older failure counts too.
fn trouble(info: &Value, now: i64) -> Option<String> {
    let waiting = info.get("pending_update_count").and_then(Value::as_u64).unwrap_or(0);
    let failed_at = info.get("last_error_date").and_then(Value::as_i64)?;
    let counts = if waiting > 0 { STILL_FAILING } else { JUST_FAILED };
    if now - failed_at > counts {
        return None;
    }
    let said = info
        .get("last_error_message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let said: String = said.chars().filter(|char| !char.is_control()).take(200).collect();
    Some(format!("Telegram says \"{said}\", and {waiting} updates wait"))
}

/// `secret_token` takes 1 to 256 of these characters.
fn is_usable(secret: &str) -> bool {
    (1..=256).contains(&secret.len())
        && secret
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
