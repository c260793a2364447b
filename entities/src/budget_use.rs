//! What was used of a budget in one of its spans.

use sea_orm::entity::prelude::*;

use crate::ids::TenantId;
use crate::scope::TenantOwned;

/// One row of `budget_use`. Amounts are in the budget's unit.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "budget_use")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub budget_id: String,
    /// When the span began, epoch milliseconds; 0 for one without an end.
    #[sea_orm(primary_key, auto_increment = false)]
    pub starts_at: i64,
    pub spent: i64,
    /// Put aside for calls under way: the sum of their holds.
    pub reserved: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::TenantId
    }
}
