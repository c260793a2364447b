//! The words of a message in a transcript, as full-text search has them.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `transcript_words`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "transcript_words")]
pub struct Model {
    /// Given by the database, in the order of reading: of one transcript, later messages have larger ones.
    #[sea_orm(primary_key)]
    pub id: i64,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub session_id: String,
    /// Of the entry in `transcript_entry`.
    pub seq: i64,
    /// Separated by spaces, each behind the mark of its owner.
    pub terms: String,
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
