//! Who is locked out: users of suspended tenants, and disabled users. Read after each change, asked all the time.
//!
//! What was accepted for them waits until they are let in again; nothing new starts meanwhile. Who comes with a
//! credential is not asked here: each proof looks at its user itself.

use std::collections::HashSet;
use std::sync::Arc;

use claw_entities::{PlatformTable, Scope, TenantId, UserId, tenant, user};
use sea_orm::{QueryFilter, QuerySelect};

use super::super::ConfigService;
use crate::error::Result;

/// The suspended tenants and the disabled users of an installation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Locked {
    tenants: HashSet<TenantId>,
    users: HashSet<Scope>,
}

impl Locked {
    pub fn holds(&self, scope: &Scope) -> bool {
        self.holds_tenant(scope.tenant()) || self.users.contains(scope)
    }

    pub fn holds_tenant(&self, tenant: &TenantId) -> bool {
        self.tenants.contains(tenant)
    }

    /// Tenants that were not suspended `before`.
    pub fn new_tenants<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a TenantId> {
        self.tenants.difference(&before.tenants)
    }

    /// Users that were not disabled `before`.
    pub fn new_users<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Scope> {
        self.users.difference(&before.users)
    }
}

impl ConfigService {
    /// Who is locked out, as it was read last.
    pub fn locked(&self) -> Arc<Locked> {
        Arc::clone(&self.cache.locked.borrow())
    }

    /// May nothing be done for this user now.
    pub fn is_locked(&self, scope: &Scope) -> bool {
        self.cache.locked.borrow().holds(scope)
    }

    /// Reads who is locked out: one look for the whole process.
    ///
    /// # Errors
    /// The database is away; what was read before stays in force.
    pub async fn read_locked(&self) -> Result<()> {
        let tx = self.db.system_read().await?;
        let tenants: Vec<TenantId> = tenant::Entity::platform()
            .select_only()
            .column(tenant::Column::Id)
            .filter(tenant::is_locked())
            .into_tuple()
            .all(&*tx)
            .await?;
        let users: Vec<(TenantId, UserId)> = user::Entity::platform()
            .select_only()
            .columns([user::Column::TenantId, user::Column::Id])
            .filter(user::is_locked())
            .into_tuple()
            .all(&*tx)
            .await?;
        drop(tx);
        self.cache.locked.send_replace(Arc::new(Locked {
            tenants: tenants.into_iter().collect(),
            users: users
                .into_iter()
                .map(|(tenant, user)| Scope::vouch(tenant, user))
                .collect(),
        }));
        Ok(())
    }

    /// After a change of who is locked out: this process knows at once. When it cannot be read now, whoever watches
    /// for changes tries again.
    pub(super) async fn locked_changed(&self) {
        if let Err(error) = self.read_locked().await {
            tracing::warn!(error = ?error, "who is locked out was not read yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use crate::config::identity::Role;

    #[tokio::test]
    async fn tenants_and_users_are_locked_out_and_let_in_again() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let member = testing::user(config, tenant, "m@acme.test", Role::Member).await;
        let other = testing::tenant(config, "beta").await;
        let stranger = testing::user(config, &other, "b@beta.test", Role::Owner).await;
        let locked = || [&owner, &member, &stranger].map(|scope| config.is_locked(scope));
        let look = async || {
            config.read_locked().await.expect("reads");
            locked()
        };
        assert_eq!(look().await, [false; 3]);
        // By another process, then here, where it is known at once.
        let process = server.another_process();
        process
            .set_disabled(tenant, member.user(), true)
            .await
            .expect("disables");
        assert_eq!(locked(), [false; 3]);
        let before = config.locked();
        assert_eq!(look().await, [false, true, false]);
        let now = config.locked();
        assert_eq!(now.new_users(&before).collect::<Vec<_>>(), [&member]);
        assert_eq!(now.new_users(&now).count() + now.new_tenants(&before).count(), 0);
        config.suspend_tenant(tenant, true).await.expect("suspends");
        assert_eq!(locked(), [true, true, false]);
        assert_eq!(config.locked().new_tenants(&now).collect::<Vec<_>>(), [tenant.tenant()]);
        config.suspend_tenant(tenant, false).await.expect("resumes");
        assert_eq!(locked(), [false, true, false]);
        config
            .set_disabled(tenant, member.user(), false)
            .await
            .expect("enables");
        assert_eq!(locked(), [false; 3]);
    }
}
