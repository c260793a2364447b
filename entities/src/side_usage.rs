//! What calls of models have used in an hour that are no turn of a conversation: vectors, pictures looked at, speech.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `side_usage`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "side_usage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Epoch milliseconds of its beginning.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    pub calls: i64,
    /// Of the calls, those that failed.
    pub errors: i64,
    /// Tokens; of speech, characters.
    pub input: i64,
    pub output: i64,
    /// USD.
    pub cost: f64,
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
