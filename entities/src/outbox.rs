//! One piece of a reply on its way to a platform.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `outbox`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// UUID v7: sorts by the order of sending.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub user_id: UserId,
    /// Delivery lane: rows of one lane go out in order.
    pub conversation: String,
    pub session_key: Option<SessionKey>,
    pub run_id: Option<String>,
    /// `final`, `block`, `preview` or `notice`.
    pub kind: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub destination: Json,
    /// In the platform's dialect.
    pub text: String,
    /// Sent instead when the formatting is refused.
    pub plain: String,
    /// Outbox id of the preview this piece takes the place of.
    pub replaces: Option<String>,
    /// As JSON, the file that goes out with it.
    pub media: Option<String>,
    /// As JSON, the buttons below it; an empty list takes away those of what it replaces.
    pub choices: Option<String>,
    /// `pending`, `sending`, `sent`, `unknown`, `failed` or `skipped`.
    pub state: String,
    /// The platform's id once sent.
    pub message_id: Option<String>,
    pub attempts: i32,
    pub next_attempt_at: i64,
    pub error: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
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
        Column::UserId
    }
}

/// Not delivered yet. Written out instead of bound: only so do both databases use the partial index.
pub fn is_open() -> SimpleExpr {
    Expr::cust("outbox.state IN ('pending', 'sending')")
}

/// Sent perhaps, or not sent at all. Written out instead of bound: only so do both databases use the partial index.
pub fn is_uncertain() -> SimpleExpr {
    Expr::cust("outbox.state IN ('unknown', 'failed')")
}
