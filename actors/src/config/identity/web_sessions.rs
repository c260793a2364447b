//! Web sessions: the cookie's value is random, its hash is the row's key.

use std::sync::Arc;

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, web_session};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::json;

use super::super::cache::pair;
use super::super::{ConfigService, audit};
use super::locked::stays_active;
use super::roles::role_scopes;
use super::{Credential, Identity};
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::error::{Error, Result};

/// A session ends this long after sign-in.
pub const WEB_SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// `last_seen_at` is this exact.
const SEEN_EVERY_MS: i64 = 60 * 60 * 1000;

impl ConfigService {
    /// Opens a web session; the returned value is the cookie's. `NotFound` when the user was disabled meanwhile.
    pub async fn create_web_session(&self, scope: &Scope) -> Result<Secret> {
        let cookie = token::random_token();
        let now = now_ms();
        let tx = self.db.write(scope).await?;
        if !stays_active(&*tx, scope).await? {
            return Err(Error::NotFound { what: "user" });
        }
        web_session::Entity::delete_owned(scope)
            .filter(web_session::Column::ExpiresAt.lte(now))
            .exec(&*tx)
            .await?;
        web_session::Entity::insert(web_session::ActiveModel {
            hash: Set(token::hash(&cookie)),
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            created_at: Set(now),
            last_seen_at: Set(now),
            expires_at: Set(now + WEB_SESSION_MS),
        })
        .exec_without_returning(&*tx)
        .await?;
        tx.commit().await?;
        Ok(Secret::new(cookie))
    }

    /// Who holds this cookie, within this tenant only. `None` when it is unknown, over, or its user is disabled.
    pub async fn authenticate_web_session(&self, tenant: &TenantId, cookie: &Secret) -> Result<Option<Arc<Identity>>> {
        if cookie.expose().len() != 43 {
            return Ok(None);
        }
        let hash = token::hash(cookie.expose());
        let key = pair(tenant, &hash);
        let now = now_ms();
        if let Some((identity, expires_at)) = self.cache.web_sessions.get(&key) {
            return Ok((expires_at > now).then_some(identity));
        }
        let seen = self.cache.generation();
        let tenant = TenantScope::vouch(tenant.clone());
        let tx = self.db.read(&tenant).await?;
        let row = web_session::Entity::of_tenant(&tenant)
            .filter(web_session::Column::Hash.eq(&hash))
            .filter(web_session::Column::ExpiresAt.gt(now))
            .one(&*tx)
            .await?;
        drop(tx);
        let Some(row) = row else {
            return Ok(None);
        };
        let Some(user) = self.active_user(&tenant, &row.user_id).await? else {
            return Ok(None);
        };
        let identity = Arc::new(Identity {
            scopes: role_scopes(user.role),
            user,
            credential: Credential::WebSession { hash },
        });
        let cached = (identity.clone(), row.expires_at);
        self.cache.keep(&self.cache.web_sessions, seen, key, cached);
        if row.last_seen_at < now - SEEN_EVERY_MS {
            self.note_seen(&identity.user.scope, &row.hash).await;
        }
        Ok(Some(identity))
    }

    /// Signs out. An unknown cookie is signed out already.
    pub async fn end_web_session(&self, tenant: &TenantId, cookie: &Secret) -> Result<()> {
        let tenant = TenantScope::vouch(tenant.clone());
        let hash = token::hash(cookie.expose());
        let tx = self.change(&tenant).await?;
        let row = web_session::Entity::of_tenant(&tenant)
            .filter(web_session::Column::Hash.eq(&hash))
            .one(&*tx)
            .await?;
        let Some(row) = row else {
            return Ok(());
        };
        web_session::Entity::delete_of_tenant(&tenant)
            .filter(web_session::Column::Hash.eq(&hash))
            .exec(&*tx)
            .await?;
        let user = row.user_id.as_str();
        audit::append(&*tx, &tenant, user, "sign_out", user, json!({})).await?;
        self.changed(tx).await
    }

    async fn note_seen(&self, scope: &Scope, hash: &str) {
        let noted = async {
            let tx = self.db.write(scope).await?;
            web_session::Entity::update_owned(scope)
                .col_expr(web_session::Column::LastSeenAt, Expr::value(now_ms()))
                .filter(web_session::Column::Hash.eq(hash))
                .exec(&*tx)
                .await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "did not note the use of a web session");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::Role;
    use super::*;

    #[tokio::test]
    async fn a_cookie_is_its_user_until_sign_out() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let beta = testing::tenant(config, "beta").await;
        let cookie = config.create_web_session(&owner).await.expect("opens");
        let second = config.create_web_session(&owner).await.expect("opens");
        let known = async |cookie: &Secret, tenant: &TenantId| {
            config.authenticate_web_session(tenant, cookie).await.expect("reads")
        };
        let identity = known(&cookie, owner.tenant()).await.expect("is known");
        assert_eq!(identity.user.scope, owner);
        assert!(config.still_valid(&identity).await.expect("reads"));
        assert!(known(&cookie, beta.tenant()).await.is_none());
        assert!(known(&Secret::new("x".repeat(43)), owner.tenant()).await.is_none());

        config
            .end_web_session(beta.tenant(), &cookie)
            .await
            .expect("does nothing");
        assert!(known(&cookie, owner.tenant()).await.is_some());
        config.end_web_session(owner.tenant(), &cookie).await.expect("ends");
        assert!(known(&cookie, owner.tenant()).await.is_none());
        assert!(!config.still_valid(&identity).await.expect("reads"));
        assert!(known(&second, owner.tenant()).await.is_some());
    }

    #[tokio::test]
    async fn a_sign_in_that_a_lock_out_overtakes_opens_nothing() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        let set = async |disabled| {
            let set = config.set_disabled(owner.tenant_scope(), member.user(), disabled).await;
            set.expect("changes");
        };
        set(true).await;
        // The proof was looked at before.
        let opened = config.create_web_session(&member).await;
        assert!(matches!(opened, Err(Error::NotFound { what: "user" })), "{opened:?}");
        assert!(config.create_sign_in_code(&member).await.is_err());
        set(false).await;
        config.create_web_session(&member).await.expect("opens");
    }

    #[tokio::test]
    async fn an_expired_cookie_is_nobody_cached_or_not() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let cookie = config.create_web_session(&owner).await.expect("opens");
        let identity = config
            .authenticate_web_session(owner.tenant(), &cookie)
            .await
            .expect("reads")
            .expect("known");
        let key = pair(owner.tenant(), &token::hash(cookie.expose()));
        config.cache.keep(
            &config.cache.web_sessions,
            config.cache.generation(),
            key,
            (identity, now_ms()),
        );
        assert!(
            config
                .authenticate_web_session(owner.tenant(), &cookie)
                .await
                .expect("reads")
                .is_none()
        );

        let tx = config.change(&owner).await.expect("begins");
        web_session::Entity::update_owned(&owner)
            .col_expr(web_session::Column::ExpiresAt, Expr::value(now_ms()))
            .exec(&*tx)
            .await
            .expect("expires");
        config.changed(tx).await.expect("commits");
        assert!(
            config
                .authenticate_web_session(owner.tenant(), &cookie)
                .await
                .expect("reads")
                .is_none()
        );
    }
}
