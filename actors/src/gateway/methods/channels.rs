//! `channels.*`: the tenant's channel accounts, and the guests that wait for their owner.

use chrono::{DateTime, SecondsFormat};
use claw_entities::UserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{config, filled};
use crate::Services;
use crate::clock::now_ms;
use crate::config::accounts::{AccountView, PAIRING_LIVES_MS, PAIRING_OPEN_AT_ONCE, PairingRequest};
use crate::config::identity::{Role, User};
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, PAIRING, READ};
use crate::ports::channel::Manifest;

pub(super) fn register(methods: &mut Methods) {
    methods.add("channels.status", Access::Scope(READ), status);
    methods.add("channels.start", Access::Scope(ADMIN), start);
    methods.add("channels.stop", Access::Scope(ADMIN), stop);
    methods.add("channels.logout", Access::Scope(ADMIN), log_out);
    methods.add("channels.pairing.list", Access::Scope(PAIRING), pairing_list);
    methods.add("channels.pairing.approve", Access::Scope(PAIRING), pairing_approve);
    methods.add("channels.pairing.dismiss", Access::Scope(PAIRING), pairing_dismiss);
}

/// `probe` is read and not used: what is shown is how the platform last answered.
#[derive(Deserialize)]
struct StatusParams {
    channel: Option<String>,
}

/// The channels of which the caller may know an account, as `health` and `status` show them.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) channels: Map<String, Value>,
    pub(super) order: Vec<&'static str>,
    pub(super) labels: Map<String, Value>,
    /// A line for each.
    pub(super) lines: Vec<String>,
}

pub(super) async fn summary(services: &Services, user: &User) -> Result<Summary, Error> {
    let accounts = visible(services, user).await?;
    let mut found = Summary::default();
    for channel in services.ports.channels() {
        let manifest = channel.manifest();
        let rows = accounts.iter().filter(|account| account.channel == manifest.id);
        let rows: Vec<Value> = rows.map(|account| snapshot(account, manifest)).collect();
        if rows.is_empty() {
            continue;
        }
        let state = together(&rows);
        let said = match (state["connected"] == true, state["configured"] == true) {
            (true, _) => "connected",
            (false, true) => "configured",
            (false, false) => "not configured",
        };
        found.lines.push(format!("{}: {said}", manifest.label));
        found.order.push(manifest.id);
        found.labels.insert(manifest.id.to_owned(), json!(manifest.label));
        found.channels.insert(manifest.id.to_owned(), state);
    }
    Ok(found)
}

/// The accounts of a channel as one.
fn together(rows: &[Value]) -> Value {
    let any = |key: &str| rows.iter().any(|row| row[key] == true);
    json!({
        "configured": any("configured"), "running": any("running"), "connected": any("connected"),
        "lastError": rows.iter().find_map(|row| row["lastError"].as_str()),
    })
}

async fn status(call: Call, params: StatusParams) -> Result<Value, WireError> {
    let accounts = visible(&call.state.services, &call.identity.user).await?;
    let manifests: Vec<&'static Manifest> = call
        .state
        .services
        .ports
        .channels()
        .iter()
        .map(|channel| channel.manifest())
        .filter(|manifest| params.channel.as_deref().is_none_or(|wanted| wanted == manifest.id))
        .collect();
    let by_id = |value: &dyn Fn(&Manifest) -> Value| -> Map<String, Value> {
        manifests
            .iter()
            .map(|manifest| (manifest.id.to_owned(), value(manifest)))
            .collect()
    };
    let of = |manifest: &Manifest| -> Vec<Value> {
        accounts
            .iter()
            .filter(|account| account.channel == manifest.id)
            .map(|account| snapshot(account, manifest))
            .collect()
    };
    let labels = by_id(&|manifest| json!(manifest.label));
    Ok(json!({
        "ts": now_ms(),
        "channelOrder": manifests.iter().map(|manifest| manifest.id).collect::<Vec<_>>(),
        "channelLabels": labels, "channelDetailLabels": labels, "channelSystemImages": {},
        "channelMeta": manifests.iter().map(|manifest| {
            json!({"id": manifest.id, "label": manifest.label, "detailLabel": manifest.label})
        }).collect::<Vec<_>>(),
        "channels": by_id(&|manifest| together(&of(manifest))),
        "channelAccounts": by_id(&|manifest| json!(of(manifest))),
        "channelDefaultAccountId": by_id(&|_| json!("default")),
    }))
}

/// The accounts this user may know of: an admin all, a member their own.
async fn visible(services: &Services, user: &User) -> Result<Vec<AccountView>, Error> {
    let mut accounts = services.config.list_accounts(user.scope.tenant_scope()).await?;
    accounts.retain(|account| user.role >= Role::Admin || account.owner == *user.scope.user());
    Ok(accounts)
}

fn required(manifest: &Manifest) -> Vec<&'static str> {
    let needed = manifest
        .secrets
        .iter()
        .filter(|secret| secret.required && !secret.generated);
    needed.map(|secret| secret.name).collect()
}

fn snapshot(account: &AccountView, manifest: &Manifest) -> Value {
    let set = |name: &&str| account.secrets_set.iter().any(|have| have == name);
    let connected = account.enabled && account.status == "connected";
    let mut row = json!({
        "accountId": account.account_id, "enabled": account.enabled,
        "configured": required(manifest).iter().all(set), "running": connected, "connected": connected,
        "healthState": account.status, "lastError": account.status_detail, "mode": "webhook",
    });
    if let Some(name) = account.config.get("name").and_then(Value::as_str) {
        row["name"] = json!(name);
    }
    if let Some(policy) = account.config.get("dmPolicy").and_then(Value::as_str) {
        row["dmPolicy"] = json!(policy);
    }
    row
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountParams {
    channel: String,
    account_id: Option<String>,
}

/// The account of the parameters, and what it needs to run.
async fn find(call: &Call, params: &AccountParams) -> Result<(AccountView, Vec<&'static str>), WireError> {
    let ports = &call.state.services.ports;
    let manifest = ports.channel(&params.channel).map(|channel| channel.manifest());
    let manifest = manifest.ok_or_else(|| WireError::invalid(format!("invalid channel: {}", params.channel)))?;
    let wanted = params.account_id.as_deref().unwrap_or("default");
    let account = visible(&call.state.services, &call.identity.user)
        .await?
        .into_iter()
        .find(|account| account.channel == params.channel && account.account_id == wanted)
        .ok_or(Error::NotFound {
            what: "channel account",
        })?;
    Ok((account, required(manifest)))
}

/// Whose accounts alone this caller may change; `None`: anybody's.
fn only(call: &Call) -> Option<&UserId> {
    let user = &call.identity.user;
    (user.role < Role::Admin).then(|| user.scope.user())
}

/// Switches the account in one step, whatever else is changed of it at the same time.
async fn switch(call: &Call, account: &AccountView, enabled: bool, required: &[&str]) -> Result<(), WireError> {
    let service = call.state.services.config.acting_as(call.scope().user().as_str());
    let name = (account.channel.as_str(), account.account_id.as_str());
    service
        .switch_account(call.scope().tenant_scope(), name, only(call), enabled, required)
        .await?;
    Ok(())
}

/// Switches the account on; it is connected to its platform within seconds, and `channels.status` says how that went.
async fn start(call: Call, params: AccountParams) -> Result<Value, WireError> {
    let (account, required) = find(&call, &params).await?;
    if !account.enabled || account.status != "connected" {
        switch(&call, &account, true, &required).await?;
        config::tenant_changed(&call).await?;
    }
    Ok(json!({"channel": account.channel, "accountId": account.account_id, "started": true}))
}

async fn stop(call: Call, params: AccountParams) -> Result<Value, WireError> {
    let (account, _) = find(&call, &params).await?;
    if account.enabled {
        let service = &call.state.services.config;
        let tenant = call.scope().tenant();
        let before = service.account(tenant, &account.channel, &account.account_id).await?;
        switch(&call, &account, false, &[]).await?;
        if let Some(before) = before.filter(|_| account.status == "connected") {
            config::disconnect(&call, before).await;
        }
        config::tenant_changed(&call).await?;
    }
    Ok(json!({"channel": account.channel, "accountId": account.account_id, "stopped": true}))
}

/// Stops the account and forgets its credentials; its settings stay.
async fn log_out(call: Call, params: AccountParams) -> Result<Value, WireError> {
    let (account, _) = find(&call, &params).await?;
    let service = call.state.services.config.acting_as(call.scope().user().as_str());
    let tenant = call.scope().tenant();
    let before = service.account(tenant, &account.channel, &account.account_id).await?;
    let name = (account.channel.as_str(), account.account_id.as_str());
    let cleared = service
        .log_out_account(call.scope().tenant_scope(), name, only(&call))
        .await?;
    if let Some(before) = before.filter(|_| account.status == "connected") {
        config::disconnect(&call, before).await;
    }
    config::tenant_changed(&call).await?;
    Ok(json!({
        "channel": account.channel, "accountId": account.account_id, "cleared": cleared, "loggedOut": true,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairingListParams {
    channel: Option<String>,
    account_id: Option<String>,
}

/// Guests that wait on the caller's own accounts.
async fn pairing_list(call: Call, params: PairingListParams) -> Result<Value, WireError> {
    let wanted = |channel: &str, account_id: &str| {
        params.channel.as_deref().is_none_or(|given| given == channel)
            && params.account_id.as_deref().is_none_or(|given| given == account_id)
    };
    let service = &call.state.services.config;
    let mut accounts = service.list_accounts(call.scope().tenant_scope()).await?;
    accounts.retain(|account| account.owner == *call.scope().user() && wanted(&account.channel, &account.account_id));
    let accounts: Vec<Value> = accounts
        .iter()
        .map(|account| {
            json!({
                "channel": account.channel, "channelLabel": label(&call, &account.channel),
                "accountId": account.account_id, "notifySupported": false,
            })
        })
        .collect();
    let requests = service.list_pairing(call.scope()).await?;
    let requests: Vec<Value> = requests
        .iter()
        .filter(|request| wanted(&request.channel, &request.account_id))
        .map(|request| {
            json!({
                "requestId": request.id, "channel": request.channel, "channelLabel": label(&call, &request.channel),
                "accountId": request.account_id, "senderId": request.sender_id,
                "senderLabel": if request.sender_name.is_empty() { &request.sender_id } else { &request.sender_name },
                "metadata": {"code": request.code}, "createdAt": time(request.created_at),
                "lastSeenAt": time(request.created_at), "expiresAt": time(request.expires_at),
                "notifySupported": false,
            })
        })
        .collect();
    // Whose commands count is settled by who owns the account and whom they linked.
    Ok(json!({
        "accounts": accounts, "requests": requests, "commandOwnerConfigured": true,
        "limits": {"pendingPerAccount": PAIRING_OPEN_AT_ONCE, "ttlMs": PAIRING_LIVES_MS},
    }))
}

fn label(call: &Call, channel: &str) -> String {
    let known = call.state.services.ports.channel(channel);
    known.map_or_else(|| channel.to_owned(), |known| known.manifest().label.to_owned())
}

/// Epoch milliseconds as ISO 8601.
fn time(at: i64) -> String {
    DateTime::from_timestamp_millis(at)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairingParams {
    channel: String,
    account_id: String,
    request_id: String,
    #[serde(default)]
    notify: bool,
    #[serde(default)]
    bootstrap_command_owner: bool,
}

async fn waiting(call: &Call, method: &str, params: &PairingParams) -> Result<PairingRequest, WireError> {
    filled(method, "requestId", &params.request_id)?;
    let requests = call.state.services.config.list_pairing(call.scope()).await?;
    requests
        .into_iter()
        .find(|request| {
            request.id == params.request_id
                && request.channel == params.channel
                && request.account_id == params.account_id
        })
        .ok_or_else(|| WireError::invalid("unknown requestId"))
}

async fn pairing_approve(call: Call, params: PairingParams) -> Result<Value, WireError> {
    if params.bootstrap_command_owner {
        call.require(ADMIN)?;
    }
    let request = waiting(&call, "channels.pairing.approve", &params).await?;
    let service = &call.state.services.config;
    service.approve_pairing(call.scope(), &request.id).await?;
    let bootstrap = if params.bootstrap_command_owner {
        "already-configured"
    } else {
        "not-requested"
    };
    Ok(json!({
        "requestId": request.id, "senderId": request.sender_id, "commandOwnerBootstrap": bootstrap,
        "notification": if params.notify { "unsupported" } else { "not-requested" },
    }))
}

async fn pairing_dismiss(call: Call, params: PairingParams) -> Result<Value, WireError> {
    let request = waiting(&call, "channels.pairing.dismiss", &params).await?;
    let service = &call.state.services.config;
    service.dismiss_pairing(call.scope(), &request.id).await?;
    Ok(json!({"requestId": request.id, "senderId": request.sender_id}))
}
