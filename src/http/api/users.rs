//! The people of the tenant.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::config::identity::Role;
use claw_entities::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource;
use super::session::{RoleName, UserOut};
use crate::error::{ApiError, ApiResult};
use crate::http::auth::AdminCaller;
use crate::http::body::JsonIn;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/users")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(resource("/users/{id}").route(web::patch().to(change)));
}

#[derive(Serialize, ToSchema)]
pub struct UsersOut {
    pub users: Vec<UserOut>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserIn {
    email: String,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// What is changed of a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// True locks them out: within a second their sockets close, their turns end, and their browsers, tokens and devices
    /// are refused. False lets them in again; tokens, devices and jobs go on, browsers sign in anew.
    disabled: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewUserOut {
    pub user: UserOut,
    /// Lets the person in once, within 15 minutes. Shown this once.
    pub sign_in_link: String,
}

#[utoipa::path(get, path = "/api/users", operation_id = "listUsers", tag = "users",
    responses((status = 200, body = UsersOut)))]
pub async fn list(AdminCaller(caller): AdminCaller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let users = state.services.config.list_users(caller.tenant_scope()).await?;
    Ok(HttpResponse::Ok().json(UsersOut {
        users: users.iter().map(UserOut::from).collect(),
    }))
}

#[utoipa::path(post, path = "/api/users", operation_id = "createUser", tag = "users",
    request_body = UserIn, responses((status = 201, body = NewUserOut)))]
pub async fn create(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    body: JsonIn<UserIn>,
) -> ApiResult<HttpResponse> {
    let UserIn { email, role } = body.read().await?;
    if role > caller.role() {
        return Err(ApiError::forbidden("nobody can give a role above their own"));
    }
    let config = state.services.config.acting_as(caller.actor());
    let user = config.create_user(caller.tenant_scope(), &email, role, None).await?;
    let code = config.create_sign_in_code(&user.scope).await?;
    Ok(HttpResponse::Created().json(NewUserOut {
        user: UserOut::from(&user),
        sign_in_link: state.urls.sign_in(&caller.tenant.slug, code.expose()),
    }))
}

/// Nobody changes somebody above them or disables themselves, and a tenant keeps an active owner (409).
#[utoipa::path(patch, path = "/api/users/{id}", operation_id = "changeUser", tag = "users",
    params(("id" = String, Path)), request_body = UserChange, responses((status = 200, body = UserOut)))]
pub async fn change(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    id: Path<String>,
    body: JsonIn<UserChange>,
) -> ApiResult<HttpResponse> {
    let UserChange { disabled } = body.read().await?;
    let config = state.services.config.acting_as(caller.actor());
    let (tenant, id) = (caller.tenant_scope(), UserId::from(id.as_str()));
    if config.user(tenant, &id).await?.role > caller.role() {
        return Err(ApiError::forbidden("nobody can change somebody above them"));
    }
    config.set_disabled(tenant, &id, disabled).await?;
    Ok(HttpResponse::Ok().json(UserOut::from(config.user(tenant, &id).await?.as_ref())))
}
