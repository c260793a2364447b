//! A skill: instructions the agent reads when a task calls for them. Its files are in `skill_file`.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `skill`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "skill")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The node that offers it; empty for one the user installed.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_id: String,
    /// Its name in the configuration (`skills.entries.<key>`) and in `skill://<key>/…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// What `SKILL.md` says about it, parsed.
    #[sea_orm(column_type = "JsonBinary")]
    pub manifest: Json,
    /// Where it came from: `upload`, `import`, `url`, `clawhub` or `node`.
    pub source: String,
    /// What is known of that place, for `url` and `clawhub`.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub origin: Option<Json>,
    /// Of the bytes it was installed from, hex.
    pub sha256: String,
    /// How many files it has.
    pub files: i64,
    /// Bytes of all of them.
    pub size: i64,
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
