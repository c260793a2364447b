//! One request towards a platform: which address rules apply, and what a transport failure means for the outbox.
//! Messages never hold the URL, because some platforms put the token into it.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError};

use crate::egress::{EgressError, Purpose, Response};

/// The address rules for the account's API base.
pub(super) fn purpose(account: &Account) -> Purpose {
    if account.custom_api_base() {
        Purpose::Configured
    } else {
        Purpose::Fixed
    }
}

/// Sorts a transport failure: certainly not sent, perhaps sent, or never to be sent.
pub(super) fn failed(platform: &str, error: EgressError) -> DeliverError {
    match error {
        EgressError::Refused { reason } => DeliverError::Rejected {
            message: format!("the address of the {platform} API is not allowed: {reason}"),
        },
        EgressError::Connect => DeliverError::Retry {
            message: format!("{platform} cannot be reached"),
            after: None,
        },
        EgressError::Timeout { sent: false } => DeliverError::Retry {
            message: format!("{platform} did not accept a connection in time"),
            after: None,
        },
        EgressError::Timeout { sent: true } => DeliverError::Unknown {
            message: format!("{platform} did not answer in time"),
        },
        EgressError::TooLarge => DeliverError::Unknown {
            message: format!("the answer of {platform} is too large"),
        },
        EgressError::Redirect => DeliverError::Rejected {
            message: format!("{platform} redirected the request elsewhere; check the API address"),
        },
        EgressError::Io => DeliverError::Unknown {
            message: format!("the connection to {platform} broke before it answered"),
        },
    }
}

/// A download repeats safely, so nothing about it is ever unknown.
pub(super) fn fetch_failed(platform: &str, error: EgressError) -> DeliverError {
    match error {
        EgressError::TooLarge => DeliverError::Rejected {
            message: "the file is larger than allowed".into(),
        },
        EgressError::Refused { .. }
        | EgressError::Connect
        | EgressError::Timeout { .. }
        | EgressError::Redirect
        | EgressError::Io => match failed(platform, error) {
            DeliverError::Unknown { message } => DeliverError::Retry { message, after: None },
            kept @ (DeliverError::Retry { .. }
            | DeliverError::Rejected { .. }
            | DeliverError::Unauthorized { .. }
            | DeliverError::Moved { .. }) => kept,
        },
    }
}

/// What a status outside 2xx means when the body says nothing better.
pub(super) fn status(platform: &str, status: u16, after: Option<Duration>) -> DeliverError {
    let message = format!("{platform} answered {status}");
    match status {
        401 => DeliverError::Unauthorized { message },
        429 | 500 | 502 | 503 => DeliverError::Retry { message, after },
        // A gateway that gave up waiting says nothing about the server behind it.
        504 => DeliverError::Unknown { message },
        // Success without a readable body: taken, but we do not know as what.
        200..=299 => DeliverError::Unknown {
            message: format!("the answer of {platform} is not readable"),
        },
        0..=199 | 300..=u16::MAX => DeliverError::Rejected { message },
    }
}

/// Seconds of a `Retry-After` header, at most one hour.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    response
        .header("retry-after")?
        .trim()
        .parse::<f64>()
        .ok()
        .and_then(seconds)
}

/// A wait the platform asks for, at most one hour; nonsense is no hint.
pub(super) fn seconds(wait: f64) -> Option<Duration> {
    (wait.is_finite() && wait >= 0.0).then(|| Duration::from_secs_f64(wait.min(3600.0)))
}
