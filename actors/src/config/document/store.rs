//! The stored document: read, replaced against its hash, patched. Secrets in it go to the secret store.

use std::collections::HashSet;
use std::sync::Arc;

use claw_entities::{Scope, UserOwned, user_config};
use ring::digest;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::super::audit::canonical;
use super::super::{ConfigService, audit, secrets as secret_store};
use super::secrets::{REDACTED, extract};
use super::{Document, UserSettings};
use crate::clock::now_ms;
use crate::crypto::{Secret, token::hex};
use crate::error::{Error, Result};

/// Largest document, in bytes of JSON.
pub const MAX_BYTES: usize = 512 * 1024;

/// What `config.get` shows as `hash`: SHA-256 of the document with sorted keys, hex.
pub fn hash(doc: &Value) -> String {
    let mut text = String::new();
    canonical(doc, &mut text);
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// JSON merge patch (RFC 7396): objects merge, `null` removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(map) = target {
        for (key, item) in patch {
            if item.is_null() {
                map.remove(key);
            } else {
                merge_patch(map.entry(key.clone()).or_insert(Value::Null), item);
            }
        }
    }
}

impl ConfigService {
    /// The user's document; an empty one with revision 0 while there is none. Secrets in it are markers.
    pub async fn document(&self, scope: &Scope) -> Result<Document> {
        let tx = self.db.read(scope).await?;
        Ok(read(&*tx, scope).await?.unwrap_or_else(|| document(json!({}), 0)))
    }

    /// Replaces the document if `base_hash` is still its hash (`None`: only when there is none yet). Texts under
    /// secret keys are sealed in the secret store and stand in the document as [`REDACTED`], which written back means
    /// "unchanged".
    pub async fn put_document(&self, scope: &Scope, doc: Value, base_hash: Option<&str>) -> Result<Document> {
        self.change_document(scope, base_hash, |_| Ok(doc)).await
    }

    /// Merges `patch` into the document (see [`merge_patch`]), under the same rules as [`Self::put_document`].
    pub async fn patch_document(&self, scope: &Scope, patch: &Value, base_hash: Option<&str>) -> Result<Document> {
        self.change_document(scope, base_hash, |mut doc| {
            merge_patch(&mut doc, patch);
            Ok(doc)
        })
        .await
    }

    /// Changes the document in one step whatever it holds now, e.g. for an agent that was added.
    pub async fn update_document(
        &self,
        scope: &Scope,
        change: impl FnOnce(Value) -> Result<Value> + Send,
    ) -> Result<Document> {
        let hash = self.document(scope).await?.hash;
        self.change_document(scope, Some(&hash), change).await
    }

    async fn change_document(
        &self,
        scope: &Scope,
        base_hash: Option<&str>,
        change: impl FnOnce(Value) -> Result<Value> + Send,
    ) -> Result<Document> {
        let tenant = scope.tenant_scope();
        let data_key = self.data_key(tenant).await?;
        let tx = self.change(scope).await?;
        let before = read(&*tx, scope).await?;
        let fits = match (&before, base_hash) {
            (None, None) => true,
            (None, Some(base)) => base == hash(&json!({})),
            (Some(_), None) => false,
            (Some(before), Some(base)) => before.hash == base,
        };
        if !fits {
            return Err(Error::Conflict(
                "the configuration changed meanwhile; re-run config.get and retry".to_owned(),
            ));
        }
        let before = before.unwrap_or_else(|| document(json!({}), 0));
        let mut doc = change(before.doc)?;
        if !doc.is_object() {
            return Err(Error::invalid("the configuration is an object"));
        }
        if doc.to_string().len() > MAX_BYTES {
            return Err(Error::TooLarge("the configuration has at most 512 KiB".to_owned()));
        }
        let prefix = secret_prefix(scope);
        let stored: HashSet<String> = secret_store::under(&*tx, tenant, &prefix)
            .await?
            .into_iter()
            .map(|row| row.name)
            .collect();
        let (taken, kept) = extract(&mut doc);
        let mut wanted = HashSet::new();
        for (path, value) in taken {
            let name = format!("{prefix}{path}");
            secret_store::put(&*tx, tenant, &data_key, &name, &value).await?;
            wanted.insert(name);
        }
        for path in kept {
            let name = format!("{prefix}{path}");
            if !stored.contains(&name) {
                return Err(Error::Invalid(format!(
                    "{REDACTED} at {path} stands for no stored secret"
                )));
            }
            wanted.insert(name);
        }
        let gone: Vec<String> = stored.difference(&wanted).cloned().collect();
        secret_store::remove(&*tx, tenant, &gone).await?;

        let after = document(doc, before.revision + 1);
        user_config::Entity::insert(user_config::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            doc: Set(after.doc.clone()),
            revision: Set(after.revision),
            updated_at: Set(now_ms()),
        })
        .on_conflict(
            OnConflict::columns([user_config::Column::TenantId, user_config::Column::UserId])
                .update_columns([
                    user_config::Column::Doc,
                    user_config::Column::Revision,
                    user_config::Column::UpdatedAt,
                ])
                .to_owned(),
        )
        .exec_without_returning(&*tx)
        .await?;
        let detail = json!({ "revision": after.revision });
        let user = scope.user().as_str();
        audit::append(&*tx, tenant, self.actor_or(scope), "config.set", user, detail).await?;
        self.changed(tx).await?;
        Ok(after)
    }

    /// The secret that stands as a marker at this JSON pointer of the user's document.
    pub async fn document_secret(&self, scope: &Scope, pointer: &str) -> Result<Option<Secret>> {
        let name = format!("{}{pointer}", secret_prefix(scope));
        self.secret(scope.tenant_scope(), &name).await
    }

    /// The typed view (cached). A user without a document has the defaults.
    pub async fn settings(&self, scope: &Scope) -> Result<Arc<UserSettings>> {
        if let Some(settings) = self.cache.settings.get(scope) {
            return Ok(settings);
        }
        let seen = self.cache.generation();
        let settings = Arc::new(UserSettings::parse(&self.document(scope).await?.doc));
        self.cache
            .keep(&self.cache.settings, seen, scope.clone(), Arc::clone(&settings));
        Ok(settings)
    }
}

fn secret_prefix(scope: &Scope) -> String {
    format!("user/{}/config", scope.user())
}

fn document(doc: Value, revision: i64) -> Document {
    Document {
        hash: hash(&doc),
        doc,
        revision,
    }
}

async fn read(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Option<Document>> {
    let row = user_config::Entity::owned_by(scope)
        .filter(user_config::Column::UserId.eq(scope.user().clone()))
        .one(tx)
        .await?;
    Ok(row.map(|row| document(row.doc, row.revision)))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::DmScope;
    use super::*;

    #[test]
    fn merging() {
        let check = |mut target: Value, patch: Value, expected: Value| {
            merge_patch(&mut target, &patch);
            assert_eq!(target, expected);
        };
        check(
            json!({"a": 1, "b": {"c": 2}}),
            json!({"a": null, "b": {"d": 3}}),
            json!({"b": {"c": 2, "d": 3}}),
        );
        check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
        check(
            json!({"a": 1}),
            json!({"a": {"b": null, "c": 1}}),
            json!({"a": {"c": 1}}),
        );
        check(json!({"a": 1}), json!([1]), json!([1]));
    }

    #[tokio::test]
    async fn a_writer_needs_the_hash_it_saw() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let empty = config.document(&owner).await.expect("reads");
        assert_eq!((empty.revision, empty.doc), (0, json!({})));
        let first = config
            .put_document(&owner, json!({"a": 1}), None)
            .await
            .expect("stores");
        assert!(matches!(
            config.put_document(&owner, json!({}), None).await,
            Err(Error::Conflict(_))
        ));
        let second = config
            .patch_document(&owner, &json!({"b": 2}), Some(&first.hash))
            .await
            .expect("merges");
        assert_eq!((second.revision, &second.doc), (2, &json!({"a": 1, "b": 2})));
        assert!(matches!(
            config.patch_document(&owner, &json!({"b": 3}), Some(&first.hash)).await,
            Err(Error::Conflict(_))
        ));
        assert!(matches!(
            config.put_document(&owner, json!([]), Some(&second.hash)).await,
            Err(Error::Invalid(_))
        ));
        assert_eq!(config.document(&owner).await.expect("reads").hash, second.hash);
    }

    #[tokio::test]
    async fn secrets_never_reach_the_document() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let stored = config
            .put_document(&owner, json!({"skills": {"entries": {"gh": {"apiKey": "sk-1"}}}}), None)
            .await
            .expect("stores");
        assert!(!stored.doc.to_string().contains("sk-1"));
        let pointer = "/skills/entries/gh/apiKey";
        assert_eq!(
            config.document_secret(&owner, pointer).await.expect("reads"),
            Some(Secret::new("sk-1"))
        );
        let mut edited = config.document(&owner).await.expect("reads").doc;
        edited["x"] = json!(1);
        let kept = config
            .put_document(&owner, edited, Some(&stored.hash))
            .await
            .expect("keeps the secret");
        assert_eq!(
            config.document_secret(&owner, pointer).await.expect("reads"),
            Some(Secret::new("sk-1"))
        );
        let invented = json!({"other": {"token": REDACTED}});
        assert!(matches!(
            config.patch_document(&owner, &invented, Some(&kept.hash)).await,
            Err(Error::Invalid(_))
        ));
        config
            .patch_document(&owner, &json!({"skills": null}), Some(&kept.hash))
            .await
            .expect("removes");
        assert_eq!(config.document_secret(&owner, pointer).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn the_typed_view_follows_the_document() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        assert_eq!(
            config.settings(&owner).await.expect("reads").session.dm_scope,
            DmScope::PerChannelPeer
        );
        config
            .update_document(&owner, |_| Ok(json!({"session": {"dmScope": "main"}})))
            .await
            .expect("stores");
        assert_eq!(
            config.settings(&owner).await.expect("reads").session.dm_scope,
            DmScope::Main
        );
        server.db.clone().close().await;
        assert_eq!(
            config.settings(&owner).await.expect("cached").session.dm_scope,
            DmScope::Main
        );
    }
}
