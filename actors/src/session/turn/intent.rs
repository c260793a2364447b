//! What an external tool is about to do is on record before it does it.

use claw_entities::tool_intent;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use super::Authority;
use crate::Services;
use crate::clock::now_ms;
use crate::error::Result;
use crate::supervisor::lease::fenced;

/// Writes that an external tool is about to act.
pub(crate) async fn intend(
    services: &Services,
    authority: &Authority,
    run_id: &str,
    call_id: &str,
    tool: &str,
) -> Result<()> {
    let authority_in = authority.clone();
    let (run_id, call_id, tool) = (run_id.to_owned(), call_id.to_owned(), tool.to_owned());
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, run_id, call_id, tool) =
                (authority_in.clone(), run_id.clone(), call_id.clone(), tool.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                let now = now_ms();
                let row = tool_intent::ActiveModel {
                    tenant_id: Set(authority.scope.tenant().clone()),
                    user_id: Set(authority.scope.user().clone()),
                    run_id: Set(run_id),
                    call_id: Set(call_id),
                    tool: Set(tool),
                    state: Set("started".to_owned()),
                    created_at: Set(now),
                    updated_at: Set(now),
                };
                // Models number the calls of each round from the start: one row stands for both.
                let again = OnConflict::columns([
                    tool_intent::Column::TenantId,
                    tool_intent::Column::UserId,
                    tool_intent::Column::RunId,
                    tool_intent::Column::CallId,
                ])
                .update_columns([tool_intent::Column::Tool, tool_intent::Column::UpdatedAt])
                .to_owned();
                batch.add(&tool_intent::Entity::insert(row).on_conflict(again));
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}
