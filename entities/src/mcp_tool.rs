//! What a tool of an MCP server said of itself when the user took it on. One that says something else waits for them.

use sea_orm::entity::prelude::*;

use crate::ids::{TenantId, UserId};
use crate::scope::{TenantOwned, UserOwned};

/// One row of `mcp_tool`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mcp_tool")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Its name in the configuration.
    #[sea_orm(primary_key, auto_increment = false)]
    pub server: String,
    /// As the server calls it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tool: String,
    /// SHA-256 of the server's address, hex: at another address it is another server.
    pub place: String,
    /// SHA-256 of description, schema and effect, hex.
    pub hash: String,
    /// Epoch milliseconds.
    pub created_at: i64,
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
