//! What some model providers can beside answering: telling what a text means, as a vector.

use std::time::Duration;

use futures::future::BoxFuture;

use super::model::{Endpoint, ModelError};

/// Makes vectors of texts.
pub trait Embeddings: Send + Sync {
    /// One request. Failover and what it costs are the caller's business.
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embedded, ModelError>>;
}

/// What the vectors are for; some models make others of a question than of what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Any,
    Question,
    Document,
}

/// Everything one call needs.
#[derive(Clone, Debug)]
pub struct EmbeddingRequest {
    pub endpoint: Endpoint,
    /// Provider id as configured, for errors.
    pub provider: String,
    /// Model id as the provider knows it.
    pub model: String,
    /// At least one; none is empty.
    pub texts: Vec<String>,
    /// Length of the vectors, where another than the model's own is wanted.
    pub dimensions: Option<u32>,
    pub meaning: Meaning,
    pub timeout: Duration,
}

/// Vectors in the order of the texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// As many as texts, all of the same length.
    pub vectors: Vec<Vec<f32>>,
    /// What the provider counted; 0 where it counts nothing.
    pub tokens: u64,
}
