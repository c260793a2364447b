//! A code that lets one new device in.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `setup_code`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "setup_code")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    /// The `setupId` of the wire.
    pub id: String,
    /// SHA-256 of the bootstrap token, hex.
    pub token_hash: String,
    /// SHA-256 of the code in the join URL, hex.
    pub join_hash: Option<String>,
    /// `ws(s)://…` that the device connects to.
    pub url: String,
    /// `node`, `limited` or `full`.
    pub access: String,
    /// What its creator held: the device never gets more.
    #[sea_orm(column_type = "JsonBinary")]
    pub scopes: Json,
    pub created_at: i64,
    pub expires_at: i64,
    /// When the join URL was read.
    pub fetched_at: Option<i64>,
    pub used_at: Option<i64>,
    pub device_id: Option<String>,
    pub device_name: Option<String>,
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
