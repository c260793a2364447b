//! "… is typing" to who waits: for a message that has its turn later (`agent-runtime` §4.7).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use claw_entities::{Scope, SessionKey};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::item::Item;
use super::preview::Outlet;
use super::send_policy;
use crate::config::document::TypingMode;
use crate::error::Result;
use crate::ports::channel::Destination;
use crate::supervisor::directory::Directory;

/// Who waits for less sees none.
const AFTER: Duration = Duration::from_millis(200);
/// Longest sign of one wait. Who waits for longer sees it again when the turn begins.
const LONGEST: Duration = Duration::from_secs(120);
/// Signs of the process at once. Where more wait, its time is better spent on their turns.
static ROOM: Semaphore = Semaphore::const_new(64);

/// Where it is shown: `None` for what is no message of a platform's, or does not speak to the agent.
pub(crate) fn place(item: &Item) -> Option<&Destination> {
    let said = item.message_id.is_some() && item.addressed && !item.options.relayed;
    item.destination
        .as_ref()
        .filter(|_| said && item.options.heartbeat.is_none())
}

/// Shows it while this future is held; it never ends. A courtesy: what fails costs the sign alone.
pub(crate) async fn shown(directory: &Directory, scope: &Scope, key: &SessionKey, to: Option<&Destination>) {
    if let Some(to) = to {
        tokio::time::sleep(AFTER).await;
        let Ok(room) = ROOM.try_acquire() else {
            return std::future::pending().await;
        };
        match opened(directory, scope, key, to).await {
            Ok(Some(sign)) => {
                tokio::time::sleep(LONGEST).await;
                drop(sign);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(channel.id = to.channel, "who waits sees no sign: {error}"),
        }
        drop(room);
    }
    std::future::pending().await
}

/// By the rules of the run that comes: what it would not show is not shown before it.
async fn opened(directory: &Directory, scope: &Scope, key: &SessionKey, to: &Destination) -> Result<Option<DropGuard>> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    if settings.manner.typing_for(true) != TypingMode::Instant || services.config.is_locked(scope) {
        return Ok(None);
    }
    let account = services
        .config
        .account(scope.tenant(), &to.channel, &to.account_id)
        .await?;
    let Some(account) = account.filter(|account| account.enabled && account.status != "unauthorized") else {
        return Ok(None);
    };
    let head = services.conversation.head(scope, key).await?;
    let nothing = serde_json::Value::Null;
    let entry = head.as_ref().map_or(&nothing, |head| &head.entry);
    if !send_policy::allows(&settings.session.send_policy, key, entry, Some(to)) {
        return Ok(None);
    }
    Ok(Outlet::new(directory, account, to.clone()).typing(settings.manner.typing_interval))
}

/// The signs of a session's messages that wait behind a turn: one for each chat.
#[derive(Default)]
pub(crate) struct Signs(HashMap<String, Sign>);

struct Sign {
    /// Rows that wait there.
    rows: HashSet<String>,
    _shown: DropGuard,
}

impl Signs {
    /// This message waits, perhaps behind the turn of another one, which shows its own where it answers.
    pub(crate) fn begin(
        &mut self,
        directory: &Directory,
        (scope, key): (&Scope, &SessionKey),
        (id, item): (&str, &Item),
        runs: Option<&Item>,
    ) {
        let Some(to) = place(item) else { return };
        if runs
            .and_then(place)
            .is_some_and(|here| here.conversation() == to.conversation())
        {
            return;
        }
        let sign = self.0.entry(to.conversation()).or_insert_with(|| {
            let stop = CancellationToken::new();
            let (stopped, to) = (stop.clone(), to.clone());
            let (directory, scope, key) = (directory.clone(), scope.clone(), key.clone());
            let io = directory.services().io.clone();
            io.spawn(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = shown(&directory, &scope, &key, Some(&to)) => {}
                }
            });
            Sign {
                rows: HashSet::new(),
                _shown: stop.drop_guard(),
            }
        });
        sign.rows.insert(id.to_owned());
    }

    /// Ends those of chats in which nothing waits any more.
    pub(crate) fn keep(&mut self, waits: impl Fn(&str) -> bool) {
        self.0.retain(|_, sign| {
            sign.rows.retain(|id| waits(id));
            !sign.rows.is_empty()
        });
    }
}
