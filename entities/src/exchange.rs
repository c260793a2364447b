//! Two sessions that answer each other after one wrote to the other, while that goes on.

use sea_orm::entity::prelude::*;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `exchange`. It goes with the end.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "exchange")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The run whose end moves it on.
    pub run_id: String,
    /// The session that wrote first, and the one it wrote to.
    pub from_key: SessionKey,
    pub to_key: SessionKey,
    /// What was written first, and the first answer.
    pub request: String,
    pub reply: Option<String>,
    /// What was said last.
    pub latest: Option<String>,
    /// 0: the first answer is awaited; from 1 on that turn; -1: what is told in the chat.
    pub step: i64,
    /// Turns after the first answer, at most.
    pub most: i64,
    /// JSON of how the first message came about, and who pays for what follows.
    #[sea_orm(column_type = "JsonBinary")]
    pub chain: Json,
    /// Epoch milliseconds.
    pub created_at: i64,
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
