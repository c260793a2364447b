//! Heartbeats: when each agent looks by itself next, and what came of it last; whether a person wants any.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "heartbeat";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("agent_id"))
                    .col(big_integer("every_ms"))
                    .col(big_integer_null("next_beat_at"))
                    .col(boolean("woken"))
                    .col(big_integer_null("waiting_since"))
                    .col(big_integer_null("running_at"))
                    .col(big_integer_null("last_beat_at"))
                    .col(json_binary("last"))
                    .col(text_null("said"))
                    .col(big_integer_null("said_at"))
                    .col(big_integer("epoch"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("agent_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .alter_table(
                Table::alter()
                    .table("user")
                    .add_column(boolean("heartbeats").default(true))
                    .to_owned(),
            )
            .await?;
        let db = manager.get_connection();
        db.execute_unprepared(
            "CREATE INDEX heartbeat_waiting ON heartbeat (next_beat_at) \
             WHERE next_beat_at IS NOT NULL AND running_at IS NULL",
        )
        .await?;
        db.execute_unprepared("CREATE INDEX heartbeat_running ON heartbeat (running_at) WHERE running_at IS NOT NULL")
            .await?;
        row_security::tenant_only(manager, &[TABLE]).await?;
        row_security::system_reads(manager, &[TABLE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(Table::alter().table("user").drop_column("heartbeats").to_owned())
            .await?;
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
