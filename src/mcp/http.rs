//! The transport of MCP over our own outbound client: address rules, no redirect to elsewhere, and caps on all that a
//! server sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claw_actors::crypto::Secret;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use tokio::sync::Semaphore;

use crate::egress::{Egress, EgressError, Purpose, Request, StreamingResponse};

/// Largest answer to one request, bytes: an image is base64.
pub(super) const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Large answers that are parsed at the same time in this process.
static PARSING: Semaphore = Semaphore::const_new(4);
/// Most bytes and events of one stream that stays open for news. One that says more is opened anew, after a pause.
const MAX_NEWS: usize = 4 * 1024 * 1024;
const MOST_EVENTS: usize = 4_096;
/// Most of what a failure says that is read, for telling old servers from new ones.
const MAX_FAILURE: usize = 64 * 1024;

/// Code of the refusal of a session that is not known, before anything was done.
const NO_SESSION: i32 = -32000;
const SESSION: &str = "mcp-session-id";
const BOTH: &str = "text/event-stream, application/json";

/// Sends what the protocol says. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    egress: Egress,
    headers: Arc<Vec<(String, Secret)>>,
    /// Until the headers of an answer.
    timeout: Duration,
}

type Failure = StreamableHttpError<EgressError>;

impl Http {
    pub(super) fn new(egress: Egress, headers: Vec<(String, Secret)>, timeout: Duration) -> Self {
        Self {
            egress,
            headers: Arc::new(headers),
            timeout,
        }
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        session: Option<&str>,
        protocol: &HashMap<HeaderName, HeaderValue>,
    ) -> Result<Request, Failure> {
        let mut request = self
            .egress
            .request(Purpose::Configured, method, url)
            .map_err(StreamableHttpError::Client)?
            .timeout(self.timeout);
        for (name, value) in self.headers.iter() {
            request = request.header(name, value.expose());
        }
        // The protocol's own go last: they are not for anybody to change.
        for (name, value) in protocol {
            request = request.header(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
        }
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        Ok(request.header("accept", BOTH))
    }
}

impl StreamableHttpClient for Http {
    type Error = EgressError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let request = self.request(Method::POST, &uri, session.as_deref(), &protocol)?;
        let request = request.json(&message).max_body(MAX_ANSWER);
        let mut answer = request.send_streaming().await.map_err(StreamableHttpError::Client)?;
        let status = answer.status;
        if matches!(status, 202 | 204) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == 404 && session.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }
        let kind = Kind::of(&answer);
        if !answer.is_success() {
            return failed(&message, session.is_some(), kind, answer).await;
        }
        let opened = answer.header(SESSION).map(str::to_owned);
        let wants_none = !matches!(message, ClientJsonRpcMessage::Request(_));
        match kind {
            Kind::Events => Ok(StreamableHttpPostResponse::Sse(events(answer), opened)),
            // Nothing that answers a notification matters.
            Kind::Json | Kind::Other if wants_none => Ok(StreamableHttpPostResponse::Accepted),
            Kind::Json => {
                let body = read(&mut answer, MAX_ANSWER).await?;
                // A large text is many times as large once it is parsed. Nothing is waited for while one holds this.
                let turn = PARSING.acquire().await;
                let message = serde_json::from_slice(&body)
                    .map_err(|_| StreamableHttpError::UnexpectedServerResponse("not a message".into()))?;
                drop((turn, body));
                Ok(StreamableHttpPostResponse::Json(message, opened))
            }
            Kind::Other => Err(StreamableHttpError::UnexpectedContentType(None)),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &uri, Some(&session), &protocol)?;
        // Whatever it says: we are gone.
        request
            .truncate_body(1024)
            .send()
            .await
            .map_err(StreamableHttpError::Client)?;
        Ok(())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        let mut request = self.request(Method::GET, &uri, session.as_deref(), &protocol)?;
        if let Some(id) = last_event.filter(|id| id.len() <= 1024 && id.bytes().all(|byte| byte.is_ascii_graphic())) {
            request = request.header("last-event-id", id);
        }
        let request = request.max_body(MAX_NEWS);
        let answer = request.send_streaming().await.map_err(StreamableHttpError::Client)?;
        match Kind::of(&answer) {
            Kind::Events if answer.is_success() => Ok(events(answer)),
            // Asking again would be refused again: the list is looked at from time to time instead.
            Kind::Events | Kind::Json | Kind::Other => Err(StreamableHttpError::ServerDoesNotSupportSse),
        }
    }
}

/// What an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Events,
    Other,
}

impl Kind {
    fn of(answer: &StreamingResponse) -> Self {
        let named = answer.header("content-type").unwrap_or_default();
        let named = named.split(';').next().unwrap_or_default().trim();
        if named.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if named.eq_ignore_ascii_case("text/event-stream") {
            Self::Events
        } else {
            Self::Other
        }
    }
}

/// An answer of failure: a JSON-RPC error counts as the answer it is. Servers of older revisions refuse the question
/// which revision they speak; that refusal, whatever its form, is an answer too.
async fn failed(
    message: &ClientJsonRpcMessage,
    in_session: bool,
    kind: Kind,
    mut answer: StreamingResponse,
) -> Result<StreamableHttpPostResponse, Failure> {
    let status = answer.status;
    let refused = StreamableHttpError::HttpStatus(HttpStatusError::new(status, None));
    if matches!(status, 401 | 403 | 429) || !(400..600).contains(&status) {
        return Err(refused);
    }
    let said = match kind {
        Kind::Json => read(&mut answer, MAX_FAILURE).await.unwrap_or_default(),
        Kind::Events | Kind::Other => Vec::new(),
    };
    let error = match serde_json::from_slice::<ServerJsonRpcMessage>(&said) {
        Ok(ServerJsonRpcMessage::Error(error)) => Some(error.error),
        Ok(
            ServerJsonRpcMessage::Request(_)
            | ServerJsonRpcMessage::Response(_)
            | ServerJsonRpcMessage::Notification(_),
        )
        | Err(_) => None,
    };
    // The protocol says 404 for a session that is over. Servers made after the reference SDK's examples say this.
    if in_session && status == 400 && error.as_ref().is_some_and(|error| error.code.0 == NO_SESSION) {
        return Err(StreamableHttpError::SessionExpired);
    }
    let ClientJsonRpcMessage::Request(request) = message else {
        return Err(refused);
    };
    let asks_revision = matches!(request.request, ClientRequest::DiscoverRequest(_)) && !in_session && status < 500;
    let error = match error {
        Some(error) => error,
        None if asks_revision => ErrorData::invalid_request("refused", None),
        None => return Err(refused),
    };
    // A refusal before the request was read cannot name it.
    let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
    Ok(StreamableHttpPostResponse::Json(answer, None))
}

/// The whole body, if it has at most `most` bytes.
async fn read(answer: &mut StreamingResponse, most: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(piece) = answer.body.next().await {
        let piece = piece.map_err(StreamableHttpError::Client)?;
        if piece.len() > most.saturating_sub(body.len()) {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: most });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The events of a body, so many at most: each may start work here.
fn events(answer: StreamingResponse) -> BoxStream<'static, Result<Sse, SseError>> {
    let bytes: BoxStream<'static, Result<Bytes, EgressError>> = answer.body;
    let events = SseStream::from_bytes_stream(bytes);
    let counted = stream::unfold((events.boxed(), MOST_EVENTS), |(mut events, left)| async move {
        let event = events.next().await?;
        let left = left.checked_sub(1)?;
        Some((event, (events, left)))
    });
    counted.boxed()
}
