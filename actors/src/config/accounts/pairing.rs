//! Pairing: an unknown sender asks, the account's owner lets them in or not.

use claw_entities::{Scope, TenantOwned, UserOwned, new_id, pairing_request, sender_approval};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::super::{ConfigService, audit};
use super::{PairingAsked, PairingRequest};
use crate::clock::now_ms;
use crate::crypto::token;
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::supervisor::lease::fenced;

/// How long a request waits, milliseconds.
pub const PAIRING_LIVES_MS: i64 = 60 * 60 * 1000;
/// Open requests per account: more would be a way to fill the owner's list.
pub const PAIRING_OPEN_AT_ONCE: u64 = 3;
const CODE_LENGTH: usize = 8;

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) channel: &'a str,
    pub(crate) account_id: &'a str,
    pub(crate) sender_id: &'a str,
    pub(crate) sender_name: &'a str,
}

impl ConfigService {
    /// Records that an unknown sender asked. `scope` is the account's owner. What `told` adds for a new request is stored in
    /// the same commit, under the owner's `epoch`.
    pub(crate) async fn ask_pairing(
        &self,
        scope: &Scope,
        epoch: i64,
        asker: Asker<'_>,
        told: impl FnOnce(&PairingRequest, &mut Batch) -> Result<()>,
    ) -> Result<PairingAsked> {
        let Asker {
            channel,
            account_id,
            sender_id,
            sender_name,
        } = asker;
        let now = now_ms();
        let tenant = scope.tenant_scope();
        let of_account = || {
            pairing_request::Entity::of_tenant(tenant)
                .filter(pairing_request::Column::Channel.eq(channel))
                .filter(pairing_request::Column::AccountId.eq(account_id))
                .filter(pairing_request::Column::ExpiresAt.gt(now))
        };
        // Most of a stranger's messages end here, without the write lock.
        let tx = self.db.read(scope).await?;
        let waiting = of_account()
            .filter(pairing_request::Column::SenderId.eq(sender_id))
            .count(&*tx)
            .await?;
        if waiting > 0 {
            return Ok(PairingAsked::Waiting);
        }
        if of_account().count(&*tx).await? >= PAIRING_OPEN_AT_ONCE {
            return Ok(PairingAsked::Full);
        }
        drop(tx);

        let tx = self.change(scope).await?;
        pairing_request::Entity::delete_of_tenant(tenant)
            .filter(pairing_request::Column::ExpiresAt.lte(now))
            .exec(&*tx)
            .await?;
        if of_account().count(&*tx).await? >= PAIRING_OPEN_AT_ONCE {
            return Ok(PairingAsked::Full);
        }
        let request = PairingRequest {
            id: new_id(),
            channel: channel.to_owned(),
            account_id: account_id.to_owned(),
            sender_id: sender_id.to_owned(),
            sender_name: sender_name.chars().take(100).collect(),
            code: token::readable_code(CODE_LENGTH),
            created_at: now,
            expires_at: now + PAIRING_LIVES_MS,
        };
        let inserted = pairing_request::Entity::insert(pairing_request::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            id: Set(request.id.clone()),
            user_id: Set(scope.user().clone()),
            channel: Set(request.channel.clone()),
            account_id: Set(request.account_id.clone()),
            sender_id: Set(request.sender_id.clone()),
            sender_name: Set(request.sender_name.clone()),
            code: Set(request.code.clone()),
            created_at: Set(request.created_at),
            expires_at: Set(request.expires_at),
        })
        .exec_without_returning(&*tx)
        .await
        .map_err(Error::from);
        match inserted {
            Ok(_) => {}
            // Two messages of one sender at the same moment: the other one tells them the code.
            Err(Error::Conflict(_)) => return Ok(PairingAsked::Waiting),
            Err(error) => return Err(error),
        }
        let mut batch = fenced(&tx, scope, epoch).await?;
        told(&request, &mut batch)?;
        batch.run(&tx).await?;
        self.changed(tx).await?;
        Ok(PairingAsked::New(request))
    }

    /// Open requests on the user's accounts, oldest first.
    pub async fn list_pairing(&self, scope: &Scope) -> Result<Vec<PairingRequest>> {
        let tx = self.db.read(scope).await?;
        let rows = pairing_request::Entity::owned_by(scope)
            .filter(pairing_request::Column::ExpiresAt.gt(now_ms()))
            .order_by_asc(pairing_request::Column::CreatedAt)
            .order_by_asc(pairing_request::Column::Id)
            .all(&*tx)
            .await?;
        Ok(rows.into_iter().map(PairingRequest::from).collect())
    }

    /// Lets the sender in (direct messages of that account only). Gives the request that was answered.
    pub async fn approve_pairing(&self, scope: &Scope, id: &str) -> Result<PairingRequest> {
        let now = now_ms();
        let tx = self.change(scope).await?;
        let row = pairing_request::Entity::owned_by(scope)
            .filter(pairing_request::Column::Id.eq(id))
            .filter(pairing_request::Column::ExpiresAt.gt(now))
            .one(&*tx)
            .await?
            .ok_or(Error::NotFound {
                what: "pairing request",
            })?;
        sender_approval::Entity::insert(sender_approval::ActiveModel {
            tenant_id: Set(row.tenant_id.clone()),
            channel: Set(row.channel.clone()),
            account_id: Set(row.account_id.clone()),
            sender_id: Set(row.sender_id.clone()),
            user_id: Set(row.user_id.clone()),
            sender_name: Set(row.sender_name.clone()),
            approved_at: Set(now),
        })
        .on_conflict(
            OnConflict::columns([
                sender_approval::Column::TenantId,
                sender_approval::Column::Channel,
                sender_approval::Column::AccountId,
                sender_approval::Column::SenderId,
            ])
            .update_columns([
                sender_approval::Column::UserId,
                sender_approval::Column::SenderName,
                sender_approval::Column::ApprovedAt,
            ])
            .to_owned(),
        )
        .exec_without_returning(&*tx)
        .await?;
        pairing_request::Entity::delete_owned(scope)
            .filter(pairing_request::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        let target = format!("{}/{}", row.channel, row.account_id);
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(
            &*tx,
            tenant,
            actor,
            "pairing.approve",
            &target,
            json!({ "request": id }),
        )
        .await?;
        self.changed(tx).await?;
        Ok(row.into())
    }

    /// Drops the request; the sender may ask again after an hour.
    pub async fn dismiss_pairing(&self, scope: &Scope, id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let deleted = pairing_request::Entity::delete_owned(scope)
            .filter(pairing_request::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound {
                what: "pairing request",
            });
        }
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(&*tx, tenant, actor, "pairing.dismiss", id, json!({})).await?;
        self.changed(tx).await
    }

    /// Shuts a guest out again.
    pub async fn revoke_sender(&self, scope: &Scope, channel: &str, account_id: &str, sender_id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let deleted = sender_approval::Entity::delete_owned(scope)
            .filter(sender_approval::Column::Channel.eq(channel))
            .filter(sender_approval::Column::AccountId.eq(account_id))
            .filter(sender_approval::Column::SenderId.eq(sender_id))
            .exec(&*tx)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound {
                what: "approved sender",
            });
        }
        let target = format!("{channel}/{account_id}");
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(&*tx, tenant, actor, "pairing.revoke", &target, json!({})).await?;
        self.changed(tx).await
    }
}

impl From<pairing_request::Model> for PairingRequest {
    fn from(row: pairing_request::Model) -> Self {
        Self {
            id: row.id,
            channel: row.channel,
            account_id: row.account_id,
            sender_id: row.sender_id,
            sender_name: row.sender_name,
            code: row.code,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::AccountDraft;
    use super::*;

    #[tokio::test]
    async fn three_may_wait_and_only_the_owner_lets_them_in() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let other = testing::user(
            config,
            owner.tenant_scope(),
            "b@acme.test",
            crate::config::identity::Role::Admin,
        )
        .await;
        let draft = AccountDraft {
            channel: "telegram".to_owned(),
            account_id: "default".to_owned(),
            owner: owner.user().clone(),
            enabled: true,
            config: json!({}),
            secrets: vec![],
        };
        config
            .put_account(owner.tenant_scope(), draft, &[])
            .await
            .expect("saves");
        let epoch = server.epoch(&owner).await;
        // Without the right to write the reply nobody is on record who waits for it.
        let refused = config.ask_pairing(&owner, epoch - 1, testing::stranger("1"), |_, _| Ok(()));
        assert!(matches!(refused.await, Err(Error::Fenced)));
        assert!(config.list_pairing(&owner).await.expect("lists").is_empty());
        let ask = async |sender: &str| {
            config
                .ask_pairing(&owner, epoch, testing::stranger(sender), |_, _| Ok(()))
                .await
                .expect("asks")
        };
        let PairingAsked::New(first) = ask("1").await else {
            panic!("the first request is new");
        };
        assert_eq!(
            (first.code.len(), first.expires_at - first.created_at),
            (8, PAIRING_LIVES_MS)
        );
        assert!(matches!(ask("1").await, PairingAsked::Waiting));
        assert!(matches!(ask("2").await, PairingAsked::New(_)));
        assert!(matches!(ask("3").await, PairingAsked::New(_)));
        assert!(matches!(ask("4").await, PairingAsked::Full));

        assert!(matches!(
            config.approve_pairing(&other, &first.id).await,
            Err(Error::NotFound { .. })
        ));
        assert_eq!(config.list_pairing(&owner).await.expect("lists").len(), 3);
        assert!(config.list_pairing(&other).await.expect("lists").is_empty());
        let account = async || {
            config
                .account(owner.tenant(), "telegram", "default")
                .await
                .expect("reads")
                .expect("there")
        };
        assert!(account().await.approved.is_empty());
        assert_eq!(
            config
                .approve_pairing(&owner, &first.id)
                .await
                .expect("approves")
                .sender_id,
            "1"
        );
        assert!(account().await.approved.contains("1"));
        assert!(matches!(
            config.approve_pairing(&owner, &first.id).await,
            Err(Error::NotFound { .. })
        ));
        let second = config.list_pairing(&owner).await.expect("lists").remove(0);
        config.dismiss_pairing(&owner, &second.id).await.expect("dismisses");
        assert!(!account().await.approved.contains("2"));
        config
            .revoke_sender(&owner, "telegram", "default", "1")
            .await
            .expect("revokes");
        assert!(account().await.approved.is_empty());
        let at_once = tokio::join!(ask("5"), ask("5"));
        assert!(matches!(
            at_once,
            (PairingAsked::New(_), PairingAsked::Waiting) | (PairingAsked::Waiting, PairingAsked::New(_))
        ));
    }
}
