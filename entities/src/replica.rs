//! A running process. Its one heartbeat row renews all its leases.

use sea_orm::entity::prelude::*;

use crate::scope::PlatformTable;

/// One row of `replica`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "replica")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub boot_id: String,
    pub started_at: i64,
    /// By the database's clock.
    pub heartbeat_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl PlatformTable for Entity {}
