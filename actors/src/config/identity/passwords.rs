//! Passwords: hashed off the async threads, a few at a time, with the same work for users who do not exist.

use std::sync::{Arc, LazyLock};

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, user};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter};
use serde_json::json;

use super::super::{ConfigService, audit};
use super::{Role, User};
use crate::crypto::{Secret, password};
use crate::error::{Error, Result};

/// Longest password we take, in bytes: hashing work must not grow with what a stranger sends.
const MAX_BYTES: usize = 1024;

/// What the password of a user who does not exist is compared with.
static NOBODY: LazyLock<String> = LazyLock::new(|| password::hash("nobody has this password").unwrap_or_default());

impl ConfigService {
    /// Sets the user's password.
    pub async fn set_password(&self, scope: &Scope, password: &Secret) -> Result<()> {
        let hash = self.hash_password(password).await?;
        let tx = self.change(scope).await?;
        let updated = user::Entity::update_owned(scope)
            .col_expr(user::Column::PasswordHash, Expr::value(hash))
            .exec(&*tx)
            .await?;
        if updated.rows_affected == 0 {
            return Err(Error::NotFound { what: "user" });
        }
        let (tenant, user) = (scope.tenant_scope(), scope.user().as_str());
        audit::append(&*tx, tenant, self.actor_or(scope), "user.password", user, json!({})).await?;
        self.changed(tx).await
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
        let given = password.clone();
        let right = self
            .hashing_work(move || {
                let nobody = NOBODY.as_str();
                let known = stored.is_some();
                let matches = given.expose().len() <= MAX_BYTES
                    && password::valid(given.expose(), stored.as_deref().unwrap_or(nobody));
                known && matches
            })
            .await?;
        let Some(user) = row.filter(|_| right).map(User::from).filter(|user| !user.disabled) else {
            return Ok(None);
        };
        let id = user.scope.user().as_str();
        self.audit(&tenant, id, "sign_in", id, json!({ "by": "password" }))
            .await?;
        Ok(Some(Arc::new(user)))
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
            config.set_password(&owner, &"short".into()).await,
            Err(Error::Invalid(_))
        ));
        config
            .set_password(&owner, &"correct horse".into())
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
}
