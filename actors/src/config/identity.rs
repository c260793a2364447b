//! Tenants, users, and how they prove who they are: API tokens, web sessions, sign-in links, passwords.

use std::sync::Arc;

use claw_entities::{Scope, TenantId, TenantScope, UserId};

use super::ConfigService;
use crate::crypto::Secret;
use crate::error::Result;

/// A tenant as the rest of the runtime sees it.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub slug: String,
    pub name: String,
    pub suspended: bool,
}

/// What a user may do within the tenant. Ordered: an owner may do all an admin may, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Member,
    Admin,
    Owner,
}

/// A user as the rest of the runtime sees it.
#[derive(Clone, Debug)]
pub struct User {
    pub scope: Scope,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub time_zone: String,
    pub disabled: bool,
}

/// A proven identity and what it may do. Made only by this module, from server records.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: Arc<User>,
    /// Operator scopes of the credential: the token's, or all of the role's for a web session.
    pub scopes: Vec<String>,
    /// Which credential it was: closing it closes the sockets it opened.
    pub credential: Credential,
}

/// The record behind an [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    ApiToken { id: String },
    WebSession { hash: String },
    Device { id: String },
}

/// A token as the owner sees it in lists.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub id: String,
    pub name: String,
    /// `None`: all of the role's.
    pub scopes: Option<Vec<String>>,
    pub created_at: i64,
    pub last_used_at: Option<i64>,
}

/// All operator scopes a role allows, in wire spelling.
pub fn role_scopes(_role: Role) -> Vec<String> {
    unimplemented!("config")
}

impl ConfigService {
    /// The tenant at this subdomain. `None` for unknown slugs; suspended tenants are returned with the flag.
    pub async fn tenant_by_slug(&self, _slug: &str) -> Result<Option<Arc<Tenant>>> {
        unimplemented!("config")
    }
    pub async fn create_tenant(&self, _slug: &str, _name: &str) -> Result<Tenant> {
        unimplemented!("config")
    }
    pub async fn list_tenants(&self) -> Result<Vec<Tenant>> {
        unimplemented!("config")
    }
    /// Deletes the tenant and everything it owns.
    pub async fn delete_tenant(&self, _slug: &str) -> Result<()> {
        unimplemented!("config")
    }
    pub async fn create_user(
        &self,
        _tenant: &TenantScope,
        _email: &str,
        _role: Role,
        _password: Option<&Secret>,
    ) -> Result<User> {
        unimplemented!("config")
    }
    pub async fn user_by_email(&self, _tenant: &TenantScope, _email: &str) -> Result<Option<User>> {
        unimplemented!("config")
    }
    /// The user itself (cached).
    pub async fn user(&self, _tenant: &TenantScope, _user: &UserId) -> Result<Arc<User>> {
        unimplemented!("config")
    }
    pub async fn list_users(&self, _tenant: &TenantScope) -> Result<Vec<User>> {
        unimplemented!("config")
    }
    pub async fn set_password(&self, _scope: &Scope, _password: &Secret) -> Result<()> {
        unimplemented!("config")
    }
    /// Does any owner of the tenant have a password or an OIDC identity.
    pub async fn owner_has_login(&self, _tenant: &TenantScope) -> Result<bool> {
        unimplemented!("config")
    }

    /// A personal API token; the plain token is returned once and stored hashed. `scopes: None` = all of the role's.
    pub async fn create_api_token(
        &self,
        _scope: &Scope,
        _name: &str,
        _scopes: Option<Vec<String>>,
    ) -> Result<(ApiToken, Secret)> {
        unimplemented!("config")
    }
    pub async fn list_api_tokens(&self, _scope: &Scope) -> Result<Vec<ApiToken>> {
        unimplemented!("config")
    }
    pub async fn revoke_api_token(&self, _scope: &Scope, _id: &str) -> Result<()> {
        unimplemented!("config")
    }
    /// Who this API token is, within this tenant only. `None` when it is unknown, revoked, of another tenant, or its user is disabled.
    pub async fn authenticate_token(&self, _tenant: &TenantId, _token: &Secret) -> Result<Option<Identity>> {
        unimplemented!("config")
    }

    /// A one-time sign-in code (15 minutes), returned plain and stored hashed.
    pub async fn create_sign_in_code(&self, _scope: &Scope) -> Result<Secret> {
        unimplemented!("config")
    }
    /// Redeems a sign-in code once.
    pub async fn redeem_sign_in_code(&self, _tenant: &TenantId, _code: &Secret) -> Result<Option<Arc<User>>> {
        unimplemented!("config")
    }
    /// Checks email and password. Takes the same time whether or not the user exists.
    pub async fn check_password(
        &self,
        _tenant: &TenantId,
        _email: &str,
        _password: &Secret,
    ) -> Result<Option<Arc<User>>> {
        unimplemented!("config")
    }
    /// Opens a web session; the returned value is the cookie's.
    pub async fn create_web_session(&self, _scope: &Scope) -> Result<Secret> {
        unimplemented!("config")
    }
    pub async fn authenticate_web_session(&self, _tenant: &TenantId, _cookie: &Secret) -> Result<Option<Identity>> {
        unimplemented!("config")
    }
    pub async fn end_web_session(&self, _tenant: &TenantId, _cookie: &Secret) -> Result<()> {
        unimplemented!("config")
    }
    /// Is the credential behind a live socket still good. Called about once a second per socket; must be cheap.
    pub async fn still_valid(&self, _identity: &Identity) -> Result<bool> {
        unimplemented!("config")
    }
}
