//! The way back that a slash command brings along. Into a channel that the bot is not in nothing else reaches the person.

use std::time::{Duration, Instant};

use claw_actors::ports::channel::{Account, Destination};
use dashmap::DashMap;
use serde_json::json;
use url::Url;

use super::Slack;
use super::api::{NAME, at_configured};
use crate::channels::call;
use crate::egress::Purpose;

const HOST: &str = "hooks.slack.com";
const LIMIT: Duration = Duration::from_secs(5);
/// As long as Slack takes answers there.
const KEPT: Duration = Duration::from_secs(30 * 60);
/// Ways that are kept. When there are more, all of them are forgotten.
const MOST: usize = 10_000;

/// By tenant, account, channel and person; in this process only.
#[derive(Debug, Default)]
pub(super) struct Ways(DashMap<(String, String, String, String), (Instant, String)>);

impl Ways {
    /// Keeps the newest one, if it leads to Slack.
    pub(super) fn keep(&self, account: &Account, (channel, user): (&str, &str), url: &str) {
        if purpose(account, url).is_none() {
            return;
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let until = Instant::now() + KEPT;
        self.0.insert(key(account, channel, user), (until, url.to_owned()));
    }

    /// Each is taken once.
    fn take(&self, account: &Account, to: &Destination) -> Option<String> {
        let (_, (until, url)) = self.0.remove(&key(account, &to.peer.id, to.recipient.as_deref()?))?;
        (until > Instant::now()).then_some(url)
    }
}

fn key(account: &Account, channel: &str, user: &str) -> (String, String, String, String) {
    (
        account.tenant.as_str().to_owned(),
        account.account_id.clone(),
        channel.to_owned(),
        user.to_owned(),
    )
}

/// Which rules apply to the address; `None`: it is not where Slack takes answers.
fn purpose(account: &Account, url: &str) -> Option<Purpose> {
    let url = Url::parse(url).ok()?;
    if at_configured(account, &url) {
        return Some(Purpose::Configured);
    }
    let slack = url.scheme() == "https" && url.host_str() == Some(HOST) && url.port().is_none();
    slack.then_some(Purpose::Fixed)
}

impl Slack {
    /// Tells who gave a command in a channel without us what to do, so that nobody else sees it. Best effort.
    pub(super) async fn ask_for_invitation(&self, account: &Account, to: &Destination) {
        let Some(url) = self.ways.take(account, to) else { return };
        let Some(purpose) = purpose(account, &url) else { return };
        let text =
            "I am not in this channel, so my answer cannot be shown here. Invite me with `/invite`, and ask again.";
        let telling = async {
            let request = self.http.request(purpose, reqwest::Method::POST, &url)?;
            let body = json!({"response_type": "ephemeral", "text": text});
            request.json(&body).timeout(LIMIT).send().await
        };
        if let Err(error) = telling.await {
            let error = call::failed(NAME, error);
            tracing::debug!(
                channel.id = account.channel,
                "nobody was told that the bot is not there: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::slack::tests::account;

    #[test]
    fn a_way_leads_to_slack_only() {
        let cloud = account(json!({}));
        let own = account(json!({"apiBaseUrl": "http://127.0.0.1:9/api"}));
        let fixed = Some(Purpose::Fixed);
        for (url, cloud_says, own_says) in [
            ("https://hooks.slack.com/commands/T1/2/x", fixed, fixed),
            ("http://hooks.slack.com/commands/T1/2/x", None, None),
            ("https://hooks.slack.com:8443/x", None, None),
            ("https://slack.com/x", None, None),
            ("https://hooks.slack.com.evil.test/x", None, None),
            ("https://hooks.slack.com@evil.test/x", None, None),
            ("http://127.0.0.1:9/x", None, Some(Purpose::Configured)),
            ("http://127.0.0.1:10/x", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                (purpose(&cloud, url), purpose(&own, url)),
                (cloud_says, own_says),
                "{url}"
            );
        }
    }
}
