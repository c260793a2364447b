//! What needs a person's attention: messages that were given up, replies that may not have arrived.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::session::attention;
use serde::Serialize;
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::Caller;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/activity").route(web::get().to(list)))
        .service(resource("/activity/inbox/{id}/retry").route(web::post().to(retry_inbox)))
        .service(resource("/activity/outbox/{id}/retry").route(web::post().to(retry_outbox)));
}

#[derive(Serialize, ToSchema)]
pub struct ActivityOut {
    pub inbox: Vec<InboxOut>,
    pub outbox: Vec<OutboxOut>,
}

/// A message that was accepted and given up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxOut {
    pub id: String,
    pub source: String,
    pub session_key: String,
    /// `dead`.
    pub state: &'static str,
    pub reason: Option<String>,
    pub attempts: i32,
    /// Epoch milliseconds.
    pub received_at: i64,
}

/// A reply that was not sent, or may not have been.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboxOut {
    pub id: String,
    pub conversation: String,
    pub state: String,
    pub error: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

#[utoipa::path(get, path = "/api/activity", operation_id = "listActivity", tag = "activity",
    responses((status = 200, body = ActivityOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let (dead, undelivered) = attention::list(&state.directory, caller.scope()).await?;
    Ok(HttpResponse::Ok().json(ActivityOut {
        inbox: dead
            .into_iter()
            .map(|row| InboxOut {
                id: row.id,
                source: row.source,
                session_key: row.session_key.into(),
                state: "dead",
                reason: row.reason,
                attempts: row.attempts,
                received_at: row.received_at,
            })
            .collect(),
        outbox: undelivered
            .into_iter()
            .map(|row| OutboxOut {
                id: row.id,
                conversation: row.conversation,
                state: row.state,
                error: row.error,
                created_at: row.created_at,
            })
            .collect(),
    }))
}

#[utoipa::path(post, path = "/api/activity/inbox/{id}/retry", operation_id = "retryInbox", tag = "activity",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn retry_inbox(caller: Caller, state: Data<AppState>, id: Path<String>) -> ApiResult<HttpResponse> {
    attention::retry_inbox(&state.directory, caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(post, path = "/api/activity/outbox/{id}/retry", operation_id = "retryOutbox", tag = "activity",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn retry_outbox(caller: Caller, state: Data<AppState>, id: Path<String>) -> ApiResult<HttpResponse> {
    attention::retry_outbox(&state.directory, caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
