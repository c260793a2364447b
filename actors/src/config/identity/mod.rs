//! Tenants, users, and how they prove who they are: API tokens, web sessions, sign-in links, passwords.

pub(in crate::config) mod codes;
mod locked;
mod passwords;
mod roles;
mod tenants;
mod tokens;
mod users;
mod validity;
mod web_sessions;

use std::sync::Arc;

use claw_entities::{Scope, TenantId};

pub use locked::Locked;
pub(in crate::config) use locked::stays_active;
pub use passwords::PasswordState;
pub use roles::{ADMIN_SCOPE, device_authority, effective_scopes, role_scopes};
pub use web_sessions::WEB_SESSION_MS;

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
    /// IANA name; `None` until they choose one.
    pub time_zone: Option<String>,
    /// Do the person's agents look by themselves, where they are configured to.
    pub heartbeats: bool,
    pub disabled: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
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
    ApiToken {
        id: String,
    },
    WebSession {
        hash: String,
    },
    /// A token of a device for one role. Rotating and revoking raise the generation.
    Device {
        id: String,
        role: String,
        generation: i32,
    },
}

/// A token as the owner sees it in lists.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub id: String,
    pub name: String,
    /// `None`: all of the role's.
    pub scopes: Option<Vec<String>>,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub last_used_at: Option<i64>,
}
