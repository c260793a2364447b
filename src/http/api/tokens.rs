//! Tokens that a person makes for programs: personal API tokens, which OpenClaw clients call the gateway token, and tokens
//! of hooks (`/hooks/*`). Each is shown once.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::config::document::HookAction;
use claw_actors::config::hooks::HookToken;
use claw_actors::config::identity::ApiToken;
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
            resource("/tokens")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(resource("/tokens/{id}").route(web::delete().to(delete)))
        .service(
            resource("/hook-tokens")
                .route(web::get().to(list_hooks))
                .route(web::post().to(create_hook)),
        )
        .service(resource("/hook-tokens/{id}").route(web::delete().to(delete_hook)));
}

#[derive(Serialize, ToSchema)]
pub struct TokensOut {
    pub tokens: Vec<TokenOut>,
}

/// A token without its value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenOut {
    pub id: String,
    pub name: String,
    /// Null: all of the user's role.
    pub scopes: Option<Vec<String>>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub last_used_at: Option<i64>,
}

impl From<ApiToken> for TokenOut {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes,
            created_at: token.created_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// A fresh token. Its value is shown this once.
#[derive(Serialize, ToSchema)]
pub struct Fresh<T> {
    #[serde(flatten)]
    pub about: T,
    pub token: String,
}

fn fresh<T: Serialize>(about: T, token: &Secret) -> HttpResponse {
    HttpResponse::Created().json(Fresh {
        about,
        token: token.expose().to_owned(),
    })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenIn {
    name: String,
    /// Absent: all of the user's role.
    scopes: Option<Vec<String>>,
}

#[utoipa::path(get, path = "/api/tokens", operation_id = "listTokens", tag = "tokens",
    responses((status = 200, body = TokensOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let tokens = state.services.config.list_api_tokens(caller.scope()).await?;
    Ok(HttpResponse::Ok().json(TokensOut {
        tokens: tokens.into_iter().map(TokenOut::from).collect(),
    }))
}

#[utoipa::path(post, path = "/api/tokens", operation_id = "createToken", tag = "tokens",
    request_body = TokenIn, responses((status = 201, body = Fresh<TokenOut>)))]
pub async fn create(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<TokenIn>,
) -> ApiResult<HttpResponse> {
    let TokenIn { name, scopes } = body.read().await?;
    let config = &state.services.config;
    let (about, token) = config.create_api_token(caller.scope(), &name, scopes).await?;
    Ok(fresh(TokenOut::from(about), &token))
}

#[utoipa::path(delete, path = "/api/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    state.services.config.revoke_api_token(caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Tokens of hooks, and the hooks there are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookTokensOut {
    pub hook_tokens: Vec<HookTokenOut>,
    /// False: the user's configuration has hooks switched off, and no token opens any.
    pub enabled: bool,
    pub hooks: Vec<HookOut>,
}

/// What a token opens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookOut {
    /// What a token is narrowed to.
    pub name: String,
    /// What stands behind `/hooks/`; null where the body's `source` alone decides.
    pub path: Option<String>,
    /// `wake` or `agent`.
    pub action: &'static str,
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

#[utoipa::path(get, path = "/api/hook-tokens", operation_id = "listHookTokens", tag = "hooks",
    responses((status = 200, body = HookTokensOut)))]
pub async fn list_hooks(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let tokens = config.list_hook_tokens(caller.scope()).await?;
    let settings = config.settings(caller.scope()).await?;
    let built_in = ["wake", "agent"].map(|name| HookOut {
        name: name.to_owned(),
        path: Some(name.to_owned()),
        action: name,
    });
    let mapped = settings.hooks.mappings.iter().filter_map(|mapping| {
        Some(HookOut {
            name: mapping.id.clone().or_else(|| mapping.path.clone())?,
            path: mapping.path.clone(),
            action: match mapping.action {
                HookAction::Wake => "wake",
                HookAction::Agent => "agent",
            },
        })
    });
    Ok(HttpResponse::Ok().json(HookTokensOut {
        hook_tokens: tokens.into_iter().map(HookTokenOut::from).collect(),
        enabled: settings.hooks.enabled,
        hooks: built_in.into_iter().chain(mapped).collect(),
    }))
}

#[utoipa::path(post, path = "/api/hook-tokens", operation_id = "createHookToken", tag = "hooks",
    request_body = HookTokenIn, responses((status = 201, body = Fresh<HookTokenOut>)))]
pub async fn create_hook(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<HookTokenIn>,
) -> ApiResult<HttpResponse> {
    let HookTokenIn { name, hook, token } = body.read().await?;
    let config = &state.services.config;
    let made = config.create_hook_token(caller.scope(), &name, hook.as_deref(), token);
    let (about, token) = made.await?;
    Ok(fresh(HookTokenOut::from(about), &token))
}

#[utoipa::path(delete, path = "/api/hook-tokens/{id}", operation_id = "deleteHookToken", tag = "hooks",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete_hook(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    state.services.config.delete_hook_token(caller.scope(), &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
