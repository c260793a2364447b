//! Tokens of hooks.

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
                    .table("hook_token")
                    .col(text("tenant_id"))
                    .col(text("id"))
                    .col(text("user_id"))
                    .col(text("name"))
                    .col(text_null("hook"))
                    .col(text("hash"))
                    .col(big_integer("created_at"))
                    .col(big_integer_null("last_used_at"))
                    .primary_key(Index::create().col("tenant_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("hook_token_hash")
                    .table("hook_token")
                    .col("tenant_id")
                    .col("hash")
                    .unique()
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &["hook_token"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hook_token").to_owned()).await
    }
}
