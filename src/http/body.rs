//! Reading bodies, with a cap and a time limit. A handler reads only after it knows who is asking.

use std::marker::PhantomData;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use claw_actors::Error;
use futures::StreamExt;
use futures::future::{Ready, ok};
use serde::de::DeserializeOwned;

use super::state::AppState;
use crate::error::{ApiError, ApiResult, payload_error};

/// A JSON body that has not been read yet.
pub struct JsonIn<T> {
    request: HttpRequest,
    payload: Payload,
    body: PhantomData<T>,
}

impl<T> FromRequest for JsonIn<T> {
    type Error = ApiError;
    type Future = Ready<ApiResult<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ok(Self {
            request: request.clone(),
            payload: payload.take(),
            body: PhantomData,
        })
    }
}

impl<T: DeserializeOwned> JsonIn<T> {
    /// Reads and parses. Nesting deeper than 128 is refused, as is anything that is not `application/json`: a form of
    /// another site cannot send that.
    pub async fn read(self) -> ApiResult<T> {
        let state = AppState::of(&self.request)?;
        let patience = Duration::from_secs(state.http.body_timeout_secs);
        let body = json_bytes(&self.request, self.payload, state.limits.api_body_bytes, patience).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::invalid(format!("the body is not as documented: {error}")).into())
    }
}

/// A body of bytes that has not been read yet.
pub struct BytesIn {
    request: HttpRequest,
    payload: Payload,
}

impl FromRequest for BytesIn {
    type Error = ApiError;
    type Future = Ready<ApiResult<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ok(Self {
            request: request.clone(),
            payload: payload.take(),
        })
    }
}

impl BytesIn {
    /// Reads at most `limit` bytes of one of these media types.
    pub async fn read(self, types: &[&str], limit: usize) -> ApiResult<Vec<u8>> {
        let given = self.request.content_type();
        if !types.iter().any(|known| known.eq_ignore_ascii_case(given)) {
            return Err(Error::invalid(format!("{CONTENT_TYPE} must be one of {}", types.join(", "))).into());
        }
        let state = AppState::of(&self.request)?;
        let patience = Duration::from_secs(state.http.body_timeout_secs);
        read(&self.request, self.payload, limit, patience).await
    }
}

/// Reads a body that says it is JSON.
pub(crate) async fn json_bytes(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    patience: Duration,
) -> ApiResult<Vec<u8>> {
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Error::invalid(format!("{CONTENT_TYPE} must be application/json")).into());
    }
    read(request, payload, limit, patience).await
}

/// Reads a whole body of at most `limit` bytes within `patience`.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    patience: Duration,
) -> ApiResult<Vec<u8>> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    tokio::time::timeout(patience, collect(payload, announced.unwrap_or(0), limit))
        .await
        .map_err(|_| Error::invalid("the body did not arrive in time"))?
}

async fn collect(mut payload: Payload, announced: usize, limit: usize) -> ApiResult<Vec<u8>> {
    // A client that announces much and sends little shall not cost memory.
    let mut body = Vec::with_capacity(announced.min(64 * 1024));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| payload_error(&error))?;
        if chunk.len() > limit - body.len() {
            return Err(too_large(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn too_large(limit: usize) -> ApiError {
    Error::TooLarge(format!("the body is larger than {limit} bytes")).into()
}
