//! Heartbeats: an agent looks by itself whether anything needs attention (`agent-runtime` §18).
//!
//! A beat is claimed from its row in one commit with an inbox row that is unique by agent and planned time, and from
//! there runs like any message, on its session's main lane. Any process may claim; whoever dies when, a beat is neither
//! missed nor doubled. A beat with nothing to report leaves the transcript again; what it has to say goes to the outbox
//! in one commit with the end of the beat. What is off or cannot be heard costs no model call: see [`skip`].

mod answer;
mod claim;
mod settle;
mod skip;
mod transcript;
mod wake;

#[cfg(test)]
mod tests;

use claw_entities::{PlatformTable, Scope, UserOwned, heartbeat};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::cron::announce::{self, Place};
use super::cron::{AHEAD_MS, pause};
use super::key;
use super::own::Own;
use super::reconcile::{GIVEN_UP, is_over, pass};
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::cron::job::Target;
use crate::config::document::{HeartbeatSettings, HeartbeatTarget};
use crate::error::Result;
use crate::gateway::messages::Event;
use crate::ports::channel::{Destination, PeerKind};
use crate::supervisor::directory::Directory;

pub(crate) use answer::{judge, usual_prompt};
use claim::Visibility;
pub(crate) use settle::{settle, unless_repeated};
pub(crate) use skip::Skip;
pub(crate) use transcript::{start_over, take_back};
pub(crate) use wake::{nudge, wake, wake_once};

/// Of a beat's inbox row.
const SOURCE: &str = "heartbeat";
/// Beats looked at together, and claimed at the same time.
const PAGE: u64 = 256;
const AT_ONCE: usize = 64;

/// Claims what is due at `now` (epoch milliseconds). Gives how long nothing more is due, milliseconds.
pub(crate) async fn round(directory: &Directory, now: i64) -> Result<i64> {
    let tx = directory.services().db.system_read().await?;
    let rows = heartbeat::Entity::platform()
        .filter(heartbeat::is_waiting())
        .filter(heartbeat::Column::NextBeatAt.lte(now + AHEAD_MS))
        .order_by_asc(heartbeat::Column::NextBeatAt)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    drop(tx);
    let full = rows.len() as u64 == PAGE;
    let (due, soon): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.next_beat_at <= Some(now));
    let soonest = soon.iter().filter_map(|row| row.next_beat_at).min();
    let any_due = !due.is_empty();
    let claims = due.into_iter().map(|row| async move {
        let scope = Scope::vouch(row.tenant_id.clone(), row.user_id.clone());
        let claimed = claim::due(directory, &scope, &row, now).await;
        if let Err(error) = &claimed {
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "a due heartbeat was not claimed");
        }
        claimed.is_ok()
    });
    let claimed: Vec<bool> = stream::iter(claims).buffer_unordered(AT_ONCE).collect().await;
    Ok(pause(&claimed, full || any_due, soonest.map(|at| at - now)))
}

/// Puts the end of beats on record whose inbox rows are settled. Gives how many there were.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    const RUN_ID: &str = "'heartbeat:' || heartbeat.agent_id || ':' || CAST(heartbeat.running_at AS text)";
    let open = heartbeat::Entity::platform()
        .filter(heartbeat::is_running())
        .filter(is_over("heartbeat", SOURCE, RUN_ID))
        .order_by_asc(heartbeat::Column::RunningAt);
    let settle = |scope, run_id: String| async move { settle(directory, &scope, &run_id).await };
    let give_up = |scope, run_id: String| async move { give_up(directory, &scope, &run_id).await };
    pass(directory, "heartbeat", RUN_ID, open, (settle, give_up)).await
}

/// Ends a beat whose end cannot be stored: the next one comes at its time.
async fn give_up(directory: &Directory, scope: &Scope, run_id: &str) -> Result<()> {
    let Some((agent, at)) = beat_of(run_id) else {
        return Ok(());
    };
    let now = now_ms();
    let tx = directory.services().db.write(scope).await?;
    let last = json!({"ts": now, "status": "failed", "reason": GIVEN_UP, "durationMs": 0});
    heartbeat::Entity::update_owned(scope)
        .col_expr(heartbeat::Column::RunningAt, Expr::value(None::<i64>))
        .col_expr(heartbeat::Column::Last, Expr::value(last))
        .col_expr(heartbeat::Column::Epoch, Expr::cust("epoch + 1"))
        .filter(heartbeat::Column::AgentId.eq(agent))
        .filter(heartbeat::Column::RunningAt.eq(at))
        .exec(&*tx)
        .await?;
    Ok(tx.commit().await?)
}

/// The run of an agent's beat.
fn run_id(agent: &str, at: i64) -> String {
    format!("heartbeat:{agent}:{at}")
}

/// Agent and planned time of a run id made by [`run_id`].
pub(crate) fn beat_of(run_id: &str) -> Option<(&str, i64)> {
    let (agent, at) = run_id.strip_prefix("heartbeat:")?.rsplit_once(':')?;
    Some((agent, at.parse().ok()?))
}

/// The session an agent's beats belong to. Never one that others read along in: what the agent says to its owner is not
/// for them.
async fn session_of(config: &ConfigService, scope: &Scope, beat: &HeartbeatSettings) -> Result<Own> {
    let agent = &beat.agent_id;
    let named = beat
        .session
        .as_deref()
        .and_then(|named| key::resolve(named, agent).ok());
    let own = match named.filter(|named| key::agent_of(named) == agent) {
        Some(named) => Own::find(config, scope, &named).await?,
        None => None,
    };
    Ok(own.unwrap_or_else(|| Own::main(agent)))
}

/// The chat a beat speaks in; `None` when it stays in the session.
pub(crate) fn target_of(beat: &HeartbeatSettings) -> Option<Target> {
    let channel = match &beat.target {
        HeartbeatTarget::None => return None,
        HeartbeatTarget::Last => "last",
        HeartbeatTarget::Channel(channel) => channel,
    };
    Some(Target {
        channel: Some(channel.to_owned()),
        to: beat.to.clone(),
        account_id: beat.account_id.clone(),
        thread_id: None,
    })
}

/// The chat in which an agent says what it finds by itself, if there is one and it may.
pub(crate) async fn place_of(directory: &Directory, scope: &Scope, agent: &str) -> Result<Option<Place>> {
    let settings = directory.services().config.settings(scope).await?;
    let Some(beat) = settings.heartbeat(agent) else {
        return Ok(None);
    };
    let Some(target) = target_of(beat) else { return Ok(None) };
    let found = announce::find(directory, scope, agent, &target).await?.ok();
    Ok(found.filter(|(account, to)| may_say(beat, &account.account.config, to)))
}

/// May what an agent found go into this chat.
fn may_say(beat: &HeartbeatSettings, account: &Value, to: &Destination) -> bool {
    Visibility::of(account).alerts && !(beat.direct_blocked && to.peer.kind == PeerKind::Direct)
}

/// Is this row still as it was read, and of this agent.
fn as_read(row: &heartbeat::Model) -> sea_orm::Condition {
    sea_orm::Condition::all()
        .add(heartbeat::Column::AgentId.eq(row.agent_id.as_str()))
        .add(heartbeat::Column::Epoch.eq(row.epoch))
}

/// Tells the user's connections.
fn publish(directory: &Directory, scope: &Scope, event: &Value) {
    directory.publish(scope, Event::new("heartbeat", event).droppable());
}
