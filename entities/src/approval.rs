//! A command that waits for a person's word, and the word.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `approval`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "approval")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What clients are shown; never changed afterwards.
    #[sea_orm(column_type = "JsonBinary")]
    pub request: Json,
    /// Device ids that alone may see it and decide; null: every approver of the user.
    #[sea_orm(column_type = "JsonBinary")]
    pub reviewers: Json,
    pub created_at: i64,
    /// From this moment on it counts as denied.
    pub expires_at: i64,
    /// `allow-once`, `allow-always` or `deny`; null while open, and for good once `resolved_at` is set.
    pub decision: Option<String>,
    /// Why it ended: `user`, `timeout` or `no-approval-route`.
    pub reason: Option<String>,
    /// Client that decided, as people know it.
    pub resolved_by: Option<String>,
    pub resolved_at: Option<i64>,
    /// When the allowed command was sent to run.
    pub consumed_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

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
