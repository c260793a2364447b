//! When an agent looks by itself next, and what came of it last.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `heartbeat`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "heartbeat")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    /// As it was planned by.
    pub every_ms: i64,
    /// When it is due; null while the agent has no heartbeat.
    pub next_beat_at: Option<i64>,
    /// The next one was asked for: something happened.
    pub woken: bool,
    /// Due since then, but its session is busy.
    pub waiting_since: Option<i64>,
    /// Planned time of the beat that goes on; an agent has one at a time.
    pub running_at: Option<i64>,
    /// When the newest one began.
    pub last_beat_at: Option<i64>,
    /// The newest `heartbeat` event; null before the first.
    #[sea_orm(column_type = "JsonBinary")]
    pub last: Json,
    /// What it said last, and when: it does not repeat itself.
    pub said: Option<String>,
    pub said_at: Option<i64>,
    /// Raised by every change: one made on an older epoch does nothing.
    pub epoch: i64,
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

/// Planned, and not running. Written out instead of bound: only so do both databases use the partial index.
pub fn is_waiting() -> SimpleExpr {
    Expr::cust("heartbeat.next_beat_at IS NOT NULL AND heartbeat.running_at IS NULL")
}

/// Running. Written out, as above.
pub fn is_running() -> SimpleExpr {
    Expr::cust("heartbeat.running_at IS NOT NULL")
}
