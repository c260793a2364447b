//! Calls of models that are no turn of a conversation (vectors, pictures looked at, speech): how their keys fared, and what
//! they have used.

use claw_entities::{Scope, SessionKey, UserOwned, side_usage};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};

use super::usage::{DAY, Span, Spent};
use crate::Services;
use crate::clock::now_ms;
use crate::config::providers::{Effect, ResolvedModel, Slot, effect};
use crate::error::Result;
use crate::ports::message::Usage;
use crate::ports::model::{ErrorClass, ModelError};

const HOUR: i64 = 3_600_000;

/// Puts a call that was made on record: a failure for the operator, how its key fared, and what it used. That this could
/// not be stored costs nothing but the record.
pub(crate) async fn record(
    services: &Services,
    scope: &Scope,
    model: &ResolvedModel,
    outcome: std::result::Result<Usage, &ModelError>,
) {
    if outcome.is_err_and(|error| error.class == ErrorClass::Budget) {
        return;
    }
    if let Err(error) = outcome {
        tracing::warn!(
            tenant.id = %scope.tenant(), model.provider = %model.provider, model.name = %model.model,
            error.class = error.class.name(), status = error.status, "model call beside a run failed"
        );
        metrics::counter!("claw_side_call_failures_total", "class" => error.class.name()).increment(1);
    }
    if let Err(error) = store(services, scope, model, outcome).await {
        tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "what a call used could not be stored");
    }
}

async fn store(
    services: &Services,
    scope: &Scope,
    model: &ResolvedModel,
    outcome: std::result::Result<Usage, &ModelError>,
) -> Result<()> {
    let slot = Slot {
        provider: model.provider.clone(),
        model: model.model.clone(),
        key: model.key.clone(),
    };
    let mut sum = Usage::default();
    match outcome {
        Ok(used) => {
            sum.add(&used, model.prices);
            if services.config.key_health(scope).await?.is_marked(&slot) {
                services.config.key_worked(scope, &slot, false).await?;
            }
        }
        // A service of the user's own has no key of the tenant's. And a key that may not do this is a good one for the
        // chat: what failed beside it lets it rest for this model at most.
        Err(error) if model.key.is_empty() || effect(error.class) != (Effect::Rests { model_only: true }) => {}
        Err(error) => {
            let noted = services.config.key_failed(scope, &slot, error.class, error.retry_after);
            noted.await?;
        }
    }
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let row = side_usage::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        hour: now_ms().div_euclid(HOUR) * HOUR,
        provider: model.provider.clone(),
        model: model.model.clone(),
        calls: 1,
        errors: i64::from(outcome.is_err()),
        input: count(sum.prompt_tokens()),
        output: count(sum.output),
        cost: sum.cost.total,
    };
    add(services, scope, row).await
}

async fn add(services: &Services, scope: &Scope, row: side_usage::Model) -> Result<()> {
    use side_usage::{ActiveModel, Column, Entity};
    let more = |column: Column, by: sea_orm::Value| (column, Expr::col((Entity, column)).add(Expr::value(by)));
    let sums = [
        more(Column::Calls, row.calls.into()),
        more(Column::Errors, row.errors.into()),
        more(Column::Input, row.input.into()),
        more(Column::Output, row.output.into()),
        more(Column::Cost, row.cost.into()),
    ];
    let insert = Entity::insert(ActiveModel {
        tenant_id: Set(row.tenant_id),
        user_id: Set(row.user_id),
        hour: Set(row.hour),
        provider: Set(row.provider),
        model: Set(row.model),
        calls: Set(row.calls),
        errors: Set(row.errors),
        input: Set(row.input),
        output: Set(row.output),
        cost: Set(row.cost),
    })
    .on_conflict(
        OnConflict::columns([
            Column::TenantId,
            Column::UserId,
            Column::Hour,
            Column::Provider,
            Column::Model,
        ])
        .values(sums)
        .to_owned(),
    );
    let tx = services.db.write(scope).await?;
    insert.exec_without_returning(&*tx).await?;
    tx.commit().await?;
    Ok(())
}

/// What such calls have used in the span, hour by hour.
pub(crate) async fn used(services: &Services, scope: &Scope, span: Span) -> Result<Vec<side_usage::Model>> {
    let view = services.db.glance(scope).await?;
    Ok(side_usage::Entity::owned_by(scope)
        .filter(side_usage::Column::Hour.gte(span.from))
        .filter(side_usage::Column::Hour.lt(span.until))
        .all(&view)
        .await?)
}

/// A row beside what runs have used.
pub(crate) fn spent(row: &side_usage::Model, span: Span) -> Spent {
    Spent {
        session_key: SessionKey::from(""),
        session_id: String::new(),
        day: (row.hour + span.offset).div_euclid(DAY),
        provider: row.provider.clone(),
        model: row.model.clone(),
        runs: 0,
        errors: row.errors,
        input: row.input,
        output: row.output,
        cache_read: 0,
        cache_write: 0,
        cost_input: row.cost,
        cost_output: 0.0,
        cost_cache_read: 0.0,
        cost_cache_write: 0.0,
        first: row.hour,
        last: row.hour,
    }
}
