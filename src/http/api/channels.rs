//! Channel accounts: the tenant's bots on messaging platforms.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::ConfigService;
use claw_actors::config::accounts::{AccountDraft, AccountName, AccountView};
use claw_actors::config::identity::Role;
use claw_actors::crypto::Secret;
use claw_actors::ports::channel::{Channel, Manifest};
use claw_entities::{TenantScope, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{check_id, resource};
use crate::error::ApiResult;
use crate::http::auth::{AdminCaller, Caller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/channels").route(web::get().to(list)))
        .service(
            resource("/channels/{channel}/{account}")
                .route(web::put().to(put))
                .route(web::delete().to(delete)),
        );
}

#[derive(Serialize, ToSchema)]
pub struct ChannelsOut {
    /// What each platform is and needs.
    #[schema(value_type = Vec<Object>)]
    pub channels: Vec<&'static Manifest>,
    pub accounts: Vec<AccountOut>,
}

/// A channel account without its secrets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountOut {
    pub channel: String,
    pub account_id: String,
    /// User id of the person whose sessions guests talk to.
    pub owner: String,
    pub enabled: bool,
    /// `connected`, `disconnected`, `unauthorized` or `error`.
    pub status: String,
    pub status_detail: Option<String>,
    /// What the platform told about the bot.
    #[schema(value_type = Object)]
    pub identity: Value,
    /// Names of the secrets that are stored.
    pub secrets_set: Vec<String>,
    #[schema(value_type = Object)]
    pub config: Value,
    /// Where the platform sends its events.
    pub webhook_url: String,
}

#[derive(Serialize, ToSchema)]
pub struct SavedOut {
    pub account: AccountOut,
    /// What the person should know, one sentence each.
    pub warnings: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountIn {
    #[serde(default)]
    enabled: bool,
    /// As `channels.<id>` of an OpenClaw file, without secrets.
    #[serde(default)]
    #[schema(value_type = Object)]
    config: serde_json::Map<String, Value>,
    /// By name. Absent ones keep their stored value.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    secrets: std::collections::BTreeMap<String, Secret>,
    /// User id or e-mail address; absent: as it was, or the caller.
    owner: Option<String>,
}

#[utoipa::path(get, path = "/api/channels", operation_id = "listChannels", tag = "channels",
    responses((status = 200, body = ChannelsOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let accounts = state.services.config.list_accounts(caller.tenant_scope()).await?;
    let everything = caller.role() >= Role::Admin;
    Ok(HttpResponse::Ok().json(ChannelsOut {
        channels: state
            .services
            .ports
            .channels()
            .iter()
            .map(|channel| channel.manifest())
            .collect(),
        accounts: accounts
            .into_iter()
            .filter(|account| everything || account.owner == *caller.scope().user())
            .map(|account| describe(&state, &caller, account))
            .collect(),
    }))
}

#[utoipa::path(put, path = "/api/channels/{channel}/{account}", operation_id = "putChannelAccount", tag = "channels",
    params(("channel" = String, Path), ("account" = String, Path)),
    request_body = AccountIn, responses((status = 200, body = SavedOut)))]
pub async fn put(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    path: Path<(String, String)>,
    body: JsonIn<AccountIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    let (channel_id, account_id) = path.into_inner();
    let channel = adapter(&state, &channel_id)?;
    check_id("the account's id", &account_id)?;
    check_secrets(channel.manifest(), &input)?;
    let config = state.services.config.acting_as(caller.actor());
    let tenant = caller.tenant_scope();
    let before = find(&config, tenant, &channel_id, &account_id).await?;
    let connected = before.as_ref().is_some_and(|account| account.status == "connected");
    let owner = match &input.owner {
        Some(owner) => resolve_owner(&config, tenant, owner).await?,
        None => before.map_or_else(|| caller.scope().user().clone(), |account| account.owner),
    };
    let required: Vec<&str> = channel
        .manifest()
        .secrets
        .iter()
        .filter(|secret| secret.required && !secret.generated)
        .map(|secret| secret.name)
        .collect();
    let draft = AccountDraft {
        channel: channel_id.clone(),
        account_id: account_id.clone(),
        owner,
        enabled: input.enabled,
        config: Value::Object(input.config),
        secrets: input.secrets.into_iter().collect(),
    };
    let name = account_name(&caller, &channel_id, &account_id);
    let old = config.account(tenant.tenant(), &channel_id, &account_id).await?;
    if !input.enabled {
        // While the token it was connected with is still there.
        state.connector.disconnect(&config, &name).await?;
    }
    config.put_account(tenant, draft, &required).await?;
    if input.enabled && connected {
        let now = config.account(tenant.tenant(), &channel_id, &account_id).await?;
        if let (Some(old), Some(now)) = (old, now)
            && !channel.manifest().is_same_bot(&old.account, &now.account)
        {
            // The bot before is to send nothing here any more.
            state.connector.disconnect_old(&name, old).await?;
        }
    }
    let warnings = if input.enabled {
        state.connector.connect(&config, &name).await?
    } else {
        Vec::new()
    };
    state.directory.config_changed(tenant.tenant());
    let saved = find(&config, tenant, &channel_id, &account_id).await?;
    let saved = saved.ok_or(Error::NotFound {
        what: "channel account",
    })?;
    Ok(HttpResponse::Ok().json(SavedOut {
        account: describe(&state, &caller, saved),
        warnings,
    }))
}

#[utoipa::path(delete, path = "/api/channels/{channel}/{account}", operation_id = "deleteChannelAccount",
    tag = "channels", params(("channel" = String, Path), ("account" = String, Path)), responses((status = 204)))]
pub async fn delete(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> ApiResult<HttpResponse> {
    let (channel_id, account_id) = path.into_inner();
    adapter(&state, &channel_id)?;
    let config = state.services.config.acting_as(caller.actor());
    let name = account_name(&caller, &channel_id, &account_id);
    state.connector.disconnect(&config, &name).await?;
    config
        .delete_account(caller.tenant_scope(), &channel_id, &account_id)
        .await?;
    state.directory.config_changed(caller.scope().tenant());
    Ok(HttpResponse::NoContent().finish())
}

fn adapter(state: &AppState, id: &str) -> ApiResult<Arc<dyn Channel>> {
    let channel = state.services.ports.channel(id).cloned();
    Ok(channel.ok_or(Error::NotFound { what: "channel" })?)
}

async fn find(
    config: &ConfigService,
    tenant: &TenantScope,
    channel: &str,
    account_id: &str,
) -> ApiResult<Option<AccountView>> {
    let accounts = config.list_accounts(tenant).await?;
    Ok(accounts
        .into_iter()
        .find(|account| account.channel == channel && account.account_id == account_id))
}

/// Only known secrets are taken, and none of them inside the plain settings.
fn check_secrets(manifest: &Manifest, input: &AccountIn) -> ApiResult<()> {
    let known = |name: &str| manifest.secrets.iter().any(|secret| secret.name == name);
    if let Some(name) = input.secrets.keys().find(|name| !known(name)) {
        return Err(Error::invalid(format!("{} has no secret named {name:?}", manifest.label)).into());
    }
    if let Some(name) = input.config.keys().find(|name| known(name)) {
        return Err(Error::invalid(format!("{name} is a secret: send it under secrets, not config")).into());
    }
    Ok(())
}

async fn resolve_owner(config: &ConfigService, tenant: &TenantScope, owner: &str) -> ApiResult<UserId> {
    if owner.contains('@') {
        let user = config.user_by_email(tenant, owner).await?;
        let user = user.ok_or(Error::NotFound { what: "user" })?;
        return Ok(user.scope.user().clone());
    }
    let user = config.user(tenant, &UserId::from(owner)).await?;
    Ok(user.scope.user().clone())
}

fn account_name(caller: &Caller, channel: &str, account_id: &str) -> AccountName {
    AccountName {
        tenant: caller.tenant_scope().clone(),
        channel: channel.to_owned(),
        account_id: account_id.to_owned(),
    }
}

fn describe(state: &AppState, caller: &Caller, view: AccountView) -> AccountOut {
    let manifest = state
        .services
        .ports
        .channel(&view.channel)
        .map(|channel| channel.manifest());
    AccountOut {
        webhook_url: manifest
            .map(|manifest| webhook_url(state, caller, manifest, &view.account_id))
            .unwrap_or_default(),
        channel: view.channel,
        account_id: view.account_id,
        owner: view.owner.into(),
        enabled: view.enabled,
        status: view.status,
        status_detail: view.status_detail,
        identity: view.identity,
        secrets_set: view.secrets_set,
        config: view.config,
    }
}

fn webhook_url(state: &AppState, caller: &Caller, manifest: &Manifest, account_id: &str) -> String {
    state.urls.webhook(&caller.tenant.slug, manifest.path, account_id)
}
