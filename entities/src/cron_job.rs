//! A job that runs on a schedule.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `cron_job`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "cron_job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Schedule, payload, delivery and names, as the wire spells them.
    #[sea_orm(column_type = "JsonBinary")]
    pub definition: Json,
    pub enabled: bool,
    /// When it is due; null when nothing is planned.
    pub next_run_at: Option<i64>,
    /// When the run that goes on was claimed; null when none does. A job has one run at a time.
    pub running_at: Option<i64>,
    /// Facts about earlier runs, as the wire spells them.
    #[sea_orm(column_type = "JsonBinary")]
    pub state: Json,
    /// Raised by every change: a claim or a change of what was read before another one does nothing.
    pub epoch: i64,
    /// Came due while its user was locked out: passed over until they are let in again.
    pub held: bool,
    pub created_at: i64,
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

/// Planned, and neither running nor held. Written out instead of bound: only so do both databases use the partial index.
pub fn is_waiting() -> SimpleExpr {
    Expr::cust("cron_job.next_run_at IS NOT NULL AND cron_job.running_at IS NULL AND NOT cron_job.held")
}
