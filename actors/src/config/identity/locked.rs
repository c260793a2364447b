//! Who is locked out: users of suspended tenants, and disabled users. Read after each change, asked all the time.
//!
//! What was accepted for them waits until they are let in again; nothing new starts meanwhile. Who comes with a
//! credential is not asked here: each proof looks at its user itself.

use std::collections::HashSet;
use std::sync::Arc;

use claw_entities::{PlatformTable, Scope, TenantId, TenantOwned, TenantScope, UserId, UserOwned, inbox, tenant, user};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter, QuerySelect};

use super::super::ConfigService;
use crate::error::Result;

/// The suspended tenants and the disabled users of an installation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Locked {
    tenants: HashSet<TenantId>,
    users: HashSet<Scope>,
    /// How often it was another one before: two that are alike may have had one in between.
    changes: u64,
}

impl Locked {
    pub fn holds(&self, scope: &Scope) -> bool {
        self.holds_tenant(scope.tenant()) || self.users.contains(scope)
    }

    pub fn holds_tenant(&self, tenant: &TenantId) -> bool {
        self.tenants.contains(tenant)
    }

    /// Did somebody who was locked out since `before` come back meanwhile, or is it possible.
    pub fn let_in_since(&self, before: &Self) -> bool {
        self.changes > before.changes + 1
            || before.new_tenants(self).next().is_some()
            || before.new_users(self).next().is_some()
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
        // One after the other: what was read first is not published last.
        let _turn = self.cache.reading_locked.lock().await;
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
        let before = self.locked();
        let mut locked = Locked {
            tenants: tenants.into_iter().collect(),
            users: users
                .into_iter()
                .map(|(tenant, user)| Scope::vouch(tenant, user))
                .collect(),
            changes: before.changes,
        };
        if locked != *before {
            locked.changes += 1;
            self.cache.locked.send_replace(Arc::new(locked));
        }
        Ok(())
    }

    /// Is nothing done for this user now: as [`Self::is_locked`], but a yes is asked of the database again, which may
    /// know better for a moment.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_still_locked(&self, scope: &Scope) -> Result<bool> {
        if !self.is_locked(scope) {
            return Ok(false);
        }
        let tx = self.db.read(scope).await?;
        let tenants = tenant::Entity::of_tenant(scope.tenant_scope())
            .filter(tenant::is_locked())
            .count(&*tx)
            .await?;
        let users = user::Entity::owned_by(scope)
            .filter(user::is_locked())
            .count(&*tx)
            .await?;
        Ok(tenants + users > 0)
    }

    /// A turn that a lock-out cuts off is no attempt of its own. Of one user, or of the whole tenant.
    pub(super) async fn give_attempts_back(&self, tenant: &TenantScope, user: Option<&UserId>) -> Result<()> {
        let tx = self.db.write(tenant).await?;
        let mut update = inbox::Entity::update_of_tenant(tenant)
            .col_expr(inbox::Column::Attempts, Expr::col(inbox::Column::Attempts).sub(1))
            .filter(inbox::Column::State.eq("running"))
            .filter(inbox::Column::Attempts.gt(0));
        if let Some(user) = user {
            update = update.filter(inbox::Column::UserId.eq(user.clone()));
        }
        update.exec(&*tx).await?;
        tx.commit().await?;
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

/// Is the user active, and will they be until this transaction has ended: what it adds, a lock-out that comes after it
/// takes away.
pub(in crate::config) async fn stays_active(tx: &impl ConnectionTrait, scope: &Scope) -> Result<bool> {
    let active: Option<String> = user::Entity::owned_by(scope)
        .select_only()
        .column(user::Column::Status)
        .filter(user::Column::Status.eq("active"))
        .lock_shared()
        .into_tuple()
        .one(tx)
        .await?;
    Ok(active.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::super::{ConfigService, testing};
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
        // Out and in again between two looks of somebody else's.
        let before = config.locked();
        assert!(!before.let_in_since(&before));
        for disabled in [true, false] {
            config
                .set_disabled(tenant, member.user(), disabled)
                .await
                .expect("changes");
        }
        let now = config.locked();
        assert_eq!(now.new_users(&before).count() + before.new_users(&now).count(), 0);
        assert!(now.let_in_since(&before));
    }

    #[tokio::test]
    async fn who_was_let_in_elsewhere_is_not_turned_away() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        let process = server.another_process();
        let set = async |process: &ConfigService, disabled| {
            let set = process
                .set_disabled(owner.tenant_scope(), member.user(), disabled)
                .await;
            set.expect("changes");
        };
        set(config, true).await;
        let look = async || {
            let still = config.is_still_locked(&member).await.expect("reads");
            (config.is_locked(&member), still)
        };
        assert_eq!(look().await, (true, true));
        set(&process, false).await;
        assert_eq!(look().await, (true, false));
        assert!(!config.is_still_locked(&owner).await.expect("reads"));
        process
            .suspend_tenant(owner.tenant_scope(), true)
            .await
            .expect("suspends");
        assert_eq!(look().await, (true, true));
    }
}
