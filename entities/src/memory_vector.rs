//! What a piece of the notes means to an embedding model: a vector that others of the same space can be compared with.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `memory_vector`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "memory_vector")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Stands for provider, address, model and dimensions: vectors of two spaces are never compared.
    #[sea_orm(primary_key, auto_increment = false)]
    pub space: String,
    /// As `memory_chunk.hash`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: String,
    /// `provider/model`.
    pub model: String,
    pub dimensions: i32,
    /// `dimensions` numbers of four bytes, little endian, of length 1 together.
    pub vector: Vec<u8>,
    /// Epoch milliseconds.
    pub made_at: i64,
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
