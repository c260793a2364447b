//! Telling a session something that no person wrote.

use claw_entities::{Scope, SessionKey};

use super::intake::{self, ClientMessage, Relayed};
use super::reach::Chain;
use super::{heartbeat, system_event};
use crate::clock::now_ms;
use crate::error::Result;
use crate::supervisor::directory::Directory;

/// Longest run for an event, milliseconds (`agent-runtime` §2.4).
const RUN_MS: u64 = 10 * 60 * 1000;

/// At once, because the agent of another turn asked for it: `chain` is how that turn came about, `next` how the one that
/// is asked for does. One that follows on turns nobody asked for is a turn of its own, which carries on counting.
///
/// # Errors
/// As [`tell`].
pub(crate) async fn relay(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    text: &str,
    (chain, next): (Chain, Chain),
) -> Result<()> {
    if chain == Chain::default() && heartbeat::wake(directory, scope, session, text).await? {
        return Ok(());
    }
    let relayed = Relayed {
        shown: text.to_owned(),
        chain: next,
        ..Relayed::default()
    };
    ask(directory, scope, session, text, Some(relayed)).await
}

/// With the session's next turn, or `now` in a turn of its own. An agent that looks by itself does that, and says what
/// it finds where it says such things.
///
/// # Errors
/// `Invalid` for a session that other people read along in.
pub(crate) async fn tell(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    text: &str,
    now: bool,
) -> Result<()> {
    let services = directory.services();
    if !now {
        return system_event::add(services, scope, session, text).await;
    }
    if heartbeat::wake(directory, scope, session, text).await? {
        return Ok(());
    }
    ask(directory, scope, session, text, None).await
}

/// A turn of its own.
async fn ask(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    text: &str,
    relayed: Option<Relayed>,
) -> Result<()> {
    let zone = directory.services().config.cron_zone(scope).await?;
    let message = ClientMessage {
        source: "wake".to_owned(),
        message: system_event::prompt(now_ms(), zone, text),
        timeout_ms: Some(RUN_MS),
        queue_mode: Some("followup".to_owned()),
        background: true,
        relayed,
        ..ClientMessage::default()
    };
    let id = uuid::Uuid::new_v4().to_string();
    intake::accept_client(directory, scope, session.as_str(), &id, message).await?;
    Ok(())
}
