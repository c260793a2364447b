//! Whose a session is: does nobody but its user read what stands in it.
//!
//! A main session and what runs by itself are; a room never is. A direct chat is when everybody who can write to it is the
//! user: whom its key names is linked to them, all of those whom `session.identityLinks` merges into it, and nobody else
//! who gets the same key is let in. The server's records say so, and they change: ask when it matters, and again before a
//! turn begins.

use std::sync::Arc;

use claw_entities::{Scope, SessionKey};

use super::key::{self, Kind, Parsed};
use super::policy;
use crate::config::ConfigService;
use crate::config::accounts::ResolvedAccount;
use crate::config::document::UserSettings;
use crate::error::{Error, Result};

/// A session that was found to be its user's alone. What is for the user's eyes only takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own(SessionKey);

impl Own {
    /// The agent's main session.
    pub(crate) fn main(agent: &str) -> Self {
        Self(key::main(agent))
    }

    /// The session, if it is its user's alone now.
    pub(crate) async fn find(config: &ConfigService, scope: &Scope, key: &SessionKey) -> Result<Option<Self>> {
        Ok(is_own(config, scope, key).await?.then(|| Self(key.clone())))
    }

    /// As [`Own::find`].
    ///
    /// # Errors
    /// `Invalid` for a session that others read along in.
    pub(crate) async fn expect(config: &ConfigService, scope: &Scope, key: &SessionKey) -> Result<Self> {
        Self::find(config, scope, key).await?.ok_or_else(|| {
            Error::invalid("system events are for sessions of the user alone, not for chats others write to or read")
        })
    }

    pub(crate) fn key(&self) -> &SessionKey {
        &self.0
    }
}

/// Is the session its user's alone now.
pub(crate) async fn is_own(config: &ConfigService, scope: &Scope, key: &SessionKey) -> Result<bool> {
    let Some(parsed) = key::parse(key.as_str()) else {
        return Ok(true);
    };
    match parsed.kind {
        Kind::Group | Kind::Channel => Ok(false),
        Kind::Direct => {
            let accounts = config.accounts_around(scope).await?;
            let settings = config.settings(scope).await?;
            Ok(is_theirs(&parsed, scope, &settings, &accounts))
        }
        Kind::Main
        | Kind::Global
        | Kind::Cron
        | Kind::Hook
        | Kind::Node
        | Kind::Subagent
        | Kind::Http
        | Kind::Slash
        | Kind::Custom => Ok(true),
    }
}

/// Is everybody who can write to the direct chat of this key its user. `accounts`: the user's own bots, and those that
/// know the user by a link. Pure.
fn is_theirs(chat: &Parsed<'_>, scope: &Scope, settings: &UserSettings, accounts: &[Arc<ResolvedAccount>]) -> bool {
    let Some(peer) = chat.peer_id else { return false };
    if !merged(chat, settings, peer).all(|(channel, sender)| is_linked(accounts, scope, channel, sender)) {
        return false;
    }
    let mut theirs = false;
    for account in accounts {
        let channel = key::part(&account.account.channel);
        if chat.channel.is_some_and(|named| named != channel)
            || chat
                .account_id
                .is_some_and(|named| named != key::part(&account.account.account_id))
        {
            continue;
        }
        for sender in senders(settings, &channel, peer) {
            match whose(account, scope, &sender) {
                Sender::Theirs => theirs = true,
                Sender::Nobody => {}
                Sender::Another => return false,
            }
        }
    }
    theirs
}

/// Senders that are merged into this chat, with their channel where they name one. Who is on another channel than the
/// chat is not.
fn merged<'a>(
    chat: &Parsed<'a>,
    settings: &'a UserSettings,
    peer: &'a str,
) -> impl Iterator<Item = (Option<&'a str>, &'a str)> {
    let here = chat.channel;
    let of_it = settings.session.identity_links.iter();
    of_it
        .filter(move |(_, canonical)| key::part(canonical) == peer)
        .map(|(id, _)| match id.split_once(':') {
            Some((channel, sender)) if is_channel(channel) => (Some(channel), sender),
            Some(_) | None => (None, id.as_str()),
        })
        .filter(move |(channel, _)| here.is_none() || channel.is_none() || *channel == here)
}

/// Channels are words; what else stands before a colon is part of an id.
fn is_channel(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
}

/// Is the sender the user somewhere.
fn is_linked(accounts: &[Arc<ResolvedAccount>], scope: &Scope, channel: Option<&str>, sender: &str) -> bool {
    let mut there = accounts
        .iter()
        .filter(|account| channel.is_none_or(|named| named == key::part(&account.account.channel)));
    there.any(|account| {
        let mut links = account.links.iter();
        links.any(|(id, user)| user == scope.user() && id.to_lowercase() == sender)
    })
}

/// Senders on this channel whose key has this peer, in lower case: the opposite of `routing::canonical_peer`.
fn senders(settings: &UserSettings, channel: &str, peer: &str) -> Vec<String> {
    let links = &settings.session.identity_links;
    let named = |sender: &str| links.get(&format!("{channel}:{sender}")).or_else(|| links.get(sender));
    let mut found: Vec<String> = links
        .keys()
        .map(|id| {
            id.strip_prefix(channel)
                .and_then(|id| id.strip_prefix(':'))
                .unwrap_or(id)
        })
        .filter(|id| named(id).is_some_and(|canonical| key::part(canonical) == peer))
        .map(str::to_owned)
        .collect();
    if named(peer).is_none() {
        found.push(peer.to_owned());
    }
    found
}

enum Sender {
    /// Linked to the user.
    Theirs,
    /// Does not get to the user's sessions.
    Nobody,
    /// A guest of the user's, or somebody else's link.
    Another,
}

fn whose(account: &ResolvedAccount, scope: &Scope, sender: &str) -> Sender {
    // The key has lost the case of the id; a cut or changed one fits no sender.
    let fits = |id: &&String| id.to_lowercase() == sender;
    let own_bot = account.owner == *scope.user();
    let is_theirs = |id: &String| account.links.get(id) == Some(scope.user());
    let mut linked = account.links.keys().filter(fits).peekable();
    let mut known = account.approved.iter().filter(|_| own_bot).filter(fits);
    if linked.peek().is_some() {
        return if linked.all(is_theirs) && known.all(is_theirs) {
            Sender::Theirs
        } else {
            Sender::Another
        };
    }
    if own_bot && (known.next().is_some() || policy::lets_in(account, sender)) {
        Sender::Another
    } else {
        Sender::Nobody
    }
}

#[cfg(test)]
mod tests;
