//! The way to the gateway socket: which upgrades are let through, and as whom.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::config::identity::{Identity, Tenant};
use claw_actors::crypto::Secret;
use claw_actors::gateway::methods::setup_code;
use claw_actors::gateway::{ClientFacts, GatewayState};
use serde_json::json;

use super::auth::{cookie, csrf};
use super::client::Client;
use super::gateway_socket;
use super::state::AppState;
use super::tenant;
use crate::error::{ApiError, ApiResult};

/// The socket's address, asked without an upgrade.
pub(crate) async fn no_upgrade() -> HttpResponse {
    gateway_socket::upgrade_required()
        .json(json!({"error": {"code": "upgrade_required", "message": "open a WebSocket here"}}))
}

/// An upgrade on `/` (old clients drop the path) or on `/gateway/ws`.
pub(crate) async fn socket(
    request: HttpRequest,
    state: Data<AppState>,
    gateway: Data<GatewayState>,
) -> Result<HttpResponse, actix_web::Error> {
    let tenant = tenant::of(&request, &state).await?;
    let client = state.client(&request);
    let identity = identity(&request, &state, &tenant, &client).await?;
    let origin = csrf::origin(&request).map(str::to_owned);
    let own = origin
        .as_deref()
        .filter(|origin| csrf::is_own(origin, &request, &state, &tenant, &client));
    let facts = ClientFacts {
        peer_loopback: client.loopback_peer,
        host_loopback: tenant::authority(&request).is_some_and(tenant::is_loopback),
        forwarded: client.forwarded,
        own_origin: own.unwrap_or_default().to_owned(),
        origin,
        address: client.network(),
    };
    Ok(gateway_socket::upgrade(&request, &gateway, tenant, facts, identity))
}

/// The payload behind a join URL, once. A wrong code counts as a wrong proof of its address.
pub(crate) async fn join(
    request: HttpRequest,
    code: Path<String>,
    state: Data<AppState>,
    gateway: Data<GatewayState>,
) -> ApiResult<HttpResponse> {
    let tenant = tenant::of(&request, &state).await?;
    let client = state.client(&request);
    state.may_guess(&tenant.id, &client)?;
    let code = Secret::new(code.into_inner());
    let payload = state.services.config.fetch_join(&tenant.id, &code).await?;
    let mut answer = match payload {
        Some(join) => {
            let pin = setup_code::pin(&gateway.settings, &tenant.slug, &join.url);
            let bootstrap = join.bootstrap.expose();
            HttpResponse::Ok().json(setup_code::payload(&join.url, bootstrap, join.expires_at, pin))
        }
        None => {
            state.guess(&tenant.id, &client)?;
            HttpResponse::NotFound().json(json!({"error": "not_found"}))
        }
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The user of a page of our own. Pages of others need an entry in `gateway.allowed_origins`, and prove themselves in
/// the handshake; programs send no origin and prove themselves there too.
async fn identity(
    request: &HttpRequest,
    state: &AppState,
    tenant: &Tenant,
    client: &Client,
) -> ApiResult<Option<Arc<Identity>>> {
    if !request.headers().contains_key("origin") {
        return Ok(None);
    }
    let origin = csrf::origin(request).unwrap_or_default();
    if csrf::is_own(origin, request, state, tenant, client) {
        let Some(cookie) = cookie::value(request, client.secure) else {
            return Ok(None);
        };
        // A spent cookie is no reason to refuse: the page may hold a token.
        return Ok(state
            .services
            .config
            .authenticate_web_session(&tenant.id, &cookie)
            .await?);
    }
    if state.allowed_origins.iter().any(|allowed| allowed == origin) {
        return Ok(None);
    }
    Err(ApiError::forbidden("origin not allowed"))
}
