//! Calling Web API methods, and what their errors mean. The status is 200 for most failures: `ok` in the body decides.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{BOT_TOKEN, MANIFEST, Slack};
use crate::channels::{call, lenient};
use crate::egress::Request;

/// Name in messages for people.
pub(super) const NAME: &str = "Slack";

/// What the Web API answers, as far as all methods share it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdict {
    #[serde(deserialize_with = "lenient::field")]
    ok: bool,
    #[serde(deserialize_with = "lenient::field")]
    error: String,
    /// Scope that is missing.
    #[serde(deserialize_with = "lenient::field")]
    needed: String,
}

/// A call that did not work.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The method failed with this code.
    Refused {
        error: String,
        needed: String,
        after: Option<Duration>,
    },
    /// Anything else, already sorted.
    Other(DeliverError),
}

impl Trouble {
    pub(super) fn is(&self, codes: &[&str]) -> bool {
        match self {
            Self::Refused { error, .. } => codes.contains(&error.as_str()),
            Self::Other(_) => false,
        }
    }
}

impl From<Trouble> for DeliverError {
    fn from(trouble: Trouble) -> Self {
        let (error, needed, after) = match trouble {
            Trouble::Other(error) => return error,
            Trouble::Refused { error, needed, after } => (error, needed, after),
        };
        let message = match error.as_str() {
            "missing_scope" => format!("{NAME}: the app lacks the scope {needed}; add it and install the app again"),
            "not_in_channel" => format!("{NAME}: the bot is not in this channel; invite it first"),
            _ => format!("{NAME}: {error}"),
        };
        match error.as_str() {
            "invalid_auth"
            | "not_authed"
            | "account_inactive"
            | "token_revoked"
            | "token_expired"
            | "no_auth"
            | "org_login_required"
            | "ekm_access_denied"
            | "user_removed_from_team" => Self::Unauthorized {
                message: format!(
                    "{NAME} does not accept the bot token ({error}); copy it from the app's settings again"
                ),
            },
            "ratelimited" | "rate_limited" => Self::Retry { message, after },
            "service_unavailable" | "request_timeout" | "team_added_to_org" => Self::Retry { message, after: None },
            // By the documentation, "some aspect of the operation" may have succeeded.
            "internal_error" | "fatal_error" => Self::Unknown { message },
            _ => Self::Rejected { message },
        }
    }
}

impl Slack {
    /// One method call, one request.
    pub(super) async fn call(
        &self,
        account: &Account,
        method: &str,
        params: &Value,
        limit: Duration,
    ) -> Result<Value, Trouble> {
        // Without a charset Slack warns in every answer.
        let json = |request: Request| {
            let request = request.json(params);
            request.header("content-type", "application/json; charset=utf-8")
        };
        self.call_with(account, method, limit, json).await
    }

    /// The same for a method that reads forms only.
    pub(super) async fn call_form(
        &self,
        account: &Account,
        method: &str,
        form: String,
        limit: Duration,
    ) -> Result<Value, Trouble> {
        let form = |request: Request| request.body(form.into_bytes(), "application/x-www-form-urlencoded");
        self.call_with(account, method, limit, form).await
    }

    async fn call_with(
        &self,
        account: &Account,
        method: &str,
        limit: Duration,
        body: impl FnOnce(Request) -> Request,
    ) -> Result<Value, Trouble> {
        let Some(token) = account.secret(BOT_TOKEN) else {
            return Err(Trouble::Other(DeliverError::Unauthorized {
                message: "the bot token is missing".into(),
            }));
        };
        let url = format!("{}/{method}", account.api_base(&MANIFEST));
        let failed = |error| Trouble::Other(call::failed(NAME, error));
        let request = self
            .http
            .request(call::purpose(account), reqwest::Method::POST, &url)
            .map_err(failed)?
            .timeout(limit)
            .bearer(token);
        let response = body(request).send().await.map_err(failed)?;
        let after = call::retry_after(&response);
        let unreadable = || Trouble::Other(call::status(NAME, response.status, after));
        let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
            return Err(unreadable());
        };
        let verdict = lenient::read::<Verdict>(&response.body).unwrap_or_default();
        if verdict.ok {
            return Ok(answer);
        }
        if verdict.error.is_empty() || response.status == 429 {
            return Err(unreadable());
        }
        Err(Trouble::Refused {
            error: printable(&verdict.error),
            needed: printable(&verdict.needed),
            after,
        })
    }
}

/// Is the address where the account's configured API is.
pub(super) fn at_configured(account: &Account, url: &Url) -> bool {
    let base = || Url::parse(account.api_base(&MANIFEST));
    account.custom_api_base() && base().is_ok_and(|base| base.origin() == url.origin())
}

/// Codes are short words; whatever else comes must not fill a log or a page.
fn printable(code: &str) -> String {
    code.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_:.,-".contains(*c))
        .take(120)
        .collect()
}
