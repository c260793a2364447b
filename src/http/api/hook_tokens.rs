//! Tokens of hooks (`/hooks/*`).

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::config::hooks::HookToken;
use claw_actors::crypto::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::{Caller, FullCaller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/hook-tokens")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(resource("/hook-tokens/{id}").route(web::delete().to(delete)));
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookTokensOut {
    pub hook_tokens: Vec<HookTokenOut>,
}

/// A token, without the token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookTokenOut {
    pub id: String,
    pub name: String,
    /// The one hook it opens: `wake`, `agent`, or a mapping's id or path; null for all.
    pub hook: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds, about ten minutes exact.
    pub last_used_at: Option<i64>,
}

impl From<HookToken> for HookTokenOut {
    fn from(token: HookToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            hook: token.hook,
            created_at: token.created_at,
            last_used_at: token.last_used_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HookTokenIn {
    name: String,
    /// Only this hook. Absent: all of them.
    hook: Option<String>,
    /// One that is in use elsewhere already, 16 to 256 characters. Absent: a new one is made.
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewHookTokenOut {
    #[serde(flatten)]
    pub about: HookTokenOut,
    /// Shown once.
    pub token: String,
}

#[utoipa::path(get, path = "/api/hook-tokens", operation_id = "listHookTokens", tag = "hooks",
    responses((status = 200, body = HookTokensOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let tokens = state.services.config.list_hook_tokens(caller.scope()).await?;
    Ok(HttpResponse::Ok().json(HookTokensOut {
        hook_tokens: tokens.into_iter().map(HookTokenOut::from).collect(),
    }))
}

#[utoipa::path(post, path = "/api/hook-tokens", operation_id = "createHookToken", tag = "hooks",
    request_body = HookTokenIn, responses((status = 201, body = NewHookTokenOut)))]
pub async fn create(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<HookTokenIn>,
) -> ApiResult<HttpResponse> {
    let HookTokenIn { name, hook, token } = body.read().await?;
    let config = &state.services.config;
    let made = config.create_hook_token(caller.scope(), &name, hook.as_deref(), token);
    let (about, token) = made.await?;
    Ok(HttpResponse::Created().json(NewHookTokenOut {
        about: about.into(),
        token: token.expose().to_owned(),
    }))
}

#[utoipa::path(delete, path = "/api/hook-tokens/{id}", operation_id = "deleteHookToken", tag = "hooks",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    state.services.config.delete_hook_token(caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
