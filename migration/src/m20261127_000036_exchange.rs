//! Sessions that answer each other.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "exchange";

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
                    .col(text("run_id"))
                    .col(text("from_key"))
                    .col(text("to_key"))
                    .col(text("request"))
                    .col(text_null("reply"))
                    .col(text_null("latest"))
                    .col(big_integer("step"))
                    .col(big_integer("most"))
                    .col(json_binary("chain"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("exchange_by_run")
                    .table(TABLE)
                    .col("tenant_id")
                    .col("user_id")
                    .col("run_id")
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
