//! Channel accounts: one bot of one platform, its settings, who may talk to it, and who is who.

mod connection;
pub(in crate::config) mod crud;
mod links;
mod pairing;
mod policy;
mod reactions;
mod resolve;

use std::collections::{HashMap, HashSet};

use claw_entities::UserId;
use serde_json::Value;

use crate::config::document::ToolRules;
use crate::crypto::Secret;
use crate::ports::channel::Account;

pub use connection::AccountName;
pub use links::{ChannelLink, looks_like_link_code};
pub(crate) use pairing::Asker;
pub use pairing::{PAIRING_LIVES_MS, PAIRING_OPEN_AT_ONCE};
pub(crate) use policy::without_channel;
pub use reactions::ReactionNotices;

/// Where a channel account's secret is kept among the tenant's secrets.
pub fn account_secret_name(channel: &str, account_id: &str, secret: &str) -> String {
    format!("{}{secret}", secrets_prefix(channel, account_id))
}

fn secrets_prefix(channel: &str, account_id: &str) -> String {
    format!("channel/{channel}/{account_id}/")
}

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
    pub notices: ReactionNotices,
    pub status: String,
}

/// `dmPolicy`, `groupPolicy` and their lists, parsed once. A missing or unreadable block fails closed.
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

#[derive(Clone, Debug, Default)]
pub struct GroupRule {
    pub require_mention: bool,
    pub enabled: bool,
    pub allow_from: Option<Vec<String>>,
    /// `tools`, and `toolsBySender`: by sender id, `*` for all others.
    pub tools: Option<ToolRules>,
    pub tools_by_sender: Vec<(String, ToolRules)>,
    /// Only these skills; `None`: those of the agent.
    pub skills: Option<Vec<String>>,
    /// Stands in the system prompt here.
    pub system_prompt: Option<String>,
    /// Telegram's topics, each with what the group says where it says nothing itself.
    pub topics: HashMap<String, GroupRule>,
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
