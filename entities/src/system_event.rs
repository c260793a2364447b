//! A line that waits for the next turn of a session.

use sea_orm::entity::prelude::*;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `system_event`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "system_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_key: SessionKey,
    /// UUID v7: sorts by arrival.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// One line.
    pub text: String,
    pub created_at: i64,
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
