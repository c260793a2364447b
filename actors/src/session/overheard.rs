//! Talk of a group that was not addressed to the agent: kept as context until the agent speaks there next, which reads the
//! newest of it.

use claw_entities::{Scope, SessionKey, UserOwned, inbox};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany};

use super::envelope::ContextLine;
use crate::Services;
use crate::clock::now_ms;
use crate::db::Batch;
use crate::error::Result;
use crate::ports::channel::Inbound;

/// The inbox rows' state.
pub(crate) const STATE: &str = "context";

/// What was said since the agent spoke last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overheard {
    /// Oldest first.
    pub(crate) lines: Vec<ContextLine>,
    /// The newest row. All up to it is behind the turn that reads this, shown or not.
    up_to: Option<String>,
}

impl Overheard {
    /// The newest `most` messages.
    pub(crate) async fn read(services: &Services, scope: &Scope, session: &SessionKey, most: usize) -> Result<Self> {
        let tx = services.db.read(scope).await?;
        let rows = inbox::Entity::owned_by(scope)
            .filter(waiting(session))
            .order_by_desc(inbox::Column::Id)
            .limit(most.max(1) as u64)
            .all(&*tx)
            .await?;
        drop(tx);
        let up_to = rows.first().map(|row| row.id.clone());
        let said = rows.into_iter().take(most).rev();
        let lines = said.filter_map(|row| {
            let inbound: Inbound = serde_json::from_str(&row.payload).ok()?;
            Some(ContextLine::from(&inbound))
        });
        Ok(Self {
            lines: lines.collect(),
            up_to,
        })
    }

    /// For the commit that begins the turn. False: there is nothing to settle.
    pub(crate) fn settle(&self, batch: &mut Batch, scope: &Scope, session: &SessionKey, run_id: &str) -> bool {
        let Some(up_to) = &self.up_to else { return false };
        let update = over(scope, session, "done")
            .col_expr(inbox::Column::RunId, Expr::value(run_id))
            .filter(inbox::Column::Id.lte(up_to.as_str()));
        batch.add(&update);
        true
    }
}

/// Settles all of it, for a conversation that begins anew.
pub(crate) fn over(scope: &Scope, session: &SessionKey, state: &'static str) -> UpdateMany<inbox::Entity> {
    inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::State, Expr::value(state))
        .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()))
        .filter(waiting(session))
}

fn waiting(session: &SessionKey) -> Condition {
    Condition::all()
        .add(inbox::is_apart())
        .add(inbox::Column::State.eq(STATE))
        .add(inbox::Column::SessionKey.eq(session.as_str()))
}
