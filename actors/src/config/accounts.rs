//! Channel accounts: one bot of one platform, its settings, who may talk to it, and who is who.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, TenantId, TenantScope, UserId};
use serde_json::Value;

use super::ConfigService;
use crate::crypto::Secret;
use crate::error::Result;
use crate::ports::channel::Account;

/// An account ready for the hot path: secrets opened, links and approvals loaded. Cached.
#[derive(Clone, Debug)]
pub struct ResolvedAccount {
    pub account: Account,
    pub enabled: bool,
    /// The user whose sessions guests and groups talk to.
    pub owner: UserId,
    /// Chat identities tied to tenant users, by sender id.
    pub links: HashMap<String, UserId>,
    /// Guests the owner let in, by sender id.
    pub approved: HashSet<String>,
    pub policy: AccessPolicy,
    pub status: String,
}

/// `dmPolicy`, `groupPolicy` and their lists, parsed once. A missing block fails closed.
#[derive(Clone, Debug, Default)]
pub struct AccessPolicy {
    pub dm: DmPolicy,
    pub allow_from: Vec<String>,
    pub group: GroupPolicy,
    /// Groups that may talk, with their own settings; `*` is the default entry.
    pub groups: HashMap<String, GroupRule>,
    pub group_allow_from: Option<Vec<String>>,
    pub allow_bots: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DmPolicy {
    #[default]
    Pairing,
    Allowlist,
    Open,
    Disabled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupPolicy {
    #[default]
    Allowlist,
    Open,
    Disabled,
}

#[derive(Clone, Debug)]
pub struct GroupRule {
    pub require_mention: bool,
    pub enabled: bool,
    pub allow_from: Option<Vec<String>>,
}

/// What a person saves. Secrets that are absent keep their stored value.
#[derive(Clone, Debug)]
pub struct AccountDraft {
    pub channel: String,
    pub account_id: String,
    pub owner: UserId,
    pub enabled: bool,
    pub config: Value,
    pub secrets: Vec<(String, Secret)>,
}

/// An account as the Admin UI lists it; secrets only by name.
#[derive(Clone, Debug)]
pub struct AccountView {
    pub channel: String,
    pub account_id: String,
    pub owner: UserId,
    pub enabled: bool,
    pub config: Value,
    pub identity: Value,
    pub status: String,
    pub status_detail: Option<String>,
    pub secrets_set: Vec<String>,
}

/// An unknown sender who waits.
#[derive(Clone, Debug)]
pub struct PairingRequest {
    pub id: String,
    pub channel: String,
    pub account_id: String,
    pub sender_id: String,
    pub sender_name: String,
    pub code: String,
    pub created_at: i64,
    pub expires_at: i64,
}

/// What asking to be let in gave.
#[derive(Clone, Debug)]
pub enum PairingAsked {
    /// A fresh request: tell the sender the code, once.
    New(PairingRequest),
    /// One is open already: say nothing.
    Waiting,
    /// Three are open on this account already: say nothing.
    Full,
}

impl ConfigService {
    /// The account, ready to use (cached; absence is not).
    pub async fn account(
        &self,
        _tenant: &TenantId,
        _channel: &str,
        _account_id: &str,
    ) -> Result<Option<Arc<ResolvedAccount>>> {
        unimplemented!("config")
    }
    pub async fn list_accounts(&self, _tenant: &TenantScope) -> Result<Vec<AccountView>> {
        unimplemented!("config")
    }
    /// Saves settings and secrets. Connecting to the platform is the caller's business.
    pub async fn put_account(&self, _tenant: &TenantScope, _draft: AccountDraft) -> Result<()> {
        unimplemented!("config")
    }
    pub async fn set_account_status(
        &self,
        _tenant: &TenantScope,
        _channel: &str,
        _account_id: &str,
        _status: &str,
        _detail: Option<&str>,
        _identity: Option<Value>,
    ) -> Result<()> {
        unimplemented!("config")
    }
    pub async fn delete_account(&self, _tenant: &TenantScope, _channel: &str, _account_id: &str) -> Result<()> {
        unimplemented!("config")
    }

    /// Records that an unknown sender asked. `scope` is the account's owner.
    pub async fn ask_pairing(
        &self,
        _scope: &Scope,
        _channel: &str,
        _account_id: &str,
        _sender_id: &str,
        _sender_name: &str,
    ) -> Result<PairingAsked> {
        unimplemented!("config")
    }
    pub async fn list_pairing(&self, _scope: &Scope) -> Result<Vec<PairingRequest>> {
        unimplemented!("config")
    }
    /// Lets the sender in (direct messages of that account only). Gives the request that was answered.
    pub async fn approve_pairing(&self, _scope: &Scope, _id: &str) -> Result<PairingRequest> {
        unimplemented!("config")
    }
    pub async fn dismiss_pairing(&self, _scope: &Scope, _id: &str) -> Result<()> {
        unimplemented!("config")
    }
    /// A one-time code (10 minutes) the user sends to the bot in a direct chat to tie that chat identity to themselves.
    pub async fn create_link_code(&self, _scope: &Scope) -> Result<Secret> {
        unimplemented!("config")
    }
    /// Redeems a link code sent by `sender_id`. `None` when it is not a valid code of this tenant.
    pub async fn redeem_link_code(
        &self,
        _tenant: &TenantScope,
        _channel: &str,
        _account_id: &str,
        _sender_id: &str,
        _code: &Secret,
    ) -> Result<Option<UserId>> {
        unimplemented!("config")
    }
}
