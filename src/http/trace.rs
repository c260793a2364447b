//! The span of a REST request, and its count. The hot paths (webhooks, sockets) have their own.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use tracing::Instrument;
use tracing::field::Empty;

use crate::error::ApiError;

/// Runs the request to its end, also when its client goes away in the middle.
pub(crate) async fn to_the_end<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    actix_web::rt::spawn(next.call(request).instrument(tracing::Span::current()))
        .await
        .map_err(|error| ApiError::from(claw_actors::Error::internal(error)))?
}

/// Runs the request inside `http.request`.
pub(crate) async fn request<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let span = tracing::info_span!(
        "http.request",
        http.method = %request.method(),
        http.route = request.match_pattern().unwrap_or_default(),
        http.status = Empty,
        tenant.id = Empty,
        request.id = %uuid::Uuid::now_v7().simple(),
    );
    let answer = next.call(request).instrument(span.clone()).await;
    let status = match &answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    span.record("http.status", status.as_u16());
    let class = match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("http_api_requests_total", "status" => class).increment(1);
    answer
}
