//! The keys of a provider. Each has a name; all are sealed, and none is ever shown.

use claw_entities::{TenantOwned, TenantScope, key_health, provider, secret};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter};
use serde_json::{Map, Value, json};

use super::super::document::REDACTED;
use super::super::secrets::DataKey;
use super::super::{ConfigService, audit, secrets};
use super::crud::{PREFIX, seal_each};
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::error::{Error, Result};

/// Name of the key that a configuration has in `apiKey`.
pub const DEFAULT: &str = "default";
/// Where a configuration has the others: an object of names.
pub const API_KEYS: &str = "apiKeys";
const KEY_ORDER: &str = "keyOrder";
/// Keys of one provider beside the default one.
const MOST: usize = 32;
/// Longest key, in bytes.
const LONGEST: usize = 16 * 1024;

/// A key as OpenClaw clients name it: `<provider>:<name>`.
pub fn profile_id(provider: &str, name: &str) -> String {
    format!("{provider}:{name}")
}

/// The name in a profile id of this provider; a bare name is one already.
pub(super) fn name_in<'a>(provider: &str, profile: &'a str) -> &'a str {
    let rest = profile.strip_prefix(provider).and_then(|rest| rest.strip_prefix(':'));
    rest.unwrap_or(profile)
}

fn prefix(id: &str) -> String {
    format!("{PREFIX}{id}/key/")
}

pub(super) fn row_name(id: &str, name: &str) -> String {
    if name == DEFAULT {
        format!("{PREFIX}{id}/apiKey")
    } else {
        format!("{}{name}", prefix(id))
    }
}

/// The provider's keys among the tenant's secrets, the default one first.
pub(super) fn of(id: &str, sealed: &[secret::Model]) -> Vec<(String, secret::Model)> {
    let (default, prefix) = (row_name(id, DEFAULT), prefix(id));
    let first = sealed.iter().find(|row| row.name == default);
    let mut others: Vec<_> = sealed
        .iter()
        .filter_map(|row| Some((row.name.strip_prefix(&prefix)?.to_owned(), row.clone())))
        .collect();
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    let first = first.map(|row| (DEFAULT.to_owned(), row.clone()));
    first.into_iter().chain(others).collect()
}

/// Names in the configured order.
pub(super) fn order(config: &Value) -> Vec<String> {
    let names = config.get(KEY_ORDER).and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Are the keys in these settings such that they can be stored.
pub(super) fn check(config: &Value) -> Result<()> {
    let keys = match config.get(API_KEYS) {
        None => &Map::new(),
        Some(Value::Object(keys)) => keys,
        Some(_) => return Err(Error::invalid("apiKeys is an object of names and keys")),
    };
    if keys.len() > MOST {
        return Err(Error::Invalid(format!("a provider has at most {MOST} further keys")));
    }
    for (name, value) in keys {
        check_name(name)?;
        if name == DEFAULT {
            return Err(Error::invalid("the key named default is the one in apiKey"));
        }
        match value.as_str().map(str::trim) {
            None | Some("") => return Err(Error::Invalid(format!("the key {name} is not a text"))),
            Some(key) => check_length(key)?,
        }
    }
    match config.get(KEY_ORDER) {
        None => Ok(()),
        Some(Value::Array(names)) if names.len() <= MOST + 1 && names.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(Error::invalid("keyOrder is a list of names of keys")),
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    if plain {
        return Ok(());
    }
    Err(Error::invalid(
        "a key's name has 1 to 64 letters, digits, -, _, . and @",
    ))
}

fn check_length(key: &str) -> Result<()> {
    if key.len() > LONGEST {
        return Err(Error::TooLarge("a key has at most 16 KiB".to_owned()));
    }
    Ok(())
}

/// Seals the keys in the settings and leaves markers. Settings that say nothing of keys keep those that are stored.
pub(super) async fn store(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    data_key: &DataKey,
    id: &str,
    config: &mut Value,
) -> Result<()> {
    let prefix = prefix(id);
    if config.get(API_KEYS).is_some() {
        seal_each(tx, tenant, data_key, config, API_KEYS, &prefix).await?;
        let empty = config
            .get(API_KEYS)
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty);
        if let Some(config) = config.as_object_mut().filter(|_| empty) {
            config.remove(API_KEYS);
        }
        return Ok(());
    }
    let stored = secrets::under(tx, tenant, &prefix).await?;
    let names = stored.iter().filter_map(|row| row.name.strip_prefix(&prefix));
    let markers: Map<String, Value> = names.map(|name| (name.to_owned(), json!(REDACTED))).collect();
    if !markers.is_empty() {
        config[API_KEYS] = Value::Object(markers);
    }
    Ok(())
}

/// A key that somebody changed begins anew, for everybody; without a name all keys of the provider do.
pub(super) async fn forget(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    id: &str,
    name: Option<&str>,
) -> Result<()> {
    let mut all = key_health::Entity::delete_of_tenant(tenant).filter(key_health::Column::Provider.eq(id));
    if let Some(name) = name {
        all = all.filter(key_health::Column::KeyName.eq(name));
    }
    all.exec(tx).await?;
    Ok(())
}

impl ConfigService {
    /// Stores one key of a provider under a name.
    pub async fn put_provider_key(&self, tenant: &TenantScope, id: &str, name: &str, key: &Secret) -> Result<()> {
        check_name(name)?;
        check_length(key.expose())?;
        if key.expose().trim().is_empty() {
            return Err(Error::invalid("the key is empty"));
        }
        let data_key = self.data_key(tenant).await?;
        let tx = self.change(tenant).await?;
        let mut config = settings(&*tx, tenant, id).await?;
        if name != DEFAULT {
            let keys = config
                .as_object_mut()
                .map(|config| config.entry(API_KEYS).or_insert_with(|| json!({})));
            if let Some(Value::Object(keys)) = keys {
                if !keys.contains_key(name) && keys.len() >= MOST {
                    return Err(Error::Invalid(format!("a provider has at most {MOST} further keys")));
                }
                keys.insert(name.to_owned(), json!(REDACTED));
            }
        }
        secrets::put(&*tx, tenant, &data_key, &row_name(id, name), key).await?;
        self.settle_keys(tx, tenant, id, config, "provider.key.set", name).await
    }

    /// Removes one key of a provider.
    pub async fn delete_provider_key(&self, tenant: &TenantScope, id: &str, name: &str) -> Result<()> {
        let tx = self.change(tenant).await?;
        let mut config = settings(&*tx, tenant, id).await?;
        let row = row_name(id, name);
        if secrets::under(&*tx, tenant, &row)
            .await?
            .iter()
            .all(|known| known.name != row)
        {
            return Err(Error::NotFound { what: "key" });
        }
        if let Some(Value::Object(keys)) = config.get_mut(API_KEYS) {
            keys.remove(name);
        }
        if let Some(Value::Array(order)) = config.get_mut(KEY_ORDER) {
            order.retain(|listed| listed.as_str().is_none_or(|listed| name_in(id, listed) != name));
        }
        secrets::remove(&*tx, tenant, &[row]).await?;
        self.settle_keys(tx, tenant, id, config, "provider.key.delete", name)
            .await
    }

    /// Says which keys of a provider are used, and in which order. `None`: all, the one that rested longest first.
    pub async fn order_provider_keys(&self, tenant: &TenantScope, id: &str, order: Option<&[String]>) -> Result<()> {
        let tx = self.change(tenant).await?;
        let mut config = settings(&*tx, tenant, id).await?;
        if let Some(fields) = config.as_object_mut() {
            match order {
                Some(names) => fields.insert(KEY_ORDER.to_owned(), json!(names)),
                None => fields.remove(KEY_ORDER),
            };
        }
        check(&config)?;
        self.settle_keys(tx, tenant, id, config, "provider.key.order", "").await
    }

    /// Forgets, for everybody, why a key rests: it is tried with the next message.
    ///
    /// # Errors
    /// `NotFound` when the provider has no such key.
    pub async fn retry_provider_key(&self, tenant: &TenantScope, id: &str, name: &str) -> Result<()> {
        let tx = self.db.write(tenant).await?;
        let row = row_name(id, name);
        let stored = secrets::under(&*tx, tenant, &row).await?;
        if stored.iter().all(|known| known.name != row) {
            return Err(Error::NotFound { what: "key" });
        }
        forget(&*tx, tenant, id, Some(name)).await?;
        let detail = json!({"name": name});
        audit::append(&*tx, tenant, self.actor(), "provider.key.retry", id, detail).await?;
        Ok(tx.commit().await?)
    }

    async fn settle_keys(
        &self,
        tx: crate::db::Tx,
        tenant: &TenantScope,
        id: &str,
        config: Value,
        action: &str,
        name: &str,
    ) -> Result<()> {
        provider::Entity::update_of_tenant(tenant)
            .col_expr(provider::Column::Config, Expr::value(config))
            .col_expr(provider::Column::UpdatedAt, Expr::value(now_ms()))
            .filter(provider::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        forget(&*tx, tenant, id, (!name.is_empty()).then_some(name)).await?;
        audit::append(&*tx, tenant, self.actor(), action, id, json!({ "name": name })).await?;
        self.changed(tx).await
    }
}

async fn settings(tx: &impl ConnectionTrait, tenant: &TenantScope, id: &str) -> Result<Value> {
    let row = provider::Entity::of_tenant(tenant)
        .filter(provider::Column::Id.eq(id))
        .one(tx)
        .await?;
    row.map(|row| row.config).ok_or(Error::NotFound { what: "provider" })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::crud::tests::draft;
    use super::*;

    #[tokio::test]
    async fn keys_come_and_go_by_name_and_are_never_listed() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let names = async || config.list_providers(tenant).await.expect("lists").remove(0).keys;
        let mut first = draft("openai", &["gpt"]);
        first.api_key = Some("sk-1".into());
        first.config[API_KEYS] = json!({"work": "sk-2"});
        config.put_provider(tenant, first).await.expect("saves");
        assert_eq!(names().await, ["default", "work"]);
        let key = |key: &str| Secret::new(key);
        config
            .put_provider_key(tenant, "openai", "spare", &key("sk-3"))
            .await
            .expect("saves");
        assert_eq!(names().await, ["default", "spare", "work"]);
        let listed = config.list_providers(tenant).await.expect("lists").remove(0);
        assert!(!format!("{listed:?}").contains("sk-"), "{listed:?}");

        // Settings that say nothing of keys leave them; an empty object removes them.
        config
            .put_provider(tenant, draft("openai", &["gpt"]))
            .await
            .expect("saves");
        assert_eq!(names().await, ["default", "spare", "work"]);
        let order = ["work".to_owned(), "openai:spare".to_owned()];
        config
            .order_provider_keys(tenant, "openai", Some(&order))
            .await
            .expect("orders");
        config
            .delete_provider_key(tenant, "openai", "spare")
            .await
            .expect("removes");
        let listed = config.list_providers(tenant).await.expect("lists").remove(0);
        assert_eq!(listed.config[KEY_ORDER], json!(["work"]));
        let mut none = draft("openai", &["gpt"]);
        none.config[API_KEYS] = json!({});
        config.put_provider(tenant, none).await.expect("saves");
        assert_eq!(names().await, ["default"]);

        for (id, name) in [("openai", "nobody"), ("other", "default")] {
            let removed = config.delete_provider_key(tenant, id, name).await;
            assert!(matches!(removed, Err(Error::NotFound { .. })), "{id} {name}");
        }
        for name in ["", "a b", "a/b", &"x".repeat(65)] {
            let put = config.put_provider_key(tenant, "openai", name, &key("sk")).await;
            assert!(matches!(put, Err(Error::Invalid(_))), "{name}");
        }
        let evil = testing::tenant(config, "evil").await;
        let put = config.put_provider_key(&evil, "openai", "work", &key("sk")).await;
        assert!(matches!(put, Err(Error::NotFound { .. })));
    }
}
