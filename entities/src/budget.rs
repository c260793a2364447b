//! A limit of what models may cost somebody in a span of time.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `budget`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "budget")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What it limits: `tenant`, `user`, `agent` or `cron`.
    pub kind: String,
    /// Whose; empty for the tenant's.
    pub user_id: UserId,
    /// The agent or the job; else empty.
    pub target: String,
    /// `tokens` or `money`.
    pub unit: String,
    /// Tokens, or millionths of a US dollar.
    pub amount: i64,
    /// `day`, `week`, `month` or `total`.
    pub period: String,
    /// IANA name: where its days begin.
    pub time_zone: String,
    /// Who may change it: `admin`, or the `user` themselves.
    pub origin: String,
    pub enabled: bool,
    /// A user id, `system` or `cli`.
    pub created_by: String,
    /// Epoch milliseconds.
    pub created_at: i64,
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

impl UserOwned for Entity {
    fn user_column() -> Column {
        Column::UserId
    }
}
