//! `channels` ↔ the tenant's channel accounts. The block of a platform is its default account; `accounts.<id>` are
//! further ones, which take over the block's settings (never its secrets) when they are new.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use super::super::accounts::{AccountDraft, AccountView, account_secret_name, crud};
use super::super::document::{REDACTED, is_secret_key};
use super::super::schema::{PLATFORMS, Platform, Weight};
use super::super::secrets;
use super::{Given, Writing, patch};
use crate::error::Result;

const DEFAULT: &str = "default";

/// The accounts as the configuration spells them: a block per platform.
pub(super) fn blocks<'a>(accounts: impl Iterator<Item = &'a AccountView>) -> Map<String, Value> {
    let mut blocks: Map<String, Value> = Map::new();
    for account in accounts {
        let block = blocks.entry(account.channel.clone()).or_insert_with(|| json!({}));
        let entry = entry(account);
        if account.account_id == DEFAULT {
            if let Value::Object(block) = block {
                block.extend(entry);
            }
        } else {
            block["accounts"][account.account_id.as_str()] = Value::Object(entry);
        }
    }
    blocks
}

fn entry(account: &AccountView) -> Map<String, Value> {
    let mut entry = account.config.as_object().cloned().unwrap_or_default();
    entry.insert("enabled".to_owned(), json!(account.enabled));
    for name in &account.secrets_set {
        entry.insert(name.clone(), json!(REDACTED));
    }
    entry
}

/// The accounts of one platform's block, by id.
fn accounts_of(section: &Value, platform: &str) -> BTreeMap<String, Map<String, Value>> {
    let mut block = section
        .get(platform)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let named = block.remove("accounts");
    let mut accounts = BTreeMap::new();
    if !block.is_empty() {
        accounts.insert(DEFAULT.to_owned(), block);
    }
    for (id, entry) in named.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let entry = entry.as_object().cloned().unwrap_or_default();
        accounts.entry(id.clone()).or_default().extend(entry);
    }
    accounts
}

fn path_of(platform: &str, id: &str) -> String {
    if id == DEFAULT {
        format!("channels.{platform}")
    } else {
        format!("channels.{platform}.accounts.{id}")
    }
}

impl<C: ConnectionTrait> Writing<'_, C> {
    /// Makes the tenant's accounts what `new` (the section `channels`) says, where it differs from `old`.
    pub(super) async fn store_accounts(&mut self, stored: &[AccountView], old: &Value, new: &Value) -> Result<()> {
        let tenant = self.user.scope.tenant_scope();
        for platform in PLATFORMS {
            let (old, new) = (accounts_of(old, platform.id), accounts_of(new, platform.id));
            for id in old.keys().filter(|id| !new.contains_key(*id)) {
                crud::delete(self.tx, tenant, self.actor, platform.id, id).await?;
            }
            for (id, entry) in new.iter().filter(|(id, entry)| old.get(*id) != Some(*entry)) {
                let before = stored
                    .iter()
                    .find(|view| view.channel == platform.id && view.account_id == *id);
                let mut entry = entry.clone();
                if before.is_none() && id != DEFAULT {
                    let shared = new.get(DEFAULT).into_iter().flatten();
                    for (key, value) in shared.filter(|(key, _)| !is_secret_key(key) && *key != "enabled") {
                        entry.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                self.store_account(platform, id, entry, before).await?;
            }
        }
        Ok(())
    }

    async fn store_account(
        &mut self,
        platform: &Platform,
        id: &str,
        entry: Map<String, Value>,
        before: Option<&AccountView>,
    ) -> Result<()> {
        let path = path_of(platform.id, id);
        let mut enabled = true;
        let mut config = Map::new();
        let mut set = Vec::new();
        let mut kept = Vec::new();
        for (key, value) in entry {
            if key == "enabled" {
                enabled = value.as_bool().unwrap_or(true);
            } else if is_secret_key(&key) {
                let stored = before.is_some_and(|before| before.secrets_set.contains(&key));
                match self.secret(&format!("{path}.{key}"), &value, stored) {
                    Some(Given::Kept) => kept.push(key),
                    Some(Given::New(secret)) => set.push((key, secret)),
                    None => {}
                }
            } else {
                config.insert(key, value);
            }
        }
        let mut config = Value::Object(config);
        let original = before.map_or(Value::Null, |before| before.config.clone());
        if let Err(path) = patch::unmask(&mut config, &original, &path) {
            self.refuse(path, "stands for no stored secret");
        }
        let has = |name: &str| kept.iter().any(|key| key == name) || set.iter().any(|(key, _)| key == name);
        let missing: Vec<&str> = platform.required.iter().copied().filter(|name| !has(name)).collect();
        if enabled && !missing.is_empty() {
            enabled = false;
            let note = format!("switched off until {} is entered", missing.join(" and "));
            self.say(Weight::Notice, path.clone(), note);
        }
        let tenant = self.user.scope.tenant_scope();
        let gone: Vec<String> = before
            .into_iter()
            .flat_map(|before| &before.secrets_set)
            .filter(|name| !has(name))
            .map(|name| account_secret_name(platform.id, id, name))
            .collect();
        secrets::remove(self.tx, tenant, &gone).await?;
        let draft = AccountDraft {
            channel: platform.id.to_owned(),
            account_id: id.to_owned(),
            owner: before.map_or_else(|| self.user.scope.user().clone(), |before| before.owner.clone()),
            enabled,
            config,
            secrets: set,
        };
        let put = crud::put(self.tx, tenant, self.data_key, self.actor, &draft, &[]).await;
        self.refused(&path, put)
    }
}
