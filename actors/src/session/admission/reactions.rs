//! Signs under messages: the agent hears of them with its next turn, and none is a turn of its own.

use claw_entities::inbox;

use super::{Admitted, Facts, destination, skip};
use crate::config::accounts::{ReactionNotices, ResolvedAccount};
use crate::error::Result;
use crate::ports::channel::{Inbound, PeerKind, Reaction};
use crate::session::envelope::sender_name;
use crate::session::policy::{self, Verdict};
use crate::session::{overheard, own, sending, system_event};

/// The row is settled: what is for the agent waits as what a group said, or as an event of the user's own session.
pub(super) async fn heard(
    facts: &Facts<'_>,
    account: &ResolvedAccount,
    row: inbox::Model,
    (inbound, reaction): (&Inbound, Reaction),
    verdict: Verdict,
) -> Result<Admitted> {
    match verdict {
        Verdict::Skip(reason) => return Ok(skip(row.id, "skipped", reason)),
        Verdict::AskPairing => return Ok(skip(row.id, "skipped", "the sender is not paired")),
        Verdict::Run { .. } | Verdict::Context => {}
    }
    let notices = &account.notices;
    let to_bot = match (notices, reaction.to_bot) {
        (ReactionNotices::Own, None) => {
            let to = destination(&row, inbound);
            Some(sending::sent_here(facts.services, facts.scope, &to, &inbound.message_id).await?)
        }
        (_, to_bot) => to_bot,
    };
    if !notices.takes(&inbound.sender.id, to_bot) {
        return Ok(skip(row.id, "skipped", "a reaction that is not told"));
    }
    if inbound.peer.kind != PeerKind::Direct {
        return Ok(skip(row.id, overheard::STATE, "a reaction"));
    }
    let own = policy::speaker(account, inbound).is(facts.scope.user())
        && own::is_own(&facts.services.config, facts.scope, facts.session).await?;
    if !own {
        return Ok(skip(row.id, "skipped", "a reaction in a guest's chat"));
    }
    let line = format!("{}: {}", sender_name(inbound), inbound.text);
    system_event::add(facts.services, facts.scope, facts.session, &line).await?;
    Ok(skip(row.id, "done", "a reaction"))
}
