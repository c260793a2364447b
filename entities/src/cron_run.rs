//! One firing of a scheduled job: the claim of its time, and later how it ended.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `cron_run`. Its key is what keeps a job from running twice for one time.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "cron_run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: String,
    /// The planned time; of a run a person asked for, the time they asked.
    #[sea_orm(primary_key, auto_increment = false)]
    pub scheduled_at: i64,
    /// The job's name at that time; the job may be gone since.
    pub job_name: String,
    pub agent_id: String,
    pub session_key: SessionKey,
    /// A person asked for it: the schedule does not move.
    pub manual: bool,
    /// When it was claimed, later when the agent began.
    pub started_at: i64,
    /// Null while it goes on.
    pub ended_at: Option<i64>,
    /// `ok`, `error` or `skipped`.
    pub status: Option<String>,
    /// Safe for the person.
    pub error: Option<String>,
    pub summary: Option<String>,
    /// `not-requested`, `queued` (the outbox knows more) or `not-delivered`.
    pub delivery: String,
    pub delivery_error: Option<String>,
    /// The transcript, until it is deleted.
    pub session_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    #[sea_orm(column_type = "JsonBinary")]
    pub usage: Json,
    /// What was planned after it.
    pub next_run_at: Option<i64>,
    /// When the transcript of its own is deleted; null for none, or when that is done.
    pub expires_at: Option<i64>,
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
    Expr::cust("cron_run.ended_at IS NULL")
}
