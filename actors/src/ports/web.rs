//! The web port: posting what a job found to an address that a person chose.

use futures::future::BoxFuture;

use super::channel::DeliverError;
use crate::crypto::Secret;

/// What stands for a channel in the destination of an outbox row that goes to a web address.
pub const WEBHOOK: &str = "webhook";

/// Posts to web addresses.
pub trait Poster: Send + Sync {
    /// One request with a JSON body. `key` is the same for every try of one body, so that a repeat can be told; the
    /// caller repeats by [`DeliverError`].
    fn post<'a>(
        &'a self,
        address: &'a str,
        token: Option<&'a Secret>,
        key: &'a str,
        body: String,
    ) -> BoxFuture<'a, Result<(), DeliverError>>;
}
