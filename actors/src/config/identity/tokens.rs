//! Personal API tokens: shown once, stored hashed, never worth more than their user's role.

use std::sync::Arc;

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, api_token, new_id};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::{Value, json};

use super::super::cache::pair;
use super::super::devices::setup_codes;
use super::super::{ConfigService, audit, tokens};
use super::roles::{check_scopes, effective_scopes};
use super::{ApiToken, Credential, Identity};
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::error::{Error, Result};

const PREFIX: &str = "claw_";
const LENGTH: usize = PREFIX.len() + 43;

impl ConfigService {
    /// A personal API token; the plain token is returned once and stored hashed. `scopes: None` = all of the role's.
    pub async fn create_api_token(
        &self,
        scope: &Scope,
        name: &str,
        scopes: Option<Vec<String>>,
    ) -> Result<(ApiToken, Secret)> {
        let name = tokens::checked_name(name)?;
        let user = self.user(scope.tenant_scope(), scope.user()).await?;
        check_scopes(user.role, scopes.as_deref().unwrap_or_default())?;
        let plain = format!("{PREFIX}{}", token::random_token());
        let made = ApiToken {
            id: new_id(),
            name: name.to_owned(),
            scopes,
            created_at: now_ms(),
            last_used_at: None,
        };
        let tx = self.change(scope).await?;
        let live = api_token::Entity::owned_by(scope)
            .filter(api_token::Column::RevokedAt.is_null())
            .count(&*tx)
            .await?;
        tokens::check_room(live)?;
        api_token::Entity::insert(api_token::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            id: Set(made.id.clone()),
            user_id: Set(scope.user().clone()),
            hash: Set(token::hash(&plain)),
            name: Set(made.name.clone()),
            scopes: Set(made.scopes.as_ref().map_or(Value::Null, |scopes| json!(scopes))),
            created_at: Set(made.created_at),
            last_used_at: Set(None),
            revoked_at: Set(None),
        })
        .exec_without_returning(&*tx)
        .await?;
        let detail = json!({ "user": scope.user(), "scopes": made.scopes });
        let tenant = scope.tenant_scope();
        audit::append(&*tx, tenant, self.actor_or(scope), "token.create", &made.id, detail).await?;
        self.changed(tx).await?;
        Ok((made, Secret::new(plain)))
    }

    /// The user's live tokens, newest first.
    pub async fn list_api_tokens(&self, scope: &Scope) -> Result<Vec<ApiToken>> {
        let tx = self.db.read(scope).await?;
        let rows = api_token::Entity::owned_by(scope)
            .filter(api_token::Column::RevokedAt.is_null())
            .order_by_desc(api_token::Column::CreatedAt)
            .order_by_desc(api_token::Column::Id)
            .all(&*tx)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| ApiToken {
                scopes: listed(&row.scopes),
                id: row.id,
                name: row.name,
                created_at: row.created_at,
                last_used_at: row.last_used_at,
            })
            .collect())
    }

    /// Ends a token; sockets that it opened close within seconds.
    pub async fn revoke_api_token(&self, scope: &Scope, id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let revoked = api_token::Entity::update_owned(scope)
            .col_expr(api_token::Column::RevokedAt, Expr::value(now_ms()))
            .filter(api_token::Column::Id.eq(id))
            .filter(api_token::Column::RevokedAt.is_null())
            .exec(&*tx)
            .await?;
        if revoked.rows_affected == 0 {
            return Err(Error::NotFound { what: "token" });
        }
        let tenant = scope.tenant_scope();
        audit::append(&*tx, tenant, self.actor_or(scope), "token.revoke", id, json!({})).await?;
        setup_codes::withdraw(&*tx, scope).await?;
        self.changed(tx).await
    }

    /// Who this API token is, within this tenant only. `None` when it is unknown, revoked, of another tenant, or its
    /// user is disabled.
    pub async fn authenticate_token(&self, tenant: &TenantId, token: &Secret) -> Result<Option<Arc<Identity>>> {
        // What does not look like one of ours costs no hash and no query.
        if token.expose().len() != LENGTH || !token.expose().starts_with(PREFIX) {
            return Ok(None);
        }
        let hash = token::hash(token.expose());
        let key = pair(tenant, &hash);
        if let Some(identity) = self.cache.tokens.get(&key) {
            return Ok(Some(identity));
        }
        let seen = self.cache.generation();
        let tenant = TenantScope::vouch(tenant.clone());
        let tx = self.db.read(&tenant).await?;
        let row = api_token::Entity::of_tenant(&tenant)
            .filter(api_token::Column::Hash.eq(&hash))
            .filter(api_token::Column::RevokedAt.is_null())
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
            scopes: effective_scopes(user.role, listed(&row.scopes).as_deref()),
            user,
            credential: Credential::ApiToken { id: row.id.clone() },
        });
        self.cache.keep(&self.cache.tokens, seen, key, identity.clone());
        let scope = &identity.user.scope;
        tokens::note_use(row.last_used_at, &row.id, async |now| {
            let tx = self.db.write(scope).await?;
            api_token::Entity::update_owned(scope)
                .col_expr(api_token::Column::LastUsedAt, Expr::value(now))
                .filter(api_token::Column::Id.eq(row.id.as_str()))
                .exec(&*tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await;
        Ok(Some(identity))
    }
}

fn listed(scopes: &Value) -> Option<Vec<String>> {
    // Anything but null is a limit: a list that does not parse gives nothing, not everything.
    (!scopes.is_null()).then(|| serde_json::from_value(scopes.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use crate::config::identity::{Role, role_scopes};

    #[tokio::test]
    async fn a_token_is_its_user_in_its_tenant_until_revoked() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let beta = testing::tenant(config, "beta").await;
        let (made, plain) = config
            .create_api_token(&owner, "laptop", None)
            .await
            .expect("makes one");
        assert_eq!((plain.expose().len(), plain.expose().starts_with("claw_")), (48, true));

        let identity = config
            .authenticate_token(owner.tenant(), &plain)
            .await
            .expect("reads")
            .expect("is known");
        assert_eq!(identity.user.scope, owner);
        assert_eq!(identity.scopes, role_scopes(Role::Owner));
        assert_eq!(identity.credential, Credential::ApiToken { id: made.id.clone() });
        assert!(
            config
                .authenticate_token(beta.tenant(), &plain)
                .await
                .expect("reads")
                .is_none()
        );
        let other = Secret::new(format!("claw_{}", "x".repeat(43)));
        assert!(
            config
                .authenticate_token(owner.tenant(), &other)
                .await
                .expect("reads")
                .is_none()
        );
        let listed = config.list_api_tokens(&owner).await.expect("lists");
        assert!(listed[0].last_used_at.is_some() && listed[0].scopes.is_none());

        server
            .another_process()
            .revoke_api_token(&owner, &made.id)
            .await
            .expect("revokes");
        assert!(matches!(
            config.revoke_api_token(&owner, &made.id).await,
            Err(Error::NotFound { .. })
        ));
        config.cache.forget();
        assert!(
            config
                .authenticate_token(owner.tenant(), &plain)
                .await
                .expect("reads")
                .is_none()
        );
        assert!(config.list_api_tokens(&owner).await.expect("lists").is_empty());
    }

    #[tokio::test]
    async fn a_known_token_needs_no_database() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let (_, plain) = config.create_api_token(&owner, "t", None).await.expect("makes one");
        let identity = config
            .authenticate_token(owner.tenant(), &plain)
            .await
            .expect("reads")
            .expect("is known");
        config.user(owner.tenant_scope(), owner.user()).await.expect("reads");
        assert!(config.still_valid(&identity).await.expect("reads"));
        server.db.clone().close().await;
        assert!(
            config
                .authenticate_token(owner.tenant(), &plain)
                .await
                .expect("cached")
                .is_some()
        );
        config.user(owner.tenant_scope(), owner.user()).await.expect("cached");
        assert!(config.still_valid(&identity).await.expect("cached"));
    }

    #[tokio::test]
    async fn scopes_follow_token_and_role() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let admin = testing::user(config, tenant, "admin@acme.test", Role::Admin).await;
        let scopes = async |plain: &Secret| {
            config
                .authenticate_token(tenant.tenant(), plain)
                .await
                .expect("reads")
                .map(|identity| identity.scopes.clone())
        };
        let (_, all) = config
            .create_api_token(&admin, "all", Some(vec!["operator.admin".into()]))
            .await
            .expect("ok");
        let (_, read) = config
            .create_api_token(&admin, "read", Some(vec!["operator.read".into()]))
            .await
            .expect("ok");
        assert_eq!(scopes(&all).await, Some(role_scopes(Role::Admin)));
        assert_eq!(scopes(&read).await, Some(vec!["operator.read".to_owned()]));
        config
            .set_role(tenant, admin.user(), Role::Member)
            .await
            .expect("demotes");
        assert_eq!(scopes(&all).await, Some(role_scopes(Role::Member)));
        let (_, anew) = config
            .create_api_token(&admin, "x", Some(vec!["operator.admin".into()]))
            .await
            .expect("means all of the role");
        assert_eq!(scopes(&anew).await, Some(role_scopes(Role::Member)));
        config.set_disabled(tenant, admin.user(), true).await.expect("disables");
        assert_eq!(scopes(&read).await, None);
    }
}
