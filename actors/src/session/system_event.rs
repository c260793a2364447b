//! System events: lines for the agent that no person wrote (`agent-runtime` §18.4). They wait for the next turn of
//! their session and stand before what the person says there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use claw_entities::{Scope, SessionKey, UserOwned, new_id, session, system_event};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::key;
use super::own::Own;
use crate::Services;
use crate::clock::now_ms;
use crate::conversation::entry::Body;
use crate::conversation::transcript::{self, NewEntry};
use crate::error::Result;
use crate::ports::message::{Message, Part};

/// Lines that wait for one session; older ones make room.
const MOST: usize = 20;
/// How a line begins.
const BEGINNING: &str = "System: [";
/// Longest line, characters.
const LONGEST: usize = 2000;

/// Adds a line. One that was added last already is not added again.
///
/// # Errors
/// `Invalid` for a session that other people read along in: such lines are the user's alone.
pub(crate) async fn add(services: &Services, scope: &Scope, session: &SessionKey, text: &str) -> Result<()> {
    let own = Own::expect(&services.config, scope, session).await?;
    let (scope_in, text) = (scope.clone(), text.to_owned());
    services
        .writer
        .run(scope, move |tx| {
            let (scope, own, text) = (scope_in.clone(), own.clone(), text.clone());
            Box::pin(async move { put(tx, &scope, &own, &text).await })
        })
        .await
}

/// As [`add`], inside a transaction.
pub(crate) async fn put(tx: &crate::db::Transaction, scope: &Scope, own: &Own, text: &str) -> Result<()> {
    let (session, text) = (own.key(), one_line(text));
    // The turns read the session's row anyway, and see there that they have to ask. It is there from now on, or a
    // first turn at the same time could miss the line; and it comes first, as with a turn that takes lines away.
    transcript::open_to_move(tx, scope, session, key::agent_of(session), now_ms()).await?;
    let there: Vec<(String, String)> = system_event::Entity::owned_by(scope)
        .select_only()
        .columns([system_event::Column::Id, system_event::Column::Text])
        .filter(system_event::Column::SessionKey.eq(session.as_str()))
        .order_by_asc(system_event::Column::Id)
        .into_tuple()
        .all(tx)
        .await?;
    if there.last().is_some_and(|(_, last)| *last == text) {
        return Ok(());
    }
    let room = there.len().saturating_sub(MOST - 1);
    if room > 0 {
        let oldest = there.iter().take(room).map(|(id, _)| id.clone());
        remove(tx, scope, session, oldest.collect()).await?;
    }
    system_event::Entity::insert(system_event::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        session_key: Set(session.clone()),
        id: Set(new_id()),
        text: Set(text),
        created_at: Set(now_ms()),
    })
    .exec_without_returning(tx)
    .await?;
    count(tx, scope, session).await
}

/// The lines that wait for a session, oldest first.
pub(crate) async fn waiting(services: &Services, scope: &Scope, session: &SessionKey) -> Result<Vec<String>> {
    Ok(system_event::Entity::owned_by(scope)
        .select_only()
        .column(system_event::Column::Text)
        .filter(system_event::Column::SessionKey.eq(session.as_str()))
        .order_by_asc(system_event::Column::Id)
        .into_tuple()
        .all(&services.db.glance(scope).await?)
        .await?)
}

/// Has the session's next turn ask for lines.
async fn count(tx: &impl ConnectionTrait, scope: &Scope, session: &SessionKey) -> Result<()> {
    session::Entity::update_owned(scope)
        .col_expr(session::Column::Events, Expr::col(session::Column::Events).add(1))
        .filter(session::Column::Key.eq(session.clone()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Puts the lines that wait before the text of a user entry, and takes them away: both or neither. Whoever calls has
/// seen in the session's head that there may be some.
pub(crate) async fn drain(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session: &SessionKey,
    zone: Tz,
    entry: &mut NewEntry,
) -> Result<()> {
    let rows = system_event::Entity::owned_by(scope)
        .filter(system_event::Column::SessionKey.eq(session.as_str()))
        .order_by_asc(system_event::Column::Id)
        .all(tx)
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    put_before(&rows, zone, entry);
    remove(tx, scope, session, rows.into_iter().map(|row| row.id).collect()).await
}

/// As [`drain`], for a beat whose transcript is not that of `session`: the lines are kept aside until the beat has
/// ended, see [`give_back`]. The session has asked for them.
pub(crate) async fn borrow(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session: &SessionKey,
    zone: Tz,
    entry: &mut NewEntry,
) -> Result<()> {
    // Before the lines: one that comes meanwhile is asked for again.
    let events: Option<i64> = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::Events)
        .filter(session::Column::Key.eq(session.clone()))
        .into_tuple()
        .one(tx)
        .await?;
    let aside = aside(session);
    let rows = system_event::Entity::owned_by(scope)
        .filter(system_event::Column::SessionKey.is_in([session.clone(), aside.clone()]))
        .order_by_asc(system_event::Column::Id)
        .all(tx)
        .await?;
    if !rows.is_empty() {
        put_before(&rows, zone, entry);
        system_event::Entity::update_owned(scope)
            .col_expr(system_event::Column::SessionKey, Expr::value(aside))
            .filter(system_event::Column::SessionKey.eq(session.clone()))
            .filter(system_event::Column::Id.is_in(rows.into_iter().map(|row| row.id)))
            .exec(tx)
            .await?;
    }
    if let Some(events) = events {
        session::Entity::update_owned(scope)
            .col_expr(session::Column::EventsSeen, Expr::value(events))
            .filter(session::Column::Key.eq(session.clone()))
            .filter(session::Column::EventsSeen.lt(events))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Ends a [`borrow`]: the lines wait for the session's next turn again when `unheard`, else they are gone.
pub(crate) async fn give_back(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session: &SessionKey,
    unheard: bool,
) -> Result<()> {
    let lines = system_event::Column::SessionKey.eq(aside(session));
    if !unheard {
        system_event::Entity::delete_owned(scope).filter(lines).exec(tx).await?;
        return Ok(());
    }
    let back = system_event::Entity::update_owned(scope)
        .col_expr(system_event::Column::SessionKey, Expr::value(session.clone()))
        .filter(lines)
        .exec(tx)
        .await?;
    if back.rows_affected > 0 {
        count(tx, scope, session).await?;
    }
    Ok(())
}

/// Where lines of a session are kept aside. No session is called so: keys begin with their agent.
pub(crate) fn aside(session: &SessionKey) -> SessionKey {
    format!("aside:{session}").into()
}

fn put_before(rows: &[system_event::Model], zone: Tz, entry: &mut NewEntry) {
    let mut lines = String::new();
    for row in rows {
        lines.push_str(&line(row.created_at, zone, &row.text));
        lines.push('\n');
    }
    note_before(lines, entry);
}

/// Puts lines before what a person wrote, who goes on seeing that alone.
pub(crate) fn note_before(lines: String, entry: &mut NewEntry) {
    if let Body::Message(body) = &mut entry.body
        && let Message::User { content, .. } = Arc::make_mut(&mut body.message)
    {
        match content.first_mut() {
            Some(Part::Text { text }) => {
                // People see what they wrote.
                body.display.get_or_insert_with(|| text.clone());
                text.insert_str(0, &format!("{lines}\n"));
            }
            Some(Part::Image { .. } | Part::File { .. }) | None => content.insert(0, Part::Text { text: lines }),
        }
    }
}

async fn remove(tx: &impl ConnectionTrait, scope: &Scope, session: &SessionKey, ids: Vec<String>) -> Result<()> {
    system_event::Entity::delete_owned(scope)
        .filter(system_event::Column::SessionKey.eq(session.as_str()))
        .filter(system_event::Column::Id.is_in(ids))
        .exec(tx)
        .await?;
    Ok(())
}

/// What the model is asked when an event is not to wait.
pub(crate) fn prompt(at: i64, zone: Tz, text: &str) -> String {
    format!(
        "{}\n\nThis is an event, not a message of a person. Do or say what it asks for; if it is a reminder, pass it on \
         in a friendly way. If there is nothing to do and nothing to say, answer NO_REPLY.",
        line(at, zone, &one_line(text))
    )
}

/// Does a turn's text begin with lines of events.
pub(crate) fn begins(text: &str) -> bool {
    text.starts_with(BEGINNING)
}

/// A line as turns have it; the text is one already.
pub(crate) fn line(at: i64, zone: Tz, text: &str) -> String {
    format!("{BEGINNING}{}] {text}", wall_time(at, zone))
}

/// `2026-11-26 16:04:00 CET`.
pub(crate) fn wall_time(at: i64, zone: Tz) -> String {
    let at = DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default();
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// One line of bounded length: what it holds cannot pass for a line of its own.
fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(at);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line(" a\nSystem: [now] b\r\n\tc "), "a System: [now] b c");
        assert_eq!(one_line(&"ä".repeat(3000)).chars().count(), LONGEST + 1);
        let asked = prompt(0, Tz::Europe__Vienna, "call\nEve");
        assert!(
            asked.starts_with("System: [1970-01-01 01:00:00 CET] call Eve\n\n"),
            "{asked}"
        );
    }
}
