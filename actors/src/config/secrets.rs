//! Tenant secrets, sealed under the tenant's data key; the master key wraps the data keys.

use std::sync::Arc;

use claw_entities::{TenantOwned, TenantScope, secret, tenant};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::json;

use super::{ConfigService, audit};
use crate::clock::now_ms;
use crate::crypto::{Secret, seal, signature};
use crate::error::{Error, Result};

/// A tenant's data key, opened.
pub(crate) struct DataKey {
    bytes: [u8; 32],
    key: seal::Key,
}

impl DataKey {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            key: seal::Key::new(&bytes),
        }
    }

    /// Opens a row. An unopenable row is a broken invariant, not a missing secret.
    pub(crate) fn open(&self, row: &secret::Model) -> Result<Secret> {
        let plain = self
            .key
            .open(&context(row.tenant_id.as_str(), &row.name, row.version), &row.sealed)
            .map_err(Error::internal)?;
        String::from_utf8(plain).map(Secret::new).map_err(Error::internal)
    }
}

fn context(tenant: &str, name: &str, version: i32) -> String {
    format!("{tenant}|{name}|{version}")
}

impl ConfigService {
    /// Stores a secret under `name`, replacing an older version.
    pub async fn put_secret(&self, tenant: &TenantScope, name: &str, value: &Secret) -> Result<()> {
        let data_key = self.data_key(tenant).await?;
        let tx = self.change(tenant).await?;
        put(&*tx, tenant, &data_key, name, value).await?;
        audit::append(&*tx, tenant, self.actor(), "secret.set", name, json!({})).await?;
        self.changed(tx).await
    }

    pub async fn secret(&self, tenant: &TenantScope, name: &str) -> Result<Option<Secret>> {
        let tx = self.db.read(tenant).await?;
        let row = secret::Entity::of_tenant(tenant)
            .filter(secret::Column::Name.eq(name))
            .one(&*tx)
            .await?;
        drop(tx);
        match row {
            Some(row) => self.data_key(tenant).await?.open(&row).map(Some),
            None => Ok(None),
        }
    }

    pub async fn delete_secret(&self, tenant: &TenantScope, name: &str) -> Result<()> {
        let tx = self.change(tenant).await?;
        secret::Entity::delete_of_tenant(tenant)
            .filter(secret::Column::Name.eq(name))
            .exec(&*tx)
            .await?;
        audit::append(&*tx, tenant, self.actor(), "secret.delete", name, json!({})).await?;
        self.changed(tx).await
    }

    /// A key derived from the tenant's data key for one purpose (HMAC-SHA256 of `purpose`), e.g. device tokens.
    pub async fn derived_key(&self, tenant: &TenantScope, purpose: &str) -> Result<[u8; 32]> {
        let data_key = self.data_key(tenant).await?;
        Ok(signature::hmac_sha256(&data_key.bytes, &[purpose.as_bytes()]))
    }

    /// The tenant's data key, opened once per process.
    pub(crate) async fn data_key(&self, scope: &TenantScope) -> Result<Arc<DataKey>> {
        if let Some(key) = self
            .cache
            .data_keys
            .get(scope.tenant())
            .map(|entry| Arc::clone(entry.value()))
        {
            return Ok(key);
        }
        let tx = self.db.read(scope).await?;
        let row = tenant::Entity::of_tenant(scope)
            .one(&*tx)
            .await?
            .ok_or(Error::NotFound { what: "tenant" })?;
        drop(tx);
        let bytes = match self.master.current().unwrap(&row.id, &row.data_key) {
            Some(bytes) => bytes,
            None => {
                // Another process may have rotated the master key since we read it.
                self.master.refresh(&self.db).await?;
                self.master
                    .current()
                    .unwrap(&row.id, &row.data_key)
                    .ok_or_else(|| Error::internal(format!("data key of tenant {} does not open", row.id)))?
            }
        };
        let key = Arc::new(DataKey::new(bytes));
        self.cache.data_keys.insert(row.id, Arc::clone(&key));
        Ok(key)
    }
}

/// Seals and stores within the caller's transaction; the version is part of what is sealed.
pub(crate) async fn put(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    data_key: &DataKey,
    name: &str,
    value: &Secret,
) -> Result<()> {
    let version = secret::Entity::of_tenant(tenant)
        .filter(secret::Column::Name.eq(name))
        .one(tx)
        .await?
        .map_or(1, |row| row.version + 1);
    let sealed = data_key.key.seal(
        &context(tenant.tenant().as_str(), name, version),
        value.expose().as_bytes(),
    );
    secret::Entity::insert(secret::ActiveModel {
        tenant_id: Set(tenant.tenant().clone()),
        name: Set(name.to_owned()),
        version: Set(version),
        sealed: Set(sealed),
        updated_at: Set(now_ms()),
    })
    .on_conflict(
        OnConflict::columns([secret::Column::TenantId, secret::Column::Name])
            .update_columns([
                secret::Column::Version,
                secret::Column::Sealed,
                secret::Column::UpdatedAt,
            ])
            .to_owned(),
    )
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

/// All rows whose name starts with `prefix`.
pub(crate) async fn under(tx: &impl ConnectionTrait, tenant: &TenantScope, prefix: &str) -> Result<Vec<secret::Model>> {
    let rows = secret::Entity::of_tenant(tenant)
        .filter(secret::Column::Name.starts_with(prefix))
        .all(tx)
        .await?;
    // The database's pattern knows wildcards and may ignore case; the prefix itself decides.
    Ok(rows.into_iter().filter(|row| row.name.starts_with(prefix)).collect())
}

/// Removes all rows whose name starts with `prefix`.
pub(crate) async fn remove_under(tx: &impl ConnectionTrait, tenant: &TenantScope, prefix: &str) -> Result<()> {
    let names: Vec<String> = under(tx, tenant, prefix)
        .await?
        .into_iter()
        .map(|row| row.name)
        .collect();
    remove(tx, tenant, &names).await
}

/// Removes the rows of these names.
pub(crate) async fn remove(tx: &impl ConnectionTrait, tenant: &TenantScope, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    secret::Entity::delete_of_tenant(tenant)
        .filter(secret::Column::Name.is_in(names.iter().map(String::as_str)))
        .exec(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[tokio::test]
    async fn a_secret_opens_for_its_tenant_only() {
        let server = testing::start().await;
        let acme = testing::tenant(&server.config, "acme").await;
        let evil = testing::tenant(&server.config, "evil").await;
        let config = &server.config;
        config
            .put_secret(&acme, "channel/telegram/default/botToken", &Secret::new("1:a"))
            .await
            .expect("seals");
        config
            .put_secret(&acme, "channel/telegram/default/botToken", &Secret::new("1:b"))
            .await
            .expect("seals");
        let name = "channel/telegram/default/botToken";
        assert_eq!(
            config.secret(&acme, name).await.expect("opens"),
            Some(Secret::new("1:b"))
        );
        assert_eq!(config.secret(&evil, name).await.expect("reads"), None);

        // A row copied to another tenant does not open there.
        let tx = server.db.read(&acme).await.expect("begins");
        let row = secret::Entity::of_tenant(&acme)
            .one(&*tx)
            .await
            .expect("reads")
            .expect("is there");
        drop(tx);
        let tx = server.db.write(&evil).await.expect("begins");
        assert_eq!(row.version, 2);
        assert!(!row.sealed.windows(3).any(|bytes| bytes == b"1:b"));
        secret::Entity::insert(secret::ActiveModel {
            tenant_id: Set(evil.tenant().clone()),
            name: Set(row.name),
            version: Set(row.version),
            sealed: Set(row.sealed),
            updated_at: Set(row.updated_at),
        })
        .exec_without_returning(&*tx)
        .await
        .expect("copies");
        tx.commit().await.expect("commits");
        assert!(matches!(config.secret(&evil, name).await, Err(Error::Internal(_))));

        config.delete_secret(&acme, name).await.expect("deletes");
        assert_eq!(config.secret(&acme, name).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn derived_keys_differ_by_purpose_and_tenant_and_stay() {
        let server = testing::start().await;
        let acme = testing::tenant(&server.config, "acme").await;
        let beta = testing::tenant(&server.config, "beta").await;
        let key = server.config.derived_key(&acme, "device").await.expect("derives");
        assert_eq!(
            server
                .another_process()
                .derived_key(&acme, "device")
                .await
                .expect("derives"),
            key
        );
        assert_ne!(server.config.derived_key(&acme, "other").await.expect("derives"), key);
        assert_ne!(server.config.derived_key(&beta, "device").await.expect("derives"), key);
    }
}
