//! How each AI provider's keys have fared for a user: used when, resting until when, and why.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "key_health";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("provider"))
                    .col(text("key_name"))
                    .col(big_integer("last_used_at"))
                    .col(big_integer("last_failed_at"))
                    .col(big_integer("probed_at"))
                    .col(integer("errors"))
                    .col(integer("refusals"))
                    .col(big_integer("cooldown_until"))
                    .col(text("cooldown_reason"))
                    .col(text_null("cooldown_model"))
                    .col(big_integer("disabled_until"))
                    .col(text("disabled_reason"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("provider")
                            .col("key_name"),
                    )
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[TABLE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
