//! Sign-in codes: one use, fifteen minutes, stored hashed.

use std::sync::Arc;

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, sign_in_code};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::json;

use super::super::{ConfigService, audit};
use super::User;
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::error::Result;

const SIGN_IN_MS: i64 = 15 * 60 * 1000;
const SIGN_IN: &str = "sign_in";

impl ConfigService {
    /// A one-time sign-in code (15 minutes), returned plain and stored hashed.
    pub async fn create_sign_in_code(&self, scope: &Scope) -> Result<Secret> {
        let code = token::random_token();
        let tx = self.db.write(scope).await?;
        store(&*tx, scope, SIGN_IN, &code, SIGN_IN_MS).await?;
        let (tenant, user) = (scope.tenant_scope(), scope.user().as_str());
        audit::append(&*tx, tenant, self.actor(), "sign_in.code", user, json!({})).await?;
        tx.commit().await?;
        Ok(Secret::new(code))
    }

    /// Redeems a sign-in code once.
    pub async fn redeem_sign_in_code(&self, tenant: &TenantId, code: &Secret) -> Result<Option<Arc<User>>> {
        let tenant = TenantScope::vouch(tenant.clone());
        // A stranger's guess must not take the write lock.
        let Some(row) = find(&*self.db.read(&tenant).await?, &tenant, SIGN_IN, code.expose()).await? else {
            return Ok(None);
        };
        let Some(user) = self.active_user(&tenant, &row.user_id).await? else {
            return Ok(None);
        };
        let tx = self.db.write(&tenant).await?;
        if !take(&*tx, &tenant, &row.hash).await? {
            return Ok(None);
        }
        let id = row.user_id.as_str();
        audit::append(&*tx, &tenant, id, "sign_in", id, json!({ "by": "code" })).await?;
        tx.commit().await?;
        Ok(Some(user))
    }
}

/// Stores a code's hash and takes the user's old codes of this kind away.
pub(in crate::config) async fn store(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    kind: &str,
    code: &str,
    lives_ms: i64,
) -> Result<()> {
    let now = now_ms();
    sign_in_code::Entity::delete_owned(scope)
        .filter(sign_in_code::Column::ExpiresAt.lte(now))
        .exec(tx)
        .await?;
    sign_in_code::Entity::insert(sign_in_code::ActiveModel {
        hash: Set(token::hash(code)),
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        kind: Set(kind.to_owned()),
        created_at: Set(now),
        expires_at: Set(now + lives_ms),
        used_at: Set(None),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

/// The row of a code that can still be used.
pub(in crate::config) async fn find(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    kind: &str,
    code: &str,
) -> Result<Option<sign_in_code::Model>> {
    Ok(sign_in_code::Entity::of_tenant(tenant)
        .filter(sign_in_code::Column::Hash.eq(token::hash(code)))
        .filter(sign_in_code::Column::Kind.eq(kind))
        .filter(sign_in_code::Column::UsedAt.is_null())
        .filter(sign_in_code::Column::ExpiresAt.gt(now_ms()))
        .one(tx)
        .await?)
}

/// Uses the code up. False when somebody was faster.
pub(in crate::config) async fn take(tx: &impl ConnectionTrait, tenant: &TenantScope, hash: &str) -> Result<bool> {
    let taken = sign_in_code::Entity::update_of_tenant(tenant)
        .col_expr(sign_in_code::Column::UsedAt, Expr::value(now_ms()))
        .filter(sign_in_code::Column::Hash.eq(hash))
        .filter(sign_in_code::Column::UsedAt.is_null())
        .exec(tx)
        .await?;
    Ok(taken.rows_affected == 1)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[tokio::test]
    async fn a_code_signs_in_once_and_only_in_its_tenant() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let beta = testing::tenant(config, "beta").await;
        let code = config.create_sign_in_code(&owner).await.expect("makes one");
        let redeem = async |tenant: &TenantId, code: &Secret| {
            config
                .redeem_sign_in_code(tenant, code)
                .await
                .expect("reads")
                .map(|user| user.scope.clone())
        };
        assert_eq!(redeem(beta.tenant(), &code).await, None);
        assert_eq!(redeem(owner.tenant(), &code).await, Some(owner.clone()));
        assert_eq!(redeem(owner.tenant(), &code).await, None);
        // A link code is no way to sign in.
        let link = config.create_link_code(&owner).await.expect("makes one");
        assert_eq!(redeem(owner.tenant(), &link).await, None);
        let both = config.create_sign_in_code(&owner).await.expect("makes one");
        let (first, second) = tokio::join!(redeem(owner.tenant(), &both), redeem(owner.tenant(), &both));
        assert_eq!([first, second].iter().flatten().count(), 1);
    }

    #[tokio::test]
    async fn a_code_dies_after_its_time() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let code = config.create_sign_in_code(&owner).await.expect("makes one");
        let tx = config.db.write(&owner).await.expect("begins");
        sign_in_code::Entity::update_owned(&owner)
            .col_expr(sign_in_code::Column::ExpiresAt, Expr::value(now_ms()))
            .exec(&*tx)
            .await
            .expect("expires");
        tx.commit().await.expect("commits");
        assert!(
            config
                .redeem_sign_in_code(owner.tenant(), &code)
                .await
                .expect("reads")
                .is_none()
        );
    }
}
