//! Claims: a beat that is due becomes an inbox row, once, or is left out for a reason.

use claw_entities::{Scope, SessionKey, UserOwned, heartbeat, inbox, session, user_config};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};

use super::skip::{Facts, Skip, is_empty_file};
use super::{SOURCE, answer, as_read, publish, run_id, session_of, target_of};
use crate::config::document::{HeartbeatSettings, UserSettings};
use crate::config::heartbeat::next;
use crate::error::{Error, Result};
use crate::ports::channel::PeerKind;
use crate::session::cron::announce;
use crate::session::intake::{self, Beat, ClientMessage};
use crate::session::key;
use crate::supervisor::directory::Directory;

/// How long a user may be away before their agents stop looking, milliseconds.
const AWAY_MS: i64 = 7 * 24 * 3_600_000;
/// How long a busy session is given, at least and at most, milliseconds.
const BUSY_MS: (i64, i64) = (1000, 30_000);
/// How long one that cannot be run at all is put off, milliseconds.
const BROKEN_MS: i64 = 15 * 60 * 1000;
/// Longest look, milliseconds (`agent-runtime` §2.4).
const RUN_MS: u64 = 10 * 60 * 1000;

/// Claims a beat that is due, if the agent is to look. One that cannot be run at all is put off, so that it does not hold
/// up the others.
pub(super) async fn due(directory: &Directory, scope: &Scope, row: &heartbeat::Model, now: i64) -> Result<()> {
    match claim(directory, scope, row, now).await {
        Err(error @ (Error::Storage(_) | Error::Busy { .. } | Error::Fenced)) => Err(error),
        Err(error) => {
            tracing::error!(tenant.id = %scope.tenant(), error = ?error, "a heartbeat cannot be run");
            let planned = Planned {
                next: Some(now + BROKEN_MS),
                ..Planned::default()
            };
            leave_out(directory, scope, row, planned).await
        }
        Ok(()) => Ok(()),
    }
}

async fn claim(directory: &Directory, scope: &Scope, row: &heartbeat::Model, now: i64) -> Result<()> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let Some(beat) = settings.heartbeat(&row.agent_id) else {
        // The plan is older than the document.
        return leave_out(directory, scope, row, Planned::default()).await;
    };
    let shortest = services.limits.cron.interval_ms;
    let every = i64::try_from(beat.every.as_millis()).unwrap_or(i64::MAX).max(shortest);
    let session = session_of(&services.config, scope, beat).await?.key().clone();
    let next = Some(next(scope, &row.agent_id, every, now));
    let Some(skip) = facts(directory, scope, row, beat, &session, now).await?.skip() else {
        return begin(directory, scope, row, &settings, beat, session, (now, next)).await;
    };
    metrics::counter!("claw_heartbeats_total", "status" => skip.name()).increment(1);
    let planned = if skip == Skip::RequestsInFlight {
        let since = row.waiting_since.unwrap_or(now);
        Planned {
            next: Some(now + (now - since).clamp(BUSY_MS.0, BUSY_MS.1)),
            waiting_since: Some(since),
            woken: row.woken,
            told: None,
        }
    } else {
        let told = json!({"ts": now, "status": "skipped", "reason": skip.name(), "durationMs": 0});
        Planned {
            next,
            told: skip.is_told().then_some(told),
            ..Planned::default()
        }
    };
    leave_out(directory, scope, row, planned).await
}

async fn facts(
    directory: &Directory,
    scope: &Scope,
    row: &heartbeat::Model,
    beat: &HeartbeatSettings,
    session: &SessionKey,
    now: i64,
) -> Result<Facts> {
    let services = directory.services();
    let config = &services.config;
    let tenant = scope.tenant_scope();
    let user = config.user(tenant, scope.user()).await?;
    if !user.heartbeats || user.disabled || config.tenant(tenant).await?.suspended {
        return Ok(Facts {
            disabled: true,
            ..Facts::default()
        });
    }
    let zone = config.cron_zone(scope).await?;
    let head = services.conversation.head(scope, session).await?;
    let mut facts = Facts {
        inactive: is_away(directory, scope, now).await?,
        quiet_hours: beat.active.is_some_and(|active| !active.hold(zone, now)),
        busy: is_busy(directory, scope, &ran_in(beat, session)).await?,
        events: head.is_some_and(|head| head.events > head.events_seen),
        empty_file: asks_for_nothing(directory, scope, beat).await?,
        too_soon: row
            .last_beat_at
            .is_some_and(|last| last + services.limits.cron.interval_ms > now),
        woken: row.woken,
        ..Facts::default()
    };
    if let Some(target) = target_of(beat) {
        match announce::find(directory, scope, &beat.agent_id, &target).await? {
            Ok((account, destination)) => {
                let shown = Visibility::of(&account.account.config);
                facts.alerts_disabled = !(shown.ok || shown.alerts || shown.indicator);
                facts.dm_blocked = beat.direct_blocked && destination.peer.kind == PeerKind::Direct;
            }
            Err(_) => facts.no_target = true,
        }
    }
    Ok(facts)
}

/// `heartbeat` of a channel account: what of a beat is shown there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visibility {
    pub(super) ok: bool,
    pub(super) alerts: bool,
    pub(super) indicator: bool,
}

impl Visibility {
    pub(super) fn of(account: &Value) -> Self {
        let said = |name: &str, usual| account["heartbeat"][name].as_bool().unwrap_or(usual);
        Self {
            ok: said("showOk", false),
            alerts: said("showAlerts", true),
            indicator: said("useIndicator", true),
        }
    }
}

/// Has the user neither written nor changed anything for long. What runs by a clock is no sign of life, and what their
/// guests say is none of theirs.
async fn is_away(directory: &Directory, scope: &Scope, now: i64) -> Result<bool> {
    let services = directory.services();
    let links = services.config.list_links(scope).await?.into_iter();
    let view = services.db.glance(scope).await?;
    // What is no chat, as SQL sees it.
    let mut private = Condition::all();
    for others in ["cron:%", "hook:%", "subagent:%", "heartbeat"] {
        private = private.add(session::Column::Key.not_like(format!("agent:%:{others}")));
    }
    for shared in ["direct", "dm", "group", "channel"] {
        private = private.add(session::Column::Key.not_like(format!("agent:%:{shared}:%")));
    }
    let own = Condition::any()
        .add(private)
        .add(announce::written_by(links.map(|link| link.sender_id)));
    let wrote: Option<Option<i64>> = session::Entity::owned_by(scope)
        .select_only()
        .column_as(session::Column::UpdatedAt.max(), "at")
        .filter(own)
        .into_tuple()
        .one(&view)
        .await?;
    let changed: Option<i64> = user_config::Entity::owned_by(scope)
        .select_only()
        .column(user_config::Column::UpdatedAt)
        .into_tuple()
        .one(&view)
        .await?;
    Ok(wrote.flatten().max(changed).is_none_or(|last| last + AWAY_MS < now))
}

/// Is something accepted for this session that has not ended.
async fn is_busy(directory: &Directory, scope: &Scope, session: &SessionKey) -> Result<bool> {
    let open: Option<String> = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::Id)
        .filter(inbox::Column::SessionKey.eq(session.as_str()))
        .filter(inbox::is_open())
        .limit(1)
        .into_tuple()
        .one(&directory.services().db.glance(scope).await?)
        .await?;
    Ok(open.is_some())
}

/// Is there nothing in `HEARTBEAT.md`. A file that nobody wrote is ours and empty; with a question of the user's own it
/// counts as missing, and a missing file is no reason not to look.
async fn asks_for_nothing(directory: &Directory, scope: &Scope, beat: &HeartbeatSettings) -> Result<bool> {
    let config = &directory.services().config;
    let file = config.workspace_file(scope, &beat.agent_id, "HEARTBEAT.md").await?;
    Ok(file.is_some_and(|file| (file.version > 0 || beat.prompt.is_none()) && is_empty_file(&file.content)))
}

/// The session of the beat's turn.
fn ran_in(beat: &HeartbeatSettings, session: &SessionKey) -> SessionKey {
    if beat.isolated {
        key::under(&beat.agent_id, "heartbeat")
    } else {
        session.clone()
    }
}

/// What becomes of a beat that is left out.
#[derive(Clone, Debug, Default)]
struct Planned {
    next: Option<i64>,
    waiting_since: Option<i64>,
    woken: bool,
    told: Option<Value>,
}

/// Moves the next time, unless the row was changed since it was read.
async fn leave_out(directory: &Directory, scope: &Scope, row: &heartbeat::Model, planned: Planned) -> Result<()> {
    let (scope_in, row, kept) = (scope.clone(), row.clone(), planned.clone());
    let done = directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, row, planned) = (scope_in.clone(), row.clone(), kept.clone());
            Box::pin(async move {
                let mut update = heartbeat::Entity::update_owned(&scope)
                    .col_expr(heartbeat::Column::NextBeatAt, Expr::value(planned.next))
                    .col_expr(heartbeat::Column::WaitingSince, Expr::value(planned.waiting_since))
                    .col_expr(heartbeat::Column::Woken, Expr::value(planned.woken))
                    .col_expr(heartbeat::Column::Epoch, Expr::value(row.epoch + 1))
                    .filter(as_read(&row));
                if let Some(told) = planned.told {
                    update = update.col_expr(heartbeat::Column::Last, Expr::value(told));
                }
                Ok(update.exec(tx).await?.rows_affected > 0)
            })
        })
        .await?;
    if let Some(told) = planned.told.filter(|_| done) {
        publish(directory, scope, &told);
    }
    Ok(())
}

/// Claim and inbox row in one transaction. Nothing when the row was changed or claimed since it was read.
async fn begin(
    directory: &Directory,
    scope: &Scope,
    row: &heartbeat::Model,
    settings: &UserSettings,
    beat: &HeartbeatSettings,
    base: SessionKey,
    (now, next): (i64, Option<i64>),
) -> Result<()> {
    let services = directory.services();
    let zone = services.config.cron_zone(scope).await?;
    let session = ran_in(beat, &base);
    let message = ClientMessage {
        source: SOURCE.to_owned(),
        message: answer::prompt(beat.prompt.as_deref(), now, zone),
        model: beat.model.clone(),
        timeout_ms: Some(
            beat.timeout
                .or(settings.run_timeout.flatten())
                .map_or(RUN_MS, |limit| u64::try_from(limit.as_millis()).unwrap_or(RUN_MS)),
        ),
        queue_mode: Some("followup".to_owned()),
        background: true,
        heartbeat: Some(Beat {
            ack_max_chars: beat.ack_max_chars,
            light_context: beat.light_context,
            apart_from: beat.isolated.then_some(base),
        }),
        ..ClientMessage::default()
    };
    let payload = serde_json::to_string(&message).map_err(Error::internal)?;
    let at = row.next_beat_at.unwrap_or(now);
    let run = run_id(&row.agent_id, at);
    let (scope_in, row_in, session_in) = (scope.clone(), row.clone(), session.clone());
    let claimed = services
        .writer
        .run(scope, move |tx| {
            let (scope, row) = (scope_in.clone(), row_in.clone());
            let fired = intake::own_row(&scope, SOURCE, &run, &session_in, payload.clone(), now);
            Box::pin(async move {
                let claimed = heartbeat::Entity::update_owned(&scope)
                    .col_expr(heartbeat::Column::RunningAt, Expr::value(at))
                    .col_expr(heartbeat::Column::NextBeatAt, Expr::value(next))
                    .col_expr(heartbeat::Column::Woken, Expr::value(false))
                    .col_expr(heartbeat::Column::WaitingSince, Expr::value(None::<i64>))
                    .col_expr(heartbeat::Column::LastBeatAt, Expr::value(now))
                    .col_expr(heartbeat::Column::Epoch, Expr::value(row.epoch + 1))
                    .filter(as_read(&row))
                    .filter(heartbeat::Column::RunningAt.is_null())
                    .exec(tx)
                    .await?;
                if claimed.rows_affected == 0 {
                    return Ok(false);
                }
                inbox::Entity::insert(fired).exec_without_returning(tx).await?;
                Ok(true)
            })
        })
        .await;
    match claimed {
        Ok(true) => {
            metrics::counter!("claw_heartbeats_total", "status" => "started").increment(1);
            directory.wake(scope, &session);
            Ok(())
        }
        Ok(false) => Ok(()),
        // There was a beat of that time already: this one has another.
        Err(Error::Conflict(_)) => {
            let planned = Planned {
                next,
                ..Planned::default()
            };
            leave_out(directory, scope, row, planned).await
        }
        Err(error) => Err(error),
    }
}
