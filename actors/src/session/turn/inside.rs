//! Answers to what stands inside a message that is still to be worked on.

use claw_entities::{UserOwned, inbox};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter};

use super::{Authority, Ending, Piece, close_run, insert_pieces, open_run};
use crate::Services;
use crate::clock::now_ms;
use crate::error::Result;
use crate::supervisor::lease::fenced;

/// What is stored of one.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    /// The message's row, and what it holds from now on.
    pub(crate) inbox_ids: Vec<String>,
    pub(crate) payload: String,
    /// The answer as a run of its own, for clients.
    pub(crate) run: Option<(String, Ending)>,
    pub(crate) pieces: Vec<Piece>,
}

/// Stores the answer, and that it is not to be given again.
pub(crate) async fn answer_inside(services: &Services, authority: &Authority, inside: Inside) -> Result<()> {
    let authority_in = authority.clone();
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, inside) = (authority_in.clone(), inside.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                if let Some((run_id, ending)) = &inside.run {
                    open_run(&mut batch, &authority, run_id, "", now_ms());
                    close_run(&mut batch, scope, run_id, ending);
                }
                insert_pieces(&mut batch, &authority, None, &inside.pieces)?;
                let rest = inbox::Entity::update_owned(scope)
                    .col_expr(inbox::Column::Payload, Expr::value(inside.payload))
                    .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()))
                    .filter(inbox::Column::Id.is_in(inside.inbox_ids))
                    .filter(inbox::is_unsettled());
                batch.add(&rest);
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}
