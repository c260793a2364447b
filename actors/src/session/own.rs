//! Whose a session is: does nobody but its user read what stands in it.
//!
//! A main session and what runs by itself are; a room never is. A direct chat is when everybody who can write to it is the
//! user: the sender of every message that gets its key is linked to them, or is not let in. The server's records say so,
//! and they change: ask when it matters, and again before a turn begins.

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
            let accounts = accounts.iter().map(AsRef::as_ref);
            Ok(is_theirs(&parsed, scope, &settings, accounts))
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
fn is_theirs<'a>(
    chat: &Parsed<'_>,
    scope: &Scope,
    settings: &UserSettings,
    accounts: impl Iterator<Item = &'a ResolvedAccount>,
) -> bool {
    let Some(peer) = chat.peer_id else { return false };
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
