//! The run record: what `agent.wait` and repeated requests read after a run has ended.

use claw_entities::{Scope, UserOwned, run};
use sea_orm::{ColumnTrait, QueryFilter};

use crate::Services;
use crate::error::Result;
use crate::supervisor::directory::RunEnded;

/// How the run ended; `None` while it runs or when there is no such run.
pub(crate) async fn ended(services: &Services, scope: &Scope, run_id: &str) -> Result<Option<RunEnded>> {
    let view = services.db.glance(scope).await?;
    let row = run::Entity::owned_by(scope)
        .filter(run::Column::Id.eq(run_id))
        .one(&view)
        .await?;
    Ok(row.and_then(|row| {
        let ended_at = row.ended_at?;
        Some(RunEnded {
            run_id: row.id,
            status: row.status,
            started_at: row.started_at,
            ended_at,
            error: row.error_message,
            stop_reason: row.stop_reason,
            result: row.result,
        })
    }))
}
