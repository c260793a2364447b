//! An account made ready for the hot path, cached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claw_entities::{
    Scope, TenantId, TenantOwned, TenantScope, UserOwned, channel_account, channel_link, sender_approval,
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use super::super::cache::triple;
use super::super::{ConfigService, secrets};
use super::{AccessPolicy, AccountName, ReactionNotices, ResolvedAccount, crud, secrets_prefix};
use crate::config::document::{UserSettings, store};
use crate::error::Result;
use crate::ports::channel::Account;

impl ResolvedAccount {
    /// The user the account is assigned to.
    pub fn owner_scope(&self) -> Scope {
        Scope::vouch(self.account.tenant.clone(), self.owner.clone())
    }

    pub(crate) fn name(&self) -> AccountName {
        AccountName {
            tenant: self.owner_scope().tenant_scope().clone(),
            channel: self.account.channel.clone(),
            account_id: self.account.account_id.clone(),
        }
    }
}

impl ConfigService {
    /// The account, ready to use (cached; absence is not).
    pub async fn account(
        &self,
        tenant: &TenantId,
        channel: &str,
        account_id: &str,
    ) -> Result<Option<Arc<ResolvedAccount>>> {
        let key = triple(tenant, channel, account_id);
        if let Some(account) = self.cache.accounts.get(&key) {
            return Ok(Some(account));
        }
        let seen = self.cache.generation();
        let tenant = TenantScope::vouch(tenant.clone());
        let tx = self.db.read(&tenant).await?;
        let Some(row) = crud::find(&*tx, &tenant, channel, account_id).await? else {
            return Ok(None);
        };
        let links = channel_link::Entity::of_tenant(&tenant)
            .filter(channel_link::Column::Channel.eq(channel))
            .filter(channel_link::Column::AccountId.eq(account_id))
            .all(&*tx)
            .await?;
        let approved = sender_approval::Entity::of_tenant(&tenant)
            .filter(sender_approval::Column::Channel.eq(channel))
            .filter(sender_approval::Column::AccountId.eq(account_id))
            .filter(sender_approval::Column::UserId.eq(row.user_id.clone()))
            .all(&*tx)
            .await?;
        let prefix = secrets_prefix(channel, account_id);
        let sealed = secrets::under(&*tx, &tenant, &prefix).await?;
        let owner = Scope::vouch(row.tenant_id.clone(), row.user_id.clone());
        // As old as the rest, and no older: what is kept of the settings may be.
        let document = store::read(&*tx, &owner).await?;
        drop(tx);
        let settings = UserSettings::parse(&document.map(|document| document.doc).unwrap_or_default());
        let mut opened = BTreeMap::new();
        if !sealed.is_empty() {
            let data_key = self.data_key(&tenant).await?;
            for row in &sealed {
                opened.insert(row.name[prefix.len()..].to_owned(), data_key.open(row)?);
            }
        }
        let account = Arc::new(ResolvedAccount {
            enabled: row.enabled,
            owner: row.user_id,
            links: links.into_iter().map(|link| (link.sender_id, link.user_id)).collect(),
            approved: approved.into_iter().map(|approval| approval.sender_id).collect(),
            policy: AccessPolicy::parse(channel, &row.config, &settings.access_groups),
            notices: ReactionNotices::of(channel, &row.config, &settings.access_groups),
            status: row.status,
            account: Account {
                tenant: row.tenant_id,
                channel: row.channel,
                account_id: row.account_id,
                config: row.config,
                identity: row.identity,
                secrets: opened,
            },
        });
        self.cache.keep(&self.cache.accounts, seen, key, Arc::clone(&account));
        Ok(Some(account))
    }

    /// The user's own accounts, and those that know the user by a link (cached).
    pub(crate) async fn accounts_around(&self, scope: &Scope) -> Result<Arc<[Arc<ResolvedAccount>]>> {
        if let Some(accounts) = self.cache.accounts_around.get(scope) {
            return Ok(accounts);
        }
        let seen = self.cache.generation();
        let linked = self.list_links(scope).await?.into_iter();
        let tx = self.db.read(scope).await?;
        let own: Vec<(String, String)> = channel_account::Entity::owned_by(scope)
            .select_only()
            .columns([channel_account::Column::Channel, channel_account::Column::AccountId])
            .into_tuple()
            .all(&*tx)
            .await?;
        drop(tx);
        let names: BTreeSet<_> = linked.map(|link| (link.channel, link.account_id)).chain(own).collect();
        let mut accounts = Vec::with_capacity(names.len());
        for (channel, account_id) in names {
            accounts.extend(self.account(scope.tenant(), &channel, &account_id).await?);
        }
        let accounts: Arc<[Arc<ResolvedAccount>]> = accounts.into();
        self.cache
            .keep(&self.cache.accounts_around, seen, scope.clone(), Arc::clone(&accounts));
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::AccountDraft;

    #[tokio::test]
    async fn a_known_account_needs_no_database_and_an_unknown_one_is_looked_up_again() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let read = async || config.account(owner.tenant(), "slack", "default").await;
        assert!(read().await.expect("reads").is_none());
        let draft = AccountDraft {
            channel: "slack".to_owned(),
            account_id: "default".to_owned(),
            owner: owner.user().clone(),
            enabled: true,
            config: serde_json::json!({}),
            secrets: vec![("signingSecret".into(), "s".into())],
        };
        // Saved by another process: absence was not cached, so it is seen at once.
        server
            .another_process()
            .put_account(owner.tenant_scope(), draft, &["signingSecret"])
            .await
            .expect("saves");
        assert!(read().await.expect("reads").is_some());
        server.db.clone().close().await;
        assert!(read().await.expect("cached").is_some());
    }
}
