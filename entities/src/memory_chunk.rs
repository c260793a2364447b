//! A piece of a file of an agent's notes, as full-text search has it.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `memory_chunk`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "memory_chunk")]
pub struct Model {
    /// Given by the database.
    #[sea_orm(primary_key)]
    pub id: i64,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub agent_id: String,
    /// Of the file in `workspace_file`.
    pub path: String,
    /// Counted from 1.
    pub start_line: i64,
    /// The last line that is part of it.
    pub end_line: i64,
    pub content: String,
    /// The words of the content, separated by spaces, each behind the mark of its owner.
    pub terms: String,
    /// SHA-256 of the content, in hex. Empty where it was not looked at yet.
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

impl UserOwned for Entity {
    fn user_column() -> Column {
        Column::UserId
    }
}
