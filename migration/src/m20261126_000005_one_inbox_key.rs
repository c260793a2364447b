//! One key per inbox row. A message that can come as two events is known by its message; a second unique index cost
//! each accepted webhook as much as the first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text_null;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEX: &str = "inbox_unique_source_account_id_message_key";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let run = |sql| manager.get_connection().execute_unprepared(sql);
        // The table's owner is held to row-level security as well, and names no tenant here.
        if postgres {
            run("ALTER TABLE inbox NO FORCE ROW LEVEL SECURITY").await?;
        }
        run("UPDATE inbox SET event_key = message_key WHERE message_key IS NOT NULL").await?;
        if postgres {
            run("ALTER TABLE inbox FORCE ROW LEVEL SECURITY").await?;
        }
        manager
            .drop_index(Index::drop().name(INDEX).table("inbox").to_owned())
            .await?;
        manager
            .alter_table(Table::alter().table("inbox").drop_column("message_key").to_owned())
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(
                Table::alter()
                    .table("inbox")
                    .add_column(text_null("message_key"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name(INDEX)
                    .table("inbox")
                    .col("tenant_id")
                    .col("source")
                    .col("account_id")
                    .col("message_key")
                    .to_owned(),
            )
            .await
    }
}
