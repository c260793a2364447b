//! The sign under a message that says it was seen: put there when the message passes the gate, and taken away after the
//! answer where the settings say so. A courtesy: what fails costs the sign alone.

use claw_entities::Scope;

use super::item::Item;
use super::policy::MentionPatterns;
use crate::config::accounts::ResolvedAccount;
use crate::config::document::UserSettings;
use crate::ports::channel::{DeliverError, Inbound, PeerKind, Sign};
use crate::supervisor::directory::Directory;

/// Which sign the message gets. What a button says, nobody wrote.
pub(super) fn sign(
    settings: &UserSettings,
    agent_id: &str,
    account: &ResolvedAccount,
    mentions: &MentionPatterns,
    inbound: &Inbound,
) -> Option<String> {
    if inbound.command {
        return None;
    }
    let peer = &inbound.peer;
    let mention = &inbound.mention;
    let mentioned = mention.native || mention.reply_to_bot || mentions.matches(&inbound.text);
    let rule = account.policy.group_rule(&peer.id, peer.thread.as_deref());
    let required = rule.is_none_or(|rule| rule.require_mention);
    let place = (peer.kind == PeerKind::Direct, mentioned, required);
    settings
        .acks
        .sign(&account.account.config, settings.agent(agent_id), place)
}

/// Puts the message's sign under it.
pub(super) fn put(directory: &Directory, scope: &Scope, item: &Item) {
    change(directory, scope, item, false);
}

/// Takes the message's sign away.
pub(super) fn take_away(directory: &Directory, scope: &Scope, item: &Item) {
    change(directory, scope, item, true);
}

fn change(directory: &Directory, scope: &Scope, item: &Item, remove: bool) {
    let (Some(emoji), Some(to), Some(message_id)) = (&item.ack, &item.destination, &item.message_id) else {
        return;
    };
    let Some(channel) = directory.services().ports.channel(&to.channel).cloned() else {
        return;
    };
    let sign = Sign {
        emoji: emoji.clone(),
        remove,
    };
    let (directory, tenant, to, message_id) = (
        directory.clone(),
        scope.tenant().clone(),
        to.clone(),
        message_id.clone(),
    );
    directory.services().io.clone().spawn(async move {
        let config = &directory.services().config;
        let account = config.account(&tenant, &to.channel, &to.account_id).await;
        let (Ok(Some(account)), Some(acts)) = (account, channel.acts()) else {
            return;
        };
        if !account.enabled || account.status == "unauthorized" || directory.delivery().paused(&account, &to).is_some()
        {
            return;
        }
        if let Err(error) = acts.react(&account.account, &to, &message_id, &sign).await {
            if let DeliverError::Retry { after: Some(after), .. } = &error {
                directory.delivery().pause(&account, &to, *after);
            }
            tracing::debug!(channel.id = to.channel, tenant.id = %tenant, "a message got no sign: {error}");
        }
    });
}
