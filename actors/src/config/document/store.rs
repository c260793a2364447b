//! The stored document: read, replaced against its hash, patched. Secrets in it go to the secret store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, UserOwned, secret, user, user_config};
use ring::digest;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::super::audit::canonical;
use super::super::secrets::DataKey;
use super::super::{ConfigService, audit, heartbeat, secrets as secret_store};
use super::mcp::is_moved;
use super::secrets::{REDACTED, extract, origin};
use super::{Document, UserSettings};
use crate::clock::now_ms;
use crate::crypto::{Secret, token::hex};
use crate::db::Tx;
use crate::error::{Error, Result};

/// Largest document, in bytes of JSON.
pub const MAX_BYTES: usize = 512 * 1024;

/// What `config.get` shows as `hash`: SHA-256 of the document with sorted keys, hex.
pub fn hash(doc: &Value) -> String {
    let mut text = String::new();
    canonical(doc, &mut text);
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

impl ConfigService {
    /// The user's document; an empty one with revision 0 while there is none. Secrets in it are markers.
    pub async fn document(&self, scope: &Scope) -> Result<Document> {
        self.document_in(&self.db.read(scope).await?, scope).await
    }

    /// As [`Self::document`], within the caller's transaction.
    pub async fn document_in(&self, tx: &Tx, scope: &Scope) -> Result<Document> {
        Ok(read(&**tx, scope).await?.unwrap_or_else(|| document(json!({}), 0)))
    }

    /// Replaces the document if `base_hash` is still its hash (`None`: only when there is none yet). Texts under
    /// secret keys are sealed in the secret store and stand in the document as [`REDACTED`], which written back means
    /// "unchanged".
    pub async fn put_document(&self, scope: &Scope, doc: Value, base_hash: Option<&str>) -> Result<Document> {
        self.change_document(scope, base_hash, |_| Ok(doc)).await
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
        let doc = change(before.doc.clone())?;
        let after = write(&*tx, scope, &data_key, self.actor_or(scope), &before, doc).await?;
        self.changed(tx).await?;
        Ok(after)
    }

    /// The secret that stands as a marker at this JSON pointer of the user's document.
    pub async fn document_secret(&self, scope: &Scope, pointer: &str) -> Result<Option<Secret>> {
        let name = format!("{}{pointer}", secret_prefix(scope));
        self.secret(scope.tenant_scope(), &name).await
    }

    /// The typed view (cached). A user without a document has the defaults; the zone of their profile stands in where the
    /// document names none.
    pub async fn settings(&self, scope: &Scope) -> Result<Arc<UserSettings>> {
        if let Some(settings) = self.cache.settings.get(scope) {
            return Ok(settings);
        }
        let seen = self.cache.generation();
        let tx = self.db.read(scope).await?;
        let mut settings = UserSettings::parse(&self.document_in(&tx, scope).await?.doc);
        if settings.time_zone.is_none() {
            let profile = user::Entity::owned_by(scope).one(&*tx).await?;
            settings.time_zone = profile
                .map(|profile| profile.time_zone)
                .filter(|zone| zone.parse::<chrono_tz::Tz>().is_ok());
        }
        drop(tx);
        let settings = Arc::new(settings);
        self.cache
            .keep(&self.cache.settings, seen, scope.clone(), Arc::clone(&settings));
        Ok(settings)
    }
}

fn secret_prefix(scope: &Scope) -> String {
    format!("user/{}/config", scope.user())
}

pub(in crate::config) fn document(doc: Value, revision: i64) -> Document {
    Document {
        hash: hash(&doc),
        doc,
        revision,
    }
}

/// The stored document, within the caller's transaction.
pub(in crate::config) async fn read(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Option<Document>> {
    let row = user_config::Entity::owned_by(scope)
        .filter(user_config::Column::UserId.eq(scope.user().clone()))
        .one(tx)
        .await?;
    Ok(row.map(|row| document(row.doc, row.revision)))
}

/// Replaces `before` by `doc` within the caller's transaction: secrets go to the secret store, a marker keeps the one
/// that stood there. Those of a list follow their entry.
pub(in crate::config) async fn write(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    data_key: &DataKey,
    actor: &str,
    before: &Document,
    mut doc: Value,
) -> Result<Document> {
    if !doc.is_object() {
        return Err(Error::invalid("the configuration is an object"));
    }
    if doc.to_string().len() > MAX_BYTES {
        return Err(Error::TooLarge("the configuration has at most 512 KiB".to_owned()));
    }
    let tenant = scope.tenant_scope();
    let prefix = secret_prefix(scope);
    let stored: HashMap<String, secret::Model> = secret_store::under(tx, tenant, &prefix)
        .await?
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect();
    let (mut taken, kept) = extract(&mut doc);
    let mut wanted = HashSet::new();
    for path in kept {
        let from = origin(&before.doc, &doc, &path);
        let row = from.as_ref().and_then(|from| stored.get(&format!("{prefix}{from}")));
        let Some(row) = row else {
            return Err(Error::Invalid(format!(
                "{REDACTED} at {path} stands for no stored secret"
            )));
        };
        let stood = from.as_deref().unwrap_or(&path);
        if is_moved((&before.doc, stood), (&doc, path.as_str())) {
            return Err(Error::Invalid(format!(
                "the server has another address now: give the value at {path} anew"
            )));
        }
        if from.as_ref() == Some(&path) {
            wanted.insert(format!("{prefix}{path}"));
        } else {
            taken.push((path, data_key.open(row)?));
        }
    }
    for (path, value) in taken {
        let name = format!("{prefix}{path}");
        secret_store::put(tx, tenant, data_key, &name, &value).await?;
        wanted.insert(name);
    }
    let gone: Vec<String> = stored.into_keys().filter(|name| !wanted.contains(name)).collect();
    secret_store::remove(tx, tenant, &gone).await?;

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
    .exec_without_returning(tx)
    .await?;
    heartbeat::plan(tx, scope, &after.doc, now_ms()).await?;
    let detail = json!({ "revision": after.revision });
    audit::append(tx, tenant, actor, "config.set", scope.user().as_str(), detail).await?;
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::DmScope;
    use super::*;

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
            .put_document(&owner, json!({"a": 1, "b": 2}), Some(&first.hash))
            .await
            .expect("stores");
        assert_eq!((second.revision, &second.doc), (2, &json!({"a": 1, "b": 2})));
        assert!(matches!(
            config.put_document(&owner, json!({"b": 3}), Some(&first.hash)).await,
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
            config.put_document(&owner, invented, Some(&kept.hash)).await,
            Err(Error::Invalid(_))
        ));
        config
            .put_document(&owner, json!({"x": 1}), Some(&kept.hash))
            .await
            .expect("removes");
        assert_eq!(config.document_secret(&owner, pointer).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn the_secrets_of_a_list_follow_their_entry() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let entry = |id: &str, key: &str| json!({"id": id, "memorySearch": {"apiKey": key}});
        let doc = json!({"agents": {"list": [entry("a", "k-a"), entry("b", "k-b"), entry("c", "k-c")]}});
        let stored = config.put_document(&owner, doc, None).await.expect("stores");
        // The first is gone, the others changed places.
        let doc = json!({"agents": {"list": [entry("c", REDACTED), entry("b", REDACTED)]}});
        let moved = config
            .put_document(&owner, doc, Some(&stored.hash))
            .await
            .expect("stores");
        let secret = async |index: usize| {
            let pointer = format!("/agents/list/{index}/memorySearch/apiKey");
            config.document_secret(&owner, &pointer).await.expect("reads")
        };
        assert_eq!(secret(0).await, Some(Secret::new("k-c")));
        assert_eq!(secret(1).await, Some(Secret::new("k-b")));
        assert_eq!(secret(2).await, None);
        // An entry that was not there has no secret to keep.
        let doc = json!({"agents": {"list": [entry("new", REDACTED)]}});
        assert!(matches!(
            config.put_document(&owner, doc, Some(&moved.hash)).await,
            Err(Error::Invalid(_))
        ));
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
