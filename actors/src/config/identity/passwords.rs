//! Passwords: hashed off the async threads, a few at a time, with the same work for users who do not exist.

use std::sync::{Arc, LazyLock};

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, user, web_session};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter};
use serde_json::json;

use super::super::{ConfigService, audit};
use super::{Credential, Identity, Role, User};
use crate::clock::now_ms;
use crate::crypto::{Secret, password};
use crate::error::{Error, Result};

/// Longest password we take, in bytes: hashing work must not grow with what a stranger sends.
const MAX_BYTES: usize = 1024;

/// What the password of a user who does not exist is compared with.
static NOBODY: LazyLock<String> = LazyLock::new(|| password::hash("nobody has this password").unwrap_or_default());

/// A sign-in younger than this, milliseconds, may set a new password without the present one: who forgot it comes in by
/// a link.
const FRESH_SIGN_IN_MS: i64 = 15 * 60 * 1000;

/// What a sign-in has to show before it sets a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordState {
    /// The user has no password yet.
    None,
    /// There is one; they signed in just now, which is proof enough.
    Fresh,
    /// There is one, and it has to come along.
    Asked,
}

impl ConfigService {
    /// Sets the user's password and signs them out everywhere, but for the web session with the hash `keep`.
    pub async fn set_password(&self, scope: &Scope, password: &Secret, keep: Option<&str>) -> Result<()> {
        let hash = self.hash_password(password).await?;
        let tx = self.change(scope).await?;
        let updated = user::Entity::update_owned(scope)
            .col_expr(user::Column::PasswordHash, Expr::value(hash))
            .exec(&*tx)
            .await?;
        if updated.rows_affected == 0 {
            return Err(Error::NotFound { what: "user" });
        }
        web_session::Entity::delete_owned(scope)
            .filter(web_session::Column::Hash.ne(keep.unwrap_or_default()))
            .exec(&*tx)
            .await?;
        let (tenant, user) = (scope.tenant_scope(), scope.user().as_str());
        audit::append(&*tx, tenant, self.actor_or(scope), "user.password", user, json!({})).await?;
        self.changed(tx).await
    }

    /// How this sign-in stands to the user's password.
    pub async fn password_state(&self, identity: &Identity) -> Result<PasswordState> {
        Ok(self.stored_password(identity).await?.0)
    }

    /// May this sign-in set a new password: always, unless its user has one already and has to show it.
    pub async fn may_set_password(&self, identity: &Identity, current: Option<&Secret>) -> Result<bool> {
        match (self.stored_password(identity).await?, current) {
            ((PasswordState::None | PasswordState::Fresh, _), _) => Ok(true),
            ((PasswordState::Asked, _), None) => Ok(false),
            ((PasswordState::Asked, stored), Some(current)) => self.is_password(stored, current).await,
        }
    }

    /// The state, and the stored hash.
    async fn stored_password(&self, identity: &Identity) -> Result<(PasswordState, Option<String>)> {
        let scope = &identity.user.scope;
        let tx = self.db.read(scope).await?;
        let Some(row) = user::Entity::owned_by(scope).one(&*tx).await? else {
            return Err(Error::NotFound { what: "user" });
        };
        let signed_in_at = match &identity.credential {
            Credential::WebSession { hash } => web_session::Entity::owned_by(scope)
                .filter(web_session::Column::Hash.eq(hash))
                .one(&*tx)
                .await?
                .map(|session| session.created_at),
            Credential::ApiToken { .. } | Credential::Device { .. } => None,
        };
        let fresh = signed_in_at.is_some_and(|at| now_ms() - at < FRESH_SIGN_IN_MS);
        let state = match (row.password_hash.is_some(), fresh) {
            (false, _) => PasswordState::None,
            (true, true) => PasswordState::Fresh,
            (true, false) => PasswordState::Asked,
        };
        Ok((state, row.password_hash))
    }

    /// Does any owner of the tenant have a password or an OIDC identity.
    pub async fn owner_has_login(&self, tenant: &TenantScope) -> Result<bool> {
        let tx = self.db.read(tenant).await?;
        let owners = user::Entity::of_tenant(tenant)
            .filter(user::Column::Role.eq(Role::Owner.name()))
            .filter(
                Condition::any()
                    .add(user::Column::PasswordHash.is_not_null())
                    .add(user::Column::OidcSubject.is_not_null()),
            )
            .count(&*tx)
            .await?;
        Ok(owners > 0)
    }

    /// Checks email and password. Takes the same time whether or not the user exists.
    pub async fn check_password(&self, tenant: &TenantId, email: &str, password: &Secret) -> Result<Option<Arc<User>>> {
        let tenant = TenantScope::vouch(tenant.clone());
        let row = self.user_row_by_email(&tenant, email).await?;
        let stored = row.as_ref().and_then(|row| row.password_hash.clone());
        let right = self.is_password(stored, password).await?;
        let Some(user) = row.filter(|_| right).map(User::from).filter(|user| !user.disabled) else {
            return Ok(None);
        };
        let id = user.scope.user().as_str();
        self.audit(&tenant, id, "sign_in", id, json!({ "by": "password" }))
            .await?;
        Ok(Some(Arc::new(user)))
    }

    /// Takes the same time whether or not there is a stored hash.
    async fn is_password(&self, stored: Option<String>, given: &Secret) -> Result<bool> {
        let given = given.clone();
        self.hashing_work(move || {
            let nobody = NOBODY.as_str();
            let known = stored.is_some();
            let matches = given.expose().len() <= MAX_BYTES
                && password::valid(given.expose(), stored.as_deref().unwrap_or(nobody));
            known && matches
        })
        .await
    }

    pub(super) async fn hash_password(&self, password: &Secret) -> Result<String> {
        if password.expose().chars().count() < password::MIN_LENGTH {
            return Err(Error::Invalid(format!(
                "a password has at least {} characters",
                password::MIN_LENGTH
            )));
        }
        if password.expose().len() > MAX_BYTES {
            return Err(Error::Invalid(format!("a password has at most {MAX_BYTES} bytes")));
        }
        let password = password.clone();
        self.hashing_work(move || password::hash(password.expose()))
            .await?
            .map_err(|error| Error::internal(error.to_string()))
    }

    async fn hashing_work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let permit = Arc::clone(&self.hashing)
            .acquire_owned()
            .await
            .map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[tokio::test]
    async fn the_right_password_of_an_active_user_signs_in() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let (tenant, id) = (owner.tenant_scope(), owner.tenant());
        assert!(!config.owner_has_login(tenant).await.expect("reads"));
        assert!(matches!(
            config.set_password(&owner, &"short".into(), None).await,
            Err(Error::Invalid(_))
        ));
        config
            .set_password(&owner, &"correct horse".into(), None)
            .await
            .expect("sets");
        assert!(config.owner_has_login(tenant).await.expect("reads"));

        let check = async |email: &str, password: &str| {
            config
                .check_password(id, email, &password.into())
                .await
                .expect("checks")
                .is_some()
        };
        assert!(check("Owner@acme.test", "correct horse").await);
        assert!(!check("owner@acme.test", "correct horsE").await);
        assert!(!check("nobody@acme.test", "correct horse").await);
        assert!(!check("nobody@acme.test", "nobody has this password").await);
        let beta = testing::tenant(config, "beta").await;
        let elsewhere = config
            .check_password(beta.tenant(), "owner@acme.test", &"correct horse".into())
            .await;
        assert!(elsewhere.expect("checks").is_none());

        testing::user(config, tenant, "second@acme.test", Role::Owner).await;
        config.set_disabled(tenant, owner.user(), true).await.expect("disables");
        assert!(!check("owner@acme.test", "correct horse").await);
        let actions: Vec<_> = config
            .list_audit(tenant, None, 50)
            .await
            .expect("lists")
            .into_iter()
            .map(|l| l.action)
            .collect();
        assert_eq!(actions.iter().filter(|action| *action == "sign_in").count(), 1);
    }
    #[tokio::test]
    async fn a_sign_in_of_long_ago_has_to_show_the_present_password() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let cookie = config.create_web_session(&owner).await.expect("opens");
        let who = async || {
            let known = config.authenticate_web_session(owner.tenant(), &cookie).await;
            known.expect("reads").expect("known")
        };
        let state = async || {
            config
                .password_state(&who().await.as_ref().clone())
                .await
                .expect("reads")
        };
        let may = async |current: Option<&str>| {
            let current = current.map(Secret::from);
            let may = config
                .may_set_password(&who().await.as_ref().clone(), current.as_ref())
                .await;
            may.expect("checks")
        };
        assert_eq!(state().await, PasswordState::None);
        assert!(may(None).await);
        let keep = crate::crypto::token::hash(cookie.expose());
        let other = config.create_web_session(&owner).await.expect("opens");
        let set = config.set_password(&owner, &"correct horse".into(), Some(&keep)).await;
        set.expect("sets");
        let gone = config.authenticate_web_session(owner.tenant(), &other).await;
        assert!(gone.expect("reads").is_none());
        assert_eq!(state().await, PasswordState::Fresh);
        assert!(may(None).await);

        let tx = config.change(&owner).await.expect("begins");
        web_session::Entity::update_owned(&owner)
            .col_expr(web_session::Column::CreatedAt, Expr::value(now_ms() - FRESH_SIGN_IN_MS))
            .exec(&*tx)
            .await
            .expect("ages");
        config.changed(tx).await.expect("commits");
        assert_eq!(state().await, PasswordState::Asked);
        assert!(!may(None).await);
        assert!(!may(Some("correct horsE")).await);
        assert!(may(Some("correct horse")).await);
    }
}
