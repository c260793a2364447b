//! What can go wrong on the way out, in words that are safe for any tenant: no address, no header, no body.

/// Why a request gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Our own rules said no. Nothing was sent to that address.
    #[error("{reason}")]
    Refused { reason: &'static str },
    /// No connection: name not found, refused, unreachable or no TLS. Nothing was sent.
    #[error("could not connect to the server")]
    Connect,
    /// Out of time. `sent` is false only when it is certain that the server saw nothing.
    #[error("the server did not answer in time")]
    Timeout { sent: bool },
    /// The body is larger than the cap.
    #[error("the answer is too large")]
    TooLarge,
    /// Too many redirects, a loop, or one that may not be followed.
    #[error("the server redirected to where we do not follow")]
    Redirect,
    /// The connection broke after the request was, or may have been, sent.
    #[error("the connection broke")]
    Io,
}

impl EgressError {
    pub(crate) const fn refused(reason: &'static str) -> Self {
        Self::Refused { reason }
    }

    /// May the server have acted on the request.
    pub const fn maybe_sent(self) -> bool {
        match self {
            Self::Refused { .. } | Self::Connect | Self::Timeout { sent: false } => false,
            Self::Timeout { sent: true } | Self::TooLarge | Self::Redirect | Self::Io => true,
        }
    }

    /// Translates what the HTTP client says, looking through its causes for a refusal of ours.
    pub(super) fn from_client(error: &reqwest::Error) -> Self {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(refusal) = cause.downcast_ref::<Self>() {
                return *refusal;
            }
            source = cause.source();
        }
        if error.is_connect() {
            if error.is_timeout() {
                return Self::Timeout { sent: false };
            }
            return Self::Connect;
        }
        if error.is_timeout() {
            return Self::Timeout { sent: true };
        }
        Self::Io
    }
}
