//! A conversation bucket and where its transcript stands.

use sea_orm::entity::prelude::*;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `session`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: SessionKey,
    /// The transcript; a reset makes a new one.
    pub session_id: String,
    pub agent_id: String,
    pub label: Option<String>,
    /// Levels, overrides and counters under their wire names.
    #[sea_orm(column_type = "JsonBinary")]
    pub entry: Json,
    /// Where replies go; null for web chat.
    #[sea_orm(column_type = "JsonBinary")]
    pub destination: Json,
    /// Newest entry of the branch in use.
    pub leaf_id: Option<String>,
    pub next_seq: i64,
    pub created_at: i64,
    /// Last inbound turn.
    pub updated_at: i64,
    /// System events the session was ever sent, and how many of them a turn has asked for.
    pub events: i64,
    pub events_seen: i64,
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
