//! Something accepted that must be answered for: stored before it is acknowledged.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `inbox`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "inbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// UUID v7: sorts by arrival.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub user_id: UserId,
    /// Channel id, `chat`, `agent`, `cron` or `hook`.
    pub source: String,
    /// Channel account; the user's id for RPC sources.
    pub account_id: String,
    /// What is answered once: the platform's message or event, or the client's idempotency key.
    pub event_key: String,
    pub session_key: SessionKey,
    /// JSON; `Inbound` for channels.
    pub payload: String,
    /// `pending`, `running`, `done`, `skipped`, `context` or `dead`.
    pub state: String,
    /// Counted before a run starts.
    pub attempts: i32,
    pub run_id: Option<String>,
    /// The user entry that carries it.
    pub entry_id: Option<String>,
    /// Why skipped or dead.
    pub reason: Option<String>,
    pub received_at: i64,
    pub updated_at: i64,
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

/// Accepted and not settled. Written out instead of bound: only so do both databases use the partial index.
pub fn is_open() -> SimpleExpr {
    Expr::cust("inbox.state IN ('pending', 'running')")
}

/// Not settled, overheard group talk included. Written out, or SQLite would plan the statement anew each time it is
/// bound: it compares the values with the conditions of the partial indexes.
pub fn is_unsettled() -> SimpleExpr {
    Expr::cust("inbox.state IN ('pending', 'running', 'context')")
}

/// Set apart: dead letters and overheard group talk. Written out instead of bound: only so do both databases use the partial index.
pub fn is_apart() -> SimpleExpr {
    Expr::cust("inbox.state IN ('dead', 'context')")
}
