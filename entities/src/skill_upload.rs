//! A skill's archive that a client sends in pieces. They are in `skill_upload_chunk`.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// One row of `skill_upload`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "skill_upload")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What the client calls the skill, and whether it may take the place of another: said once, asked for again when it
    /// is installed.
    pub slug: String,
    pub force: bool,
    /// Bytes of the whole archive.
    pub size: i64,
    /// What its hash shall be, hex, where the client said so.
    pub wanted_sha256: Option<String>,
    /// What it is, hex, once it is whole.
    pub sha256: Option<String>,
    /// Bytes that are here.
    pub received: i64,
    /// Hash of the client's key, so that a repeated beginning is the same upload.
    pub begin_key: Option<String>,
    /// Epoch milliseconds.
    pub expires_at: i64,
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

impl PlatformTable for Entity {}
