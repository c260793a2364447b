//! Skills in the database: installed, offered by nodes, listed, read, taken away.

use std::sync::Arc;

use claw_entities::{Scope, UserOwned, skill, skill_file};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Set,
};
use serde_json::{Map, Value, json};

use super::super::{ConfigService, audit};
use super::frontmatter::MAX_DESCRIPTION;
use super::{
    Bundle, BundleFile, Listing, MAX_BYTES, MAX_SKILLS, Manifest, Origin, SKILL, Skill, SkillSet, Source, entry,
    is_host, is_key, is_variable, truthy,
};
use crate::clock::now_ms;
use crate::crypto::{Secret, token};
use crate::error::{Error, Result};

/// Rows inserted by one statement.
const BATCH: usize = 50;
/// Longest value of a key or variable, bytes.
const MAX_VALUE: usize = 16 * 1024;
/// Hosts that one skill's keys may be sent to.
const MAX_HOSTS: usize = 16;

/// A skill as a node offers it.
#[derive(Clone, Debug)]
pub struct NodeSkill {
    pub name: String,
    pub description: String,
    /// The text of its `SKILL.md`.
    pub content: String,
}

/// A change of `skills.entries.<key>`. What is absent stays; an empty text takes a value away.
#[derive(Clone, Debug, Default)]
pub struct SkillChange {
    pub enabled: Option<bool>,
    pub api_key: Option<Secret>,
    pub env: Vec<(String, Secret)>,
    pub secret_hosts: Option<Vec<String>>,
    pub guests: Option<bool>,
}

/// A file without its content.
#[derive(Clone, Debug, FromQueryResult)]
pub struct FileFacts {
    pub path: String,
    /// Bytes.
    pub size: i64,
}

impl ConfigService {
    /// The user's skills with what the configuration says about them (cached).
    pub async fn skills(&self, scope: &Scope) -> Result<Arc<SkillSet>> {
        if let Some(skills) = self.cache.skills.get(scope) {
            return Ok(skills);
        }
        let seen = self.cache.generation();
        let tx = self.db.read(scope).await?;
        let rows = skill::Entity::owned_by(scope)
            .order_by_asc(skill::Column::NodeId)
            .order_by_asc(skill::Column::Key)
            .all(&*tx)
            .await?;
        drop(tx);
        let mut skills = Vec::with_capacity(rows.len());
        if !rows.is_empty() {
            let doc = self.document(scope).await?.doc;
            skills.extend(rows.into_iter().map(|row| skill_of(row, &doc)));
        }
        if skills.iter().any(|skill| !skill.manifest.requires.config.is_empty()) {
            let user = self.user(scope.tenant_scope(), scope.user()).await?;
            let config = self.whole(&user).await?.config;
            for skill in &mut skills {
                let paths = skill.manifest.requires.config.iter();
                skill.config_checks = paths.map(|path| (path.clone(), truthy(&config, path))).collect();
            }
        }
        let skills = Arc::new(SkillSet { skills });
        self.cache
            .keep(&self.cache.skills, seen, scope.clone(), Arc::clone(&skills));
        Ok(skills)
    }

    /// Installs a skill; `replace` takes the place of one with its key.
    pub async fn install_skill(&self, scope: &Scope, bundle: &Bundle, source: &Source, replace: bool) -> Result<Skill> {
        let key = bundle.manifest.key();
        let size = i64::try_from(bundle.size()).unwrap_or(i64::MAX);
        let now = now_ms();
        let tx = self.change(scope).await?;
        let mut others = skill::Entity::owned_by(scope)
            .filter(skill::Column::NodeId.eq(""))
            .all(&*tx)
            .await?;
        let before = others
            .iter()
            .position(|row| row.key == key)
            .map(|at| others.swap_remove(at));
        if before.is_some() && !replace {
            return Err(Error::Conflict(format!("there is a skill {key} already")));
        }
        if others
            .iter()
            .any(|row| row.manifest["name"] == json!(bundle.manifest.name))
        {
            return Err(Error::Conflict(format!(
                "there is a skill named {} already, under another key",
                bundle.manifest.name
            )));
        }
        if u64::try_from(others.len()).unwrap_or(u64::MAX) >= MAX_SKILLS {
            return Err(Error::TooLarge(format!("a user has at most {MAX_SKILLS} skills")));
        }
        if others.iter().map(|row| row.size).sum::<i64>().saturating_add(size) > MAX_BYTES {
            return Err(Error::TooLarge(
                "a user's skills have at most 64 MiB together".to_owned(),
            ));
        }
        if before.is_some() {
            delete(&*tx, scope, "", Some(&key)).await?;
        }
        let row = skill::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            node_id: String::new(),
            key: key.clone(),
            manifest: json!(bundle.manifest),
            source: source.name().to_owned(),
            origin: match source {
                Source::Upload | Source::Import => None,
                Source::Fetched(origin) => Some(json!(origin)),
            },
            sha256: bundle.sha256.clone(),
            files: i64::try_from(bundle.files.len()).unwrap_or(i64::MAX),
            size,
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: now,
        };
        insert(&*tx, row, &bundle.files).await?;
        let mut detail = json!({"source": source.name(), "sha256": bundle.sha256});
        if let Source::Fetched(Origin::Clawhub(listing)) = source {
            detail["slug"] = json!(listing.slug);
            detail["version"] = json!(listing.version);
        }
        audit::append(
            &*tx,
            scope.tenant_scope(),
            self.actor_or(scope),
            "skill.install",
            &key,
            detail,
        )
        .await?;
        self.changed(tx).await?;
        self.own_skill(scope, &key).await
    }

    /// Notes what a registry has as the newest versions of skills that came from it, by key. Skills that are gone
    /// meanwhile, or come from elsewhere, are passed over.
    pub async fn note_latest(&self, scope: &Scope, found: &[(String, String)]) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let tx = self.change(scope).await?;
        let own = skill::Entity::owned_by(scope).filter(skill::Column::NodeId.eq(""));
        for row in own.all(&*tx).await? {
            let latest = found.iter().find(|(key, _)| *key == row.key).map(|(_, latest)| latest);
            let (Some(latest), Some(Origin::Clawhub(listing))) = (latest, origin_of(row.origin)) else {
                continue;
            };
            let listing = Listing {
                latest: Some(latest.clone()),
                checked_at: now_ms(),
                ..listing
            };
            skill::Entity::update_owned(scope)
                .col_expr(skill::Column::Origin, Expr::value(json!(Origin::Clawhub(listing))))
                .filter(skill::Column::NodeId.eq(""))
                .filter(skill::Column::Key.eq(row.key))
                .exec(&*tx)
                .await?;
        }
        self.changed(tx).await
    }

    /// A skill the user installed.
    pub async fn own_skill(&self, scope: &Scope, key: &str) -> Result<Skill> {
        let set = self.skills(scope).await?;
        let found = set.skills.iter().find(|skill| skill.is_own() && skill.key == key);
        found.cloned().ok_or(Error::NotFound { what: "skill" })
    }

    /// Takes a skill away, and with it what was stored for it under `skills.entries`.
    pub async fn delete_skill(&self, scope: &Scope, key: &str) -> Result<()> {
        self.own_skill(scope, key).await?;

        if self.document(scope).await?.doc["skills"]["entries"].get(key).is_some() {
            self.update_document(scope, |mut doc| {
                let skills = doc.get_mut("skills").and_then(|skills| skills.get_mut("entries"));
                if let Some(entries) = skills.and_then(Value::as_object_mut) {
                    entries.remove(key);
                }
                Ok(doc)
            })
            .await?;
        }
        let tx = self.change(scope).await?;
        if delete(&*tx, scope, "", Some(key)).await? == 0 {
            return Err(Error::NotFound { what: "skill" });
        }
        audit::append(
            &*tx,
            scope.tenant_scope(),
            self.actor_or(scope),
            "skill.delete",
            key,
            json!({}),
        )
        .await?;
        self.changed(tx).await
    }

    /// Changes `skills.entries.<key>`, whether or not there is such a skill yet. Gives the entry, its secrets as markers.
    pub async fn change_skill(&self, scope: &Scope, key: &str, change: SkillChange) -> Result<Value> {
        if !is_key(key) {
            return Err(Error::invalid("a skill's key has 1 to 64 letters, digits, -, _ or ."));
        }
        if let Some((name, _)) = change.env.iter().find(|(name, _)| !is_variable(name)) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(Error::Invalid(format!("{shown} is no name of a variable")));
        }
        let mut values = change.env.iter().map(|(_, value)| value).chain(&change.api_key);
        if values.any(|value| value.expose().len() > MAX_VALUE) {
            return Err(Error::TooLarge(
                "a key or variable of a skill has at most 16 KiB".to_owned(),
            ));
        }
        let hosts = change.secret_hosts.as_deref().map(checked_hosts).transpose()?;
        let changed = |mut doc: Value| {
            let entry = entry_mut(&mut doc, key)?;
            if let Some(hosts) = &hosts {
                entry.insert("secretHosts".to_owned(), json!(hosts));
            }
            if let Some(guests) = change.guests {
                entry.insert("guests".to_owned(), json!(guests));
            }
            if let Some(enabled) = change.enabled {
                entry.insert("enabled".to_owned(), json!(enabled));
            }
            if let Some(api_key) = &change.api_key {
                set(entry, "apiKey", api_key);
            }
            if !change.env.is_empty() {
                let env = entry.entry("env").or_insert_with(|| json!({}));
                if !env.is_object() {
                    *env = json!({});
                }
                if let Some(env) = env.as_object_mut() {
                    for (name, value) in &change.env {
                        set(env, name, value);
                    }
                }
            }
            Ok(doc)
        };
        let document = self.update_document(scope, changed).await?;
        Ok(document.doc["skills"]["entries"][key].clone())
    }

    /// All files of a skill the user installed, with their contents.
    pub async fn skill_contents(&self, scope: &Scope, key: &str) -> Result<Vec<BundleFile>> {
        let view = self.db.glance(scope).await?;
        let rows = skill_file::Entity::owned_by(scope)
            .filter(skill_file::Column::NodeId.eq(""))
            .filter(skill_file::Column::Key.eq(key))
            .order_by_asc(skill_file::Column::Path)
            .all(&view)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| BundleFile {
                path: row.path,
                content: row.content,
            })
            .collect())
    }

    /// The files of a stored skill by path. `node_id` is empty for one the user installed.
    pub async fn skill_files(&self, scope: &Scope, node_id: &str, key: &str) -> Result<Vec<FileFacts>> {
        let content = Expr::col(skill_file::Column::Content);
        let bytes: Expr = if self.db.backend() == DbBackend::Postgres {
            Expr::expr(Func::cust("octet_length").arg(content)).cast_as("bigint")
        } else {
            Func::char_length(content).into()
        };
        let view = self.db.glance(scope).await?;
        let files = skill_file::Entity::owned_by(scope)
            .filter(skill_file::Column::NodeId.eq(node_id))
            .filter(skill_file::Column::Key.eq(key))
            .select_only()
            .column(skill_file::Column::Path)
            .expr_as(bytes, "size")
            .order_by_asc(skill_file::Column::Path)
            .into_model::<FileFacts>()
            .all(&view)
            .await?;
        Ok(files)
    }

    /// A file of a stored skill.
    pub async fn skill_file(&self, scope: &Scope, node_id: &str, key: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let view = self.db.glance(scope).await?;
        let row = skill_file::Entity::owned_by(scope)
            .filter(skill_file::Column::NodeId.eq(node_id))
            .filter(skill_file::Column::Key.eq(key))
            .filter(skill_file::Column::Path.eq(path))
            .one(&view)
            .await?;
        Ok(row.map(|row| row.content))
    }

    /// Replaces what a node offers. Names are keys already, and each comes once. Gives whether anything is different.
    pub async fn put_node_skills(&self, scope: &Scope, node_id: &str, skills: &[NodeSkill]) -> Result<bool> {
        let hash =
            |skill: &NodeSkill| token::hash_bytes(format!("{}\n{}", skill.description, skill.content).as_bytes());
        let mut wanted: Vec<(String, String)> = skills.iter().map(|skill| (skill.name.clone(), hash(skill))).collect();
        wanted.sort();
        // Nodes say the same at every connect: that is no change of the configuration.
        let view = self.db.glance(scope).await?;
        let stored: Vec<(String, String)> = skill::Entity::owned_by(scope)
            .filter(skill::Column::NodeId.eq(node_id))
            .select_only()
            .column(skill::Column::Key)
            .column(skill::Column::Sha256)
            .order_by_asc(skill::Column::Key)
            .into_tuple()
            .all(&view)
            .await?;
        drop(view);
        if stored == wanted {
            return Ok(false);
        }
        let now = now_ms();
        let tx = self.change(scope).await?;
        delete(&*tx, scope, node_id, None).await?;
        for offered in skills {
            let file = BundleFile {
                path: SKILL.to_owned(),
                content: offered.content.clone().into_bytes(),
            };
            let row = skill::Model {
                tenant_id: scope.tenant().clone(),
                user_id: scope.user().clone(),
                node_id: node_id.to_owned(),
                key: offered.name.clone(),
                manifest: json!(offered_manifest(offered)),
                source: "node".to_owned(),
                origin: None,
                sha256: hash(offered),
                files: 1,
                size: i64::try_from(file.content.len()).unwrap_or(i64::MAX),
                created_at: now,
                updated_at: now,
            };
            insert(&*tx, row, std::slice::from_ref(&file)).await?;
        }
        self.changed(tx).await?;
        Ok(true)
    }
}

/// Takes away what a node offered, within the caller's transaction.
pub(in crate::config) async fn forget_node(tx: &impl ConnectionTrait, scope: &Scope, node_id: &str) -> Result<()> {
    delete(tx, scope, node_id, None).await?;
    Ok(())
}

/// The node's words for name and description; the rest from the text, where it has a frontmatter.
fn offered_manifest(offered: &NodeSkill) -> Manifest {
    let words: Vec<&str> = offered
        .description
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    Manifest {
        name: offered.name.clone(),
        description: words.join(" ").chars().take(MAX_DESCRIPTION).collect(),
        key: Some(offered.name.clone()),
        ..Manifest::parse(&offered.content).unwrap_or_default()
    }
}

fn skill_of(row: skill::Model, doc: &Value) -> Skill {
    let manifest: Manifest = serde_json::from_value(row.manifest).unwrap_or_default();
    Skill {
        entry: entry(doc, &row.key),
        config_checks: Vec::new(),
        manifest,
        key: row.key,
        node_id: row.node_id,
        source: row.source,
        origin: origin_of(row.origin),
        sha256: row.sha256,
        files: row.files,
        size: row.size,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn origin_of(stored: Option<Value>) -> Option<Origin> {
    serde_json::from_value(stored?).ok()
}

/// Hosts as they are stored, each once.
fn checked_hosts(given: &[String]) -> Result<Vec<String>> {
    let mut hosts: Vec<String> = Vec::new();
    for host in given {
        let host = host.trim().to_ascii_lowercase();
        if !is_host(&host) {
            let shown: String = host.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(Error::Invalid(format!(
                "{shown} is no name of a host, such as api.example.com"
            )));
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.len() > MAX_HOSTS {
        return Err(Error::TooLarge(format!(
            "a skill's keys go to at most {MAX_HOSTS} hosts"
        )));
    }
    Ok(hosts)
}

/// `skills.entries.<key>` of a document, made where it is absent.
fn entry_mut<'a>(doc: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>> {
    let odd = || Error::invalid("the configuration has something else at skills.entries");
    let mut at = doc;
    for name in ["skills", "entries", key] {
        at = at
            .as_object_mut()
            .ok_or_else(odd)?
            .entry(name)
            .or_insert_with(|| json!({}));
    }
    at.as_object_mut().ok_or_else(odd)
}

/// Sets a value, or takes it away where it is empty.
fn set(fields: &mut Map<String, Value>, name: &str, value: &Secret) {
    let value = value.expose().trim();
    if value.is_empty() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), json!(value));
    }
}

/// Deletes one skill, or all of a node. Gives how many skills there were.
async fn delete(tx: &impl ConnectionTrait, scope: &Scope, node_id: &str, key: Option<&str>) -> Result<u64> {
    let mut files = skill_file::Entity::delete_owned(scope).filter(skill_file::Column::NodeId.eq(node_id));
    let mut skills = skill::Entity::delete_owned(scope).filter(skill::Column::NodeId.eq(node_id));
    if let Some(key) = key {
        files = files.filter(skill_file::Column::Key.eq(key));
        skills = skills.filter(skill::Column::Key.eq(key));
    }
    files.exec(tx).await?;
    Ok(skills.exec(tx).await?.rows_affected)
}

async fn insert(tx: &impl ConnectionTrait, row: skill::Model, files: &[BundleFile]) -> Result<()> {
    for batch in files.chunks(BATCH) {
        let rows = batch.iter().map(|file| skill_file::ActiveModel {
            tenant_id: Set(row.tenant_id.clone()),
            user_id: Set(row.user_id.clone()),
            node_id: Set(row.node_id.clone()),
            key: Set(row.key.clone()),
            path: Set(file.path.clone()),
            content: Set(file.content.clone()),
        });
        skill_file::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    skill::Entity::insert(skill::ActiveModel {
        tenant_id: Set(row.tenant_id),
        user_id: Set(row.user_id),
        node_id: Set(row.node_id),
        key: Set(row.key),
        manifest: Set(row.manifest),
        source: Set(row.source),
        origin: Set(row.origin),
        sha256: Set(row.sha256),
        files: Set(row.files),
        size: Set(row.size),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}
