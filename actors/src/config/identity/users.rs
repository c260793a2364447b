//! Users of a tenant.

use std::sync::Arc;

use claw_entities::{
    Scope, TenantOwned, TenantScope, UserId, UserOwned, device_request, pairing_request, sign_in_code, user,
    web_session,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::super::cron::release_jobs;
use super::super::devices::setup_codes;
use super::super::{ConfigService, audit, conflict};
use super::{Role, User};
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::error::{Error, Result};

impl ConfigService {
    /// A new user. `name` is the part of the address before the `@` until they choose one.
    pub async fn create_user(
        &self,
        tenant: &TenantScope,
        email: &str,
        role: Role,
        password: Option<&Secret>,
    ) -> Result<User> {
        let email = normal_email(email)?;
        let password_hash = match password {
            Some(password) => Some(self.hash_password(password).await?),
            None => None,
        };
        let name = email.split('@').next().unwrap_or_default().to_owned();
        let row = user::Model {
            tenant_id: tenant.tenant().clone(),
            id: UserId::generate(),
            email,
            name,
            role: role.name().to_owned(),
            status: "active".to_owned(),
            password_hash,
            oidc_subject: None,
            time_zone: String::new(),
            heartbeats: true,
            created_at: now_ms(),
        };
        let tx = self.change(tenant).await?;
        user::Entity::insert(user::ActiveModel {
            tenant_id: Set(row.tenant_id.clone()),
            id: Set(row.id.clone()),
            email: Set(row.email.clone()),
            name: Set(row.name.clone()),
            role: Set(row.role.clone()),
            status: Set(row.status.clone()),
            password_hash: Set(row.password_hash.clone()),
            oidc_subject: Set(None),
            time_zone: Set(row.time_zone.clone()),
            heartbeats: Set(row.heartbeats),
            created_at: Set(row.created_at),
        })
        .exec_without_returning(&*tx)
        .await
        .map_err(|error| conflict(error, "a user with this e-mail address exists already".to_owned()))?;
        let detail = json!({ "role": role.name() });
        audit::append(&*tx, tenant, self.actor(), "user.create", row.id.as_str(), detail).await?;
        self.changed(tx).await?;
        Ok(User::from(row))
    }

    pub async fn user_by_email(&self, tenant: &TenantScope, email: &str) -> Result<Option<User>> {
        Ok(self.user_row_by_email(tenant, email).await?.map(User::from))
    }

    pub(super) async fn user_row_by_email(&self, tenant: &TenantScope, email: &str) -> Result<Option<user::Model>> {
        let tx = self.db.read(tenant).await?;
        Ok(user::Entity::of_tenant(tenant)
            .filter(user::Column::Email.eq(email.trim().to_lowercase()))
            .one(&*tx)
            .await?)
    }

    /// The user itself (cached).
    pub async fn user(&self, tenant: &TenantScope, user: &UserId) -> Result<Arc<User>> {
        let scope = Scope::vouch(tenant.tenant().clone(), user.clone());
        if let Some(user) = self.cache.users.get(&scope) {
            return Ok(user);
        }
        let seen = self.cache.generation();
        let tx = self.db.read(tenant).await?;
        let row = user::Entity::owned_by(&scope)
            .one(&*tx)
            .await?
            .ok_or(Error::NotFound { what: "user" })?;
        drop(tx);
        let user = Arc::new(User::from(row));
        self.cache.keep(&self.cache.users, seen, scope, Arc::clone(&user));
        Ok(user)
    }

    /// The user behind a credential that was found. `None` when they are disabled: it proves nothing then.
    pub(in crate::config) async fn active_user(
        &self,
        tenant: &TenantScope,
        user: &UserId,
    ) -> Result<Option<Arc<User>>> {
        Ok(Some(self.user(tenant, user).await?).filter(|user| !user.disabled))
    }

    /// All users by e-mail address.
    pub async fn list_users(&self, tenant: &TenantScope) -> Result<Vec<User>> {
        let tx = self.db.read(tenant).await?;
        let rows = user::Entity::of_tenant(tenant)
            .order_by_asc(user::Column::Email)
            .all(&*tx)
            .await?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    /// Changes name and time zone (IANA), where they are given.
    pub async fn set_profile(&self, scope: &Scope, name: Option<&str>, time_zone: Option<&str>) -> Result<()> {
        let name = name.map(str::trim);
        if name.is_some_and(|name| name.is_empty() || name.chars().count() > 100) {
            return Err(Error::invalid("a name has 1 to 100 characters"));
        }
        if time_zone.is_some_and(|zone| zone.parse::<chrono_tz::Tz>().is_err()) {
            return Err(Error::invalid("the time zone is not an IANA name like Europe/Paris"));
        }
        if name.is_none() && time_zone.is_none() {
            return Ok(());
        }
        let tx = self.change(scope).await?;
        let mut update = user::Entity::update_owned(scope);
        if let Some(name) = name {
            update = update.col_expr(user::Column::Name, Expr::value(name));
        }
        if let Some(zone) = time_zone {
            update = update.col_expr(user::Column::TimeZone, Expr::value(zone));
        }
        let updated = update.exec(&*tx).await?;
        if updated.rows_affected == 0 {
            return Err(Error::NotFound { what: "user" });
        }
        self.changed(tx).await
    }

    /// Gives a user another role. The last active owner stays one.
    pub async fn set_role(&self, tenant: &TenantScope, user: &UserId, role: Role) -> Result<()> {
        self.change_user(tenant, user, user::Column::Role, role.name(), role != Role::Owner)
            .await?;
        Ok(())
    }

    /// Locks a user out, or lets them in again. Running servers end within a second what goes on for them; their
    /// browsers are signed out and their unused codes and open requests are gone for good. Tokens, devices and jobs
    /// work again afterwards, and what was accepted waits for that. Nobody locks themselves out, and the last active
    /// owner stays.
    pub async fn set_disabled(&self, tenant: &TenantScope, user: &UserId, disabled: bool) -> Result<()> {
        if disabled && self.actor() == user.as_str() {
            return Err(Error::Conflict("nobody can disable themselves".to_owned()));
        }
        let status = if disabled { "disabled" } else { "active" };
        let changed = self
            .change_user(tenant, user, user::Column::Status, status, disabled)
            .await?;
        if changed && disabled {
            self.give_attempts_back(tenant, Some(user)).await?;
        }
        self.locked_changed().await;
        Ok(())
    }

    /// False when it is so already.
    async fn change_user(
        &self,
        tenant: &TenantScope,
        user: &UserId,
        column: user::Column,
        value: &str,
        takes_power: bool,
    ) -> Result<bool> {
        let scope = Scope::vouch(tenant.tenant().clone(), user.clone());
        let tx = self.change(tenant).await?;
        let row = user::Entity::owned_by(&scope)
            .one(&*tx)
            .await?
            .ok_or(Error::NotFound { what: "user" })?;
        // No role is named like a state.
        if row.status == value || row.role == value {
            return Ok(false);
        }
        if takes_power && row.role == Role::Owner.name() && row.status == "active" {
            let owners = user::Entity::of_tenant(tenant)
                .filter(user::Column::Role.eq(Role::Owner.name()))
                .filter(user::Column::Status.eq("active"))
                .count(&*tx)
                .await?;
            if owners < 2 {
                return Err(Error::Conflict("the last owner cannot be changed".to_owned()));
            }
        }
        user::Entity::update_owned(&scope)
            .col_expr(column, Expr::value(value))
            .exec(&*tx)
            .await?;
        match value {
            "disabled" => withdraw(&*tx, &scope).await?,
            "active" => release_jobs(&*tx, tenant, Some(user)).await?,
            _ => {}
        }
        let detail = json!({ "value": value });
        audit::append(&*tx, tenant, self.actor(), "user.update", user.as_str(), detail).await?;
        self.changed(tx).await?;
        Ok(true)
    }
}

/// Takes away what somebody could come in with later, or let others in with: browser sessions, sign-in and link codes,
/// setup codes, devices and guests that wait.
async fn withdraw(tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
    web_session::Entity::delete_owned(scope).exec(tx).await?;
    sign_in_code::Entity::delete_owned(scope).exec(tx).await?;
    setup_codes::withdraw(tx, scope).await?;
    device_request::Entity::delete_owned(scope).exec(tx).await?;
    pairing_request::Entity::delete_owned(scope).exec(tx).await?;
    Ok(())
}

impl From<user::Model> for User {
    fn from(row: user::Model) -> Self {
        Self {
            scope: Scope::vouch(row.tenant_id, row.id),
            email: row.email,
            name: row.name,
            // An unknown role gives the least.
            role: Role::parse(&row.role).unwrap_or(Role::Member),
            time_zone: Some(row.time_zone).filter(|zone| !zone.is_empty()),
            heartbeats: row.heartbeats,
            disabled: row.status != "active",
            created_at: row.created_at,
        }
    }
}

/// Lower-cased and plausible: one `@` with something on both sides, no spaces.
fn normal_email(email: &str) -> Result<String> {
    let email = email.trim().to_lowercase();
    let plausible = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if plausible {
        Ok(email)
    } else {
        Err(Error::invalid("this is not an e-mail address"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::super::super::testing;
    use super::*;

    #[tokio::test]
    async fn a_user_belongs_to_one_tenant() {
        let server = testing::start().await;
        let config = &server.config;
        let acme = testing::tenant(config, "acme").await;
        let beta = testing::tenant(config, "beta").await;
        let ada = testing::user(config, &acme, " Ada@Acme.Test ", Role::Member).await;
        let found = config
            .user_by_email(&acme, "ADA@acme.test")
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(
            (found.email.as_str(), found.name.as_str(), found.role),
            ("ada@acme.test", "ada", Role::Member)
        );
        assert!(
            config
                .user_by_email(&beta, "ada@acme.test")
                .await
                .expect("reads")
                .is_none()
        );
        assert!(matches!(
            config.user(&beta, ada.user()).await,
            Err(Error::NotFound { what: "user" })
        ));
        let twice = config.create_user(&acme, "ada@acme.test", Role::Owner, None).await;
        assert!(matches!(twice, Err(Error::Conflict(_))));
        assert!(matches!(
            config.create_user(&acme, "nobody", Role::Owner, None).await,
            Err(Error::Invalid(_))
        ));
    }

    #[tokio::test]
    async fn the_last_owner_stays() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        assert!(matches!(
            config.set_disabled(tenant, owner.user(), true).await,
            Err(Error::Conflict(_))
        ));
        assert!(matches!(
            config.set_role(tenant, owner.user(), Role::Member).await,
            Err(Error::Conflict(_))
        ));
        let second = testing::user(config, tenant, "second@acme.test", Role::Owner).await;
        config
            .set_role(tenant, owner.user(), Role::Member)
            .await
            .expect("changes");
        assert_eq!(
            config.user(tenant, owner.user()).await.expect("reads").role,
            Role::Member
        );
        assert!(matches!(
            config.set_disabled(tenant, second.user(), true).await,
            Err(Error::Conflict(_))
        ));
    }

    #[tokio::test]
    async fn a_cached_user_changes_with_the_row() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        assert_eq!(
            config
                .user(owner.tenant_scope(), owner.user())
                .await
                .expect("reads")
                .time_zone,
            None
        );
        config
            .set_profile(&owner, Some("Ada"), Some("Europe/Paris"))
            .await
            .expect("changes");
        let user = config.user(owner.tenant_scope(), owner.user()).await.expect("reads");
        assert_eq!(
            (user.name.as_str(), user.time_zone.as_deref()),
            ("Ada", Some("Europe/Paris"))
        );
        assert!(config.set_profile(&owner, None, Some("Mars/North")).await.is_err());
        config
            .set_profile(&owner, Some("Grace"), None)
            .await
            .expect("changes one of them");
        let user = config.user(owner.tenant_scope(), owner.user()).await.expect("reads");
        assert_eq!(
            (user.name.as_str(), user.time_zone.as_deref()),
            ("Grace", Some("Europe/Paris"))
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Role(Role),
        Disabled(bool),
    }

    /// Whatever anybody does in whatever order, somebody is left who may do everything.
    #[tokio::test]
    async fn a_tenant_always_has_an_active_owner() {
        let step = prop_oneof![
            proptest::sample::select(vec![Role::Owner, Role::Admin, Role::Member]).prop_map(Step::Role),
            any::<bool>().prop_map(Step::Disabled),
        ];
        let steps = proptest::collection::vec((0..3_usize, 0..4_usize, step), 20..40);
        let mut runner = TestRunner::deterministic();
        let (mut done, mut refused) = (0, 0);
        for _ in 0..6 {
            let server = testing::start().await;
            let config = &server.config;
            let owner = testing::owner(config).await;
            let tenant = owner.tenant_scope();
            let second = testing::user(config, tenant, "second@acme.test", Role::Owner).await;
            let member = testing::user(config, tenant, "m@acme.test", Role::Member).await;
            let people = [&owner, &second, &member];
            for (whom, who, step) in steps.new_tree(&mut runner).expect("a plan").current() {
                // One of them, or the command line.
                let actor = people.get(who).map_or("cli", |actor| actor.user().as_str());
                let (acting, whom) = (config.acting_as(actor), people[whom].user());
                let changed = match step {
                    Step::Role(role) => acting.set_role(tenant, whom, role).await,
                    Step::Disabled(disabled) => acting.set_disabled(tenant, whom, disabled).await,
                };
                match changed {
                    Ok(()) => done += 1,
                    Err(Error::Conflict(_)) => refused += 1,
                    Err(error) => panic!("{step:?} failed: {error}"),
                }
                let users = config.list_users(tenant).await.expect("lists");
                let power = |user: &User| user.role == Role::Owner && !user.disabled;
                assert!(users.iter().any(power), "after {step:?} nobody may do everything");
            }
        }
        assert!(done > 10 && refused > 5, "{done} done, {refused} refused");
    }

    #[tokio::test]
    async fn nobody_disables_themselves_and_what_could_let_others_in_is_gone() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let admin = testing::user(config, tenant, "a@acme.test", Role::Admin).await;
        let own = config.acting_as(admin.user().as_str());
        assert!(matches!(
            own.set_disabled(tenant, admin.user(), true).await,
            Err(Error::Conflict(_))
        ));
        let sign_in = config.create_sign_in_code(&admin).await.expect("makes one");
        let link = config.create_link_code(&admin).await.expect("makes one");
        let cookie = config.create_web_session(&admin).await.expect("opens");
        let (_, token) = config.create_api_token(&admin, "t", None).await.expect("makes one");
        config.set_disabled(tenant, admin.user(), true).await.expect("disables");
        config.set_disabled(tenant, admin.user(), false).await.expect("enables");
        let tenant_id = tenant.tenant();
        assert!(
            config
                .redeem_sign_in_code(tenant_id, &sign_in)
                .await
                .expect("reads")
                .is_none()
        );
        let linked = config.redeem_link_code((&owner, 0), "telegram", "default", "5", &link, |_| Ok(()));
        assert!(linked.await.expect("reads").is_none());
        assert!(
            config
                .authenticate_web_session(tenant_id, &cookie)
                .await
                .expect("reads")
                .is_none()
        );
        assert!(
            config
                .authenticate_token(tenant_id, &token)
                .await
                .expect("reads")
                .is_some()
        );
    }
}
