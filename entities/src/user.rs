//! A person within a tenant.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `user`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// Lower-cased, unique within the tenant.
    pub email: String,
    pub name: String,
    /// `owner`, `admin` or `member`.
    pub role: String,
    /// `active` or `disabled`.
    pub status: String,
    /// Argon2id, PHC form.
    pub password_hash: Option<String>,
    /// `iss|sub` of the identity provider.
    pub oidc_subject: Option<String>,
    /// IANA zone; empty until the person chooses one.
    pub time_zone: String,
    /// Do the person's agents look by themselves, where they are configured to.
    pub heartbeats: bool,
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

impl UserOwned for Entity {
    fn user_column() -> Column {
        Column::Id
    }
}

/// Is disabled. Written out instead of bound: only so do both databases use the partial index.
pub fn is_locked() -> SimpleExpr {
    Expr::cust(r#""user".status <> 'active'"#)
}
