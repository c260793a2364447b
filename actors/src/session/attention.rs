//! What a person has to look at: dead letters and replies that failed or may be missing, each with a retry.

use claw_entities::{Scope, SessionKey, UserOwned, inbox, outbox};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;

const PAGE: u64 = 200;

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub id: String,
    pub source: String,
    pub session_key: SessionKey,
    pub reason: Option<String>,
    pub attempts: i32,
    pub received_at: i64,
}

/// A reply that failed (`failed`) or may not have arrived (`unknown`).
#[derive(Clone, Debug)]
pub struct Undelivered {
    pub id: String,
    pub conversation: String,
    pub state: String,
    pub error: Option<String>,
    pub created_at: i64,
}

/// The newest of both kinds.
pub async fn list(directory: &Directory, scope: &Scope) -> Result<(Vec<DeadLetter>, Vec<Undelivered>)> {
    let tx = directory.services().db.read(scope).await?;
    let dead = inbox::Entity::owned_by(scope)
        .filter(inbox::is_apart())
        .filter(inbox::Column::State.eq("dead"))
        .order_by_desc(inbox::Column::Id)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    let undelivered = outbox::Entity::owned_by(scope)
        .filter(outbox::is_uncertain())
        .order_by_desc(outbox::Column::Id)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    let dead = dead.into_iter().map(|row| DeadLetter {
        id: row.id,
        source: row.source,
        session_key: row.session_key,
        reason: row.reason,
        attempts: row.attempts,
        received_at: row.received_at,
    });
    let undelivered = undelivered.into_iter().map(|row| Undelivered {
        id: row.id,
        conversation: row.conversation,
        state: row.state,
        error: row.error,
        created_at: row.created_at,
    });
    Ok((dead.collect(), undelivered.collect()))
}

/// Gives a dead letter its attempts back and wakes its session.
pub async fn retry_inbox(directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let tx = directory.services().db.write(scope).await?;
    let row = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::Id.eq(id))
        .filter(inbox::is_apart())
        .filter(inbox::Column::State.eq("dead"))
        .one(&*tx)
        .await?
        .ok_or(Error::NotFound { what: "dead letter" })?;
    inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::State, Expr::value("pending"))
        .col_expr(inbox::Column::Attempts, Expr::value(0))
        .col_expr(inbox::Column::Reason, Expr::value(Option::<String>::None))
        // A fresh run: the old one's external effects are on record and must not close this one. The entry of the old one
        // stays on record too: it has the row's id, so this one's gets another.
        .col_expr(inbox::Column::RunId, Expr::value(Option::<String>::None))
        .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()))
        .filter(inbox::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    directory.wake(scope, &row.session_key);
    Ok(())
}

/// Sends a failed or unconfirmed piece again. For an unconfirmed one the person may see it twice: they asked for it.
pub async fn retry_outbox(directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let tx = directory.services().db.write(scope).await?;
    let row = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::Id.eq(id))
        .filter(outbox::is_uncertain())
        .one(&*tx)
        .await?
        .ok_or(Error::NotFound { what: "reply" })?;
    outbox::Entity::update_owned(scope)
        .col_expr(outbox::Column::State, Expr::value("pending"))
        .col_expr(outbox::Column::Attempts, Expr::value(0))
        .col_expr(outbox::Column::NextAttemptAt, Expr::value(0_i64))
        .col_expr(outbox::Column::UpdatedAt, Expr::value(now_ms()))
        .filter(outbox::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    directory.delivery().kick(scope, &row.conversation);
    Ok(())
}
