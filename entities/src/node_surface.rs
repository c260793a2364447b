//! What may be invoked on a node: the approved part, and what it asks for.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `node_surface`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "node_surface")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The device id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_id: String,
    pub display_name: Option<String>,
    /// Approved.
    #[sea_orm(column_type = "JsonBinary")]
    pub caps: Json,
    /// Approved.
    #[sea_orm(column_type = "JsonBinary")]
    pub commands: Json,
    pub approved_at: Option<i64>,
    /// Of the pending declaration.
    pub request_id: Option<String>,
    /// The pending row clients see; null when nothing waits.
    #[sea_orm(column_type = "JsonBinary")]
    pub pending: Json,
    /// Platform, version, client, host statistics, pathEnv.
    #[sea_orm(column_type = "JsonBinary")]
    pub facts: Json,
    pub last_connected_at: Option<i64>,
    pub last_disconnected_at: Option<i64>,
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
