//! Channel accounts: listed, saved, removed.

use std::collections::HashMap;

use claw_entities::{
    TenantOwned, TenantScope, UserId, channel_account, channel_link, pairing_request, sender_approval, user,
};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::super::secrets::DataKey;
use super::super::{ConfigService, audit, secrets};
use super::{AccountDraft, AccountView, account_secret_name, policy, secrets_prefix};
use crate::clock::now_ms;
use crate::error::{Error, Result};

const MAX_CONFIG_BYTES: usize = 64 * 1024;

impl ConfigService {
    /// All accounts of the tenant, by channel and account.
    pub async fn list_accounts(&self, tenant: &TenantScope) -> Result<Vec<AccountView>> {
        let tx = self.db.read(tenant).await?;
        list(&*tx, tenant).await
    }

    /// Saves settings and secrets. An account whose `required` secrets are not all set cannot be enabled. What was
    /// saved counts as disconnected: its token may be another. A new owner starts without the guests the old one let in.
    pub async fn put_account(&self, tenant: &TenantScope, draft: AccountDraft, required: &[&str]) -> Result<()> {
        let data_key = self.data_key(tenant).await?;
        let tx = self.change(tenant).await?;
        put(&*tx, tenant, &data_key, self.actor(), &draft, required).await?;
        self.changed(tx).await
    }

    /// Switches an account on or off and leaves everything else of it as it is. Without its `required` secrets it cannot
    /// be switched on. With `owner`, anybody else's account is not found.
    pub async fn switch_account(
        &self,
        tenant: &TenantScope,
        (channel, account_id): (&str, &str),
        owner: Option<&UserId>,
        enabled: bool,
        required: &[&str],
    ) -> Result<()> {
        let tx = self.change(tenant).await?;
        let row = owned(&*tx, tenant, channel, account_id, owner).await?;
        if enabled {
            check_required(&*tx, tenant, channel, account_id, required).await?;
        }
        switch(&*tx, tenant, self.actor(), &row, enabled).await?;
        self.changed(tx).await
    }

    /// Takes an account's secrets away and switches it off. Gives whether there were any. `owner` as above.
    pub async fn log_out_account(
        &self,
        tenant: &TenantScope,
        (channel, account_id): (&str, &str),
        owner: Option<&UserId>,
    ) -> Result<bool> {
        let tx = self.change(tenant).await?;
        let row = owned(&*tx, tenant, channel, account_id, owner).await?;
        let prefix = secrets_prefix(channel, account_id);
        let had = !secrets::under(&*tx, tenant, &prefix).await?.is_empty();
        secrets::remove_under(&*tx, tenant, &prefix).await?;
        switch(&*tx, tenant, self.actor(), &row, false).await?;
        self.changed(tx).await?;
        Ok(had)
    }

    /// Removes the account, its secrets, its guests and its links. Disconnecting is the caller's business, before.
    pub async fn delete_account(&self, tenant: &TenantScope, channel: &str, account_id: &str) -> Result<()> {
        let tx = self.change(tenant).await?;
        delete(&*tx, tenant, self.actor(), channel, account_id).await?;
        self.changed(tx).await
    }
}

/// All accounts of the tenant, within the caller's transaction.
pub(in crate::config) async fn list(tx: &impl ConnectionTrait, tenant: &TenantScope) -> Result<Vec<AccountView>> {
    let rows = channel_account::Entity::of_tenant(tenant)
        .order_by_asc(channel_account::Column::Channel)
        .order_by_asc(channel_account::Column::AccountId)
        .all(tx)
        .await?;
    let mut names: HashMap<(String, String), Vec<String>> = HashMap::new();
    for row in secrets::under(tx, tenant, "channel/").await? {
        let mut parts = row.name.splitn(4, '/').skip(1).map(str::to_owned);
        if let (Some(channel), Some(account), Some(name)) = (parts.next(), parts.next(), parts.next()) {
            names.entry((channel, account)).or_default().push(name);
        }
    }
    Ok(rows
        .into_iter()
        .map(|row| AccountView {
            secrets_set: names
                .remove(&(row.channel.clone(), row.account_id.clone()))
                .unwrap_or_default(),
            channel: row.channel,
            account_id: row.account_id,
            owner: row.user_id,
            enabled: row.enabled,
            config: row.config,
            identity: row.identity,
            status: row.status,
            status_detail: row.status_detail,
        })
        .collect())
}

/// What [`ConfigService::put_account`] does, within the caller's transaction.
pub(in crate::config) async fn put(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    data_key: &DataKey,
    actor: &str,
    draft: &AccountDraft,
    required: &[&str],
) -> Result<()> {
    check(draft)?;
    let owner = user::Entity::of_tenant(tenant)
        .filter(user::Column::Id.eq(draft.owner.clone()))
        .one(tx)
        .await?;
    if owner.is_none() {
        return Err(Error::NotFound { what: "user" });
    }
    let (channel, account_id) = (draft.channel.as_str(), draft.account_id.as_str());
    for (name, value) in draft
        .secrets
        .iter()
        .filter(|(_, value)| !value.expose().trim().is_empty())
    {
        let name = account_secret_name(channel, account_id, name);
        secrets::put(tx, tenant, data_key, &name, value).await?;
    }
    if draft.enabled {
        check_required(tx, tenant, channel, account_id, required).await?;
    }
    let before = find(tx, tenant, channel, account_id).await?;
    if before.as_ref().is_some_and(|row| row.user_id != draft.owner) {
        delete_guests(tx, tenant, channel, account_id).await?;
    }
    let now = now_ms();
    channel_account::Entity::insert(channel_account::ActiveModel {
        tenant_id: Set(tenant.tenant().clone()),
        channel: Set(draft.channel.clone()),
        account_id: Set(draft.account_id.clone()),
        user_id: Set(draft.owner.clone()),
        enabled: Set(draft.enabled),
        config: Set(draft.config.clone()),
        identity: Set(json!({})),
        status: Set("disconnected".to_owned()),
        status_detail: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
    })
    .on_conflict(
        OnConflict::columns([
            channel_account::Column::TenantId,
            channel_account::Column::Channel,
            channel_account::Column::AccountId,
        ])
        .update_columns([
            channel_account::Column::UserId,
            channel_account::Column::Enabled,
            channel_account::Column::Config,
            channel_account::Column::Status,
            channel_account::Column::StatusDetail,
            channel_account::Column::UpdatedAt,
        ])
        .to_owned(),
    )
    .exec_without_returning(tx)
    .await?;
    let mut changed: Vec<_> = draft.secrets.iter().map(|(name, _)| name.as_str()).collect();
    changed.sort_unstable();
    let detail = json!({ "enabled": draft.enabled, "owner": draft.owner, "secrets": changed });
    let target = format!("{channel}/{account_id}");
    audit::append(tx, tenant, actor, "channel.set", &target, detail).await?;
    Ok(())
}

/// An account cannot be enabled before its required secrets are stored.
async fn check_required(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    channel: &str,
    account_id: &str,
    required: &[&str],
) -> Result<()> {
    let set = secrets::under(tx, tenant, &secrets_prefix(channel, account_id)).await?;
    let missing: Vec<_> = required
        .iter()
        .filter(|name| {
            let name = account_secret_name(channel, account_id, name);
            !set.iter().any(|row| row.name == name)
        })
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{channel} cannot be enabled without {}",
        missing.join(", ")
    )))
}

/// The account, where it is `owner`'s; anybody's without one.
async fn owned(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    channel: &str,
    account_id: &str,
    owner: Option<&UserId>,
) -> Result<channel_account::Model> {
    find(tx, tenant, channel, account_id)
        .await?
        .filter(|row| owner.is_none_or(|owner| row.user_id == *owner))
        .ok_or(Error::NotFound {
            what: "channel account",
        })
}

async fn switch(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    actor: &str,
    row: &channel_account::Model,
    enabled: bool,
) -> Result<()> {
    channel_account::Entity::update_of_tenant(tenant)
        .filter(channel_account::Column::Channel.eq(row.channel.as_str()))
        .filter(channel_account::Column::AccountId.eq(row.account_id.as_str()))
        .col_expr(channel_account::Column::Enabled, Expr::value(enabled))
        .col_expr(channel_account::Column::Status, Expr::value("disconnected"))
        .col_expr(
            channel_account::Column::StatusDetail,
            Expr::value(Option::<String>::None),
        )
        .col_expr(channel_account::Column::UpdatedAt, Expr::value(now_ms()))
        .exec(tx)
        .await?;
    let detail = json!({ "enabled": enabled, "owner": row.user_id });
    let target = format!("{}/{}", row.channel, row.account_id);
    audit::append(tx, tenant, actor, "channel.set", &target, detail).await?;
    Ok(())
}

/// What [`ConfigService::delete_account`] does, within the caller's transaction.
pub(in crate::config) async fn delete(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    actor: &str,
    channel: &str,
    account_id: &str,
) -> Result<()> {
    let deleted = channel_account::Entity::delete_of_tenant(tenant)
        .filter(channel_account::Column::Channel.eq(channel))
        .filter(channel_account::Column::AccountId.eq(account_id))
        .exec(tx)
        .await?;
    if deleted.rows_affected == 0 {
        return Err(Error::NotFound {
            what: "channel account",
        });
    }
    secrets::remove_under(tx, tenant, &secrets_prefix(channel, account_id)).await?;
    delete_guests(tx, tenant, channel, account_id).await?;
    channel_link::Entity::delete_of_tenant(tenant)
        .filter(channel_link::Column::Channel.eq(channel))
        .filter(channel_link::Column::AccountId.eq(account_id))
        .exec(tx)
        .await?;
    let target = format!("{channel}/{account_id}");
    audit::append(tx, tenant, actor, "channel.delete", &target, json!({})).await?;
    Ok(())
}

pub(super) async fn find(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    channel: &str,
    account_id: &str,
) -> Result<Option<channel_account::Model>> {
    Ok(channel_account::Entity::of_tenant(tenant)
        .filter(channel_account::Column::Channel.eq(channel))
        .filter(channel_account::Column::AccountId.eq(account_id))
        .one(tx)
        .await?)
}

async fn delete_guests(tx: &impl ConnectionTrait, tenant: &TenantScope, channel: &str, account_id: &str) -> Result<()> {
    sender_approval::Entity::delete_of_tenant(tenant)
        .filter(sender_approval::Column::Channel.eq(channel))
        .filter(sender_approval::Column::AccountId.eq(account_id))
        .exec(tx)
        .await?;
    pairing_request::Entity::delete_of_tenant(tenant)
        .filter(pairing_request::Column::Channel.eq(channel))
        .filter(pairing_request::Column::AccountId.eq(account_id))
        .exec(tx)
        .await?;
    Ok(())
}

fn check(draft: &AccountDraft) -> Result<()> {
    let id = &draft.account_id;
    let plain = !id.is_empty()
        && id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if !plain {
        return Err(Error::invalid("an account id has 1 to 64 of a-z, 0-9, - and _"));
    }
    policy::check(&draft.config)?;
    if draft.config.to_string().len() > MAX_CONFIG_BYTES {
        return Err(Error::TooLarge(
            "the settings of a channel have at most 64 KiB".to_owned(),
        ));
    }
    for (name, value) in &draft.secrets {
        if name.is_empty() || name.contains('/') || name.len() > 64 || value.expose().len() > 16 * 1024 {
            return Err(Error::invalid(
                "a secret's name has 1 to 64 characters and its value at most 16 KiB",
            ));
        }
        if draft.config.get(name).is_some() {
            return Err(Error::Invalid(format!(
                "{name} is a secret and does not belong into the settings"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use crate::config::identity::Role;
    use crate::crypto::Secret;

    pub(in crate::config::accounts) fn draft(owner: &claw_entities::Scope, enabled: bool) -> AccountDraft {
        AccountDraft {
            channel: "telegram".to_owned(),
            account_id: "default".to_owned(),
            owner: owner.user().clone(),
            enabled,
            config: json!({"dmPolicy": "pairing"}),
            secrets: vec![],
        }
    }

    #[tokio::test]
    async fn an_account_needs_its_secrets_to_be_enabled() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let refused = config.put_account(tenant, draft(&owner, true), &["botToken"]).await;
        assert!(matches!(refused, Err(Error::Invalid(text)) if text.contains("botToken")));
        let blank = AccountDraft {
            secrets: vec![("botToken".into(), " ".into())],
            ..draft(&owner, true)
        };
        assert!(config.put_account(tenant, blank, &["botToken"]).await.is_err());
        let whole = AccountDraft {
            secrets: vec![("botToken".into(), "1:a".into())],
            ..draft(&owner, true)
        };
        config.put_account(tenant, whole, &["botToken"]).await.expect("saves");
        // Absent secrets keep their stored value.
        config
            .put_account(tenant, draft(&owner, true), &["botToken"])
            .await
            .expect("saves");
        let listed = config.list_accounts(tenant).await.expect("lists");
        assert_eq!(listed[0].secrets_set, ["botToken"]);
        let account = config
            .account(owner.tenant(), "telegram", "default")
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(account.account.secret("botToken"), Some(&Secret::new("1:a")));
        assert!(account.enabled && account.owner == *owner.user());

        let leak = AccountDraft {
            config: json!({"botToken": "1:a"}),
            secrets: vec![("botToken".into(), "1:a".into())],
            ..draft(&owner, true)
        };
        assert!(matches!(
            config.put_account(tenant, leak, &[]).await,
            Err(Error::Invalid(_))
        ));
        let foreign = AccountDraft {
            owner: "nobody".into(),
            ..draft(&owner, false)
        };
        assert!(matches!(
            config.put_account(tenant, foreign, &[]).await,
            Err(Error::NotFound { .. })
        ));
    }

    #[tokio::test]
    async fn a_removed_account_leaves_nothing_behind() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let whole = AccountDraft {
            secrets: vec![("botToken".into(), "1:a".into())],
            ..draft(&owner, true)
        };
        config.put_account(tenant, whole, &[]).await.expect("saves");
        let epoch = server.epoch(&owner).await;
        config
            .ask_pairing(&owner, epoch, testing::stranger("9"), |_, _| Ok(()))
            .await
            .expect("asks");
        config
            .account(owner.tenant(), "telegram", "default")
            .await
            .expect("reads")
            .expect("cached");
        config
            .delete_account(tenant, "telegram", "default")
            .await
            .expect("removes");
        assert!(
            config
                .account(owner.tenant(), "telegram", "default")
                .await
                .expect("reads")
                .is_none()
        );
        assert!(config.list_pairing(&owner).await.expect("lists").is_empty());
        let name = account_secret_name("telegram", "default", "botToken");
        assert_eq!(config.secret(tenant, &name).await.expect("reads"), None);
        let again = config.delete_account(tenant, "telegram", "default").await;
        assert!(matches!(again, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_new_owner_does_not_inherit_guests() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let second = testing::user(config, tenant, "second@acme.test", Role::Member).await;
        config
            .put_account(tenant, draft(&owner, true), &[])
            .await
            .expect("saves");
        let epoch = server.epoch(&owner).await;
        config
            .ask_pairing(&owner, epoch, testing::stranger("9"), |_, _| Ok(()))
            .await
            .expect("asks");
        let request = config.list_pairing(&owner).await.expect("lists").remove(0);
        config.approve_pairing(&owner, &request.id).await.expect("approves");
        let guests = async || {
            let account = config
                .account(owner.tenant(), "telegram", "default")
                .await
                .expect("reads")
                .expect("there");
            account.approved.len()
        };
        assert_eq!(guests().await, 1);
        config
            .put_account(tenant, draft(&second, true), &[])
            .await
            .expect("hands over");
        assert_eq!(guests().await, 0);
    }
}
