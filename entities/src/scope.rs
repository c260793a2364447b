//! The only way to start a query.

use sea_orm::{ColumnTrait, DeleteMany, EntityTrait, QueryFilter, Select, UpdateMany};

use crate::ids::{TenantId, UserId};

/// Which tenant is asking. Holding one means somebody has checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    /// The caller vouches for the tenant. A tidy test lists the files that may call this.
    pub const fn vouch(tenant: TenantId) -> Self {
        Self { tenant }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// Which user of which tenant is asking. Holding one means somebody has checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    tenant: TenantScope,
    user: UserId,
}

impl Scope {
    /// The caller vouches for the identity. A tidy test lists the files that may call this.
    pub const fn vouch(tenant: TenantId, user: UserId) -> Self {
        Self {
            tenant: TenantScope::vouch(tenant),
            user,
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant.tenant
    }

    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The tenant part alone, for what belongs to everybody in it.
    pub fn tenant_scope(&self) -> &TenantScope {
        &self.tenant
    }
}

/// Implemented by every table that belongs to a tenant.
pub trait TenantOwned: EntityTrait {
    fn tenant_column() -> Self::Column;

    /// Rows of this tenant.
    #[expect(clippy::disallowed_methods, reason = "the scoped door itself")]
    fn of_tenant(scope: &TenantScope) -> Select<Self> {
        Self::find().filter(Self::tenant_column().eq(scope.tenant.clone()))
    }

    /// Updates rows of this tenant.
    #[expect(clippy::disallowed_methods, reason = "the scoped door itself")]
    fn update_of_tenant(scope: &TenantScope) -> UpdateMany<Self> {
        Self::update_many().filter(Self::tenant_column().eq(scope.tenant.clone()))
    }

    /// Deletes rows of this tenant.
    #[expect(clippy::disallowed_methods, reason = "the scoped door itself")]
    fn delete_of_tenant(scope: &TenantScope) -> DeleteMany<Self> {
        Self::delete_many().filter(Self::tenant_column().eq(scope.tenant.clone()))
    }
}

/// Implemented by every table that belongs to a user.
pub trait UserOwned: TenantOwned {
    fn user_column() -> Self::Column;

    /// Rows of this user.
    fn owned_by(scope: &Scope) -> Select<Self> {
        Self::of_tenant(&scope.tenant).filter(Self::user_column().eq(scope.user.clone()))
    }

    /// Updates rows of this user.
    fn update_owned(scope: &Scope) -> UpdateMany<Self> {
        Self::update_of_tenant(&scope.tenant).filter(Self::user_column().eq(scope.user.clone()))
    }

    /// Deletes rows of this user.
    fn delete_owned(scope: &Scope) -> DeleteMany<Self> {
        Self::delete_of_tenant(&scope.tenant).filter(Self::user_column().eq(scope.user.clone()))
    }
}

/// Tables the platform itself reads across tenants, by the listed duties only: host and token look-up, leases,
/// inbox batch insert, recovery, scheduler. The lint's one door for them; a tidy test lists who may use it.
pub trait PlatformTable: EntityTrait {
    #[expect(clippy::disallowed_methods, reason = "the platform's door, listed by a tidy test")]
    fn platform() -> Select<Self> {
        Self::find()
    }

    #[expect(clippy::disallowed_methods, reason = "the platform's door, listed by a tidy test")]
    fn platform_update() -> UpdateMany<Self> {
        Self::update_many()
    }

    #[expect(clippy::disallowed_methods, reason = "the platform's door, listed by a tidy test")]
    fn platform_delete() -> DeleteMany<Self> {
        Self::delete_many()
    }
}
