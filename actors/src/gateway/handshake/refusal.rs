//! How a connect is turned down: the wire error, and the close that follows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::devices::{DeviceClaim, PairingRequired};
use crate::gateway::protocol::{OLDEST_NODE_PROTOCOL, PROTOCOL, WireError};

/// How soon a waiting node should look whether it was approved.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A refused connect.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub error: WireError,
    pub close_code: u16,
    pub close_reason: String,
    /// It was a wrong proof: counts against the address.
    pub(super) counts: bool,
}

impl Refusal {
    /// Tells the client that its stored device token is worth a try.
    pub(super) fn suggest_device_token(&mut self) {
        if let Some(details) = &mut self.error.details {
            details["canRetryWithDeviceToken"] = json!(true);
            details["recommendedNextStep"] = json!("retry_with_device_token");
        }
    }
}

/// A wrong or missing credential.
pub(super) fn auth_failed(code: &str, reason: &str, message: &str, next_step: &str) -> Refusal {
    let error = WireError::invalid(message).details(json!({
        "code": code, "authReason": reason, "canRetryWithDeviceToken": false, "recommendedNextStep": next_step,
    }));
    Refusal {
        counts: true,
        ..Refusal::from(error)
    }
}

pub(super) fn rate_limited(wait: Duration) -> Refusal {
    let mut error = WireError::invalid("unauthorized: too many failed attempts, try again later").retry_after(wait);
    error.details = Some(json!({
        "code": "AUTH_RATE_LIMITED", "authReason": "rate_limited", "canRetryWithDeviceToken": false,
        "recommendedNextStep": "wait_then_retry", "retryAfterMs": error.retry_after_ms,
    }));
    error.into()
}

pub(super) fn protocol_mismatch(lowest: u32, highest: u32) -> Refusal {
    let error = WireError::invalid("protocol mismatch").details(json!({
        "code": "PROTOCOL_MISMATCH", "clientMinProtocol": lowest, "clientMaxProtocol": highest,
        "expectedProtocol": PROTOCOL, "minimumProbeProtocol": OLDEST_NODE_PROTOCOL,
    }));
    Refusal {
        close_code: 1002,
        ..Refusal::from(error)
    }
}

pub(super) fn origin_not_allowed() -> Refusal {
    WireError::invalid(
        "origin not allowed (open the page of this workspace, or list the origin in gateway.allowed_origins)",
    )
    .details(json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin missing or invalid"}))
    .into()
}

pub(super) fn device_required(browser: bool) -> Refusal {
    if browser {
        return WireError::invalid("device identity required")
            .details(json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}))
            .into();
    }
    WireError::new("NOT_PAIRED", "device identity required")
        .details(json!({"code": "DEVICE_IDENTITY_REQUIRED"}))
        .into()
}

/// Somebody has to approve first. Says that waiting and coming again is right, so that nodes come up by themselves.
pub(super) fn pairing_required(claim: &DeviceClaim, required: &PairingRequired) -> Refusal {
    let what = match required.reason {
        "role-upgrade" => "device is asking for a higher role than currently approved",
        "scope-upgrade" => "device is asking for more scopes than currently approved",
        "metadata-upgrade" => "device identity changed and must be re-approved",
        _ => "device is not approved yet",
    };
    let message = format!("pairing required: {what}");
    let mut details = json!({
        "code": "PAIRING_REQUIRED", "reason": required.reason, "requestId": required.request_id,
        "remediationHint": "Approve this device from the pending pairing requests.",
        "deviceId": claim.device_id, "requestedRole": claim.role,
        "recommendedNextStep": "wait_then_retry", "retryable": true, "pauseReconnect": false,
    });
    let lists: [(&str, &[String]); 3] = [
        ("requestedScopes", &claim.scopes),
        ("approvedRoles", &required.approved_roles),
        ("approvedScopes", &required.approved_scopes),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            details[name] = Value::from(list.to_vec());
        }
    }
    let close_reason = format!("{message} (requestId: {})", required.request_id);
    let error = WireError::new("NOT_PAIRED", message)
        .details(details)
        .retry_after(LOOK_AGAIN);
    Refusal {
        close_reason,
        ..Refusal::from(error)
    }
}
