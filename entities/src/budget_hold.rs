//! What a model call under way has put aside of a budget. Gone when the call is settled.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned};

/// One row of `budget_hold`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "budget_hold")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// Of the call: it holds something of each budget that applies.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub budget_id: String,
    /// Who made the call.
    pub user_id: UserId,
    /// The budget's span.
    pub starts_at: i64,
    /// In the budget's unit; 0 once its process was given up.
    pub amount: i64,
    /// What the prompt alone costs, in the same unit: what is counted for the call when its process was given up.
    pub prompt: i64,
    /// The process that makes the call.
    pub boot_id: String,
    /// Epoch milliseconds.
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl PlatformTable for Entity {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::TenantId
    }
}
