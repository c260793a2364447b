//! Checking an app's credentials. Slack has no call that sets the request URL: the person is told where to enter it.

use std::time::Duration;

use claw_actors::ports::channel::{Account, Connected, DeliverError};
use serde_json::json;

use super::{SIGNING_SECRET, Slack};

const LIMIT: Duration = Duration::from_secs(20);

/// What we read; Slack sends only what the app subscribes to.
const EVENTS: [&str; 7] = [
    "app_mention",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "reaction_added",
    "reaction_removed",
];

impl Slack {
    pub(super) async fn check(&self, account: &Account, webhook_url: &str) -> Result<Connected, DeliverError> {
        if account.secret(SIGNING_SECRET).is_none() {
            return Err(DeliverError::Unauthorized {
                message: "the signing secret is missing".into(),
            });
        }
        let me = self.call(account, "auth.test", &json!({}), LIMIT).await?;
        let known = |key: &str| me[key].as_str().unwrap_or_default();
        let mut warnings = vec![
            format!(
                "In the app's settings at Slack, enter {webhook_url} as Request URL under Event Subscriptions, \
                 Interactivity and each slash command."
            ),
            format!("Subscribe to the bot events {}.", EVENTS.join(", ")),
        ];
        if known("bot_id").is_empty() {
            warnings.push("This is not a bot token: messages will appear as written by its user.".to_owned());
        }
        Ok(Connected {
            identity: json!({
                "teamId": known("team_id"),
                "team": known("team"),
                "url": known("url"),
                "botUserId": known("user_id"),
                "botId": known("bot_id"),
                "name": known("user"),
            }),
            generated: Default::default(),
            warnings,
        })
    }
}
