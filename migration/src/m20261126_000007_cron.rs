//! Scheduled jobs and their firings.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["cron_job", "cron_run"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("cron_job")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(json_binary("definition"))
                    .col(boolean("enabled"))
                    .col(big_integer_null("next_run_at"))
                    .col(big_integer_null("running_at"))
                    .col(json_binary("state"))
                    .col(big_integer("epoch"))
                    .col(big_integer("created_at"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("cron_run")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("job_id"))
                    .col(big_integer("scheduled_at"))
                    .col(text("job_name"))
                    .col(text("agent_id"))
                    .col(text("session_key"))
                    .col(boolean("manual"))
                    .col(big_integer("started_at"))
                    .col(big_integer_null("ended_at"))
                    .col(text_null("status"))
                    .col(text_null("error"))
                    .col(text_null("summary"))
                    .col(text("delivery"))
                    .col(text_null("delivery_error"))
                    .col(text_null("session_id"))
                    .col(text_null("provider"))
                    .col(text_null("model"))
                    .col(json_binary("usage"))
                    .col(big_integer_null("next_run_at"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("job_id")
                            .col("scheduled_at"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("cron_run_recent")
                    .table("cron_run")
                    .col("tenant_id")
                    .col("user_id")
                    .col("ended_at")
                    .to_owned(),
            )
            .await?;
        let db = manager.get_connection();
        db.execute_unprepared(
            "CREATE INDEX cron_job_waiting ON cron_job (next_run_at) \
             WHERE next_run_at IS NOT NULL AND running_at IS NULL",
        )
        .await?;
        db.execute_unprepared("CREATE INDEX cron_run_open ON cron_run (started_at) WHERE ended_at IS NULL")
            .await?;
        row_security::tenant_only(manager, &TABLES).await?;
        row_security::system_reads(manager, &TABLES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager.drop_table(Table::drop().table(*table).to_owned()).await?;
        }
        Ok(())
    }
}
