//! Guests that wait for the account's owner, and the code that ties a chat identity to a user.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::clock;
use claw_actors::config::accounts::PairingRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::{Caller, FullCaller};
use crate::http::state::AppState;

/// How long a link code is good for, milliseconds.
const LINK_CODE_MS: i64 = 10 * 60 * 1000;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/pairing").route(web::get().to(list)))
        .service(resource("/pairing/{id}/approve").route(web::post().to(approve)))
        .service(resource("/pairing/{id}/dismiss").route(web::post().to(dismiss)))
        .service(resource("/link-codes").route(web::post().to(create_link_code)));
}

#[derive(Serialize, ToSchema)]
pub struct PairingOut {
    pub requests: Vec<PairingRequestOut>,
}

/// An unknown sender who wrote to one of the caller's accounts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingRequestOut {
    pub id: String,
    pub channel: String,
    pub account_id: String,
    pub sender_id: String,
    pub sender_name: String,
    /// What the sender was told; compare it before letting them in.
    pub code: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

impl From<PairingRequest> for PairingRequestOut {
    fn from(request: PairingRequest) -> Self {
        Self {
            id: request.id,
            channel: request.channel,
            account_id: request.account_id,
            sender_id: request.sender_id,
            sender_name: request.sender_name,
            code: request.code,
            created_at: request.created_at,
            expires_at: request.expires_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkCodeOut {
    pub code: String,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

#[utoipa::path(get, path = "/api/pairing", operation_id = "listPairing", tag = "pairing",
    responses((status = 200, body = PairingOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let requests = state.services.config.list_pairing(caller.scope()).await?;
    Ok(HttpResponse::Ok().json(PairingOut {
        requests: requests.into_iter().map(PairingRequestOut::from).collect(),
    }))
}

#[utoipa::path(post, path = "/api/pairing/{id}/approve", operation_id = "approvePairing", tag = "pairing",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn approve(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    state.services.config.approve_pairing(caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(post, path = "/api/pairing/{id}/dismiss", operation_id = "dismissPairing", tag = "pairing",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn dismiss(caller: Caller, state: Data<AppState>, id: Path<String>) -> ApiResult<HttpResponse> {
    state.services.config.dismiss_pairing(caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(post, path = "/api/link-codes", operation_id = "createLinkCode", tag = "pairing",
    responses((status = 201, body = LinkCodeOut)))]
pub async fn create_link_code(FullCaller(caller): FullCaller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let code = state.services.config.create_link_code(caller.scope()).await?;
    Ok(HttpResponse::Created().json(LinkCodeOut {
        code: code.expose().to_owned(),
        expires_at: clock::now_ms() + LINK_CODE_MS,
    }))
}
