//! The web port: posting what a job found to an address that a person chose, and fetching a file that an answer names.

use futures::future::BoxFuture;

use super::channel::{DeliverError, MediaFile};
use crate::crypto::Secret;

/// What stands for a channel in the destination of an outbox row that goes to a web address.
pub const WEBHOOK: &str = "webhook";

/// Posts to web addresses, and fetches from them.
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

    /// The file at an address that a model wrote: public https only, at most `max_bytes`. The error ends a sentence for
    /// people.
    fn fetch<'a>(&'a self, address: &'a str, max_bytes: usize) -> BoxFuture<'a, Result<MediaFile, String>>;
}
