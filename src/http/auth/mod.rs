//! Who is asking. [`Caller`] exists only for a proven identity within the tenant of the host.

mod api_token;
pub(crate) mod cookie;
pub(crate) mod csrf;

pub(crate) use api_token::bearer;

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use claw_actors::config::identity::{Credential, Identity, Role, Tenant, role_scopes};
use claw_entities::{Scope, TenantScope};
use futures::future::LocalBoxFuture;

use super::state::AppState;
use super::tenant;
use crate::error::{ApiError, ApiResult};

/// A proven identity, allowed to read (safe methods) or to write (others).
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: Arc<Tenant>,
    pub identity: Arc<Identity>,
}

/// A caller who may manage what belongs to the whole tenant: role admin or owner, with a credential that was not
/// narrowed.
#[derive(Clone, Debug)]
pub struct AdminCaller(pub Caller);

/// A caller whose credential was not narrowed: needed to make further credentials.
#[derive(Clone, Debug)]
pub struct FullCaller(pub Caller);

/// A caller who may decide about commands on nodes.
#[derive(Clone, Debug)]
pub struct ApprovingCaller(pub Caller);

impl Caller {
    pub fn scope(&self) -> &Scope {
        &self.identity.user.scope
    }

    pub fn tenant_scope(&self) -> &TenantScope {
        self.scope().tenant_scope()
    }

    pub fn role(&self) -> Role {
        self.identity.user.role
    }

    /// Who the audit log names.
    pub fn actor(&self) -> &str {
        self.scope().user().as_str()
    }

    /// Does the credential hold this scope.
    pub(crate) fn holds(&self, scope: &str) -> bool {
        self.identity.scopes.iter().any(|held| {
            held == scope || held == "operator.admin" || (held == "operator.write" && scope == "operator.read")
        })
    }

    /// Has the credential all scopes of its user's role.
    pub(crate) fn not_narrowed(&self) -> bool {
        match &self.identity.credential {
            Credential::WebSession { .. } => true,
            Credential::ApiToken { .. } | Credential::Device { .. } => role_scopes(self.role())
                .iter()
                .all(|scope| self.identity.scopes.contains(scope)),
        }
    }
}

/// Finds out who asks, from the bearer token or else the session cookie.
async fn authenticate(request: &HttpRequest) -> ApiResult<Caller> {
    let state = AppState::of(request)?;
    let tenant = tenant::of(request, state).await?;
    let client = state.client(request);
    let config = &state.services.config;
    let identity = if let Some(token) = api_token::bearer(request) {
        config.authenticate_token(&tenant.id, &token).await?
    } else if let Some(cookie) = cookie::value(request, client.secure) {
        if !request.method().is_safe() {
            csrf::check(request, state, &tenant, &client)?;
        }
        config.authenticate_web_session(&tenant.id, &cookie).await?
    } else {
        return Err(state.no_proof(&tenant.id, &client));
    };
    let Some(identity) = identity else {
        return Err(state.wrong_proof(&tenant.id, &client, "the token or session is not valid"));
    };
    Ok(Caller { tenant, identity })
}

async fn caller(request: &HttpRequest) -> ApiResult<Caller> {
    let caller = authenticate(request).await?;
    let needed = if request.method().is_safe() {
        "operator.read"
    } else {
        "operator.write"
    };
    if caller.holds(needed) {
        Ok(caller)
    } else {
        Err(ApiError::forbidden(format!("missing scope: {needed}")))
    }
}

/// Who asks the agent, or acts in its place: needs the scope `agent`.
pub(crate) async fn agent(request: &HttpRequest) -> ApiResult<Caller> {
    let needed = "agent";
    let caller = authenticate(request).await?;
    if caller.holds(needed) {
        Ok(caller)
    } else {
        Err(ApiError::forbidden(format!("missing scope: {needed}")))
    }
}

async fn approving(request: &HttpRequest) -> ApiResult<ApprovingCaller> {
    let needed = "operator.approvals";
    let caller = authenticate(request).await?;
    if caller.holds(needed) {
        Ok(ApprovingCaller(caller))
    } else {
        Err(ApiError::forbidden(format!("missing scope: {needed}")))
    }
}

async fn full(request: &HttpRequest) -> ApiResult<FullCaller> {
    let caller = authenticate(request).await?;
    if caller.not_narrowed() {
        Ok(FullCaller(caller))
    } else {
        Err(ApiError::forbidden("this needs a token with all of your scopes"))
    }
}

async fn admin(request: &HttpRequest) -> ApiResult<AdminCaller> {
    let FullCaller(caller) = full(request).await?;
    if caller.role() >= Role::Admin {
        Ok(AdminCaller(caller))
    } else {
        Err(ApiError::forbidden("this needs the role admin or owner"))
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, ApiResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { caller(&request).await })
    }
}

impl FromRequest for ApprovingCaller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, ApiResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { approving(&request).await })
    }
}

impl FromRequest for FullCaller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, ApiResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { full(&request).await })
    }
}

impl FromRequest for AdminCaller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, ApiResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { admin(&request).await })
    }
}
