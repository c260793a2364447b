//! Agents that agents began, until their sessions are put away.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "subagent";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("parent_key"))
                    .col(text("child_key"))
                    .col(text("agent_id"))
                    .col(text_null("label"))
                    .col(text("task"))
                    .col(big_integer("depth"))
                    .col(text("state"))
                    .col(text_null("status"))
                    .col(text("cleanup"))
                    .col(json_binary("origin"))
                    .col(big_integer("created_at"))
                    .col(big_integer_null("ended_at"))
                    .col(big_integer_null("closes_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        let db = manager.get_connection();
        for index in [
            "CREATE INDEX subagent_parent ON subagent (tenant_id, user_id, parent_key)",
            "CREATE UNIQUE INDEX subagent_child ON subagent (tenant_id, user_id, child_key)",
            "CREATE INDEX subagent_running ON subagent (created_at) WHERE state = 'running'",
            "CREATE INDEX subagent_closing ON subagent (closes_at) WHERE closes_at IS NOT NULL",
        ] {
            db.execute_unprepared(index).await?;
        }
        row_security::tenant_only(manager, &[TABLE]).await?;
        row_security::system_reads(manager, &[TABLE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
