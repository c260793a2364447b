//! Sessions of sub-agents that ended are put away: deleted, or archived after a while.

use claw_entities::{PlatformTable, Scope, UserOwned, subagent};
use futures::stream::{self, StreamExt};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Map, json};

use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::session::edit::{self, Edit, Patch};
use crate::supervisor::directory::Directory;

/// Looked after in one pass, and at the same time.
const PAGE: u64 = 128;
const AT_ONCE: usize = 16;
/// When what could not be put away is looked at again, milliseconds.
const AGAIN_MS: i64 = 10 * 60_000;

/// Puts away what is due. Gives how many there were.
pub(crate) async fn put_away(directory: &Directory) -> Result<usize> {
    let tx = directory.services().db.system_read().await?;
    let rows = subagent::Entity::platform()
        .filter(subagent::Column::ClosesAt.lte(now_ms()))
        .order_by_asc(subagent::Column::ClosesAt)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    drop(tx);
    let found = rows.len();
    stream::iter(rows)
        .for_each_concurrent(AT_ONCE, |row| async move {
            let scope = Scope::vouch(row.tenant_id.clone(), row.user_id.clone());
            let left = match one(directory, &scope, &row).await {
                Ok(done) => !done,
                Err(error) => {
                    tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "a sub-agent's session was not put away");
                    true
                }
            };
            // What cannot be put away now does not stand before what can.
            if left && let Err(error) = later(directory, &scope, &row).await {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "a sub-agent's session stays first in line");
            }
        })
        .await;
    Ok(found)
}

async fn later(directory: &Directory, scope: &Scope, row: &subagent::Model) -> Result<()> {
    let tx = directory.services().db.write(scope).await?;
    subagent::Entity::update_owned(scope)
        .filter(subagent::Column::Id.eq(row.id.as_str()))
        .col_expr(subagent::Column::ClosesAt, (now_ms() + AGAIN_MS).into())
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Gives whether it is done.
async fn one(directory: &Directory, scope: &Scope, row: &subagent::Model) -> Result<bool> {
    let services = directory.services();
    if services.config.is_locked(scope) {
        return Ok(false);
    }
    if let Some(head) = services.conversation.head(scope, &row.child_key).await? {
        let expected = Some(head.session_id);
        if row.cleanup == "delete" {
            let edit = Edit::Delete {
                transcript: true,
                expected,
            };
            directory.edit(scope, &row.child_key, edit).await?;
        } else {
            let patch = Patch {
                fields: Map::from_iter([("archivedAt".to_owned(), json!(now_ms()))]),
                expected,
                ..Patch::default()
            };
            match edit::patch(directory, scope, &row.child_key, patch).await {
                // Somebody started it over: it is theirs now.
                Ok(_) | Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let tx = services.db.write(scope).await?;
    super::let_go(scope, &row.child_key).exec(&*tx).await?;
    subagent::Entity::delete_owned(scope)
        .filter(subagent::Column::Id.eq(row.id.as_str()))
        .exec(&*tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}
