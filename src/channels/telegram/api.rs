//! Calling Bot API methods, and what their refusals mean.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError};
use serde::Deserialize;
use serde_json::Value;

use super::{BOT_TOKEN, MANIFEST, Telegram};
use crate::channels::{call, lenient};
use crate::egress::Request;

/// Name in messages for people.
pub(super) const NAME: &str = "Telegram";

/// What the Bot API answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(deserialize_with = "lenient::field")]
    ok: bool,
    #[serde(deserialize_with = "lenient::field")]
    result: Value,
    #[serde(deserialize_with = "lenient::field")]
    error_code: u16,
    #[serde(deserialize_with = "lenient::field")]
    description: String,
    #[serde(deserialize_with = "lenient::field")]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    #[serde(deserialize_with = "lenient::field")]
    retry_after: Option<f64>,
    #[serde(deserialize_with = "lenient::field")]
    migrate_to_chat_id: Option<i64>,
}

/// A call that did not work.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The Bot API refused, in its own words. They hold no token.
    Refused {
        code: u16,
        description: String,
        parameters: Parameters,
    },
    /// Anything else, already sorted.
    Other(DeliverError),
}

impl Trouble {
    /// Was it refused with one of these words.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        match self {
            Self::Refused {
                code: 400, description, ..
            } => {
                let description = description.to_ascii_lowercase();
                words.iter().any(|word| description.contains(word))
            }
            Self::Refused { .. } | Self::Other(_) => false,
        }
    }
}

impl From<Trouble> for DeliverError {
    fn from(trouble: Trouble) -> Self {
        let (code, description, parameters) = match trouble {
            Trouble::Other(error) => return error,
            Trouble::Refused {
                code,
                description,
                parameters,
            } => (code, description, parameters),
        };
        if let Some(chat) = parameters.migrate_to_chat_id {
            return Self::Moved { to: chat.to_string() };
        }
        let message = format!("{NAME}: {description}");
        match code {
            // The Bot API answers 404 to a token it cannot even read.
            401 | 404 => Self::Unauthorized {
                message: format!("{NAME} does not accept the bot token; copy it from @BotFather again"),
            },
            429 => Self::Retry {
                message,
                after: parameters.retry_after.and_then(call::seconds),
            },
            // Another process works with the same bot right now.
            409 => Self::Retry { message, after: None },
            400..=499 => Self::Rejected { message },
            0..=399 | 500..=u16::MAX => call::status(NAME, code, None),
        }
    }
}

impl Telegram {
    /// The bot token, if it has the only form that may stand in a URL.
    pub(super) fn token(account: &Account) -> Result<&str, DeliverError> {
        let Some(token) = account.secret(BOT_TOKEN) else {
            return Err(DeliverError::Unauthorized {
                message: "the bot token is missing".into(),
            });
        };
        let token = token.expose().trim();
        let safe =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        match token.split_once(':') {
            Some((id, secret)) if id.bytes().all(|b| b.is_ascii_digit()) && safe(id) && safe(secret) => Ok(token),
            Some(_) | None => Err(DeliverError::Unauthorized {
                message: "this is not a bot token; @BotFather gives one like 123456789:AA…".into(),
            }),
        }
    }

    /// One method call, one request.
    pub(super) async fn call(
        &self,
        account: &Account,
        method: &str,
        params: &Value,
        limit: Duration,
    ) -> Result<Value, Trouble> {
        self.call_with(account, method, limit, |request| request.json(params))
            .await
    }

    /// The same with a body of another form.
    pub(super) async fn call_with(
        &self,
        account: &Account,
        method: &str,
        limit: Duration,
        body: impl FnOnce(Request) -> Request,
    ) -> Result<Value, Trouble> {
        let url = format!(
            "{}/bot{}/{method}",
            account.api_base(&MANIFEST),
            Self::token(account).map_err(Trouble::Other)?
        );
        let failed = |error| Trouble::Other(call::failed(NAME, error));
        let request = self
            .http
            .request(call::purpose(account), reqwest::Method::POST, &url)
            .map_err(failed)?
            .timeout(limit);
        let response = body(request).send().await.map_err(failed)?;
        let Ok(answer) = lenient::read::<Answer>(&response.body) else {
            let after = call::retry_after(&response);
            return Err(Trouble::Other(call::status(NAME, response.status, after)));
        };
        if answer.ok {
            return Ok(answer.result);
        }
        if answer.error_code == 0 && answer.description.is_empty() {
            let after = call::retry_after(&response);
            return Err(Trouble::Other(call::status(NAME, response.status, after)));
        }
        Err(Trouble::Refused {
            code: if answer.error_code == 0 {
                response.status
            } else {
                answer.error_code
            },
            description: answer.description,
            parameters: answer.parameters,
        })
    }
}
