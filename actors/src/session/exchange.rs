//! What follows when one session wrote to another (`agent-runtime` §12.2): the two answer each other by turns, and the
//! second one may tell in its chat what came of it.
//!
//! Only sessions that nobody but the owner reads do: what one knows is not to come to others by itself.
//!
//! Each turn is an inbox row like any. Its end moves the exchange on: the next row and the exchange's own are one
//! commit, made when the run ends, or by a look at what is still open.

use claw_entities::{PlatformTable, Scope, SessionKey, UserOwned, exchange, inbox};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde::{Deserialize, Serialize};

use super::budget::Charge;
use super::cron::record_of;
use super::intake::{self, ClientMessage, Relayed};
use super::reach::Chain;
use super::reach::sessions::last_text;
use super::reconcile::{is_over, pass};
use super::reply::{ANNOUNCE_SKIP, REPLY_SKIP};
use super::{own, untrusted};
use crate::clock::now_ms;
use crate::conversation::display;
use crate::error::{Error, Result};
use crate::ports::channel::Destination;
use crate::supervisor::directory::Directory;

/// Of the inbox rows, and how their runs are called.
pub(crate) const SOURCE: &str = "session";
const PREFIX: &str = "a2a:";
/// Characters of what was said, as the other one is told.
const TOLD: usize = 16_000;

/// What begins one.
pub(crate) struct Beginning {
    pub(crate) from: SessionKey,
    pub(crate) to: SessionKey,
    pub(crate) request: String,
    /// Turns after the first answer, at most.
    pub(crate) most: u32,
    pub(crate) chain: Chain,
    /// Who pays for all its turns besides.
    pub(crate) charge: Charge,
}

/// How an exchange came about, as its row has it.
#[derive(Default, Serialize, Deserialize)]
struct Origin {
    #[serde(flatten)]
    chain: Chain,
    #[serde(default, skip_serializing_if = "Charge::is_none")]
    charge: Charge,
}

/// Run of a turn.
fn run_of(id: &str, step: i64) -> String {
    format!("{PREFIX}{id}:{step}")
}

/// Is it a turn of an exchange.
pub(crate) fn is_run(run_id: &str) -> bool {
    run_id.starts_with(PREFIX)
}

/// Puts an exchange on record whose first message is not accepted yet. Gives the run that message has to have.
pub(crate) async fn begin(directory: &Directory, scope: &Scope, beginning: Beginning) -> Result<String> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let run_id = run_of(&id, 0);
    let origin = Origin {
        chain: beginning.chain,
        charge: beginning.charge,
    };
    let row = exchange::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        id: Set(id),
        run_id: Set(run_id.clone()),
        from_key: Set(beginning.from),
        to_key: Set(beginning.to),
        request: Set(display::cut(&beginning.request, TOLD)),
        reply: Set(None),
        latest: Set(None),
        step: Set(0),
        most: Set(i64::from(beginning.most)),
        chain: Set(serde_json::to_value(origin).map_err(Error::internal)?),
        created_at: Set(now_ms()),
    };
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let row = row.clone();
            Box::pin(async move {
                exchange::Entity::insert(row).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(run_id)
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The one that wrote first answers when `step` is odd, else the other.
    Turn {
        step: i64,
    },
    Announce,
    Over,
}

/// Pure. `said` is `None` when the turn came to nothing.
fn next(step: i64, most: i64, said: Option<&str>) -> Next {
    match (step, said) {
        (..0, _) | (0, None) => Next::Over,
        (step, Some(_)) if step < most => Next::Turn { step: step + 1 },
        (_, _) => Next::Announce,
    }
}

/// Moves an exchange on whose turn has ended. Gives whether it did.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, run_id: &str) -> Result<bool> {
    let services = directory.services();
    let found = exchange::Entity::owned_by(scope)
        .filter(exchange::Column::RunId.eq(run_id))
        .one(&services.db.glance(scope).await?)
        .await?;
    let Some(mut row) = found else { return Ok(false) };
    let Some((_, ran)) = record_of(services, scope, SOURCE, run_id).await? else {
        return Ok(false);
    };
    let said = ran
        .filter(|ran| ran.status == "ok")
        .and_then(|ran| last_text(&ran.result));
    let next = next(row.step, row.most, said.as_deref());
    if let Some(said) = said {
        let said = display::cut(&said, TOLD);
        row.reply.get_or_insert_with(|| said.clone());
        row.latest = Some(said);
    }
    let asked = match next {
        Next::Over => None,
        Next::Turn { step } => Some((step, turn(&row, step))),
        Next::Announce => announcement(directory, scope, &row).await?.map(|asked| (-1, asked)),
    };
    let Some((step, (session, message))) = asked else {
        return moved(directory, scope, run_id, None).await;
    };
    let mut over = services.conversation.head(scope, &session).await?.is_none();
    for key in [&row.from_key, &row.to_key] {
        over = over || !own::is_own(&services.config, scope, key).await?;
    }
    if over {
        // It was deleted, and nobody answers there any more; or others have come to read along in one of the two.
        return moved(directory, scope, run_id, None).await;
    }
    row.run_id = run_of(&row.id, step);
    row.step = step;
    let payload = serde_json::to_string(&message).map_err(Error::internal)?;
    let asked = intake::own_row(scope, SOURCE, &row.run_id, &session, payload, now_ms());
    let done = moved(directory, scope, run_id, Some((row, asked))).await?;
    if done {
        directory.wake(scope, &session);
    }
    Ok(done)
}

/// Stores where an exchange stands and what is asked next, or that it is over. False when somebody else moved it.
async fn moved(
    directory: &Directory,
    scope: &Scope,
    run_id: &str,
    to: Option<(exchange::Model, inbox::ActiveModel)>,
) -> Result<bool> {
    let (scope_in, run_id) = (scope.clone(), run_id.to_owned());
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, run_id, to) = (scope_in.clone(), run_id.clone(), to.clone());
            Box::pin(async move {
                let here = exchange::Column::RunId.eq(run_id);
                let Some((row, asked)) = to else {
                    let gone = exchange::Entity::delete_owned(&scope).filter(here).exec(tx).await?;
                    return Ok(gone.rows_affected > 0);
                };
                let moved = exchange::Entity::update_owned(&scope)
                    .col_expr(exchange::Column::RunId, Expr::value(row.run_id))
                    .col_expr(exchange::Column::Step, Expr::value(row.step))
                    .col_expr(exchange::Column::Reply, Expr::value(row.reply))
                    .col_expr(exchange::Column::Latest, Expr::value(row.latest))
                    .filter(here)
                    .exec(tx)
                    .await?;
                if moved.rows_affected == 0 {
                    return Ok(false);
                }
                inbox::Entity::insert(asked).exec_without_returning(tx).await?;
                Ok(true)
            })
        })
        .await
}

/// One more answer: the session whose turn it is, and what it is asked.
fn turn(row: &exchange::Model, step: i64) -> (SessionKey, ClientMessage) {
    let (own, other) = if step % 2 == 1 {
        (&row.from_key, &row.to_key)
    } else {
        (&row.to_key, &row.from_key)
    };
    let latest = row.latest.as_deref().unwrap_or_default();
    let told = untrusted::wrap("answer of another session", latest);
    let message = format!(
        "[Inter-session answer] sourceSession={other} turn={step}/{}. Another of your user's agents answered, no person. \
         Answer it, or end the exchange with {REPLY_SKIP} alone when there is nothing more to say.\n\n{told}",
        row.most
    );
    (own.clone(), relayed(row, step, message, latest, None))
}

/// What the second session is asked at the end, where it has a chat.
async fn announcement(
    directory: &Directory,
    scope: &Scope,
    row: &exchange::Model,
) -> Result<Option<(SessionKey, ClientMessage)>> {
    let found = directory.services().conversation.session(scope, &row.to_key).await?;
    let chat = found.and_then(|found| serde_json::from_value::<Destination>(found.destination).ok());
    let Some(chat) = chat else { return Ok(None) };
    let part = |about: &str, text: Option<&str>| untrusted::wrap(about, text.unwrap_or_default());
    let message = format!(
        "[Inter-session exchange is over] sourceSession={}. Tell your user in this chat what came of it, in your own \
         words, or answer {ANNOUNCE_SKIP} alone to say nothing.\n\n{}\n{}\n{}",
        row.from_key,
        part("what was asked", Some(&row.request)),
        part("your first answer", row.reply.as_deref()),
        part("what was said last", row.latest.as_deref()),
    );
    let shown = "Exchange with another session is over";
    Ok(Some((
        row.to_key.clone(),
        relayed(row, row.most + 1, message, shown, Some(chat)),
    )))
}

fn relayed(
    row: &exchange::Model,
    step: i64,
    message: String,
    shown: &str,
    destination: Option<Destination>,
) -> ClientMessage {
    let Origin { chain, charge } = serde_json::from_value(row.chain.clone()).unwrap_or_default();
    ClientMessage {
        source: SOURCE.to_owned(),
        message,
        queue_mode: Some("followup".to_owned()),
        background: true,
        relayed: Some(Relayed {
            shown: shown.to_owned(),
            destination,
            guest: false,
            chain: Chain {
                sends: chain.sends.saturating_add(u32::try_from(step).unwrap_or(u32::MAX)),
                ..chain
            },
            room: None,
        }),
        charge,
        ..ClientMessage::default()
    }
}

/// Moves exchanges on whose turns have ended. Gives how many were looked at.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    // A message that is just being accepted is given time.
    let since = now_ms() - SETTLING_MS;
    let open = exchange::Entity::platform()
        .filter(is_over("exchange", SOURCE, "exchange.run_id"))
        .filter(exchange::Column::CreatedAt.lt(since))
        .order_by_asc(exchange::Column::CreatedAt);
    let settle = |scope, run_id: String| async move { settle(directory, &scope, &run_id).await };
    let give_up = |scope: Scope, run_id: String| async move {
        let tx = directory.services().db.write(&scope).await?;
        exchange::Entity::delete_owned(&scope)
            .filter(exchange::Column::RunId.eq(run_id))
            .exec(&*tx)
            .await?;
        Ok(tx.commit().await?)
    };
    pass(directory, "exchange", "exchange.run_id", open, (settle, give_up)).await
}

/// From the record of an exchange to its first message, at most, milliseconds.
const SETTLING_MS: i64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_with_silence_or_their_number() {
        for (step, most, said, then) in [
            (0, 2, Some("a"), Next::Turn { step: 1 }),
            (1, 2, Some("b"), Next::Turn { step: 2 }),
            (2, 2, Some("c"), Next::Announce),
            (1, 2, None, Next::Announce),
            (0, 0, Some("a"), Next::Announce),
            (0, 2, None, Next::Over),
            (-1, 2, Some("told"), Next::Over),
            (-1, 2, None, Next::Over),
        ] {
            assert_eq!(next(step, most, said), then, "{step} of {most}: {said:?}");
        }
    }
}
