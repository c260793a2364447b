//! From what a provider answered to one of our failure classes, with a sentence for the person and words for the operator.

use std::time::Duration;

use claw_actors::ports::message::{AssistantMessage, StopReason};
use claw_actors::ports::model::{ErrorClass, ModelError};
use serde_json::Value;

use super::retry_after;
use crate::egress::EgressError;

/// Most of an error body that is read.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A call that failed. Becomes a [`ModelError`] where provider, secrets and the partial message are known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    /// The provider's words, not redacted yet.
    pub(super) detail: String,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    /// A better sentence than the class has, without the provider's name.
    pub(super) sentence: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, detail: impl Into<String>) -> Self {
        Self {
            class,
            detail: detail.into(),
            status: None,
            retry_after: None,
            sentence: None,
        }
    }

    /// The stream ended or broke before its terminal marker.
    pub(super) fn cut() -> Self {
        Self::new(ErrorClass::Network, "the stream ended without its terminal marker")
    }

    /// The provider answered with something that is not its protocol.
    pub(super) fn garbage(detail: impl Into<String>) -> Self {
        Self {
            sentence: Some(
                "sent an answer that is not in the expected form; check its address and API type in Settings → AI Providers",
            ),
            ..Self::new(ErrorClass::Format, detail)
        }
    }

    /// The policy refusal a model may end with.
    pub(super) fn refusal(detail: impl Into<String>) -> Self {
        Self::new(ErrorClass::Refusal, detail)
    }

    /// Nobody spoke for too long.
    pub(super) fn silence(detail: &'static str) -> Self {
        Self::new(ErrorClass::Timeout, detail)
    }

    pub(super) fn egress(error: EgressError) -> Self {
        let detail = error.to_string();
        match error {
            EgressError::Refused { .. } => Self {
                sentence: Some("has an address that is not allowed; change it in Settings → AI Providers"),
                ..Self::new(ErrorClass::Format, detail)
            },
            EgressError::Connect => Self {
                sentence: Some("could not be reached"),
                ..Self::new(ErrorClass::Network, detail)
            },
            EgressError::Io => Self::new(ErrorClass::Network, detail),
            EgressError::Timeout { .. } => Self::new(ErrorClass::Timeout, detail),
            EgressError::TooLarge | EgressError::Redirect => Self::garbage(detail),
        }
    }

    /// An HTTP answer that is not 2xx.
    pub(super) fn http(status: u16, body: &[u8]) -> Self {
        let body = ErrorBody::read(body);
        Self {
            status: Some(status),
            ..body.failure(Some(status))
        }
    }

    /// An error object that arrived inside a stream which began as success.
    pub(super) fn in_stream(error: &Value) -> Self {
        let body = ErrorBody::from_value(error);
        let status = body.code.parse().ok().filter(|code| (400..600).contains(code));
        Self {
            status,
            ..body.failure(status)
        }
    }

    /// The error the runtime sees. `detail` is what is left of ours after redaction.
    pub(super) fn into_error(
        self,
        provider: &str,
        model: &str,
        detail: String,
        mut partial: AssistantMessage,
    ) -> ModelError {
        let message = self.person_sentence(provider, model);
        partial.stop_reason = StopReason::Error;
        partial.error_message = Some(message.clone());
        ModelError {
            class: self.class,
            message,
            detail,
            status: self.status,
            retry_after: self.retry_after,
            partial,
        }
    }

    fn person_sentence(&self, provider: &str, model: &str) -> String {
        if let Some(sentence) = self.sentence {
            return format!("The AI provider {provider} {sentence}.");
        }
        match self.class {
            ErrorClass::RateLimit => match self.retry_after.map(|wait| wait.as_secs()) {
                Some(seconds @ 2..) => {
                    format!("The AI provider {provider} is limiting requests; please try again in {seconds} seconds.")
                }
                Some(_) | None => {
                    format!("The AI provider {provider} is limiting requests; please try again in a moment.")
                }
            },
            ErrorClass::Overloaded => {
                format!("The AI provider {provider} is overloaded; please try again in a moment.")
            }
            ErrorClass::Billing => {
                format!("The account at the AI provider {provider} is out of credit or over its spending limit.")
            }
            ErrorClass::Auth => {
                format!("The AI provider {provider} did not accept the API key; check it in Settings → AI Providers.")
            }
            ErrorClass::AuthPermanent => format!(
                "The AI provider {provider} does not allow this with the API key in use; check it in Settings → AI Providers."
            ),
            ErrorClass::Timeout => format!("The AI provider {provider} did not answer in time."),
            ErrorClass::Network => {
                format!("The connection to the AI provider {provider} broke before the answer was complete.")
            }
            ErrorClass::Format => format!("The AI provider {provider} rejected the request as malformed."),
            ErrorClass::ModelNotFound => format!("The AI provider {provider} has no model named {model}."),
            ErrorClass::SessionExpired => {
                format!("The AI provider {provider} no longer knows this conversation; please try again.")
            }
            ErrorClass::ContextOverflow => {
                format!("The conversation is too long for the model {model}.")
            }
            ErrorClass::Refusal => format!("The AI provider {provider} declined to answer this request."),
            ErrorClass::Budget | ErrorClass::Unknown => format!("The AI provider {provider} failed; please try again."),
        }
    }
}

/// What can be read out of an error body, whoever wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ErrorBody {
    kind: String,
    code: String,
    message: String,
    empty: bool,
}

impl ErrorBody {
    fn read(body: &[u8]) -> Self {
        let body = &body[..body.len().min(MAX_ERROR_BYTES)];
        if body.iter().all(u8::is_ascii_whitespace) {
            return Self {
                empty: true,
                ..Self::default()
            };
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::from_value(value.get(0).unwrap_or(&value)),
            Err(_) => Self {
                message: String::from_utf8_lossy(body).trim().to_owned(),
                ..Self::default()
            },
        }
    }

    /// `{"error":{…}}`, `{"error":"…"}`, `{"type","message"}`, `{"detail":…}` or the inner object itself.
    fn from_value(value: &Value) -> Self {
        let inner = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let text = |object: &Value, name: &str| match object.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null) | None => String::new(),
            Some(other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_))) => other.to_string(),
        };
        let mut message = ["message", "detail", "error", "msg"]
            .iter()
            .map(|name| text(inner, name))
            .find(|text| !text.is_empty())
            .or_else(|| inner.as_str().map(str::to_owned))
            .unwrap_or_else(|| inner.to_string());
        // OpenRouter says "Provider returned error" and puts the provider's own words here.
        if let Some(raw) = inner.pointer("/metadata/raw").and_then(Value::as_str) {
            message.push_str(": ");
            message.push_str(raw);
        }
        Self {
            kind: [text(inner, "type"), text(inner, "status")].join(" ").trim().to_owned(),
            code: text(inner, "code"),
            message,
            empty: false,
        }
    }

    fn failure(self, status: Option<u16>) -> Failure {
        let class = classify(status, &self);
        let retry_after = retry_after::from_message(&self.message);
        let detail = [self.kind, self.code, self.message]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        Failure {
            retry_after,
            ..Failure::new(class, detail)
        }
    }
}

const RATE_WORDS: &[&str] = &[
    "rate limit",
    "rate_limit",
    "tokens per minute",
    "requests per minute",
    "too many tokens per day",
    "too many requests",
];

const OVERFLOW_WORDS: &[&str] = &[
    "prompt is too long",
    "input is too long",
    "exceeds the context window",
    "exceed context limit",
    "context_length_exceeded",
    "context length exceeded",
    "exceeds the maximum number of tokens",
    "maximum prompt length is",
    "reduce the length of the messages",
    "maximum context length",
    "exceeds the limit of",
    "exceeds the available context size",
    "greater than the context length",
    "context window exceeds limit",
    "exceeded model token limit",
    "model_context_window_exceeded",
];

const SIZE_WORDS: &[&str] = &["request_too_large", "too large", "too long", "maximum size", "exceeds"];

const BILLING_WORDS: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "billing_error",
    "billing_hard_limit",
    "billing hard limit",
    "credit balance",
    "insufficient credit",
    "more credits",
    "out of credits",
    "no credits",
    "insufficient balance",
    "insufficient_balance",
    "insufficient funds",
    "spend limit",
    "spending limit",
    "spend cap",
    "usage limits",
    "usage limit",
    "key limit exceeded",
    "payment required",
    "account is in arrears",
];

const OVERLOAD_WORDS: &[&str] = &[
    "overloaded",
    "over capacity",
    "at capacity",
    "capacity exceeded",
    "high demand",
    "engine is currently",
];

const MODEL_WORDS: &[&str] = &[
    "model_not_found",
    "model not found",
    "no such model",
    "unknown model",
    "invalid model",
    "not a valid model",
];

const REFUSAL_WORDS: &[&str] = &[
    "content_policy",
    "content policy",
    "content_filter",
    "content management policy",
    "moderation",
    "flagged",
    "responsible ai",
];

const KEY_WORDS: &[&str] = &[
    "invalid api key",
    "invalid_api_key",
    "incorrect api key",
    "api key not valid",
    "api key is invalid",
    "authentication_error",
    "no auth credentials",
    "unauthorized",
];

const REVOKED_WORDS: &[&str] = &[
    "revoked",
    "deactivated",
    "disabled",
    "suspended",
    "permission_error",
    "permission denied",
    "permission_denied",
];

fn classify(status: Option<u16>, body: &ErrorBody) -> ErrorClass {
    let text = format!("{} {} {}", body.kind, body.code, body.message).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let about_rate = says(RATE_WORDS);
    // Google says the same of a minute's limit as of an empty account, and adds when to come back.
    let passes =
        body.kind.to_lowercase().contains("resource_exhausted") && retry_after::from_message(&body.message).is_some();
    if status == Some(429) && passes {
        return ErrorClass::RateLimit;
    }
    if says(BILLING_WORDS) || status == Some(402) {
        return ErrorClass::Billing;
    }
    if !about_rate && is_overflow(status, body, &text) {
        return ErrorClass::ContextOverflow;
    }
    match status {
        Some(401) if says(REVOKED_WORDS) => ErrorClass::AuthPermanent,
        Some(401) => ErrorClass::Auth,
        Some(403) if says(REFUSAL_WORDS) => ErrorClass::Refusal,
        // The key is good, only not for this model.
        Some(403) if says(MODEL_WORDS) || text.contains("access to model") => ErrorClass::ModelNotFound,
        Some(403) => ErrorClass::AuthPermanent,
        Some(404) => ErrorClass::ModelNotFound,
        Some(408) => ErrorClass::Timeout,
        Some(410) => ErrorClass::SessionExpired,
        Some(429) => ErrorClass::RateLimit,
        Some(529) => ErrorClass::Overloaded,
        Some(500..=599) if says(OVERLOAD_WORDS) || body.kind.contains("UNAVAILABLE") => ErrorClass::Overloaded,
        Some(500..=599) => ErrorClass::Timeout,
        Some(_) | None => classify_words(status, about_rate, &text),
    }
}

/// Without a status that settles it: 400, 413, 422 and errors inside a stream.
fn classify_words(status: Option<u16>, about_rate: bool, text: &str) -> ErrorClass {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if about_rate {
        return ErrorClass::RateLimit;
    }
    if says(OVERLOAD_WORDS) {
        return ErrorClass::Overloaded;
    }
    if says(KEY_WORDS) {
        return ErrorClass::Auth;
    }
    if says(REVOKED_WORDS) {
        return ErrorClass::AuthPermanent;
    }
    if says(MODEL_WORDS) || (text.contains("model") && (text.contains("does not exist") || text.contains("not found")))
    {
        return ErrorClass::ModelNotFound;
    }
    if says(REFUSAL_WORDS) {
        return ErrorClass::Refusal;
    }
    if text.contains("timeout") || text.contains("timed out") {
        return ErrorClass::Timeout;
    }
    if text.contains("api_error") || text.contains("server_error") || text.contains("internal error") {
        return ErrorClass::Timeout;
    }
    if status.is_some() || text.contains("invalid_request_error") {
        return ErrorClass::Format;
    }
    ErrorClass::Unknown
}

fn is_overflow(status: Option<u16>, body: &ErrorBody, text: &str) -> bool {
    if OVERFLOW_WORDS.iter().any(|word| text.contains(word)) {
        return true;
    }
    // "The input token count (N) exceeds the maximum", "too large for model with N maximum context length".
    if text.contains("input token count") && text.contains("exceeds the maximum") {
        return true;
    }
    if text.contains("too large for model") {
        return true;
    }
    match status {
        Some(413) => body.empty || SIZE_WORDS.iter().any(|word| text.contains(word)),
        Some(400) => body.empty,
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, class: ErrorClass) {
        assert_eq!(Failure::http(status, body.as_bytes()).class, class, "{status} {body}");
    }

    #[test]
    fn anthropic_bodies() {
        let body = |kind: &str, message: &str| {
            serde_json::json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
                .to_string()
        };
        for (status, kind, message, class) in [
            (
                400,
                "invalid_request_error",
                "messages.1.content: Field required",
                ErrorClass::Format,
            ),
            (
                400,
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                "invalid_request_error",
                "Your credit balance is too low to access the API",
                ErrorClass::Billing,
            ),
            (
                400,
                "invalid_request_error",
                "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
                ErrorClass::Billing,
            ),
            (401, "authentication_error", "invalid x-api-key", ErrorClass::Auth),
            (
                401,
                "authentication_error",
                "This key was revoked",
                ErrorClass::AuthPermanent,
            ),
            (402, "billing_error", "x", ErrorClass::Billing),
            (403, "permission_error", "x", ErrorClass::AuthPermanent),
            (404, "not_found_error", "model: claude-nope", ErrorClass::ModelNotFound),
            (
                413,
                "request_too_large",
                "Request exceeds the maximum size",
                ErrorClass::ContextOverflow,
            ),
            (
                429,
                "rate_limit_error",
                "This request would exceed your limit of 30,000 input tokens per minute",
                ErrorClass::RateLimit,
            ),
            (500, "api_error", "Internal server error", ErrorClass::Timeout),
            (504, "timeout_error", "x", ErrorClass::Timeout),
            (529, "overloaded_error", "Overloaded", ErrorClass::Overloaded),
        ] {
            check(status, &body(kind, message), class);
        }
    }

    /// How every provider says that a prompt does not fit (`agent-runtime` §10.9), and what only looks like it.
    #[test]
    fn overflow_of_every_provider() {
        for message in [
            "prompt is too long: 210000 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            "Input is too long for requested model.",
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Please reduce the length of the messages or completion.",
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 250000 tokens.",
            "prompt token count of 128009 exceeds the limit of 128000",
            "the request exceeds the available context size, try increasing it",
            "The number of tokens to keep from the initial prompt is greater than the context length.",
            "invalid params, context window exceeds limit (2013)",
            "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
            "Prompt contains 300000 tokens, too large for model with 131072 maximum context length",
        ] {
            let body = serde_json::json!({"error": {"message": message, "type": "invalid_request_error"}});
            check(400, &body.to_string(), ErrorClass::ContextOverflow);
            assert_eq!(
                Failure::in_stream(&body["error"]).class,
                ErrorClass::ContextOverflow,
                "{message}"
            );
        }
        for message in [
            "Rate limit reached: this request exceeds the limit of 30000 tokens per minute",
            "Too many tokens per day: please reduce the length of the messages",
            "rate_limit: prompt is too long for your tier, 40000 tokens per minute",
        ] {
            let body = serde_json::json!({"error": {"message": message}}).to_string();
            check(429, &body, ErrorClass::RateLimit);
            check(400, &body, ErrorClass::RateLimit);
        }
    }

    #[test]
    fn compatible_bodies() {
        for (status, body, class) in [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                r#"{"error":{"message":"Your input exceeds the context window of this model"}}"#,
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                r#"{"error":{"message":"Please reduce the length of the messages or completion."}}"#,
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                r#"{"message":"the request exceeds the available context size, try increasing it"}"#,
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                r#"{"error":{"message":"Prompt contains 9 tokens, too large for model with 8 maximum context length"}}"#,
                ErrorClass::ContextOverflow,
            ),
            (
                400,
                r#"{"error":"The number of tokens to keep is greater than the context length"}"#,
                ErrorClass::ContextOverflow,
            ),
            (400, "", ErrorClass::ContextOverflow),
            (413, " \n", ErrorClass::ContextOverflow),
            (
                413,
                r#"{"error":{"message":"Request too large for model on tokens per minute (TPM): Limit 6000","code":"rate_limit_exceeded"}}"#,
                ErrorClass::RateLimit,
            ),
            (413, "<html>nginx</html>", ErrorClass::Format),
            (
                400,
                r#"{"error":{"message":"Invalid schema for function 'x'","type":"invalid_request_error"}}"#,
                ErrorClass::Format,
            ),
            (
                400,
                r#"{"error":{"message":"gpt-9 is not a valid model ID","code":400}}"#,
                ErrorClass::ModelNotFound,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                ErrorClass::Auth,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-abc***","code":"invalid_api_key"}}"#,
                ErrorClass::Auth,
            ),
            (
                401,
                r#"{"error":{"message":"The OpenAI account associated with this API key has been deactivated","code":"account_deactivated"}}"#,
                ErrorClass::AuthPermanent,
            ),
            (
                402,
                r#"{"error":{"message":"Insufficient Balance"}}"#,
                ErrorClass::Billing,
            ),
            (
                403,
                r#"{"error":{"message":"Key limit exceeded","code":403}}"#,
                ErrorClass::Billing,
            ),
            (
                403,
                r#"{"error":{"message":"Your input was flagged by moderation","code":403}}"#,
                ErrorClass::Refusal,
            ),
            (403, "<html>Access denied</html>", ErrorClass::AuthPermanent),
            (404, "404 page not found", ErrorClass::ModelNotFound),
            (408, "", ErrorClass::Timeout),
            (410, "", ErrorClass::SessionExpired),
            (
                422,
                r#"{"detail":[{"loc":["body","messages"],"msg":"field required"}]}"#,
                ErrorClass::Format,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                ErrorClass::Billing,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached for model x. Need more? Upgrade at https://example.com/settings/billing"}}"#,
                ErrorClass::RateLimit,
            ),
            (429, "", ErrorClass::RateLimit),
            (500, "", ErrorClass::Timeout),
            (502, "<html>Bad gateway</html>", ErrorClass::Timeout),
            (
                503,
                r#"{"error":{"message":"The engine is currently overloaded"}}"#,
                ErrorClass::Overloaded,
            ),
            (503, "no healthy upstream", ErrorClass::Timeout),
            (522, "", ErrorClass::Timeout),
            (524, "", ErrorClass::Timeout),
            (418, "teapot", ErrorClass::Format),
        ] {
            check(status, body, class);
        }
    }

    #[test]
    fn errors_inside_a_stream() {
        for (error, class, status) in [
            (
                r#"{"type":"overloaded_error","message":"Overloaded"}"#,
                ErrorClass::Overloaded,
                None,
            ),
            (
                r#"{"type":"rate_limit_error","message":"x"}"#,
                ErrorClass::RateLimit,
                None,
            ),
            (r#"{"type":"api_error","message":"x"}"#, ErrorClass::Timeout, None),
            (
                r#"{"type":"invalid_request_error","message":"x"}"#,
                ErrorClass::Format,
                None,
            ),
            (r#"{"code":429,"message":"x"}"#, ErrorClass::RateLimit, Some(429)),
            (
                r#"{"code":502,"message":"Provider returned error","metadata":{"raw":"prompt is too long"}}"#,
                ErrorClass::ContextOverflow,
                Some(502),
            ),
            (r#"{"code":"server_error","message":"x"}"#, ErrorClass::Timeout, None),
            (r#""something odd""#, ErrorClass::Unknown, None),
        ] {
            let failure = Failure::in_stream(&serde_json::from_str(error).unwrap());
            assert_eq!((failure.class, failure.status), (class, status), "{error}");
        }
    }

    #[test]
    fn details_and_sentences() {
        let failure = Failure::http(
            429,
            br#"{"error":{"message":"slow down, try again in 20s","code":"rate"}}"#,
        );
        assert_eq!(failure.detail, "rate: slow down, try again in 20s");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(20)));
        let error = failure.into_error("openrouter", "x", "d".to_owned(), AssistantMessage::default());
        assert_eq!(
            error.message,
            "The AI provider openrouter is limiting requests; please try again in 20 seconds."
        );
        assert_eq!(error.partial.stop_reason, StopReason::Error);
        assert_eq!(error.partial.error_message.as_ref(), Some(&error.message));
        let long = format!("{{\"error\":\"{}", "x".repeat(100_000));
        assert!(Failure::http(500, long.as_bytes()).detail.len() <= MAX_ERROR_BYTES);
    }
}
