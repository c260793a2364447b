//! Commands on nodes that go on behind the turns that asked for them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "exec_run";

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
                    .col(text("session_key"))
                    .col(text("run_id"))
                    .col(text("state"))
                    .col(json_binary("work"))
                    .col(json_binary("origin"))
                    .col(text_null("boot_id"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[TABLE]).await?;
        row_security::system_reads(manager, &[TABLE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
