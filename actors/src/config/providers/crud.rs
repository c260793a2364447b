//! AI providers: listed, saved, removed. Keys and header values are sealed; the list holds neither.

use std::sync::Arc;

use claw_entities::{TenantId, TenantOwned, TenantScope, provider, secret};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::{Value, json};

use super::super::document::REDACTED;
use super::super::secrets::DataKey;
use super::super::{ConfigService, audit, secrets};
use super::keys;
use super::models::{StoredModel, models};
use super::{DEMO_PROVIDER, ProviderDraft, ProviderView};
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::error::{Error, Result};
use crate::ports::compat::Compat;

const MAX_CONFIG_BYTES: usize = 256 * 1024;
pub(super) const PREFIX: &str = "provider/";

/// A provider as the cache holds it: secrets still sealed.
pub(crate) struct StoredProvider {
    pub(super) id: String,
    pub(super) api: String,
    pub(super) base_url: String,
    pub(super) enabled: bool,
    /// Send the key as a bearer token beside the family's own header.
    pub(super) auth_header: bool,
    pub(super) models: Vec<StoredModel>,
    /// Its keys by name, still sealed; [`keys::DEFAULT`] first.
    pub(super) keys: Vec<(String, secret::Model)>,
    /// Names of keys: where there are any, they alone are used, in this order.
    pub(super) key_order: Vec<String>,
    /// Name and sealed value of configured headers.
    pub(super) headers: Vec<(String, secret::Model)>,
    /// What is said of all its models.
    pub(super) compat: Compat,
    config: Value,
}

fn header_prefix(id: &str) -> String {
    format!("{PREFIX}{id}/header/")
}

impl ConfigService {
    /// All providers of the tenant by id.
    pub async fn list_providers(&self, tenant: &TenantScope) -> Result<Vec<ProviderView>> {
        Ok(self.stored_providers(tenant).await?.iter().map(view).collect())
    }

    /// Saves a provider. An absent key keeps the stored one, an empty one removes it; header values are secrets too,
    /// and the redaction marker keeps a stored one.
    pub async fn put_provider(&self, tenant: &TenantScope, draft: ProviderDraft) -> Result<()> {
        let data_key = self.data_key(tenant).await?;
        let tx = self.change(tenant).await?;
        put(&*tx, tenant, &data_key, self.actor(), draft).await?;
        self.changed(tx).await
    }

    /// Removes a provider and its secrets.
    pub async fn delete_provider(&self, tenant: &TenantScope, id: &str) -> Result<()> {
        let tx = self.change(tenant).await?;
        delete(&*tx, tenant, self.actor(), id).await?;
        self.changed(tx).await
    }

    /// All providers with their sealed secrets (cached), by id.
    pub(super) async fn stored_providers(&self, tenant: &TenantScope) -> Result<Arc<Vec<StoredProvider>>> {
        let id: &TenantId = tenant.tenant();
        if let Some(providers) = self.cache.providers.get(id) {
            return Ok(providers);
        }
        let seen = self.cache.generation();
        let tx = self.db.read(tenant).await?;
        let providers = Arc::new(read(&*tx, tenant).await?);
        drop(tx);
        self.cache
            .keep(&self.cache.providers, seen, id.clone(), Arc::clone(&providers));
        Ok(providers)
    }
}

/// All providers of the tenant by id, within the caller's transaction.
pub(in crate::config) async fn list(tx: &impl ConnectionTrait, tenant: &TenantScope) -> Result<Vec<ProviderView>> {
    Ok(read(tx, tenant).await?.iter().map(view).collect())
}

async fn read(tx: &impl ConnectionTrait, tenant: &TenantScope) -> Result<Vec<StoredProvider>> {
    let rows = provider::Entity::of_tenant(tenant)
        .order_by_asc(provider::Column::Id)
        .all(tx)
        .await?;
    let sealed = secrets::under(tx, tenant, PREFIX).await?;
    Ok(rows.into_iter().map(|row| stored(row, &sealed)).collect())
}

fn view(stored: &StoredProvider) -> ProviderView {
    ProviderView {
        id: stored.id.clone(),
        api: stored.api.clone(),
        base_url: stored.base_url.clone(),
        config: stored.config.clone(),
        enabled: stored.enabled,
        key_set: stored.keys.iter().any(|(name, _)| name == keys::DEFAULT),
        keys: stored.keys.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// What [`ConfigService::put_provider`] does, within the caller's transaction.
pub(in crate::config) async fn put(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    data_key: &DataKey,
    actor: &str,
    draft: ProviderDraft,
) -> Result<()> {
    check(&draft)?;
    let (mut config, id) = (draft.config, draft.id.as_str());
    keys::store(tx, tenant, data_key, id, &mut config).await?;
    if let Some(key) = &draft.api_key {
        let row = keys::row_name(id, keys::DEFAULT);
        if key.expose().trim().is_empty() {
            secrets::remove(tx, tenant, &[row]).await?;
        } else {
            secrets::put(tx, tenant, data_key, &row, key).await?;
        }
    }
    keys::forget(tx, tenant, id, None).await?;
    seal_each(tx, tenant, data_key, &mut config, "headers", &header_prefix(id)).await?;
    provider::Entity::insert(provider::ActiveModel {
        tenant_id: Set(tenant.tenant().clone()),
        id: Set(draft.id.clone()),
        api: Set(draft.api.clone()),
        base_url: Set(draft.base_url.trim_end_matches('/').to_owned()),
        config: Set(config),
        enabled: Set(draft.enabled),
        updated_at: Set(now_ms()),
    })
    .on_conflict(
        OnConflict::columns([provider::Column::TenantId, provider::Column::Id])
            .update_columns([
                provider::Column::Api,
                provider::Column::BaseUrl,
                provider::Column::Config,
                provider::Column::Enabled,
                provider::Column::UpdatedAt,
            ])
            .to_owned(),
    )
    .exec_without_returning(tx)
    .await?;
    let detail = json!({ "api": draft.api, "enabled": draft.enabled, "key": draft.api_key.is_some() });
    audit::append(tx, tenant, actor, "provider.set", &draft.id, detail).await?;
    Ok(())
}

/// What [`ConfigService::delete_provider`] does, within the caller's transaction.
pub(in crate::config) async fn delete(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    actor: &str,
    id: &str,
) -> Result<()> {
    let deleted = provider::Entity::delete_of_tenant(tenant)
        .filter(provider::Column::Id.eq(id))
        .exec(tx)
        .await?;
    if deleted.rows_affected == 0 {
        return Err(Error::NotFound { what: "provider" });
    }
    secrets::remove_under(tx, tenant, &format!("{PREFIX}{id}/")).await?;
    keys::forget(tx, tenant, id, None).await?;
    audit::append(tx, tenant, actor, "provider.delete", id, json!({})).await?;
    Ok(())
}

/// Seals the values of an object of the settings under `prefix` and leaves markers. A marker keeps what is stored; what
/// is not named any more is removed.
pub(super) async fn seal_each(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    data_key: &DataKey,
    config: &mut Value,
    field: &str,
    prefix: &str,
) -> Result<()> {
    let mut gone: Vec<String> = secrets::under(tx, tenant, prefix)
        .await?
        .into_iter()
        .map(|row| row.name)
        .collect();
    let values = config.get_mut(field).and_then(Value::as_object_mut);
    for (name, value) in values.into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let row = format!("{prefix}{name}");
        if text != REDACTED {
            secrets::put(tx, tenant, data_key, &row, &Secret::new(text)).await?;
        } else if !gone.contains(&row) {
            return Err(Error::Invalid(format!("{field}.{name} has no stored value")));
        }
        gone.retain(|kept| *kept != row);
        *value = json!(REDACTED);
    }
    secrets::remove(tx, tenant, &gone).await
}

fn stored(row: provider::Model, sealed: &[secret::Model]) -> StoredProvider {
    let prefix = header_prefix(&row.id);
    StoredProvider {
        keys: keys::of(&row.id, sealed),
        key_order: keys::order(&row.config),
        auth_header: row.config.get("authHeader").and_then(Value::as_bool).unwrap_or(false),
        models: models(&row.id, &row.config),
        compat: Compat::of(&row.config, &Value::Null),
        headers: sealed
            .iter()
            .filter_map(|secret| Some((secret.name.strip_prefix(&prefix)?.to_owned(), secret.clone())))
            .collect(),
        id: row.id,
        api: row.api,
        base_url: row.base_url,
        enabled: row.enabled,
        config: row.config,
    }
}

fn check(draft: &ProviderDraft) -> Result<()> {
    let id = &draft.id;
    let plain = !id.is_empty()
        && id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
    if !plain {
        return Err(Error::invalid("a provider's id has 1 to 64 of a-z, 0-9, -, _ and ."));
    }
    if id == DEMO_PROVIDER {
        return Err(Error::invalid("demo is the built-in provider; choose another id"));
    }
    if draft.api.is_empty() || draft.api.len() > 64 {
        return Err(Error::invalid("api names the provider's wire family"));
    }
    let base = &draft.base_url;
    if !(base.starts_with("https://") || base.starts_with("http://")) || base.len() > 500 {
        return Err(Error::invalid("baseUrl starts with https:// or http://"));
    }
    if !draft.config.is_object() || draft.config.to_string().len() > MAX_CONFIG_BYTES {
        return Err(Error::invalid("a provider's settings are an object of at most 256 KiB"));
    }
    if draft.config.get("apiKey").is_some() {
        return Err(Error::invalid(
            "apiKey is a secret and does not belong into the settings",
        ));
    }
    keys::check(&draft.config)?;
    let headers = draft.config.get("headers").and_then(Value::as_object);
    if headers.into_iter().flatten().any(|(_, value)| !value.is_string()) {
        return Err(Error::invalid("the values of headers are texts"));
    }
    if draft.config.get("models").is_some_and(|models| !models.is_array()) {
        return Err(Error::invalid("models is a list"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::testing;
    use super::*;

    pub(in crate::config::providers) fn draft(id: &str, models: &[&str]) -> ProviderDraft {
        let models: Vec<_> = models.iter().map(|id| json!({ "id": id })).collect();
        ProviderDraft {
            id: id.to_owned(),
            api: "openai-completions".to_owned(),
            base_url: format!("https://{id}.test/v1/"),
            config: json!({ "models": models }),
            enabled: true,
            api_key: None,
        }
    }

    #[tokio::test]
    async fn keys_and_headers_are_kept_out_of_the_list() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let mut with_secrets = draft("openrouter", &["a/b"]);
        with_secrets.api_key = Some("sk-1".into());
        with_secrets.config["headers"] = json!({"X-Title": "mine", "X-Gone": "gone"});
        config.put_provider(tenant, with_secrets).await.expect("saves");
        let listed = config.list_providers(tenant).await.expect("lists").remove(0);
        assert!(listed.key_set);
        assert_eq!(listed.base_url, "https://openrouter.test/v1");
        assert!(!listed.config.to_string().contains("mine"));

        // What a form sends back keeps what it did not touch.
        let mut again = draft("openrouter", &["a/b"]);
        again.config["headers"] = json!({"X-Title": REDACTED});
        config.put_provider(tenant, again).await.expect("saves");
        let model = config.resolve_model(&owner, "main", None).await.expect("resolves");
        assert_eq!(model.endpoint.api_key, Some(Secret::new("sk-1")));
        assert_eq!(model.endpoint.headers, [("X-Title".to_owned(), Secret::new("mine"))]);

        let mut invented = draft("openrouter", &[]);
        invented.config["headers"] = json!({"X-New": REDACTED});
        assert!(matches!(
            config.put_provider(tenant, invented).await,
            Err(Error::Invalid(_))
        ));
        config.delete_provider(tenant, "openrouter").await.expect("removes");
        assert_eq!(
            config
                .secret(tenant, "provider/openrouter/apiKey")
                .await
                .expect("reads"),
            None
        );
        assert!(matches!(
            config.delete_provider(tenant, "openrouter").await,
            Err(Error::NotFound { .. })
        ));
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let server = testing::start().await;
        let tenant = testing::tenant(&server.config, "acme").await;
        let wrong: [fn(&mut ProviderDraft); 7] = [
            |draft| draft.id = "Open AI".to_owned(),
            |draft| draft.id = "demo".to_owned(),
            |draft| draft.api = String::new(),
            |draft| draft.base_url = "file:///etc/passwd".to_owned(),
            |draft| draft.config = json!([]),
            |draft| draft.config = json!({"apiKey": "sk"}),
            |draft| draft.config = json!({"headers": {"a": 1}}),
        ];
        for spoil in wrong {
            let mut spoiled = draft("openai", &["x"]);
            spoil(&mut spoiled);
            let shown = format!("{spoiled:?}");
            assert!(
                matches!(
                    server.config.put_provider(&tenant, spoiled).await,
                    Err(Error::Invalid(_))
                ),
                "{shown}"
            );
        }
    }
}
