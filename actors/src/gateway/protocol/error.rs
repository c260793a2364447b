//! The `error` object of a `res` frame, and how the runtime's errors become one.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Code, Error};

/// What a refused call is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireError {
    pub code: &'static str,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            retryable: None,
            retry_after_ms: None,
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("INVALID_REQUEST", message)
    }

    /// `UNAVAILABLE`, not marked as worth a retry.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new("UNAVAILABLE", message)
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Marks the refusal as worth another try after `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The caller lacks an operator scope.
    pub fn missing_scope(scope: &str) -> Self {
        Self::new("FORBIDDEN", format!("missing scope: {scope}")).details(json!({
            "code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope],
        }))
    }

    /// The method exists, but not for this role.
    pub fn wrong_role(role: &str) -> Self {
        Self::invalid(format!("unauthorized role: {role}"))
    }

    pub fn unknown_method(method: &str) -> Self {
        Self::invalid(short(format!("unknown method: {method}")))
    }

    /// Something the runtime could not do and the caller cannot change. The chain goes to the log under the id.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let error_id = claw_entities::ids::new_id();
        tracing::error!(error = %error, error_id, "a gateway call failed");
        Self::unavailable(format!("internal error (error id {error_id})")).details(json!({"errorId": error_id}))
    }
}

/// Longest complaint about parameters, bytes: it may quote what the client sent.
const LONGEST_COMPLAINT: usize = 200;

/// Cuts a complaint about parameters.
pub fn short(mut complaint: String) -> String {
    complaint.truncate(complaint.floor_char_boundary(LONGEST_COMPLAINT));
    complaint
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        let code = error.code();
        if matches!(code, Code::Internal) {
            return Self::internal(&error);
        }
        if matches!(code, Code::Unavailable) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "storage refused a gateway call"
            );
        }
        if let Error::Forbidden(message) = &error
            && let Some(scope) = message.strip_prefix("missing scope: ")
        {
            return Self::missing_scope(scope);
        }
        let mut wire = Self::new(code.wire(), error.to_string());
        if code.retryable() {
            wire.retryable = Some(true);
        }
        if let Some(wait) = error.retry_after() {
            wire = wire.retry_after(wait);
        }
        if matches!(code, Code::NotConnected) {
            wire.details = Some(json!({"code": "NOT_CONNECTED"}));
        }
        if matches!(code, Code::PairingChanged) {
            wire.details = Some(json!({"code": "PAIRING_CHANGED"}));
        }
        wire
    }
}
