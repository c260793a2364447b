//! Requests to run a command that wait for a person, and the wake words a user chose.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["approval", "voice_wake"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("approval")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(json_binary("request"))
                    .col(json_binary("reviewers"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .col(text_null("decision"))
                    .col(text_null("reason"))
                    .col(text_null("resolved_by"))
                    .col(big_integer_null("resolved_at"))
                    .col(big_integer_null("consumed_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("voice_wake")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(json_binary("triggers"))
                    .col(json_binary("routing"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id"))
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
