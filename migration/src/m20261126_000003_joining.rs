//! Setup codes, and what waits for a node that sleeps.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 3] = ["setup_code", "node_pending", "node_call"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("setup_code")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("token_hash"))
                    .col(text_null("join_hash"))
                    .col(text("url"))
                    .col(text("access"))
                    .col(json_binary("scopes"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .col(big_integer_null("fetched_at"))
                    .col(big_integer_null("used_at"))
                    .col(text_null("device_id"))
                    .col(text_null("device_name"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        for column in ["token_hash", "join_hash"] {
            manager
                .create_index(
                    Index::create()
                        .unique()
                        .name(format!("setup_code_unique_{column}"))
                        .table("setup_code")
                        .col("tenant_id")
                        .col(column)
                        .to_owned(),
                )
                .await?;
        }
        manager
            .create_table(
                Table::create()
                    .table("node_pending")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("node_id"))
                    .col(text("queue"))
                    .col(text("name"))
                    .col(text("priority"))
                    .col(text_null("params_json"))
                    .col(text("idempotency_key"))
                    .col(big_integer("created_at"))
                    .col(big_integer_null("expires_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("node_pending_unique_key")
                    .table("node_pending")
                    .col("tenant_id")
                    .col("user_id")
                    .col("node_id")
                    .col("queue")
                    .col("idempotency_key")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("node_call")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("key_hash"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("key_hash"))
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &TABLES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager.drop_table(Table::drop().table(*table).to_owned()).await?;
        }
        Ok(())
    }
}
