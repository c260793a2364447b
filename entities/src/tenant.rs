//! A customer: one subdomain, one data key.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::TenantId;
use crate::scope::{PlatformTable, TenantOwned};

/// One row of `tenant`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    /// Label below the base domain, unique.
    pub slug: String,
    pub name: String,
    /// `active` or `suspended`.
    pub status: String,
    /// The tenant's data key, wrapped by the master key.
    pub data_key: Vec<u8>,
    /// Which master key wrapped it.
    pub data_key_version: i32,
    /// Epoch milliseconds.
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl PlatformTable for Entity {}

impl TenantOwned for Entity {
    fn tenant_column() -> Column {
        Column::Id
    }
}

/// Is suspended. Written out instead of bound: only so do both databases use the partial index.
pub fn is_locked() -> SimpleExpr {
    Expr::cust("tenant.status <> 'active'")
}
