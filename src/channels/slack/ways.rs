//! The way back that a slash command brings along. Into a channel that the bot is not in nothing else reaches the person.

use std::collections::VecDeque;
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
/// Ways that are kept of one account; a newer one takes the place of the oldest.
const MOST: usize = 32;
/// Longest part of one, bytes.
const LONGEST: usize = 512;

/// By tenant and account; in this process only.
#[derive(Debug, Default)]
pub(super) struct Ways(DashMap<(String, String), VecDeque<Way>>);

#[derive(Debug)]
struct Way {
    channel: String,
    user: String,
    url: String,
    until: Instant,
}

impl Ways {
    /// Keeps the newest one, if it leads to Slack.
    pub(super) fn keep(&self, account: &Account, (channel, user): (&str, &str), url: &str) {
        if [channel, user, url].iter().any(|part| part.len() > LONGEST) || purpose(account, url).is_none() {
            return;
        }
        let now = Instant::now();
        let mut ways = self.0.entry(key(account)).or_default();
        ways.retain(|way| way.until > now && !way.is_of(channel, user));
        if ways.len() == MOST {
            ways.pop_front();
        }
        ways.push_back(Way {
            channel: channel.to_owned(),
            user: user.to_owned(),
            url: url.to_owned(),
            until: now + KEPT,
        });
    }

    /// Each is taken once.
    fn take(&self, account: &Account, to: &Destination) -> Option<String> {
        let user = to.recipient.as_deref()?;
        let mut ways = self.0.get_mut(&key(account))?;
        let at = ways.iter().position(|way| way.is_of(&to.peer.id, user))?;
        let way = ways.remove(at)?;
        (way.until > Instant::now()).then_some(way.url)
    }
}

impl Way {
    fn is_of(&self, channel: &str, user: &str) -> bool {
        self.channel == channel && self.user == user
    }
}

fn key(account: &Account) -> (String, String) {
    (account.tenant.as_str().to_owned(), account.account_id.clone())
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

    #[test]
    fn few_ways_are_kept_and_none_that_is_long() {
        let (ours, ways) = (account(json!({})), Ways::default());
        let keep = |number: usize, url: &str| ways.keep(&ours, ("C1", &format!("U{number}")), url);
        let kept = || ways.0.iter().map(|of| of.len()).sum::<usize>();
        keep(0, &format!("https://hooks.slack.com/{}", "x".repeat(LONGEST)));
        assert_eq!(kept(), 0);
        for number in 0..MOST + 5 {
            keep(number, "https://hooks.slack.com/a");
            keep(number, "https://hooks.slack.com/b");
        }
        assert_eq!(kept(), MOST, "the newest of each person, and the oldest give way");
    }
}
