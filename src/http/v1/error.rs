//! Failures in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use claw_actors::{Code, Error};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// Tells OpenAI's clients not to send a request again by themselves: the run has been tried, and a repeat is another one.
const SHOULD_RETRY: (&str, &str) = ("x-should-retry", "false");

/// A failure on its way to a client of `/v1`.
#[derive(Debug)]
pub(crate) struct V1Error {
    error: ApiError,
    /// OpenAI's word for it, where the kind of failure does not say it.
    code: Option<&'static str>,
    param: Option<&'static str>,
    final_word: bool,
}

/// Body of a failure.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V1ErrorBody {
    pub error: V1ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V1ErrorDetail {
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error`, `insufficient_quota` or
    /// `api_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub param: Option<&'static str>,
    pub code: Option<&'static str>,
}

impl V1Error {
    /// There is no such model.
    pub(crate) fn no_such_model(model: &str) -> Self {
        let shown: String = model.chars().filter(|letter| !letter.is_control()).take(100).collect();
        let message = format!("The model `{shown}` does not exist: use `openclaw`, or `openclaw/<agentId>`.");
        Self {
            error: Error::Invalid(message).into(),
            code: Some("model_not_found"),
            param: Some("model"),
            final_word: false,
        }
    }

    /// Something is wrong with one parameter.
    pub(crate) fn param(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Error::Invalid(message.into()).into()
        }
    }

    /// The run has failed. The sentence is safe for the person.
    pub(crate) fn of_run(message: &str) -> Self {
        Self {
            // The kind whose sentence is shown as it is; status and type follow from `code`.
            error: Error::Timeout(message.to_owned()).into(),
            code: Some(RUN_FAILED),
            param: None,
            final_word: true,
        }
    }

    /// A spending limit. The sentence is safe for the person.
    pub(crate) fn over_budget(message: &str) -> Self {
        Error::Budget(message.to_owned()).into()
    }

    pub(crate) fn no_such_method() -> HttpResponse {
        HttpResponse::MethodNotAllowed().json(V1ErrorBody {
            error: V1ErrorDetail {
                message: "there is no such method here".to_owned(),
                kind: "invalid_request_error",
                param: None,
                code: Some("method_not_allowed"),
            },
        })
    }

    /// What a client is told.
    pub(crate) fn detail(&self) -> V1ErrorDetail {
        let (kind, code) = match self.error.code() {
            _ if self.code == Some(RUN_FAILED) => ("api_error", self.code),
            Code::Invalid => ("invalid_request_error", self.code),
            Code::Conflict => ("invalid_request_error", Some("conflict")),
            Code::NotFound => ("invalid_request_error", Some("not_found")),
            Code::TooLarge => ("invalid_request_error", Some("request_too_large")),
            Code::Unauthenticated => ("authentication_error", Some("invalid_api_key")),
            Code::Forbidden => ("permission_error", Some("insufficient_permissions")),
            Code::Busy => ("rate_limit_error", Some("rate_limit_exceeded")),
            Code::Budget => (NO_QUOTA, Some(NO_QUOTA)),
            Code::NotConnected
            | Code::PairingChanged
            | Code::Timeout
            | Code::Upstream
            | Code::Unavailable
            | Code::Fenced
            | Code::Internal => ("api_error", self.code),
        };
        V1ErrorDetail {
            message: self.error.to_string(),
            kind,
            param: self.param,
            code,
        }
    }
}

const RUN_FAILED: &str = "run_failed";
/// OpenAI's word where an account has spent what it may, for type and code alike.
const NO_QUOTA: &str = "insufficient_quota";

impl From<ApiError> for V1Error {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            code: None,
            param: None,
            final_word: false,
        }
    }
}

impl From<Error> for V1Error {
    fn from(error: Error) -> Self {
        let final_word = error.code() == Code::Budget;
        Self {
            final_word,
            ..ApiError::from(error).into()
        }
    }
}

impl fmt::Display for V1Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl ResponseError for V1Error {
    fn status_code(&self) -> StatusCode {
        match self.code {
            Some("model_not_found") => StatusCode::NOT_FOUND,
            Some(RUN_FAILED) => StatusCode::INTERNAL_SERVER_ERROR,
            Some(_) | None => self.error.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = self.error.answering(self.status_code());
        if self.final_word {
            answer.insert_header(SHOULD_RETRY);
        }
        answer.json(V1ErrorBody { error: self.detail() })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use serde_json::{Value, json};

    use super::*;

    fn answer(error: V1Error) -> (u16, Value) {
        let answer = error.error_response();
        let status = answer.status().as_u16();
        let body = answer.into_body().try_into_bytes().expect("a whole body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn failures_look_as_openais_do() {
        let (status, body) = answer(V1Error::no_such_model("gpt-4o"));
        assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
        let (status, body) = answer(V1Error::of_run("The model is overloaded."));
        assert_eq!((status, &body["error"]["type"]), (500, &json!("api_error")));
        assert_eq!(body["error"]["message"], "The model is overloaded.");
        let busy = Error::Busy {
            message: "slow down".to_owned(),
            retry_after: std::time::Duration::from_secs(1),
        };
        let (status, body) = answer(busy.into());
        assert_eq!((status, &body["error"]["type"]), (429, &json!("rate_limit_error")));
        let (status, body) = answer(V1Error::over_budget("The daily limit is used up."));
        assert_eq!((status, &body["error"]["code"]), (429, &json!("insufficient_quota")));
        assert_eq!(body["error"]["type"], "insufficient_quota");
        let (status, body) = answer(Error::internal("token sk-123").into());
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("sk-123"));
    }
}
