//! The whole configuration as OpenClaw clients know it: the user's document, and in it the tenant's AI providers
//! (`models.providers`) and channel accounts (`channels`). Read and changed as one, in one transaction.

mod accounts;
mod patch;
mod providers;

use std::collections::HashSet;

use claw_entities::Scope;
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use super::accounts::AccountView;
use super::document::store;
use super::document::{Document, MAX_BYTES, hash, redact};
use super::identity::{Role, User};
use super::providers::ProviderView;
use super::schema::{self, Issue, Weight};
use super::secrets::DataKey;
use super::{ConfigService, accounts as account_service, providers as provider_service};
use crate::error::{Error, Result};

/// Entries of one list or object: lists are merged entry by entry while nobody else can write.
const MOST_ENTRIES: usize = 1000;
/// Sections that belong to the tenant.
const TENANT: [&str; 2] = ["models", "channels"];

/// Is what belongs to the tenant among these dotted paths.
pub fn touches_tenant(paths: &[String]) -> bool {
    let section = |path: &String| path.split('.').next().is_some_and(|first| TENANT.contains(&first));
    // A list that was cut off may have had it.
    paths.len() >= patch::MOST_PATHS || paths.iter().any(section)
}

/// The configuration of one user, secrets blotted out.
#[derive(Clone, Debug)]
pub struct Whole {
    pub config: Value,
    /// Writers send it back as `baseHash`.
    pub hash: String,
    /// What in it does nothing, or does not fit.
    pub issues: Vec<Issue>,
}

/// How a client wants it changed.
#[derive(Debug)]
pub enum Change {
    /// `config.set`, `config.apply`: the new configuration.
    Set(Value),
    /// `config.patch`: a merge patch, and lists that it replaces rather than merges.
    Patch { patch: Value, replace: Vec<String> },
}

/// What a change came to.
#[derive(Debug)]
pub enum Written {
    Stored {
        whole: Whole,
        /// Dotted paths at which it differs from before.
        changed: Vec<String>,
        /// What was left out or does nothing, of what changed.
        notices: Vec<Issue>,
    },
    /// Nothing was stored.
    Refused(Vec<Issue>),
}

/// Everything the configuration is made of, as stored.
struct Parts {
    document: Option<Document>,
    providers: Vec<ProviderView>,
    accounts: Vec<AccountView>,
}

/// A write in progress.
struct Writing<'a, C> {
    tx: &'a C,
    user: &'a User,
    data_key: &'a DataKey,
    actor: &'a str,
    /// Wire families this process speaks.
    apis: &'a [&'static str],
    issues: Vec<Issue>,
}

impl<C> Writing<'_, C> {
    fn say(&mut self, weight: Weight, path: impl Into<String>, message: impl Into<String>) {
        self.issues.push(Issue {
            path: path.into(),
            message: message.into(),
            weight,
        });
    }

    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.say(Weight::Refused, path, message);
    }

    /// What a part's own rules say against it becomes an issue at its path; anything else stops the write.
    fn refused(&mut self, path: &str, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Error::Invalid(why) | Error::TooLarge(why)) => {
                self.refuse(path, why);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn any_refused(&self) -> bool {
        self.issues.iter().any(|issue| issue.weight == Weight::Refused)
    }
}

impl ConfigService {
    /// The configuration as this user sees it. Members see the tenant's providers and the accounts they own.
    pub async fn whole(&self, user: &User) -> Result<Whole> {
        let tx = self.db.read(&user.scope).await?;
        Ok(shown(&Parts::read(&*tx, &user.scope).await?, user))
    }

    /// Changes it. `base_hash` is the hash the writer saw; `apis` are the wire families a provider may name. What the
    /// table of keys refuses is refused, unless it stood there before; what belongs to the tenant only an owner or
    /// admin may change.
    pub async fn change_whole(
        &self,
        user: &User,
        base_hash: Option<&str>,
        change: Change,
        apis: &[&'static str],
    ) -> Result<Written> {
        let (Change::Set(given) | Change::Patch { patch: given, .. }) = &change;
        if has_more_entries(given, MOST_ENTRIES) {
            return Err(Error::TooLarge(format!(
                "a list or object of the configuration has more than {MOST_ENTRIES} entries"
            )));
        }
        let data_key = self.data_key(user.scope.tenant_scope()).await?;
        let tx = self.change(&user.scope).await?;
        let parts = Parts::read(&*tx, &user.scope).await?;
        let before = shown(&parts, user);
        match base_hash {
            None => {
                return Err(Error::invalid("config base hash required; re-run config.get and retry"));
            }
            Some(base) if base != before.hash => {
                return Err(Error::Conflict(
                    "config changed since last load; re-run config.get and retry".to_owned(),
                ));
            }
            Some(_) => {}
        }
        let mut after = match change {
            Change::Set(after) => after,
            Change::Patch { patch, replace } => {
                let mut after = before.config.clone();
                patch::merge(&mut after, &patch, &replace);
                after
            }
        };
        let mut writing = Writing {
            tx: &*tx,
            user,
            data_key: &data_key,
            actor: self.actor_or(&user.scope),
            apis,
            issues: schema::check(&after),
        };
        // What was there already is not this writer's fault.
        let stood: HashSet<_> = before.issues.iter().collect();
        writing.issues.retain(|issue| !stood.contains(issue));
        schema::prune(&mut after);
        if writing.any_refused() {
            return Ok(Written::Refused(writing.issues));
        }
        let changed = patch::changed_paths(&before.config, &after);
        writing.store(&parts, &before.config, after).await?;
        let issues = writing.issues;
        if issues.iter().any(|issue| issue.weight == Weight::Refused) {
            // The transaction ends with nothing done.
            return Ok(Written::Refused(issues));
        }
        let whole = shown(&Parts::read(&*tx, &user.scope).await?, user);
        if !changed.is_empty() {
            self.changed(tx).await?;
        }
        Ok(Written::Stored {
            whole,
            changed,
            notices: issues,
        })
    }
}

impl<C: ConnectionTrait> Writing<'_, C> {
    async fn store(&mut self, parts: &Parts, before: &Value, after: Value) -> Result<()> {
        let of_tenant = |config: &Value| TENANT.map(|name| config.get(name).cloned().unwrap_or_default());
        let (old, new) = (of_tenant(before), of_tenant(&after));
        if old != new {
            if self.user.role < Role::Admin {
                return Err(Error::Forbidden(
                    "models.providers and channels belong to the tenant: an owner or admin changes them".to_owned(),
                ));
            }
            self.store_providers(&parts.providers, &old[0], &new[0]).await?;
            self.store_accounts(&parts.accounts, &old[1], &new[1]).await?;
        }
        let stored = parts.document.clone().unwrap_or_else(|| store::document(json!({}), 0));
        let doc = own_sections(&after);
        if doc != own_sections(&stored.doc) {
            if doc.to_string().len() > MAX_BYTES {
                return Err(Error::TooLarge("the configuration has at most 512 KiB".to_owned()));
            }
            let written = store::write(self.tx, &self.user.scope, self.data_key, self.actor, &stored, doc).await;
            self.refused("", written.map(|_| ()))?;
        }
        Ok(())
    }
}

impl Parts {
    async fn read(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Self> {
        let tenant = scope.tenant_scope();
        Ok(Self {
            document: store::read(tx, scope).await?,
            providers: provider_service::crud::list(tx, tenant).await?,
            accounts: account_service::crud::list(tx, tenant).await?,
        })
    }
}

fn has_more_entries(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(items) => items.len() > most || items.iter().any(|item| has_more_entries(item, most)),
        Value::Object(map) => map.len() > most || map.values().any(|item| has_more_entries(item, most)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The configuration in the shape of an OpenClaw file.
fn shown(parts: &Parts, user: &User) -> Whole {
    let mut config = match parts.document.as_ref().map(|document| own_sections(&document.doc)) {
        Some(Value::Object(sections)) => sections,
        Some(_) | None => Map::new(),
    };
    if !parts.providers.is_empty() {
        let providers: Map<String, Value> = parts
            .providers
            .iter()
            .map(|view| (view.id.clone(), providers::entry(view)))
            .collect();
        config.insert("models".to_owned(), json!({ "providers": providers }));
    }
    let seen = |account: &&AccountView| user.role >= Role::Admin || account.owner == *user.scope.user();
    let channels = accounts::blocks(parts.accounts.iter().filter(seen));
    if !channels.is_empty() {
        config.insert("channels".to_owned(), Value::Object(channels));
    }
    let config = redact(&Value::Object(config));
    Whole {
        hash: hash(&config),
        issues: schema::check(&config),
        config,
    }
}

/// The sections that are the user's own.
fn own_sections(config: &Value) -> Value {
    let sections = config.as_object().into_iter().flatten();
    let own = sections.filter(|(name, _)| !TENANT.contains(&name.as_str()));
    Value::Object(own.map(|(name, section)| (name.clone(), section.clone())).collect())
}

/// The name in `${NAME}`: a value that the file expects from its machine.
fn placeholder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("${")?;
    Some(rest.split_once('}')?.0)
}

/// A secret of a part, as the new configuration has it.
enum Given {
    /// The marker: as it was.
    Kept,
    New(crate::crypto::Secret),
}

impl<C> Writing<'_, C> {
    /// Reads a secret. `None` after a refusal, and for a blank text, which is no secret.
    fn secret(&mut self, path: &str, value: &Value, stored: bool) -> Option<Given> {
        let text = value.as_str().unwrap_or_default().trim();
        if text == super::document::REDACTED {
            if !stored {
                self.refuse(path, "stands for no stored secret");
                return None;
            }
            return Some(Given::Kept);
        }
        if let Some(name) = placeholder(text) {
            self.refuse(
                path,
                format!("is in the environment variable {name} of another machine: enter the value itself"),
            );
            return None;
        }
        (!text.is_empty()).then(|| Given::New(crate::crypto::Secret::new(text)))
    }
}

#[cfg(test)]
mod tests;
