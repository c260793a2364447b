//! The span, the id and the count of a request, and work that goes on when its client does not wait.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use claw_actors::trace::is_id;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::client;
use super::state::AppState;
use crate::error::ApiError;

/// Names the request: in its span, in the answer, and by a trusted proxy in what it passes on.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs the request to its end, also when its client goes away in the middle.
pub(crate) async fn to_the_end<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    actix_web::rt::spawn(next.call(request).instrument(Span::current()))
        .await
        .map_err(|error| ApiError::from(claw_actors::Error::internal(error)))?
}

/// Runs the request inside `http.request`.
pub(crate) async fn request<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = id(&request);
    let span = tracing::info_span!(
        "http.request",
        http.method = request.method().as_str(),
        http.route = request.match_pattern().unwrap_or_default(),
        http.status = Empty,
        tenant.id = Empty,
        request.id = %Id(&id),
    );
    inside(span, id, request, next).await
}

/// The same where requests come by the thousand: the span is there at level `debug` only.
pub(crate) async fn hot<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let id = id(&request);
    let span = tracing::debug_span!(
        "http.request",
        http.method = request.method().as_str(),
        http.route = request.match_pattern().unwrap_or_default(),
        http.status = Empty,
        tenant.id = Empty,
        request.id = %Id(&id),
    );
    inside(span, id, request, next).await
}

async fn inside<B: MessageBody>(
    span: Span,
    id: HeaderValue,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let answer = next.call(request).instrument(span.clone()).await;
    let status = match &answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    span.record("http.status", status.as_u16());
    metrics::counter!("claw_http_requests_total", "status" => class(status)).increment(1);
    match answer {
        Ok(mut answer) => {
            answer.headers_mut().insert(REQUEST_ID, id);
            Ok(answer)
        }
        Err(error) => {
            let mut answer = span.in_scope(|| error.error_response());
            answer.headers_mut().insert(REQUEST_ID, id);
            Err(InternalError::from_response(error, answer).into())
        }
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// The request's id: a trusted proxy's, if it looks like one, else a new one.
fn id(request: &ServiceRequest) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID);
    let trusted = given.is_some()
        && request.app_data::<Data<AppState>>().is_some_and(|state| {
            let peer = request.peer_addr().map(|address| address.ip().to_canonical());
            peer.is_some_and(|peer| client::is_trusted(peer, &state.http.trusted_proxies))
        });
    if trusted && let Some(given) = well_formed(request.headers()) {
        return given.clone();
    }
    let mut text = uuid::Uuid::encode_buffer();
    let text = uuid::Uuid::now_v7().simple().encode_lower(&mut text);
    // Hexadecimal digits: it always is a header.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
}

/// The one id in a request's headers, if it can stand in a log as it is.
fn well_formed(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut given = headers.get_all(REQUEST_ID);
    let one = given.next().filter(|_| given.next().is_none())?;
    one.to_str().is_ok_and(is_id).then_some(one)
}

/// Prints an id without making a text of it.
struct Id<'a>(&'a HeaderValue);

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.to_str().unwrap_or_default())
    }
}
