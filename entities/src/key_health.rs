//! How one key of an AI provider has fared for a user. All times are epoch milliseconds, 0 = never.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `key_health`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "key_health")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// As in `provider/model`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// Empty for a provider that is called without a key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_name: String,
    /// When a session took it for its own.
    pub last_used_at: i64,
    pub last_failed_at: i64,
    /// When it was last tried although it rests.
    pub probed_at: i64,
    /// Failures in a row that end in a cooldown, and those that disable the key.
    pub errors: i32,
    pub refusals: i32,
    /// It rests until then.
    pub cooldown_until: i64,
    pub cooldown_reason: String,
    /// Only for this model; null: for all.
    pub cooldown_model: Option<String>,
    /// The provider does not want it until then, whatever the model.
    pub disabled_until: i64,
    pub disabled_reason: String,
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
