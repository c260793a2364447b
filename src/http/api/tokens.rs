//! Personal API tokens: what OpenClaw clients call the gateway token.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::config::identity::ApiToken;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{check_name, resource};
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
        .service(resource("/tokens/{id}").route(web::delete().to(delete)));
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
#[serde(rename_all = "camelCase")]
pub struct NewTokenOut {
    #[serde(flatten)]
    pub about: TokenOut,
    pub token: String,
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
    request_body = TokenIn, responses((status = 201, body = NewTokenOut)))]
pub async fn create(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<TokenIn>,
) -> ApiResult<HttpResponse> {
    let TokenIn { name, scopes } = body.read().await?;
    check_name("name", &name, 100)?;
    let config = &state.services.config;
    let (about, token) = config.create_api_token(caller.scope(), &name, scopes).await?;
    Ok(HttpResponse::Created().json(NewTokenOut {
        about: about.into(),
        token: token.expose().to_owned(),
    }))
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
