//! The end of a beat: what clients are told, and where it is said. One commit.

use claw_entities::{Scope, UserOwned, heartbeat};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::{Value, json};

use super::claim::Visibility;
use super::{SOURCE, as_read, beat_of, publish, target_of};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::HeartbeatSettings;
use crate::config::heartbeat::next;
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::ports::channel::{FileAbout, PeerKind};
use crate::session::budget::Charge;
use crate::session::cron::announce::{self, Announcement};
use crate::session::cron::record_of;
use crate::session::key;
use crate::session::reply::HEARTBEAT_OK;
use crate::session::turn::{Authority, insert_pieces};
use crate::supervisor::directory::Directory;

/// What was said within this time is not said again, milliseconds.
const REPEAT_MS: i64 = 24 * 3_600_000;
/// Longest preview of an event, characters.
const PREVIEW: usize = 200;
/// Why nothing is said of what was said before.
const DUPLICATE: &str = "duplicate";
/// How often the end is tried when the row is changed meanwhile.
const TRIES: usize = 5;

/// The text, or why it is not said: the same was said within a day.
pub(crate) async fn unless_repeated(
    services: &Services,
    authority: &Authority,
    text: String,
) -> Result<(Option<String>, Option<String>)> {
    let row = row_of(services, &authority.scope, &authority.agent_id).await?;
    let repeated = row
        .is_some_and(|row| row.said.as_ref() == Some(&text) && row.said_at.is_some_and(|at| at + REPEAT_MS > now_ms()));
    Ok(if repeated {
        (None, Some(DUPLICATE.to_owned()))
    } else {
        (Some(text), None)
    })
}

async fn row_of(services: &Services, scope: &Scope, agent: &str) -> Result<Option<heartbeat::Model>> {
    Ok(heartbeat::Entity::owned_by(scope)
        .filter(heartbeat::Column::AgentId.eq(agent))
        .one(&services.db.glance(scope).await?)
        .await?)
}

/// How a beat ended.
#[derive(Clone, Debug)]
struct Ended {
    /// Of the event.
    status: &'static str,
    reason: Option<String>,
    /// What it has to say.
    text: Option<String>,
    /// What it shows.
    files: Vec<FileAbout>,
    duration_ms: i64,
}

/// What goes to a chat, and what clients are told.
#[derive(Clone, Debug, Default)]
struct Told {
    event: Value,
    sent: Option<Announcement>,
    /// It is not said again for a day.
    remembered: Option<String>,
    silent: bool,
}

/// Puts the end of a beat on record, if it has ended and is not on record yet. Gives whether it did.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, run_id: &str) -> Result<bool> {
    let Some((agent, at)) = beat_of(run_id) else {
        return Ok(false);
    };
    let services = directory.services();
    for _ in 0..TRIES {
        let Some(row) = row_of(services, scope, agent)
            .await?
            .filter(|row| row.running_at == Some(at))
        else {
            return Ok(false);
        };
        let Some(ended) = ended(services, scope, run_id, row.last_beat_at.unwrap_or(at)).await? else {
            return Ok(false);
        };
        let settings = services.config.settings(scope).await?;
        let told = told(directory, scope, settings.heartbeat(agent), agent, ended).await?;
        if store(services, scope, row, run_id, &told).await? {
            if let Some(announcement) = &told.sent {
                directory.delivery().kick(scope, &announcement.conversation);
            }
            if !told.silent {
                publish(directory, scope, &told.event);
            }
            directory.cron_changed().notify_one();
            return Ok(true);
        }
        // It was changed in between: woken, or planned anew.
    }
    Err(Error::Conflict("the heartbeat is being changed".to_owned()))
}

/// How the run ended; `None` while it goes on.
async fn ended(services: &Services, scope: &Scope, run_id: &str, began: i64) -> Result<Option<Ended>> {
    let Some((row, ran)) = record_of(services, scope, SOURCE, run_id).await? else {
        return Ok(None);
    };
    let reason = row.and_then(|row| row.reason);
    let (started, over) = ran.as_ref().map_or((began, now_ms()), |ran| {
        (ran.started_at, ran.ended_at.unwrap_or(ran.started_at))
    });
    let mut files = Vec::new();
    let (status, reason, text) = match ran {
        Some(ran) if ran.status == "ok" => {
            let text = ran.result["payloads"][0]["text"].as_str().map(str::to_owned);
            files = announce::files_of(&ran.result);
            let status = match (&text, reason.as_deref()) {
                (Some(_), _) => "sent",
                (None, _) if !files.is_empty() => "sent",
                (None, Some("ok-token")) => "ok-token",
                (None, Some(DUPLICATE)) => "skipped",
                (None, _) => "ok-empty",
            };
            (status, reason.filter(|_| status == "skipped"), text)
        }
        Some(ran) => {
            let why = ran.error_message.unwrap_or(ran.status);
            ("failed", Some(why), None)
        }
        None => ("skipped", reason, None),
    };
    Ok(Some(Ended {
        status,
        reason,
        text,
        files,
        duration_ms: (over - started).max(0),
    }))
}

/// Where it is said, as things stand now, and what clients are told of it.
async fn told(
    directory: &Directory,
    scope: &Scope,
    beat: Option<&HeartbeatSettings>,
    agent: &str,
    ended: Ended,
) -> Result<Told> {
    let mut told = Told::default();
    let (mut status, mut reason) = (ended.status, ended.reason);
    let mut message = None;
    let place = match beat.and_then(target_of) {
        None => Err(("target-none", None)),
        Some(target) => match announce::find(directory, scope, agent, &target).await? {
            Err(why) => Err(("no-target", Some(why))),
            Ok((_, to)) if to.peer.kind == PeerKind::Direct && beat.is_some_and(|beat| beat.direct_blocked) => {
                Err(("dm-blocked", None))
            }
            Ok(place) => Ok(place),
        },
    };
    let shown = place.as_ref().map_or(Visibility::of(&Value::Null), |(account, _)| {
        Visibility::of(&account.account.config)
    });
    told.silent = !shown.indicator;
    if ended.text.is_some() || !ended.files.is_empty() {
        let answer = (ended.text.as_deref(), ended.files.as_slice());
        let sent = match place {
            Ok(_) if !shown.alerts => Err(("alerts-disabled", None)),
            Ok(place) => announce::answer_at(directory, place, answer).map_err(|why| ("no-target", Some(why))),
            Err(why) => Err(why),
        };
        match sent {
            Ok(announcement) => {
                told.sent = Some(announcement);
                told.remembered = ended.text.clone();
            }
            Err((why, more)) => {
                status = "skipped";
                reason = Some(why.to_owned());
                message = more;
                // It stands in the session, where it need not stand twice.
                told.remembered = ended.text.clone().filter(|_| why == "target-none");
            }
        }
    } else if status.starts_with("ok-")
        && shown.ok
        && let Ok(place) = place
    {
        told.sent = announce::said(directory, place, HEARTBEAT_OK).ok();
    }
    let has_media = !ended.files.is_empty();
    let mut event = json!({"ts": now_ms(), "status": status, "durationMs": ended.duration_ms, "hasMedia": has_media});
    let preview = ended.text.map(|text| text.chars().take(PREVIEW).collect::<String>());
    for (name, value) in [("reason", reason), ("preview", preview), ("message", message)] {
        if let Some(value) = value {
            event[name] = json!(value);
        }
    }
    told.event = event;
    Ok(told)
}

/// Writes it all. False when the row was changed since it was read.
async fn store(services: &Services, scope: &Scope, row: heartbeat::Model, run_id: &str, told: &Told) -> Result<bool> {
    // What came due while it ran is not made up for.
    let now = now_ms();
    let planned = match row.next_beat_at {
        Some(at) if at <= now && !row.woken => Some(next(scope, &row.agent_id, row.every_ms, now)),
        other => other,
    };
    let authority = Authority {
        scope: scope.clone(),
        key: key::main(&row.agent_id),
        agent_id: row.agent_id.clone(),
        epoch: 0,
        charge: Charge::default(),
    };
    let (told, run_id) = (told.clone(), run_id.to_owned());
    services
        .writer
        .run(scope, move |tx| {
            let (authority, row, told, run_id) = (authority.clone(), row.clone(), told.clone(), run_id.clone());
            Box::pin(async move {
                let mut update = heartbeat::Entity::update_owned(&authority.scope)
                    .col_expr(heartbeat::Column::RunningAt, Expr::value(None::<i64>))
                    .col_expr(heartbeat::Column::NextBeatAt, Expr::value(planned))
                    .col_expr(heartbeat::Column::Last, Expr::value(told.event))
                    .col_expr(heartbeat::Column::Epoch, Expr::value(row.epoch + 1))
                    .filter(as_read(&row));
                if let Some(text) = told.remembered {
                    update = update
                        .col_expr(heartbeat::Column::Said, Expr::value(text))
                        .col_expr(heartbeat::Column::SaidAt, Expr::value(now));
                }
                if update.exec(tx).await?.rows_affected == 0 {
                    return Ok(false);
                }
                if let Some(announcement) = &told.sent {
                    let mut batch = Batch::new(tx);
                    insert_pieces(&mut batch, &authority, Some(&run_id), &announcement.pieces)?;
                    batch.run(tx).await?;
                }
                Ok(true)
            })
        })
        .await
}
