//! A piece of a skill's archive.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `skill_upload_chunk`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "skill_upload_chunk")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub upload_id: String,
    /// Its place in the archive, bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub begins_at: i64,
    pub content: Vec<u8>,
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
