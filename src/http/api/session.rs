//! The browser's session: who am I, sign in, sign out, set a password, change name and time zone.

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::Error;
use claw_actors::config::identity::{Credential, Identity, PasswordState, Role, Tenant, User, role_scopes};
use claw_actors::config::providers::DEMO_API;
use claw_actors::crypto::{Secret, token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource;
use crate::error::{ApiError, ApiResult};
use crate::http::auth::{Caller, FullCaller, cookie, csrf};
use crate::http::body::JsonIn;
use crate::http::state::AppState;
use crate::http::tenant;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/session")
                .route(web::get().to(get))
                .route(web::post().to(create))
                .route(web::delete().to(delete)),
        )
        .service(resource("/session/password").route(web::put().to(set_password)))
        .service(resource("/session/profile").route(web::patch().to(change_profile)));
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOut {
    pub tenant: TenantOut,
    pub user: UserOut,
    /// What the credential may do.
    pub scopes: Vec<String>,
    /// True while no AI provider is set up and the built-in one answers.
    pub zero_key: bool,
    /// The user has a password.
    pub has_password: bool,
    /// A new password has to come with the present one: the sign-in is older than 15 minutes.
    pub asks_password: bool,
}

#[derive(Serialize, ToSchema)]
pub struct TenantOut {
    pub slug: String,
    pub name: String,
}

/// A person of the tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserOut {
    pub id: String,
    pub email: String,
    pub name: String,
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// Locked out by an owner or admin.
    pub disabled: bool,
    /// IANA name; null until the person chooses one.
    pub time_zone: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// The roles, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum RoleName {
    Member,
    Admin,
    Owner,
}

impl From<&User> for UserOut {
    fn from(user: &User) -> Self {
        Self {
            id: user.scope.user().as_str().to_owned(),
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role,
            disabled: user.disabled,
            time_zone: user.time_zone.clone(),
            created_at: user.created_at,
        }
    }
}

/// A one-time code, or e-mail and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    #[schema(value_type = Option<String>)]
    code: Option<Secret>,
    email: Option<String>,
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
}

/// A new password, and the present one where the session says that it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PasswordIn {
    #[schema(value_type = Option<String>)]
    current_password: Option<Secret>,
    #[schema(value_type = String)]
    password: Secret,
}

/// What is changed of one's own profile; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProfileChange {
    /// 1 to 100 characters.
    name: Option<String>,
    /// IANA name, e.g. `Europe/Paris`: what agents take for the local time, and where days begin.
    time_zone: Option<String>,
}

#[utoipa::path(get, path = "/api/session", operation_id = "getSession", tag = "session",
    responses((status = 200, body = SessionOut)))]
pub async fn get(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let out = describe(&state, &caller.tenant, &caller.identity).await?;
    Ok(HttpResponse::Ok().json(out))
}

#[utoipa::path(post, path = "/api/session", operation_id = "signIn", tag = "session",
    request_body = SignIn, security(()), responses((status = 200, body = SessionOut)))]
pub async fn create(request: HttpRequest, state: Data<AppState>, body: JsonIn<SignIn>) -> ApiResult<HttpResponse> {
    let tenant = tenant::of(&request, &state).await?;
    let client = state.client(&request);
    csrf::check(&request, &state, &tenant, &client)?;
    // Before the guess is looked at: a password check costs much, and guessing is what the limit is for.
    state.guess(&tenant.id, &client)?;
    let config = &state.services.config;
    let user = match body.read().await? {
        SignIn {
            code: Some(code),
            email: None,
            password: None,
        } => config.redeem_sign_in_code(&tenant.id, &code).await?,
        SignIn {
            code: None,
            email: Some(email),
            password: Some(password),
        } => {
            if !state.password_sign_in {
                return Err(ApiError::forbidden("sign-in with a password is switched off"));
            }
            config.check_password(&tenant.id, &email, &password).await?
        }
        SignIn { .. } => return Err(Error::invalid("send either code, or email and password").into()),
    };
    let wrong = || ApiError::unauthenticated("the code or password is not right");
    let Some(user) = user else { return Err(wrong()) };
    let value = match config.create_web_session(&user.scope).await {
        Ok(value) => value,
        // Disabled since the proof was looked at.
        Err(Error::NotFound { .. }) => return Err(wrong()),
        Err(error) => return Err(error.into()),
    };
    state.guessed_right(&tenant.id, &client);
    // Nobody can sign out of the one whose cookie this one replaces.
    if let Some(before) = cookie::value(&request, client.secure) {
        config.end_web_session(&tenant.id, &before).await?;
    }
    let identity = Identity {
        scopes: role_scopes(user.role),
        user,
        credential: Credential::WebSession {
            hash: token::hash(value.expose()),
        },
    };
    let out = describe(&state, &tenant, &identity).await?;
    Ok(HttpResponse::Ok()
        .cookie(cookie::open(&request, &state, &value))
        .json(out))
}

#[utoipa::path(delete, path = "/api/session", operation_id = "signOut", tag = "session",
    responses((status = 204)))]
pub async fn delete(request: HttpRequest, caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    if let Some(value) = cookie::value(&request, state.client(&request).secure) {
        state.services.config.end_web_session(&caller.tenant.id, &value).await?;
    }
    Ok(HttpResponse::NoContent()
        .cookie(cookie::close(&request, &state))
        .finish())
}

#[utoipa::path(put, path = "/api/session/password", operation_id = "setPassword", tag = "session",
    request_body = PasswordIn, responses((status = 204)))]
pub async fn set_password(
    request: HttpRequest,
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<PasswordIn>,
) -> ApiResult<HttpResponse> {
    let PasswordIn {
        current_password,
        password,
    } = body.read().await?;
    let client = state.client(&request);
    let guesses = current_password.is_some();
    if guesses {
        state.guess(&caller.tenant.id, &client)?;
        state.guess_password(caller.scope())?;
    }
    let config = &state.services.config;
    let right = config.may_set_password(&caller.identity, current_password.as_ref());
    if right.await? {
        if guesses {
            state.guessed_right(&caller.tenant.id, &client);
            state.guessed_password_right(caller.scope());
        }
    } else {
        if guesses {
            return Err(ApiError::forbidden("the present password is not right"));
        }
        return Err(ApiError::forbidden(
            "send the present password as currentPassword, or sign in again",
        ));
    }
    let keep = match &caller.identity.credential {
        Credential::WebSession { hash } => Some(hash.as_str()),
        Credential::ApiToken { .. } | Credential::Device { .. } => None,
    };
    config.set_password(caller.scope(), &password, keep).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(patch, path = "/api/session/profile", operation_id = "changeProfile", tag = "session",
    request_body = ProfileChange, responses((status = 200, body = UserOut)))]
pub async fn change_profile(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<ProfileChange>,
) -> ApiResult<HttpResponse> {
    let ProfileChange { name, time_zone } = body.read().await?;
    let (config, scope) = (&state.services.config, caller.scope());
    config.set_profile(scope, name.as_deref(), time_zone.as_deref()).await?;
    let user = config.user(caller.tenant_scope(), scope.user()).await?;
    Ok(HttpResponse::Ok().json(UserOut::from(user.as_ref())))
}

async fn describe(state: &AppState, tenant: &Tenant, identity: &Identity) -> ApiResult<SessionOut> {
    let config = &state.services.config;
    let models = config.list_models(&identity.user.scope).await?;
    let password = config.password_state(identity).await?;
    Ok(SessionOut {
        tenant: TenantOut {
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
        },
        user: UserOut::from(identity.user.as_ref()),
        scopes: identity.scopes.clone(),
        zero_key: models.iter().all(|model| model.api == DEMO_API),
        has_password: password != PasswordState::None,
        asks_password: password == PasswordState::Asked,
    })
}
