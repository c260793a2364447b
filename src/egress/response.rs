//! Answers, read under a cap that counts decompressed bytes as they arrive.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::EgressError;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// True when the body went on beyond the cap of `truncate_body`.
    pub truncated: bool,
    /// Where the answer came from, after redirects.
    pub url: Url,
}

impl Response {
    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The header's value, when it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// An answer whose body is still arriving.
pub struct StreamingResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// Pieces as they come; ends after the first error. May be polled again after its end.
    pub body: BoxStream<'static, Result<Bytes, EgressError>>,
}

impl StreamingResponse {
    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The header's value, when it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl std::fmt::Debug for StreamingResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StreamingResponse")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

pub(super) async fn read(
    mut answer: reqwest::Response,
    url: Url,
    max_body: usize,
    truncate: bool,
) -> Result<Response, EgressError> {
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let announced = answer.content_length().and_then(|length| usize::try_from(length).ok());
    if !truncate && announced.is_some_and(|length| length > max_body) {
        return Err(EgressError::TooLarge);
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(max_body).min(1024 * 1024));
    let mut truncated = false;
    while let Some(piece) = answer.chunk().await.map_err(|error| EgressError::from_client(&error))? {
        let room = max_body - body.len();
        if piece.len() <= room {
            body.extend_from_slice(&piece);
            continue;
        }
        if !truncate {
            return Err(EgressError::TooLarge);
        }
        body.extend_from_slice(&piece[..room]);
        truncated = true;
        break;
    }
    Ok(Response {
        status,
        headers,
        body,
        truncated,
        url,
    })
}

pub(super) fn stream(mut answer: reqwest::Response, max_body: usize) -> StreamingResponse {
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let pieces = answer.bytes_stream();
    let body = stream::unfold(Some((pieces, max_body)), |state| async move {
        let (mut pieces, room) = state?;
        match pieces.next().await? {
            Ok(piece) => match room.checked_sub(piece.len()) {
                Some(room) => Some((Ok(piece), Some((pieces, room)))),
                None => Some((Err(EgressError::TooLarge), None)),
            },
            Err(error) => Some((Err(EgressError::from_client(&error)), None)),
        }
    });
    StreamingResponse {
        status,
        headers,
        body: body.fuse().boxed(),
    }
}
