//! A turn that a hook began, until what came of it has been passed on.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `hook_run`, written with the inbox row of the same key.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "hook_run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The run's.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub agent_id: String,
    pub session_key: SessionKey,
    /// Where the answer goes: `{deliver, channel, to}`.
    #[sea_orm(column_type = "JsonBinary")]
    pub target: Json,
    /// The main session is told at once instead of with its next turn.
    pub wakes: bool,
    pub started_at: i64,
    /// Null while it goes on.
    pub ended_at: Option<i64>,
    /// `ok`, `error` or `skipped`.
    pub status: Option<String>,
    /// `not-requested`, `queued` (the outbox knows more) or `not-delivered`.
    pub delivery: String,
    pub delivery_error: Option<String>,
    /// Not used any more: `unsettled` counts.
    pub tries: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl PlatformTable for Entity {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::TenantId
    }
}

impl UserOwned for Entity {
    fn user_column() -> Column {
        Column::UserId
    }
}

/// Not on record as ended. Written out instead of bound: only so do both databases use the partial index.
pub fn is_open() -> SimpleExpr {
    Expr::cust("hook_run.ended_at IS NULL")
}
