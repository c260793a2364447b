//! Who may talk: the gate of `channels` §2.3. Pure, and closed unless a rule opens it.

use std::collections::{HashMap, VecDeque};

use claw_entities::UserId;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::commands;
use crate::config::accounts::{
    AccessPolicy, DmPolicy, GroupPolicy, GroupRule, ResolvedAccount, looks_like_link_code, without_channel,
};
use crate::config::document::AgentSettings;
use crate::ports::channel::{Inbound, PeerKind};

/// Who wrote, as far as the platform proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A tenant user who tied this chat identity to their account.
    User(UserId),
    /// Everybody else: a guest of the account's owner.
    Guest,
}

impl Speaker {
    /// Whose sessions a message of theirs goes to: their own in a direct chat, the account owner's otherwise.
    pub fn session_user<'a>(&'a self, account: &'a ResolvedAccount, kind: PeerKind) -> &'a UserId {
        match (self, kind) {
            (Self::User(user), PeerKind::Direct) => user,
            (Self::User(_) | Self::Guest, PeerKind::Direct | PeerKind::Group | PeerKind::Channel) => &account.owner,
        }
    }

    /// Do they speak with the rights of `user`, whose session it is.
    pub fn is(&self, user: &UserId) -> bool {
        match self {
            Self::User(speaker) => speaker == user,
            Self::Guest => false,
        }
    }
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it to the agent. `owner`: with the rights of the user whose session it is.
    Run { speaker: Speaker, owner: bool },
    /// An unknown sender of a direct message: ask the owner, and do not process the message.
    AskPairing,
    /// Group talk that is not for the agent: kept as context of the next turn.
    Context,
    /// Leave it, for this reason (shown in the Activity list).
    Skip(&'static str),
}

/// `/activation` of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Mention,
    Always,
}

impl Activation {
    /// The session's override, `entry.groupActivation`.
    pub fn of(entry: &Value) -> Option<Self> {
        match entry.get("groupActivation")?.as_str()? {
            "always" => Some(Self::Always),
            "mention" => Some(Self::Mention),
            _ => None,
        }
    }
}

/// An agent's names in text, compiled once: its `mentionPatterns`, else its name and emoji.
#[derive(Clone, Debug, Default)]
pub struct MentionPatterns(Vec<Regex>);

impl MentionPatterns {
    /// Patterns that do not compile are left out; the engine is linear, whatever the pattern.
    pub fn of(agent: &AgentSettings) -> Self {
        let mut patterns: Vec<String> = agent.mention_patterns.clone();
        if patterns.is_empty() {
            let identity = |name: &str| agent.identity.get(name).and_then(Value::as_str).map(str::trim);
            let name = identity("name").or(agent.name.as_deref()).unwrap_or("");
            if !name.is_empty() {
                patterns.push(format!(r"(?:^|[^\w@])@?{}(?:$|\W)", regex::escape(name)));
            }
            if let Some(emoji) = identity("emoji").filter(|emoji| !emoji.is_empty()) {
                patterns.push(regex::escape(emoji));
            }
        }
        Self(patterns.iter().filter_map(|pattern| compile(pattern)).collect())
    }

    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(text))
    }
}

fn compile(pattern: &str) -> Option<Regex> {
    const MAX_PROGRAM: usize = 256 * 1024;
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .build()
        .ok()
}

/// Who the sender is to this account.
pub fn speaker(account: &ResolvedAccount, inbound: &Inbound) -> Speaker {
    account
        .links
        .get(&inbound.sender.id)
        .map_or(Speaker::Guest, |user| Speaker::User(user.clone()))
}

/// What a group's session knows that its message does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    pub activation: Option<Activation>,
    /// The agent had a turn in it.
    pub takes_part: bool,
}

/// Decides about one message to a session of `user`.
pub fn gate(
    account: &ResolvedAccount,
    user: &UserId,
    mentions: &MentionPatterns,
    before: Before,
    inbound: &Inbound,
) -> Verdict {
    if !account.enabled {
        return Verdict::Skip("the channel account is disabled");
    }
    if is_echo(account, inbound) {
        return Verdict::Skip("own message");
    }
    if inbound.sender.is_bot && !account.policy.allow_bots {
        return Verdict::Skip("sent by a bot");
    }
    match inbound.peer.kind {
        PeerKind::Direct => direct(account, user, inbound),
        PeerKind::Group | PeerKind::Channel => group(account, user, mentions, before, inbound),
    }
}

/// Why a direct message is left, where that is certain without its session: it wakes nobody. A link code may come
/// from anybody.
pub fn refused_at_once(account: &ResolvedAccount, user: &UserId, inbound: &Inbound) -> Option<&'static str> {
    if inbound.peer.kind != PeerKind::Direct || looks_like_link_code(&inbound.text) {
        return None;
    }
    match gate(account, user, &MentionPatterns::default(), Before::default(), inbound) {
        Verdict::Skip(reason) => Some(reason),
        Verdict::Run { .. } | Verdict::AskPairing | Verdict::Context => None,
    }
}

/// What we sent comes back on some platforms.
fn is_echo(account: &ResolvedAccount, inbound: &Inbound) -> bool {
    if inbound.sender.id.is_empty() {
        return false;
    }
    ["id", "botId", "bot_id", "userId", "user_id", "botUserId", "bot_user_id"]
        .iter()
        .any(|name| match account.account.identity.get(name) {
            Some(Value::String(id)) => *id == inbound.sender.id,
            Some(Value::Number(id)) => id.to_string() == inbound.sender.id,
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => false,
        })
}

fn direct(account: &ResolvedAccount, user: &UserId, inbound: &Inbound) -> Verdict {
    let speaker = speaker(account, inbound);
    // Somebody who linked after their message came to the owner's session is still a guest in it.
    if speaker.is(user) {
        return Verdict::Run { speaker, owner: true };
    }
    if lets_in(account, &inbound.sender.id) {
        return Verdict::Run { speaker, owner: false };
    }
    match account.policy.dm {
        DmPolicy::Disabled => Verdict::Skip("direct messages are disabled"),
        DmPolicy::Pairing if inbound.sender.is_bot || inbound.sender.id.is_empty() => {
            Verdict::Skip("the sender is not allowed")
        }
        DmPolicy::Pairing => Verdict::AskPairing,
        // `open` opens only together with "*" in the list: a half-written setting lets nobody in.
        DmPolicy::Open | DmPolicy::Allowlist => Verdict::Skip("the sender is not allowed"),
    }
}

/// May somebody who is linked to nobody write to this bot directly, as its owner's guest.
pub(crate) fn lets_in(account: &ResolvedAccount, sender_id: &str) -> bool {
    let policy = &account.policy;
    let listed = || list_admits(&policy.allow_from, &account.account.channel, sender_id);
    match policy.dm {
        DmPolicy::Disabled => false,
        DmPolicy::Open | DmPolicy::Allowlist => listed(),
        DmPolicy::Pairing => listed() || account.approved.contains(sender_id),
    }
}

fn group(
    account: &ResolvedAccount,
    user: &UserId,
    mentions: &MentionPatterns,
    before: Before,
    inbound: &Inbound,
) -> Verdict {
    let policy = &account.policy;
    let rule = policy.group_rule(&inbound.peer.id, inbound.peer.thread.as_deref());
    if rule.is_some_and(|rule| !rule.enabled) {
        return Verdict::Skip("this group is disabled");
    }
    let speaker = speaker(account, inbound);
    let owner = speaker.is(user);
    match policy.group {
        GroupPolicy::Disabled => return Verdict::Skip("groups are disabled"),
        GroupPolicy::Open => {}
        GroupPolicy::Allowlist => {
            let Some(rule) = rule else {
                return Verdict::Skip("this group is not on the list");
            };
            if !owner && !sender_admitted(account, rule, inbound) {
                return Verdict::Skip("the sender is not allowed in groups");
            }
        }
    }
    let required = match before.activation {
        Some(Activation::Always) => false,
        Some(Activation::Mention) => true,
        None => rule.is_none_or(|rule| rule.require_mention),
    };
    let addressed = !required
        || inbound.mention.native
        || inbound.mention.reply_to_bot
        || (inbound.mention.in_thread && before.takes_part)
        || inbound.command
        || mentions.matches(&inbound.text)
        || (owner && commands::parse(&inbound.text, None).is_some());
    if addressed {
        Verdict::Run { speaker, owner }
    } else {
        Verdict::Context
    }
}

/// The group's list, else the account's group list, else its list for direct messages. With no list at all a room of
/// a workspace (Slack, Discord, …) is ruled by its membership; an open group (Telegram, WhatsApp, …) stays closed.
fn sender_admitted(account: &ResolvedAccount, rule: &GroupRule, inbound: &Inbound) -> bool {
    let policy = &account.policy;
    let list = rule
        .allow_from
        .as_deref()
        .or(policy.group_allow_from.as_deref())
        .or_else(|| (!policy.allow_from.is_empty()).then_some(policy.allow_from.as_slice()));
    match list {
        Some(list) => list_admits(list, &account.account.channel, &inbound.sender.id),
        None => inbound.peer.kind == PeerKind::Channel,
    }
}

/// Is the sender on the list. Entries are ids, with or without `<channel>:` before them, or `*`. Names never match:
/// anybody can take a name.
fn list_admits(list: &[String], channel: &str, sender_id: &str) -> bool {
    list.iter()
        .any(|entry| entry.trim() == EVERYBODY || names(entry, channel, sender_id))
}

/// The entry of a list that is everybody.
pub(crate) const EVERYBODY: &str = "*";

/// Does an entry name this sender.
pub(crate) fn names(entry: &str, channel: &str, sender_id: &str) -> bool {
    !sender_id.is_empty() && without_channel(channel, entry.trim()).eq_ignore_ascii_case(sender_id)
}

/// Do groups follow the list for direct messages, having none of their own.
pub(crate) fn groups_follow(policy: &AccessPolicy) -> bool {
    policy.group == GroupPolicy::Allowlist && policy.group_allow_from.is_none()
}

/// Stops two bots from talking to each other for ever: 20 messages of a bot within a minute, then a minute of silence.
#[derive(Debug, Default)]
pub struct BotGuard(HashMap<String, VecDeque<i64>>);

impl BotGuard {
    const EVENTS: usize = 20;
    const WINDOW_MS: i64 = 60_000;
    const BOTS: usize = 64;

    /// May this bot's message go on. `now` in epoch milliseconds.
    pub fn admit(&mut self, bot_id: &str, now: i64) -> bool {
        if self.0.len() >= Self::BOTS && !self.0.contains_key(bot_id) {
            self.0
                .retain(|_, seen| seen.back().is_some_and(|at| now - at < Self::WINDOW_MS));
            if self.0.len() >= Self::BOTS {
                return false;
            }
        }
        let seen = self.0.entry(bot_id.to_owned()).or_default();
        while seen.front().is_some_and(|at| now - at >= Self::WINDOW_MS) {
            seen.pop_front();
        }
        if seen.len() >= Self::EVENTS {
            // Each further one starts the minute of silence anew.
            seen.pop_front();
            seen.push_back(now);
            return false;
        }
        seen.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests;
