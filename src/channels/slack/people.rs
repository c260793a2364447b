//! Who somebody is: Slack's messages name people by their ids. Names are kept for some hours, and so is that nobody could
//! tell one.

use std::time::{Duration, Instant};

use claw_actors::ports::channel::Account;
use dashmap::DashMap;
use serde::Deserialize;

use super::Slack;
use crate::channels::lenient;

/// Somebody waits for the answer to their message meanwhile.
const LIMIT: Duration = Duration::from_secs(3);
const KEPT: Duration = Duration::from_secs(6 * 3600);
const FAILURE_KEPT: Duration = Duration::from_secs(300);
/// Names that are kept. When there are more, all of them are asked for again.
const MOST: usize = 20_000;

/// Names by tenant, account and user.
#[derive(Debug, Default)]
pub(super) struct Names(DashMap<(String, String, String), (Instant, Option<String>)>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    #[serde(deserialize_with = "lenient::field")]
    user: User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    #[serde(deserialize_with = "lenient::field")]
    name: String,
    #[serde(deserialize_with = "lenient::field")]
    real_name: String,
    #[serde(deserialize_with = "lenient::field")]
    profile: Profile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Profile {
    #[serde(deserialize_with = "lenient::field")]
    display_name: String,
    #[serde(deserialize_with = "lenient::field")]
    real_name: String,
}

impl Slack {
    /// `users.info`, where the app may call it.
    pub(super) async fn name_of(&self, account: &Account, user: &str) -> Option<String> {
        let key = (
            account.tenant.as_str().to_owned(),
            account.account_id.clone(),
            user.to_owned(),
        );
        let now = Instant::now();
        if let Some(known) = self.names.0.get(&key)
            && known.0 > now
        {
            return known.1.clone();
        }
        // A method that reads no JSON.
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("user", user)
            .finish();
        let told = self.call_form(account, "users.info", form, LIMIT).await;
        let name = match told {
            Ok(told) => name(&lenient::read(told.to_string().as_bytes()).unwrap_or_default()),
            Err(_) => None,
        };
        let until = now + if name.is_some() { KEPT } else { FAILURE_KEPT };
        if self.names.0.len() >= MOST {
            self.names.0.clear();
        }
        self.names.0.insert(key, (until, name.clone()));
        name
    }
}

/// As Slack shows it.
fn name(info: &Info) -> Option<String> {
    let user = &info.user;
    [
        &user.profile.display_name,
        &user.profile.real_name,
        &user.real_name,
        &user.name,
    ]
    .into_iter()
    .map(|name| name.trim())
    .find(|name| !name.is_empty())
    .map(|name| name.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channels::slack::tests::account;
    use crate::egress::testing::{FakeServer, Reply, Seen};

    #[tokio::test]
    async fn a_name_is_asked_for_once() {
        let fake = FakeServer::start(|seen: &Seen| {
            let known = String::from_utf8_lossy(&seen.body) == "user=U1";
            Reply::json(
                200,
                &if known {
                    json!({"ok": true, "user": {"id": "U1", "name": "ada", "profile": {"display_name": "Ada L"}}})
                } else {
                    json!({"ok": false, "error": "user_not_found"})
                },
            )
        })
        .await;
        let account = account(json!({"apiBaseUrl": fake.url("/api")}));
        let slack = Slack::new(FakeServer::egress());
        for _ in 0..2 {
            assert_eq!(slack.name_of(&account, "U1").await.as_deref(), Some("Ada L"));
            assert_eq!(slack.name_of(&account, "U2").await, None);
        }
        assert_eq!(fake.seen().len(), 2);
    }
}
