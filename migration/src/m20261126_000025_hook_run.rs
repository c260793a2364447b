//! Turns that hooks began.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 1] = ["hook_run"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("hook_run")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("name"))
                    .col(text("agent_id"))
                    .col(text("session_key"))
                    .col(json_binary("target"))
                    .col(boolean("wakes"))
                    .col(big_integer("started_at"))
                    .col(big_integer_null("ended_at"))
                    .col(text_null("status"))
                    .col(text("delivery"))
                    .col(text_null("delivery_error"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        let db = manager.get_connection();
        db.execute_unprepared("CREATE INDEX hook_run_open ON hook_run (started_at) WHERE ended_at IS NULL")
            .await?;
        row_security::tenant_only(manager, &TABLES).await?;
        row_security::system_reads(manager, &TABLES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
