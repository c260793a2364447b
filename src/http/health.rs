//! Liveness, readiness and metrics. These answer on any host.

use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::crypto::token;
use serde_json::json;

use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::telemetry;

/// Longest wait for the database's sign of life.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process lives.
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"ok": true, "status": "live"}))
}

/// The process takes work: it has started, is not draining, and reaches its database.
pub(crate) async fn ready(state: Data<AppState>) -> HttpResponse {
    let database = async { tokio::time::timeout(PATIENCE, state.services.db.ping()).await };
    let ready = state.ready.get() && matches!(database.await, Ok(Ok(())));
    let mut answer = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"ready": ready}))
}

/// Metrics for whoever holds the token. Without a token set, they are not here.
pub(crate) async fn metrics(request: HttpRequest, state: Data<AppState>) -> ApiResult<HttpResponse> {
    if state.metrics_token.is_empty() {
        return Err(ApiError::not_found(""));
    }
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !token::equal(given.as_bytes(), state.metrics_token.expose().as_bytes()) {
        return Err(ApiError::unauthenticated("the metrics token is wrong"));
    }
    Ok(exposition())
}

/// Metrics on their own listener.
pub(crate) async fn open_metrics() -> HttpResponse {
    exposition()
}

fn exposition() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(telemetry::render_metrics())
}
