//! Tokens of hooks: shown once or chosen by the person, stored hashed, each good for all of a user's hooks or for one.

use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, hook_token, new_id};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::{ConfigService, audit, tokens};
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::error::{Error, Result};

const PREFIX: &str = "hook_";
/// Length of a token that a person chose, bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// What is known of a token, without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookToken {
    pub id: String,
    pub name: String,
    /// The one hook it opens; `None`: all.
    pub hook: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub last_used_at: Option<i64>,
}

impl HookToken {
    /// Does it open the hook of this name.
    pub fn opens(&self, hook: &str) -> bool {
        self.hook.as_deref().is_none_or(|only| only == hook)
    }
}

impl From<hook_token::Model> for HookToken {
    fn from(row: hook_token::Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            hook: row.hook,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        }
    }
}

impl ConfigService {
    /// A token for a user's hooks. `given` is one the person has in use elsewhere; else one is made. It is returned
    /// once.
    ///
    /// # Errors
    /// `Invalid` for a name or token that is none, `Conflict` when there are too many, or the token is known already.
    pub async fn create_hook_token(
        &self,
        scope: &Scope,
        name: &str,
        hook: Option<&str>,
        given: Option<Secret>,
    ) -> Result<(HookToken, Secret)> {
        let name = tokens::checked_name(name)?;
        let hook = hook
            .map(|hook| hook.trim().trim_matches('/'))
            .filter(|hook| !hook.is_empty());
        if hook.is_some_and(|hook| hook.len() > 100 || hook.chars().any(char::is_control)) {
            return Err(Error::invalid("a hook's name has at most 100 characters"));
        }
        let plain = match given {
            None => Secret::new(format!("{PREFIX}{}", token::random_token())),
            Some(given) => {
                let text = given.expose();
                // What a header can carry.
                if !LENGTHS.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(Error::invalid(
                        "a token of your own has 16 to 256 visible ASCII characters",
                    ));
                }
                given
            }
        };
        let made = HookToken {
            id: new_id(),
            name: name.to_owned(),
            hook: hook.map(str::to_owned),
            created_at: now_ms(),
            last_used_at: None,
        };
        let tx = self.change(scope).await?;
        let there = hook_token::Entity::owned_by(scope).count(&*tx).await?;
        tokens::check_room(there)?;
        hook_token::Entity::insert(hook_token::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            id: Set(made.id.clone()),
            user_id: Set(scope.user().clone()),
            name: Set(made.name.clone()),
            hook: Set(made.hook.clone()),
            hash: Set(token::hash(plain.expose())),
            created_at: Set(made.created_at),
            last_used_at: Set(None),
        })
        .exec_without_returning(&*tx)
        .await?;
        let detail = json!({ "user": scope.user(), "hook": made.hook });
        audit::append(
            &*tx,
            scope.tenant_scope(),
            self.actor_or(scope),
            "hook-token.create",
            &made.id,
            detail,
        )
        .await?;
        self.changed(tx).await?;
        Ok((made, plain))
    }

    /// The user's tokens, newest first.
    pub async fn list_hook_tokens(&self, scope: &Scope) -> Result<Vec<HookToken>> {
        let tx = self.db.read(scope).await?;
        let rows = hook_token::Entity::owned_by(scope)
            .order_by_desc(hook_token::Column::CreatedAt)
            .order_by_desc(hook_token::Column::Id)
            .all(&*tx)
            .await?;
        Ok(rows.into_iter().map(HookToken::from).collect())
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// `NotFound` when the user has no such token.
    pub async fn delete_hook_token(&self, scope: &Scope, id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let deleted = hook_token::Entity::delete_owned(scope)
            .filter(hook_token::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound { what: "hook token" });
        }
        audit::append(
            &*tx,
            scope.tenant_scope(),
            self.actor_or(scope),
            "hook-token.delete",
            id,
            json!({}),
        )
        .await?;
        self.changed(tx).await
    }

    /// Whose token this is, within this tenant only. `None` when it is unknown or its user is disabled. The look-up is
    /// by hash, so how long it takes tells nothing of a token.
    pub async fn authenticate_hook(&self, tenant: &TenantId, given: &Secret) -> Result<Option<(Scope, HookToken)>> {
        if !LENGTHS.contains(&given.expose().len()) {
            return Ok(None);
        }
        let tenant = TenantScope::vouch(tenant.clone());
        let tx = self.db.read(&tenant).await?;
        let row = hook_token::Entity::of_tenant(&tenant)
            .filter(hook_token::Column::Hash.eq(token::hash(given.expose())))
            .one(&*tx)
            .await?;
        drop(tx);
        let Some(row) = row else { return Ok(None) };
        let Some(user) = self.active_user(&tenant, &row.user_id).await? else {
            return Ok(None);
        };
        let scope = &user.scope;
        tokens::note_use(row.last_used_at, &row.id, async |now| {
            let tx = self.db.write(scope).await?;
            hook_token::Entity::update_owned(scope)
                .col_expr(hook_token::Column::LastUsedAt, Expr::value(now))
                .filter(hook_token::Column::Id.eq(row.id.as_str()))
                .exec(&*tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await;
        Ok(Some((user.scope.clone(), row.into())))
    }
}
