//! What tools of MCP servers said of themselves when they were taken on.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("mcp_tool")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("server"))
                    .col(text("tool"))
                    .col(text("place"))
                    .col(text("hash"))
                    .col(big_integer("created_at"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("server")
                            .col("tool"),
                    )
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &["mcp_tool"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("mcp_tool").to_owned()).await
    }
}
