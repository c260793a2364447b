//! An AI provider a tenant brought: address and models. Its key is a secret.

use sea_orm::entity::prelude::*;

use crate::ids::TenantId;
use crate::scope::TenantOwned;

/// One row of `provider`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "provider")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// As in `provider/model`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Wire family.
    pub api: String,
    pub base_url: String,
    /// `models`, `headers`, `authHeader` as in `models.providers.<id>` of an OpenClaw file, secrets excluded.
    #[sea_orm(column_type = "JsonBinary")]
    pub config: Json,
    pub enabled: bool,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::TenantId
    }
}
