//! One bot of one platform. Belongs to the tenant, is assigned to one user.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `channel_account`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "channel_account")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub channel: String,
    /// `default` for the bare webhook path.
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    /// Whose sessions guests talk to.
    pub user_id: UserId,
    pub enabled: bool,
    /// Settings as `channels.<id>` of an OpenClaw file, secrets excluded.
    #[sea_orm(column_type = "JsonBinary")]
    pub config: Json,
    /// What the platform told us about the bot.
    #[sea_orm(column_type = "JsonBinary")]
    pub identity: Json,
    /// `connected`, `disconnected`, `unauthorized` or `error`.
    pub status: String,
    pub status_detail: Option<String>,
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
