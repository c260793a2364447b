//! Links: a tenant user ties a chat identity to themselves with a one-time code sent to the bot.

use claw_entities::{Scope, TenantOwned, UserId, UserOwned, channel_link, pairing_request};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::super::identity::codes;
use super::super::{ConfigService, audit};
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::supervisor::lease::fenced;

const LIVES_MS: i64 = 10 * 60 * 1000;
const LENGTH: usize = 8;
const KIND: &str = "link";

/// A chat identity of the user: channel, account, sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLink {
    pub channel: String,
    pub account_id: String,
    pub sender_id: String,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// Could this message be a link code and nothing else. Case, spaces around it and one dash in it do not matter.
pub fn looks_like_link_code(text: &str) -> bool {
    normal(text).is_some()
}

fn normal(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    let code: String = text
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .flat_map(char::to_uppercase)
        .collect();
    let readable = |c: char| c.is_ascii_alphanumeric() && !"01OI".contains(c);
    (code.len() == LENGTH && code.chars().all(readable)).then_some(code)
}

impl ConfigService {
    /// A one-time code (10 minutes) the user sends to the bot in a direct chat to tie that chat identity to themselves.
    pub async fn create_link_code(&self, scope: &Scope) -> Result<Secret> {
        let code = token::readable_code(LENGTH);
        let tx = self.db.write(scope).await?;
        codes::store(&*tx, scope, KIND, &code, LIVES_MS).await?;
        tx.commit().await?;
        Ok(Secret::new(code))
    }

    /// Redeems a link code sent by `sender_id`. `None` when it is not a valid code of this tenant, and for ten
    /// minutes after five wrong ones of this sender. The caller sees to it that it is a direct chat on a platform
    /// that proves who the sender is. What `told` adds is stored in the same commit, under the `epoch` of `scope`, whose
    /// session the message came to.
    pub(crate) async fn redeem_link_code(
        &self,
        (scope, epoch): (&Scope, i64),
        channel: &str,
        account_id: &str,
        sender_id: &str,
        code: &Secret,
        told: impl FnOnce(&mut Batch) -> Result<()>,
    ) -> Result<Option<UserId>> {
        let tenant = scope.tenant_scope();
        let Some(code) = normal(code.expose()) else {
            return Ok(None);
        };
        let sender = format!("{}/{channel}/{account_id}/{sender_id}", tenant.tenant());
        let now = now_ms();
        if !self.link_failures.allows(&sender, now) {
            return Ok(None);
        }
        let Some(row) = codes::find(&*self.db.read(tenant).await?, tenant, KIND, &code).await? else {
            self.link_failures.failed(&sender, now);
            return Ok(None);
        };
        if self.active_user(tenant, &row.user_id).await?.is_none() {
            return Ok(None);
        }
        let tx = self.change(tenant).await?;
        if !codes::take(&*tx, tenant, &row.hash).await? {
            return Ok(None);
        }
        channel_link::Entity::insert(channel_link::ActiveModel {
            tenant_id: Set(tenant.tenant().clone()),
            channel: Set(channel.to_owned()),
            account_id: Set(account_id.to_owned()),
            sender_id: Set(sender_id.to_owned()),
            user_id: Set(row.user_id.clone()),
            created_at: Set(now),
        })
        .on_conflict(
            OnConflict::columns([
                channel_link::Column::TenantId,
                channel_link::Column::Channel,
                channel_link::Column::AccountId,
                channel_link::Column::SenderId,
            ])
            .update_columns([channel_link::Column::UserId, channel_link::Column::CreatedAt])
            .to_owned(),
        )
        .exec_without_returning(&*tx)
        .await?;
        pairing_request::Entity::delete_of_tenant(tenant)
            .filter(pairing_request::Column::Channel.eq(channel))
            .filter(pairing_request::Column::AccountId.eq(account_id))
            .filter(pairing_request::Column::SenderId.eq(sender_id))
            .exec(&*tx)
            .await?;
        let target = format!("{channel}/{account_id}");
        audit::append(&*tx, tenant, row.user_id.as_str(), "channel.link", &target, json!({})).await?;
        let mut batch = fenced(&tx, scope, epoch).await?;
        told(&mut batch)?;
        batch.run(&tx).await?;
        self.changed(tx).await?;
        Ok(Some(row.user_id))
    }

    /// The user's chat identities.
    pub async fn list_links(&self, scope: &Scope) -> Result<Vec<ChannelLink>> {
        let tx = self.db.read(scope).await?;
        let rows = channel_link::Entity::owned_by(scope)
            .order_by_asc(channel_link::Column::CreatedAt)
            .all(&*tx)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| ChannelLink {
                channel: row.channel,
                account_id: row.account_id,
                sender_id: row.sender_id,
                created_at: row.created_at,
            })
            .collect())
    }

    /// Unties a chat identity: its next message comes from a stranger again.
    pub async fn remove_link(&self, scope: &Scope, channel: &str, account_id: &str, sender_id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let deleted = channel_link::Entity::delete_owned(scope)
            .filter(channel_link::Column::Channel.eq(channel))
            .filter(channel_link::Column::AccountId.eq(account_id))
            .filter(channel_link::Column::SenderId.eq(sender_id))
            .exec(&*tx)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound { what: "link" });
        }
        let target = format!("{channel}/{account_id}");
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(&*tx, tenant, actor, "channel.unlink", &target, json!({})).await?;
        self.changed(tx).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use crate::config::identity::Role;

    #[test]
    fn a_code_is_told_from_a_message() {
        for yes in ["ABCD2345", " abcd2345\n", "abcd-2345"] {
            assert!(looks_like_link_code(yes), "{yes}");
        }
        for no in ["", "hello", "ABCD234", "ABCD23456", "ABCD 2345", "ABCDO345", "äbcd2345"] {
            assert!(!looks_like_link_code(no), "{no}");
        }
    }

    #[tokio::test]
    async fn a_code_links_one_sender_once() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let beta = testing::tenant(config, "beta").await;
        let code = config.create_link_code(&owner).await.expect("makes one");
        let epoch = server.epoch(&owner).await;
        let redeem = async |scope: &Scope, epoch: i64, sender: &str, code: &str| {
            let at = (scope, epoch);
            config
                .redeem_link_code(at, "telegram", "default", sender, &code.into(), |_| Ok(()))
                .await
        };
        let of_beta = testing::user(config, &beta, "b@beta.test", Role::Owner).await;
        assert_eq!(redeem(&of_beta, 0, "1", code.expose()).await.expect("reads"), None);
        // Without the right to write the reply the code is not used up.
        let refused = redeem(&owner, epoch - 1, "1", code.expose()).await;
        assert!(matches!(refused, Err(Error::Fenced)));
        assert_eq!(
            redeem(&owner, epoch, "1", &code.expose().to_lowercase())
                .await
                .expect("reads"),
            Some(owner.user().clone())
        );
        assert_eq!(redeem(&owner, epoch, "2", code.expose()).await.expect("reads"), None);
        assert_eq!(config.list_links(&owner).await.expect("lists")[0].sender_id, "1");
        config
            .remove_link(&owner, "telegram", "default", "1")
            .await
            .expect("unties");
        assert!(config.list_links(&owner).await.expect("lists").is_empty());
    }

    #[tokio::test]
    async fn guessing_stops_after_five_codes() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let code = config.create_link_code(&owner).await.expect("makes one");
        let epoch = server.epoch(&owner).await;
        let redeem = async |sender: &str, code: &str| {
            let at = (&owner, epoch);
            config
                .redeem_link_code(at, "telegram", "default", sender, &code.into(), |_| Ok(()))
                .await
                .expect("reads")
        };
        for _ in 0..5 {
            assert_eq!(redeem("guesser", "22222222").await, None);
            // An ordinary message is no guess.
            assert_eq!(redeem("talker", "hello there").await, None);
        }
        assert_eq!(redeem("guesser", code.expose()).await, None);
        assert_eq!(redeem("talker", code.expose()).await, Some(owner.user().clone()));
    }
}
