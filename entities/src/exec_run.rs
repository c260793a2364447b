//! A command on a node that goes on behind the turn that asked for it: it waits for a person's word, or it runs.

use sea_orm::entity::prelude::*;

use crate::ids::{SessionKey, TenantId, UserId};
use crate::scope::{PlatformTable, TenantOwned, UserOwned};

/// It waits for a person's word.
pub const WAITING: &str = "waiting";
/// A process has it run, or did.
pub const RUNNING: &str = "running";
/// It is to stop, and its session hears of that.
pub const STOPPING: &str = "stopping";
/// It is to stop, and nobody hears of that.
pub const DROPPED: &str = "dropped";

/// One row of `exec_run`. It goes with the end, in the commit that tells it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "exec_run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Of its approval, where there is one.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The session that asked, and the turn.
    pub session_key: SessionKey,
    pub run_id: String,
    /// [`WAITING`], [`RUNNING`], [`STOPPING`] or [`DROPPED`].
    pub state: String,
    /// JSON of what runs, and on which node.
    #[sea_orm(column_type = "JsonBinary")]
    pub work: Json,
    /// JSON of where and with whose rights its end is answered.
    #[sea_orm(column_type = "JsonBinary")]
    pub origin: Json,
    /// The process that has it run; null before.
    pub boot_id: Option<String>,
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

impl UserOwned for Entity {
    fn user_column() -> Column {
        Column::UserId
    }
}
