//! Rows that need a person: dead letters of the inbox, unknown and failed replies of the outbox, and trying again.

use claw_entities::{Scope, SessionKey, UserOwned, inbox, outbox};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::clock::now_ms;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;

/// Rows listed of each kind.
const MOST: u64 = 200;

/// What waits for the user, newest first.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// State `dead`.
    pub inbox: Vec<inbox::Model>,
    /// States `unknown` and `failed`.
    pub outbox: Vec<outbox::Model>,
}

/// The user's rows that need attention; at most 200 of each kind.
pub async fn list(db: &Db, scope: &Scope) -> Result<Activity> {
    let tx = db.read(scope).await?;
    let inbox = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::State.eq("dead"))
        .order_by_desc(inbox::Column::Id)
        .limit(MOST)
        .all(&*tx)
        .await?;
    let outbox = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::State.is_in(["unknown", "failed"]))
        .order_by_desc(outbox::Column::Id)
        .limit(MOST)
        .all(&*tx)
        .await?;
    Ok(Activity { inbox, outbox })
}

/// Puts a dead letter back into its session's queue, with all its attempts.
pub async fn retry_inbox(db: &Db, directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let tx = db.write(scope).await?;
    let row = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::Id.eq(id))
        .filter(inbox::Column::State.eq("dead"))
        .one(&*tx)
        .await?
        .ok_or(Error::NotFound { what: "dead letter" })?;
    inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::State, Expr::value("pending"))
        .col_expr(inbox::Column::Attempts, Expr::value(0))
        .col_expr(inbox::Column::Reason, Expr::value(None::<String>))
        .col_expr(inbox::Column::RunId, Expr::value(None::<String>))
        .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()))
        .filter(inbox::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    directory.wake(scope, &row.session_key);
    Ok(())
}

/// Sends a reply again that failed, or of which nobody knows whether it arrived.
pub async fn retry_outbox(db: &Db, directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let tx = db.write(scope).await?;
    let row = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::Id.eq(id))
        .filter(outbox::Column::State.is_in(["unknown", "failed"]))
        .one(&*tx)
        .await?
        .ok_or(Error::NotFound { what: "reply" })?;
    let now = now_ms();
    outbox::Entity::update_owned(scope)
        .col_expr(outbox::Column::State, Expr::value("pending"))
        .col_expr(outbox::Column::Attempts, Expr::value(0))
        .col_expr(outbox::Column::NextAttemptAt, Expr::value(now))
        .col_expr(outbox::Column::Error, Expr::value(None::<String>))
        .col_expr(outbox::Column::UpdatedAt, Expr::value(now))
        .filter(outbox::Column::Id.eq(id))
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    let key: Option<SessionKey> = row.session_key;
    if let Some(key) = key {
        directory.wake(scope, &key);
    }
    Ok(())
}
