//! An agent that an agent began: whose it is, and what became of it.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `subagent`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "subagent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Its first run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The session that hears of its end.
    pub parent_key: SessionKey,
    pub child_key: SessionKey,
    pub agent_id: String,
    pub label: Option<String>,
    pub task: String,
    /// 1: begun by a session that is no sub-agent.
    pub depth: i64,
    /// `running`, `announced` or `killed`.
    pub state: String,
    /// `ok`, `error`, `timeout` or `killed`, once it has ended.
    pub status: Option<String>,
    /// `keep` or `delete`: its session, when it is put away. `session`: it stays, and is told more.
    pub cleanup: String,
    /// Where and with whose rights its end is answered.
    #[sea_orm(column_type = "JsonBinary")]
    pub origin: Json,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    /// When its session is put away; null when that is done, or never.
    pub closes_at: Option<i64>,
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

/// Its end was not told. Written out instead of bound: only so do both databases use the partial index.
pub fn is_running() -> SimpleExpr {
    Expr::cust("subagent.state = 'running'")
}
