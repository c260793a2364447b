//! The tenant's audit log, a hash chain.

use sea_orm::entity::prelude::*;

use crate::ids::TenantId;
use crate::scope::TenantOwned;

/// One row of `audit`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// From 1, without holes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub at: i64,
    /// User id, `system` or `cli`.
    pub actor: String,
    /// Dotted, e.g. `token.create`.
    pub action: String,
    pub target: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub detail: Json,
    pub previous_hash: String,
    pub hash: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::TenantId
    }
}
