//! The count of attempts of the inbox rows behind a turn, in front of what is paid for before the turn begins.

use claw_entities::{UserOwned, inbox};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, QueryFilter};

use crate::Services;
use crate::error::Result;
use crate::session::turn::Authority;
use crate::supervisor::lease::fenced;

/// Counts one more, or one less.
pub(super) async fn change(services: &Services, authority: &Authority, rows: &[String], by: i32) -> Result<()> {
    let (authority_in, rows_in) = (authority.clone(), rows.to_vec());
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, rows) = (authority_in.clone(), rows_in.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                let change = inbox::Entity::update_owned(&authority.scope)
                    .col_expr(inbox::Column::Attempts, Expr::col(inbox::Column::Attempts).add(by))
                    .filter(inbox::Column::Id.is_in(rows))
                    .filter(inbox::is_open());
                batch.add(&change);
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}
