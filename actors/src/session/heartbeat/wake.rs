//! Something happened: the agent looks at once, with the event before its eyes.

use claw_entities::{Scope, SessionKey, UserOwned, heartbeat, inbox};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};

use super::{place_of, session_of, target_of};
use crate::clock::now_ms;
use crate::db::Batch;
use crate::error::Result;
use crate::session::{key, system_event};
use crate::supervisor::directory::Directory;

/// What happens within this time is looked at together, milliseconds (`agent-runtime` §18.3).
const COALESCE_MS: i64 = 250;

/// Leaves the line and asks for a beat, in one commit. False when nobody looks in this session by themselves, or could
/// not be heard, and nothing was done.
///
/// # Errors
/// `Invalid` for a session that other people read along in.
pub(crate) async fn wake(directory: &Directory, scope: &Scope, session: &SessionKey, text: &str) -> Result<bool> {
    soon(directory, scope, session, Some(text), None).await
}

/// As [`wake`], with a row that keeps it from being done twice.
///
/// # Errors
/// As [`wake`]; `Conflict` when the row is there already.
pub(crate) async fn wake_once(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    text: &str,
    mark: inbox::ActiveModel,
) -> Result<bool> {
    soon(directory, scope, session, Some(text), Some(mark)).await
}

/// As [`wake`], where the line has been left already.
///
/// # Errors
/// When the database is away.
pub(crate) async fn nudge(directory: &Directory, scope: &Scope, session: &SessionKey) -> Result<bool> {
    soon(directory, scope, session, None, None).await
}

async fn soon(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    text: Option<&str>,
    mark: Option<inbox::ActiveModel>,
) -> Result<bool> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let Some(beat) = settings.heartbeat(key::agent_of(session)) else {
        return Ok(false);
    };
    let user = services.config.user(scope.tenant_scope(), scope.user()).await?;
    let own = session_of(&services.config, scope, beat).await?;
    if own.key() != session || !user.heartbeats {
        return Ok(false);
    }
    // Where a beat could not be heard it would be left out; the event is not.
    if target_of(beat).is_some() && place_of(directory, scope, &beat.agent_id).await?.is_none() {
        return Ok(false);
    }
    let at = now_ms() + COALESCE_MS;
    let (scope_in, text, agent) = (scope.clone(), text.map(str::to_owned), beat.agent_id.clone());
    let found = services
        .writer
        .run(scope, move |tx| {
            let (scope, own, text) = (scope_in.clone(), own.clone(), text.clone());
            let (agent, mark) = (agent.clone(), mark.clone());
            Box::pin(async move {
                // The first of several says when.
                let sooner = Condition::any()
                    .add(heartbeat::Column::Woken.eq(true))
                    .add(heartbeat::Column::NextBeatAt.lt(at));
                let when = CaseStatement::new()
                    .case(sooner, Expr::col(heartbeat::Column::NextBeatAt))
                    .finally(Expr::value(at));
                let woken = heartbeat::Entity::update_owned(&scope)
                    .col_expr(heartbeat::Column::NextBeatAt, when.into())
                    .col_expr(heartbeat::Column::Woken, Expr::value(true))
                    .col_expr(heartbeat::Column::Epoch, Expr::col(heartbeat::Column::Epoch).add(1))
                    .filter(heartbeat::Column::AgentId.eq(agent))
                    .filter(heartbeat::Column::NextBeatAt.is_not_null())
                    .exec(tx)
                    .await?;
                if woken.rows_affected > 0 {
                    if let Some(text) = text {
                        system_event::put(tx, &scope, &own, &text).await?;
                    }
                    if let Some(mark) = mark {
                        let mut batch = Batch::new(tx);
                        batch.add(&inbox::Entity::insert(mark));
                        batch.run(tx).await?;
                    }
                }
                Ok(woken.rows_affected > 0)
            })
        })
        .await?;
    if found {
        directory.cron_changed().notify_one();
    }
    Ok(found)
}
