//! `channels.*` → channel accounts of the tenant, owned by the user.

use claw_actors::config::document::is_secret_key;
use claw_actors::config::schema::{self, PLATFORMS, Platform};
use claw_actors::crypto::Secret;
use serde_json::{Map, Value};

use super::placeholders;
use super::plan::{Plan, object};
use super::report::Outcome;

/// A channel account to be saved; the owner is the importing user.
#[derive(Debug)]
pub(super) struct AccountPlan {
    pub(super) channel: String,
    pub(super) account_id: String,
    pub(super) enabled: bool,
    pub(super) config: Map<String, Value>,
    pub(super) secrets: Vec<(String, Secret)>,
    /// Where it stands in the file.
    pub(super) setting: String,
}

pub(super) fn read(section: &Value, plan: &mut Plan) {
    for (name, block) in object(section) {
        let setting = format!("channels.{name}");
        match PLATFORMS.iter().find(|platform| platform.id == name) {
            Some(platform) => accounts(platform, object(&block), plan),
            None => match schema::at(&setting) {
                Some(key) => plan.report.add(Outcome::NotTaken, setting, key.note()),
                None => plan.report.add(Outcome::Unknown, setting, ""),
            },
        }
    }
}

/// The block itself is the default account; `accounts.<id>` are further ones that inherit its settings, not its
/// secrets.
fn accounts(platform: &Platform, mut block: Map<String, Value>, plan: &mut Plan) {
    let setting = format!("channels.{}", platform.id);
    let named = block
        .remove("accounts")
        .map(|accounts| object(&accounts))
        .unwrap_or_default();
    block.remove("defaultAccount");
    let (shared, secrets): (Map<_, _>, Map<_, _>) = block.into_iter().partition(|(key, _)| !is_secret_key(key));
    if !secrets.is_empty() || named.is_empty() {
        let mut whole = shared.clone();
        whole.extend(secrets);
        if let Some((_, entry)) = named.iter().find(|(id, _)| account_id(id) == "default") {
            whole.extend(object(entry));
        }
        account(platform, "default", &whole, setting.clone(), plan);
    }
    for (id, entry) in &named {
        let own = account_id(id);
        if own == "default"
            && plan
                .accounts
                .iter()
                .any(|done| done.channel == platform.id && done.account_id == own)
        {
            continue;
        }
        let mut whole = shared.clone();
        whole.extend(object(entry));
        account(platform, &own, &whole, format!("{setting}.accounts.{id}"), plan);
    }
}

fn account(platform: &Platform, id: &str, block: &Map<String, Value>, setting: String, plan: &mut Plan) {
    let mut config = Map::new();
    let mut secrets = Vec::new();
    let mut enabled = true;
    let mut notes = Vec::new();
    let accounts = schema::at(&format!("channels.{}.accounts", platform.id));
    let keys = accounts.and_then(|key| key.kind.entry());
    for (key, value) in block {
        let path = format!("{setting}.{key}");
        match key.as_str() {
            "enabled" => enabled = value.as_bool().unwrap_or(true),
            secret if is_secret_key(secret) => match (placeholders::missing(value), value.as_str().map(str::trim)) {
                (Some(name), _) => plan.report.add(
                    Outcome::NotTaken,
                    path,
                    format!("it is in the environment variable {name}: enter it under Channels"),
                ),
                (None, Some(text)) if !text.is_empty() => secrets.push((secret.to_owned(), Secret::new(text))),
                (None, _) => plan.report.add(
                    Outcome::NotTaken,
                    path,
                    "it is not in the file: enter it under Channels",
                ),
            },
            other => match keys.and_then(|keys| keys.child(other)) {
                Some(known) if known.taken() => {
                    config.insert(key.clone(), value.clone());
                }
                Some(known) => plan.report.add(Outcome::NoMeaning, path, known.note()),
                None => plan.report.add(Outcome::Unknown, path, ""),
            },
        }
    }
    let missing: Vec<_> = platform
        .required
        .iter()
        .filter(|name| !secrets.iter().any(|(set, _)| set == *name))
        .copied()
        .collect();
    if !missing.is_empty() {
        if enabled {
            notes.push(format!(
                "switched off until {} is entered under Channels",
                missing.join(" and ")
            ));
        }
        enabled = false;
    }
    notes.insert(0, format!("account {id}, {} secrets sealed", secrets.len()));
    plan.report.add(Outcome::Taken, setting.clone(), notes.join("; "));
    plan.accounts.push(AccountPlan {
        channel: platform.id.to_owned(),
        account_id: id.to_owned(),
        enabled,
        config,
        secrets,
        setting,
    });
}

fn account_id(id: &str) -> String {
    let id: String = id
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(64)
        .collect();
    if id.is_empty() { "default".to_owned() } else { id }
}
