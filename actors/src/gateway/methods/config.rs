//! `config.*`: the whole configuration, read with its secrets blotted out and changed against the hash the writer saw.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::config::accounts::ResolvedAccount;
use crate::config::providers::DEMO_API;
use crate::config::schema::{self, Issue};
use crate::config::whole::{self, Change, Written};
use crate::error::Error;
use crate::gateway::events::CONFIG_PATH as PATH;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};

/// Largest text of a configuration, in bytes.
const MAX_RAW: usize = 1024 * 1024;
/// Deepest nesting of a configuration's text: its reader recurses.
const DEEPEST: usize = 64;

pub(super) fn register(methods: &mut Methods) {
    methods.add("config.get", Access::Scope(READ), get);
    methods.add("config.schema", Access::Scope(READ), schema);
    methods.add("config.schema.lookup", Access::Scope(READ), lookup);
    methods.add("config.set", Access::Scope(ADMIN), set);
    methods.add("config.patch", Access::Scope(ADMIN), patch).write_limited();
    // `set` and a restart, which nothing here needs: a change is seen within a second.
    methods.add("config.apply", Access::Scope(ADMIN), apply).write_limited();
}

async fn get(call: Call, _: Nothing) -> Result<Value, WireError> {
    let whole = call.state.services.config.whole(&call.identity.user).await?;
    let config = whole.config;
    Ok(json!({
        "path": PATH, "includedPaths": [], "exists": true,
        "raw": serde_json::to_string_pretty(&config).ok(),
        "parsed": config, "sourceConfig": config, "resolved": config, "runtimeConfig": config, "config": config,
        "valid": true, "hash": whole.hash, "configRevisionHash": whole.hash,
        "issues": [], "warnings": shown(&whole.issues), "legacyIssues": [],
    }))
}

async fn schema(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({
        "schema": schema::document(), "uiHints": schema::hints(),
        "version": call.state.services.replica.version,
        "generatedAt": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
    }))
}

#[derive(Deserialize)]
struct LookupParams {
    path: String,
}

async fn lookup(_: Call, params: LookupParams) -> Result<Value, WireError> {
    let known = (params.path.len() <= 1024)
        .then(|| schema::lookup(&params.path))
        .flatten();
    let found = known.ok_or_else(|| WireError::invalid("config schema path not found"))?;
    let mut answer = json!({
        "path": found.path, "schema": found.schema, "reloadKind": found.reload_kind, "children": found.children,
    });
    if let Some(hint) = found.hint {
        answer["hint"] = hint;
        answer["hintPath"] = answer["path"].clone();
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WriteParams {
    raw: String,
    base_hash: Option<String>,
    #[serde(default)]
    replace_paths: Vec<String>,
}

async fn set(call: Call, params: WriteParams) -> Result<Value, WireError> {
    let config = read("config.set", &params.raw)?;
    write(&call, params.base_hash.as_deref(), Change::Set(config)).await
}

async fn apply(call: Call, params: WriteParams) -> Result<Value, WireError> {
    let config = read("config.apply", &params.raw)?;
    write(&call, params.base_hash.as_deref(), Change::Set(config)).await
}

async fn patch(call: Call, params: WriteParams) -> Result<Value, WireError> {
    let change = Change::Patch {
        patch: read("config.patch", &params.raw)?,
        replace: params.replace_paths,
    };
    write(&call, params.base_hash.as_deref(), change).await
}

/// Reads JSON5.
pub(crate) fn read(method: &str, raw: &str) -> Result<Value, WireError> {
    if raw.len() > MAX_RAW {
        return Err(WireError::invalid(format!("{method} raw has at most 1 MiB")));
    }
    if depth(raw) > DEEPEST {
        return Err(WireError::invalid(format!("{method} raw is nested too deeply")));
    }
    let value: Value = match serde_json::from_str(raw) {
        Ok(value) => value,
        Err(_) => {
            json5::from_str(raw).map_err(|error| WireError::invalid(format!("{method} raw is not JSON5: {error}")))?
        }
    };
    if !value.is_object() {
        return Err(WireError::invalid(format!("{method} raw must be an object")));
    }
    Ok(value)
}

/// How deep brackets nest, those inside texts counted too.
fn depth(raw: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    for byte in raw.bytes() {
        match byte {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(now);
    }
    deepest
}

async fn write(call: &Call, base_hash: Option<&str>, change: Change) -> Result<Value, WireError> {
    let services = &call.state.services;
    let apis: Vec<&'static str> = services
        .ports
        .apis()
        .into_iter()
        .filter(|api| *api != DEMO_API)
        .collect();
    let connected = connected(call).await?;
    let written = services
        .config
        .change_whole(&call.identity.user, base_hash, change, &apis)
        .await?;
    let (whole, changed, notices) = match written {
        Written::Stored {
            whole,
            changed,
            notices,
        } => (whole, changed, notices),
        Written::Refused(issues) => return Err(invalid(&issues)),
    };
    if !changed.is_empty() {
        call.state.directory.config_is(call.scope(), whole.hash.clone());
        if whole::touches_tenant(&changed) {
            call.state.directory.config_changed(call.scope().tenant());
        }
        for account in connected {
            let tenant = call.scope().tenant();
            let now = services
                .config
                .account(tenant, &account.account.channel, &account.account.account_id)
                .await?;
            let channel = services.ports.channel(&account.account.channel);
            let is_same = |now: &ResolvedAccount| {
                channel.is_none_or(|channel| channel.manifest().is_same_bot(&now.account, &account.account))
            };
            // Another bot is connected in its place within seconds.
            if now.is_none_or(|now| !now.enabled || !is_same(&now)) {
                disconnect(call, account).await;
            }
        }
    }
    Ok(json!({
        "ok": true, "path": PATH, "hash": whole.hash, "config": whole.config, "changedPaths": changed,
        "warnings": shown(&notices),
    }))
}

/// `invalid config: <path>: <why>; …`, and the same as a list.
fn invalid(issues: &[Issue]) -> WireError {
    let refused = issues.iter().filter(|issue| issue.weight == schema::Weight::Refused);
    let lines: Vec<String> = refused
        .take(10)
        .map(|issue| match issue.path.as_str() {
            "" => issue.message.clone(),
            path => format!("{path}: {}", issue.message),
        })
        .collect();
    WireError::invalid(format!("invalid config: {}", lines.join("; "))).details(json!({"issues": shown(issues)}))
}

pub(crate) fn shown(issues: &[Issue]) -> Vec<Value> {
    issues
        .iter()
        .map(|issue| json!({"path": issue.path, "message": issue.message}))
        .collect()
}

/// Tells the user's clients that the configuration is another.
pub(super) async fn changed(call: &Call) -> Result<(), Error> {
    let whole = call.state.services.config.whole(&call.identity.user).await?;
    call.state.directory.config_is(call.scope(), whole.hash);
    Ok(())
}

/// As [`changed`], for what belongs to the tenant: everybody whose configuration is another by it is told.
pub(super) async fn tenant_changed(call: &Call) -> Result<(), Error> {
    changed(call).await?;
    call.state.directory.config_changed(call.scope().tenant());
    Ok(())
}

/// The tenant's connected accounts with what it takes to disconnect them, before a change takes it away.
async fn connected(call: &Call) -> Result<Vec<Arc<ResolvedAccount>>, Error> {
    let config = &call.state.services.config;
    let mut connected = Vec::new();
    for view in config.list_accounts(call.scope().tenant_scope()).await? {
        if view.status == "connected" {
            let account = config
                .account(call.scope().tenant(), &view.channel, &view.account_id)
                .await?;
            connected.extend(account);
        }
    }
    Ok(connected)
}

/// Takes the platform's webhook away, as far as it lets us, on the runtime of outbound connections.
pub(super) async fn disconnect(call: &Call, account: Arc<ResolvedAccount>) {
    let services = &call.state.services;
    let name = account.account.channel.clone();
    let Some(channel) = services.ports.channel(&name).cloned() else {
        return;
    };
    let gone = services
        .io
        .spawn(async move { channel.disconnect(&account.account).await })
        .await;
    match gone {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(channel.id = name, "cannot take the webhook away: {error}"),
        Err(error) => tracing::warn!(channel.id = name, "taking the webhook away did not end: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_json5_within_limits() {
        assert_eq!(read("m", "{a: 'b', /* c */}").expect("reads"), json!({"a": "b"}));
        for bad in ["[1]", "{", "3", &"[".repeat(100_000), &"x".repeat(MAX_RAW + 1)] {
            assert!(read("m", bad).is_err());
        }
    }
}
