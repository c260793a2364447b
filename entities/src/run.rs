//! One agent run. Its id is the client's idempotency key where there is one.

use sea_orm::entity::prelude::*;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `run`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub session_key: SessionKey,
    pub session_id: String,
    /// `queued`, `running`, `ok`, `error`, `aborted` or `interrupted`.
    pub status: String,
    /// The lease under which it ran.
    pub epoch: i64,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub stop_reason: Option<String>,
    pub error_class: Option<String>,
    /// Safe for the person.
    pub error_message: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    #[sea_orm(column_type = "JsonBinary")]
    pub usage: Json,
    /// Payloads of the final answer, for repeated requests.
    #[sea_orm(column_type = "JsonBinary")]
    pub result: Json,
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
