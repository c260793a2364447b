//! Is an account connected to its platform: what is noted about that, and which accounts wait for it.

use std::collections::BTreeMap;

use claw_entities::{PlatformTable, Scope, TenantId, TenantOwned, TenantScope, UserId, channel_account};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use serde_json::Value;

use super::super::{ConfigService, secrets};
use super::account_secret_name;
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::db::Tx;
use crate::error::Result;

/// Which account of which tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountName {
    pub tenant: TenantScope,
    pub channel: String,
    pub account_id: String,
}

impl ConfigService {
    /// The platform took our webhook: notes who the bot is, with the secrets that connecting made, in one step.
    pub async fn account_connected(
        &self,
        name: &AccountName,
        generated: &BTreeMap<String, Secret>,
        identity: Value,
    ) -> Result<()> {
        let data_key = self.data_key(&name.tenant).await?;
        let tx = self.change(&name.tenant).await?;
        for (secret, value) in generated {
            let secret = account_secret_name(&name.channel, &name.account_id, secret);
            secrets::put(&*tx, &name.tenant, &data_key, &secret, value).await?;
        }
        note(&tx, name, "connected", None, Some(identity)).await?;
        self.changed(tx).await
    }

    /// Notes more about who the bot is: only while the account is connected and known as it was `before`.
    pub async fn account_known(&self, name: &AccountName, before: &Value, identity: Value) -> Result<()> {
        // The revision's row is the first lock of every change: nothing comes between the look and the note.
        let tx = self.change(&name.tenant).await?;
        let row = channel_account::Entity::of_tenant(&name.tenant)
            .filter(channel_account::Column::Channel.eq(name.channel.as_str()))
            .filter(channel_account::Column::AccountId.eq(name.account_id.as_str()))
            .filter(channel_account::Column::Status.eq("connected"))
            .one(&*tx)
            .await?;
        if row.is_none_or(|row| row.identity != *before) {
            return Ok(());
        }
        channel_account::Entity::update_of_tenant(&name.tenant)
            .col_expr(channel_account::Column::Identity, Expr::value(identity))
            .filter(channel_account::Column::Channel.eq(name.channel.as_str()))
            .filter(channel_account::Column::AccountId.eq(name.account_id.as_str()))
            .filter(channel_account::Column::Status.eq("connected"))
            .exec(&*tx)
            .await?;
        self.changed(tx).await
    }

    /// Notes how the platform answered: `disconnected`, `unauthorized` or `error`; or what there is to say of a `connected` one.
    pub async fn set_account_status(&self, name: &AccountName, status: &str, detail: Option<&str>) -> Result<()> {
        let tx = self.change(&name.tenant).await?;
        note(&tx, name, status, detail, None).await?;
        self.changed(tx).await
    }

    /// Notes why events of a connected account do not arrive; `None`: they do, and nothing else that is noted changes.
    pub async fn account_trouble(&self, name: &AccountName, trouble: Option<&str>) -> Result<()> {
        let detail = trouble.map(|trouble| shortened(&format!("{TROUBLE}{trouble}")));
        // Nothing comes between the look and the note.
        let tx = self.change(&name.tenant).await?;
        let row = channel_account::Entity::of_tenant(&name.tenant)
            .filter(channel_account::Column::Channel.eq(name.channel.as_str()))
            .filter(channel_account::Column::AccountId.eq(name.account_id.as_str()))
            .filter(channel_account::Column::Status.eq("connected"))
            .lock_exclusive()
            .one(&*tx)
            .await?;
        let Some(before) = row.map(|row| row.status_detail) else {
            return Ok(());
        };
        let noted = before.as_deref().is_some_and(|detail| detail.starts_with(TROUBLE));
        if before == detail || (detail.is_none() && !noted) {
            return Ok(());
        }
        note(&tx, name, "connected", detail.as_deref(), None).await?;
        self.changed(tx).await
    }

    /// Enabled accounts of all who are served that no platform was pointed at yet, and those whose last try failed
    /// before `retry_before` (epoch milliseconds).
    pub async fn unconnected_accounts(&self, retry_before: i64) -> Result<Vec<AccountName>> {
        let served = self.served_accounts(unconnected(retry_before)).await?;
        Ok(served.into_iter().map(|(name, _)| name).collect())
    }

    /// Connected accounts on these channels of all who are served, and who each is there.
    pub async fn connected_accounts(&self, channels: &[&str]) -> Result<Vec<(AccountName, Value)>> {
        let connected = Condition::all()
            .add(channel_account::Column::Enabled.eq(true))
            .add(channel_account::Column::Status.eq("connected"))
            .add(channel_account::Column::Channel.is_in(channels.iter().copied()));
        self.served_accounts(connected).await
    }

    async fn served_accounts(&self, which: Condition) -> Result<Vec<(AccountName, Value)>> {
        let tx = self.db.system_read().await?;
        let rows: Vec<(TenantId, UserId, String, String, Value)> = channel_account::Entity::platform()
            .select_only()
            .columns([
                channel_account::Column::TenantId,
                channel_account::Column::UserId,
                channel_account::Column::Channel,
                channel_account::Column::AccountId,
                channel_account::Column::Identity,
            ])
            .filter(which)
            .into_tuple()
            .all(&*tx)
            .await?;
        let served = rows
            .into_iter()
            .filter_map(|(tenant, owner, channel, account_id, identity)| {
                let owner = Scope::vouch(tenant, owner);
                let name = AccountName {
                    tenant: owner.tenant_scope().clone(),
                    channel,
                    account_id,
                };
                (!self.is_locked(&owner)).then_some((name, identity))
            });
        Ok(served.collect())
    }

    /// Does [`Self::unconnected_accounts`] still name this one.
    pub async fn is_unconnected(&self, name: &AccountName, retry_before: i64) -> Result<bool> {
        let tx = self.db.read(&name.tenant).await?;
        let row = channel_account::Entity::of_tenant(&name.tenant)
            .filter(channel_account::Column::Channel.eq(name.channel.as_str()))
            .filter(channel_account::Column::AccountId.eq(name.account_id.as_str()))
            .filter(unconnected(retry_before))
            .one(&*tx)
            .await?;
        Ok(row.is_some())
    }
}

fn unconnected(retry_before: i64) -> Condition {
    let failed = Condition::all()
        .add(channel_account::Column::Status.eq("error"))
        .add(channel_account::Column::UpdatedAt.lt(retry_before));
    Condition::all().add(channel_account::Column::Enabled.eq(true)).add(
        Condition::any()
            .add(channel_account::Column::Status.eq("disconnected"))
            .add(failed),
    )
}

/// What the detail of an account begins with whose events do not arrive.
const TROUBLE: &str = "Messages may not arrive: ";

fn shortened(detail: &str) -> String {
    detail.chars().take(500).collect()
}

async fn note(tx: &Tx, name: &AccountName, status: &str, detail: Option<&str>, identity: Option<Value>) -> Result<()> {
    let detail = detail.map(shortened);
    let mut update = channel_account::Entity::update_of_tenant(&name.tenant)
        .col_expr(channel_account::Column::Status, Expr::value(status))
        .col_expr(channel_account::Column::StatusDetail, Expr::value(detail))
        .col_expr(channel_account::Column::UpdatedAt, Expr::value(now_ms()));
    if let Some(identity) = identity {
        update = update.col_expr(channel_account::Column::Identity, Expr::value(identity));
    }
    update
        .filter(channel_account::Column::Channel.eq(name.channel.as_str()))
        .filter(channel_account::Column::AccountId.eq(name.account_id.as_str()))
        .exec(&**tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::json;

    use super::super::super::testing;
    use super::super::AccountDraft;
    use super::*;

    #[tokio::test]
    async fn an_account_waits_until_it_is_connected_and_again_after_a_change_or_a_failure() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let name = AccountName {
            tenant: owner.tenant_scope().clone(),
            channel: "telegram".to_owned(),
            account_id: "default".to_owned(),
        };
        let save = async |enabled| {
            let draft = AccountDraft {
                channel: name.channel.clone(),
                account_id: name.account_id.clone(),
                owner: owner.user().clone(),
                enabled,
                config: json!({}),
                secrets: Vec::new(),
            };
            config.put_account(&name.tenant, draft, &[]).await.expect("saves");
        };
        let waiting = async |before| config.unconnected_accounts(before).await.expect("reads");
        let connect = async || {
            let generated = BTreeMap::from([("webhookSecret".to_owned(), Secret::new("w"))]);
            let identity = json!({"id": 7});
            config
                .account_connected(&name, &generated, identity)
                .await
                .expect("notes");
        };
        save(false).await;
        assert_eq!(waiting(0).await, []);
        save(true).await;
        assert_eq!(&waiting(0).await, slice::from_ref(&name));
        assert!(config.is_unconnected(&name, 0).await.expect("reads"));

        connect().await;
        assert_eq!(waiting(i64::MAX).await, []);
        let account = config.account(owner.tenant(), "telegram", "default").await;
        let account = account.expect("reads").expect("there");
        assert_eq!(
            (account.status.as_str(), &account.account.identity),
            ("connected", &json!({"id": 7}))
        );
        assert_eq!(account.account.secret("webhookSecret"), Some(&Secret::new("w")));

        save(true).await;
        assert_eq!(&waiting(0).await, slice::from_ref(&name));
        config
            .set_account_status(&name, "error", Some("away"))
            .await
            .expect("notes");
        assert_eq!(waiting(0).await, []);
        assert_eq!(&waiting(i64::MAX).await, slice::from_ref(&name));
        config
            .set_account_status(&name, "unauthorized", None)
            .await
            .expect("notes");
        assert_eq!(waiting(i64::MAX).await, []);

        // A menu that was offered for a bot which is another by now, or gone, is noted nowhere.
        let known = async |before: Value| {
            let with_menu = json!({"id": 7, "menu": "new"});
            config.account_known(&name, &before, with_menu).await.expect("notes");
            let account = config.account(owner.tenant(), "telegram", "default").await;
            let account = account.expect("reads").expect("there");
            (account.status.clone(), account.account.identity.clone())
        };
        save(true).await;
        assert_eq!(known(json!({"id": 7})).await.0, "disconnected");
        connect().await;
        assert_eq!(
            known(json!({"id": 6})).await,
            ("connected".to_owned(), json!({"id": 7}))
        );
        assert_eq!(known(json!({"id": 7})).await.1, json!({"id": 7, "menu": "new"}));

        // What does not arrive is noted while the account is connected, and no other note goes with it.
        let troubled = async |trouble: Option<&str>| {
            config.account_trouble(&name, trouble).await.expect("notes");
            let accounts = config.list_accounts(&name.tenant).await.expect("reads");
            (accounts[0].status.clone(), accounts[0].status_detail.clone())
        };
        let connected = |detail: Option<&str>| ("connected".to_owned(), detail.map(str::to_owned));
        assert_eq!(troubled(Some("x")).await, connected(Some("Messages may not arrive: x")));
        assert_eq!(troubled(None).await, connected(None));
        let noted = config.set_account_status(&name, "connected", Some("set again"));
        noted.await.expect("notes");
        assert_eq!(troubled(None).await, connected(Some("set again")));
        save(true).await;
        assert_eq!(troubled(Some("x")).await, ("disconnected".to_owned(), None));

        save(true).await;
        config.suspend_tenant(&name.tenant, true).await.expect("suspends");
        assert_eq!(waiting(i64::MAX).await, []);
    }
}
