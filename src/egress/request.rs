//! One outbound request: building it, following redirects by hand, and reading the answer under caps.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claw_actors::crypto::Secret;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::client::Clients;
use super::response::{self, Response, StreamingResponse};
use super::target::Target;
use super::{EgressError, Purpose};

const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 3;
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
const MAX_STREAM_BYTES: usize = 64 * 1024 * 1024;

/// Headers that the transport owns.
const RESERVED_HEADERS: &[HeaderName] = &[
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHORIZATION,
];

/// What may follow a redirect to another origin.
const PORTABLE_HEADERS: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
];

/// A request being built. The first mistake in it is what sending gives.
pub struct Request {
    clients: Arc<Clients>,
    purpose: Purpose,
    method: Method,
    target: Target,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Duration,
    max_body: Option<usize>,
    truncate: bool,
    mistake: Option<EgressError>,
}

impl Request {
    pub(super) fn new(clients: Arc<Clients>, purpose: Purpose, method: Method, target: Target) -> Self {
        Self {
            clients,
            purpose,
            method,
            target,
            headers: HeaderMap::new(),
            body: None,
            timeout: TOTAL_TIMEOUT,
            max_body: None,
            truncate: false,
            mistake: None,
        }
    }

    /// Sets a header, replacing an earlier one of that name.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes());
        let value = HeaderValue::from_bytes(value.as_ref().as_bytes());
        match (name, value) {
            (Ok(name), Ok(mut value)) if !RESERVED_HEADERS.contains(&name) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            (Ok(_) | Err(_), Ok(_) | Err(_)) => self.fail("a request header is not allowed"),
        }
        self
    }

    /// Sets `Authorization: Bearer …`.
    pub fn bearer(self, token: &Secret) -> Self {
        self.header("authorization", format!("Bearer {}", token.expose()))
    }

    /// Sets a JSON body and its content type.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body(bytes, "application/json"),
            Err(_) => {
                self.fail("the request body is not JSON");
                self
            }
        }
    }

    /// Sets the body and its content type.
    pub fn body(mut self, body: Vec<u8>, content_type: &str) -> Self {
        self.body = Some(Bytes::from(body));
        self.header("content-type", content_type)
    }

    /// Time for everything; for [`Self::send_streaming`] until the response headers. 30 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Most bytes of the body, after decompression; more is [`EgressError::TooLarge`]. 8 MiB unless set, 64 MiB for a
    /// stream.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Like [`Self::max_body`], but what is beyond is dropped and [`Response::truncated`] set.
    pub fn truncate_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self.truncate = true;
        self
    }

    /// Sends and reads the whole answer. A status of failure is an answer, not an error.
    pub async fn send(self) -> Result<Response, EgressError> {
        let (timeout, truncate) = (self.timeout, self.truncate);
        let max_body = self.max_body.unwrap_or(MAX_BODY_BYTES);
        within(timeout, async move {
            let (answer, url) = self.follow().await?;
            response::read(answer, url, max_body, truncate).await
        })
        .await
    }

    /// Sends and gives the answer's body as it arrives. Dropping it closes the connection.
    pub async fn send_streaming(mut self) -> Result<StreamingResponse, EgressError> {
        let max_body = self.max_body.unwrap_or(MAX_STREAM_BYTES);
        // Compression buffers, and buffering is what a stream must not do.
        self.headers
            .entry(header::ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("identity"));
        let (answer, _) = within(self.timeout, self.follow()).await?;
        Ok(response::stream(answer, max_body))
    }

    fn fail(&mut self, reason: &'static str) {
        self.mistake.get_or_insert(EgressError::refused(reason));
    }

    async fn follow(mut self) -> Result<(reqwest::Response, reqwest::Url), EgressError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let mut seen = Vec::new();
        loop {
            let answer = self.execute().await?;
            let Some(location) = location(&answer) else {
                return Ok((answer, self.target.url));
            };
            let next = self.target.join(&location?)?;
            if seen.len() >= MAX_REDIRECTS {
                return Err(EgressError::Redirect);
            }
            seen.push((self.method.clone(), self.target.url.clone()));
            self.redirect(answer.status().as_u16(), next)?;
            if seen
                .iter()
                .any(|(method, url)| *method == self.method && *url == self.target.url)
            {
                return Err(EgressError::Redirect);
            }
        }
    }

    async fn execute(&self) -> Result<reqwest::Response, EgressError> {
        let client = self.clients.client(self.purpose, &self.target)?;
        let mut request = reqwest::Request::new(self.method.clone(), self.target.url.clone());
        *request.headers_mut() = self.headers.clone();
        if let Some(body) = &self.body {
            *request.body_mut() = Some(body.clone().into());
        }
        client
            .execute(request)
            .await
            .map_err(|error| EgressError::from_client(&error))
    }

    /// Turns this request into the one that follows a redirect.
    fn redirect(&mut self, status: u16, next: Target) -> Result<(), EgressError> {
        if self.target.is_https() && !next.is_https() {
            return Err(EgressError::Redirect);
        }
        let keeps_method = matches!(status, 307 | 308) || matches!(self.method, Method::GET | Method::HEAD);
        if !keeps_method {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(header::CONTENT_TYPE);
        }
        if !next.same_origin(&self.target) {
            // The new place was named by a server. What we carry was meant for the old one.
            if self.body.is_some() {
                return Err(EgressError::Redirect);
            }
            self.headers = PORTABLE_HEADERS
                .iter()
                .filter_map(|name| Some((name.clone(), self.headers.get(name)?.clone())))
                .collect();
            self.purpose = match self.purpose {
                Purpose::Fixed => Purpose::Fixed,
                Purpose::Configured | Purpose::Untrusted => Purpose::Untrusted,
            };
        }
        self.clients.admit(self.purpose, &next)?;
        self.target = next;
        Ok(())
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("purpose", &self.purpose)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The `Location` of an answer that redirects.
fn location(answer: &reqwest::Response) -> Option<Result<String, EgressError>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let value = answer.headers().get(header::LOCATION)?;
    Some(value.to_str().map(str::to_owned).map_err(|_| EgressError::Redirect))
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, EgressError>>) -> Result<T, EgressError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        // Connecting has its own, shorter limit, so by now the server may have the request.
        Err(_) => Err(EgressError::Timeout { sent: true }),
    }
}
