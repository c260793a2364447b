//! [`ApiError`]: the one conversion of a failure into an HTTP answer.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::error::{PathError, PayloadError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use claw_actors::{Code, Error};
use serde::Serialize;
use utoipa::ToSchema;

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

/// A failure on its way to a client. Made from [`Error`]; handlers choose no status codes.
#[derive(Debug)]
pub struct ApiError {
    error: Error,
    /// Set for failures that people cannot do anything about: what they see instead of the cause.
    error_id: Option<String>,
}

/// Body of every failure.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// Short name, stable.
    #[schema(examples("not_found"))]
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Names the log line, for failures inside or behind the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_id: Option<String>,
}

impl ApiError {
    pub fn not_found(what: &'static str) -> Self {
        Error::NotFound { what }.into()
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Error::Forbidden(message.into()).into()
    }

    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Error::Unauthenticated(message.into()).into()
    }

    pub fn code(&self) -> Code {
        self.error.code()
    }

    /// The failure behind it.
    pub fn source_error(&self) -> &Error {
        &self.error
    }

    /// A sentence that gives nothing away about failures inside or behind the server.
    fn message(&self) -> String {
        match &self.error {
            Error::Internal(_) => "something went wrong on our side".to_owned(),
            Error::Upstream(_) => "a service we depend on failed".to_owned(),
            Error::Storage(_) => "storage is unavailable; nothing was changed".to_owned(),
            Error::NotFound { what: "" } => "not found".to_owned(),
            error @ (Error::Invalid(_)
            | Error::Unauthenticated(_)
            | Error::Forbidden(_)
            | Error::NotFound { .. }
            | Error::Conflict(_)
            | Error::TooLarge(_)
            | Error::Busy { .. }
            | Error::Budget(_)
            | Error::NotConnected(_)
            | Error::PairingChanged
            | Error::Timeout(_)
            | Error::Fenced) => error.to_string(),
        }
    }

    /// The beginning of an answer with this status, whatever its body looks like. Logs the failure.
    pub(crate) fn answering(&self, status: StatusCode) -> HttpResponseBuilder {
        self.log();
        let mut answer = HttpResponse::build(status);
        answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(wait) = self.error.retry_after() {
            answer.insert_header((RETRY_AFTER, wait.as_secs().max(1)));
        }
        if self.error.code() == Code::Unauthenticated {
            answer.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        answer
    }

    /// The log line of this failure, once, where an answer is made of it.
    fn log(&self) {
        let Some(error_id) = self.error_id.as_deref() else {
            return;
        };
        let chain = Chain(&self.error);
        match self.error.code() {
            Code::Upstream => tracing::warn!(error_id, "request failed behind the server: {chain}"),
            Code::Invalid
            | Code::Unauthenticated
            | Code::Forbidden
            | Code::NotFound
            | Code::Conflict
            | Code::TooLarge
            | Code::Busy
            | Code::Budget
            | Code::NotConnected
            | Code::PairingChanged
            | Code::Timeout
            | Code::Unavailable
            | Code::Fenced
            | Code::Internal => tracing::error!(error_id, "request failed: {chain}"),
        }
    }
}

/// Prints an error and its sources on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let hidden = matches!(error.code(), Code::Internal | Code::Upstream | Code::Unavailable);
        Self {
            error_id: hidden.then(|| uuid::Uuid::new_v4().simple().to_string()),
            error,
        }
    }
}

impl From<sea_orm::DbErr> for ApiError {
    fn from(error: sea_orm::DbErr) -> Self {
        Error::from(error).into()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.answering(self.status_code()).json(ErrorBody {
            error: ErrorDetail {
                code: self.error.code().name(),
                message: self.message(),
                error_id: self.error_id.clone(),
            },
        })
    }
}

/// What actix found wrong with a body.
pub(crate) fn payload_error(error: &PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => Error::TooLarge("the body is too large".to_owned()).into(),
        PayloadError::Incomplete(_)
        | PayloadError::EncodingCorrupted
        | PayloadError::UnknownLength
        | PayloadError::Http2Payload(_)
        | PayloadError::Io(_) => Error::invalid("the body did not arrive whole").into(),
        other => Error::invalid(format!("the body cannot be read: {other}")).into(),
    }
}

/// A path that does not parse names nothing.
pub(crate) fn path_error(_: &PathError) -> ApiError {
    ApiError::not_found("")
}

/// What actix found wrong with a query.
pub(crate) fn query_error(error: &QueryPayloadError) -> ApiError {
    Error::invalid(format!("the query is not as documented: {error}")).into()
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use sea_orm::DbErr;
    use serde_json::{Value, json};

    use super::*;

    fn answer(error: Error) -> (u16, Option<String>, Value) {
        let answer = ApiError::from(error).error_response();
        let retry = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let status = answer.status().as_u16();
        let body = answer.into_body().try_into_bytes().expect("a whole body");
        (status, retry, serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn what_a_person_can_change_is_said_as_it_is() {
        assert_eq!(
            answer(Error::invalid("the name is empty")),
            (
                400,
                None,
                json!({"error": {"code": "invalid_request", "message": "the name is empty"}})
            )
        );
        let busy = Error::Busy {
            message: "slow down".to_owned(),
            retry_after: std::time::Duration::from_millis(2500),
        };
        assert_eq!(
            answer(busy),
            (
                429,
                Some("2".to_owned()),
                json!({"error": {"code": "busy", "message": "slow down"}})
            )
        );
    }

    #[test]
    fn causes_inside_stay_inside() {
        for error in [
            Error::internal("token sk-123 of acme"),
            Error::Upstream("token sk-123 of acme".to_owned()),
            Error::from(DbErr::Custom("token sk-123 of acme".to_owned())),
        ] {
            let (status, _, body) = answer(error);
            assert!(status >= 500);
            assert!(!body.to_string().contains("sk-123"), "{body}");
            assert_eq!(body["error"]["errorId"].as_str().map(str::len), Some(32), "{body}");
        }
    }

    #[test]
    fn a_bare_not_found_says_nothing_else() {
        let body = answer(Error::NotFound { what: "" });
        assert_eq!(
            body,
            (
                404,
                None,
                json!({"error": {"code": "not_found", "message": "not found"}})
            )
        );
    }
}
