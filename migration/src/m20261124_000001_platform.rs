//! Tenants, users and how they prove who they are.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 6] = [
    "tenant",
    "user",
    "sign_in_code",
    "web_session",
    "api_token",
    "platform_state",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("tenant")
                    .col(text("id"))
                    .col(text("slug"))
                    .col(text("name"))
                    .col(text("status"))
                    .col(blob("data_key"))
                    .col(integer("data_key_version"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("tenant_unique_slug")
                    .table("tenant")
                    .col("slug")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("user")
                    .col(text("tenant_id"))
                    .col(text("id"))
                    .col(text("email"))
                    .col(text("name"))
                    .col(text("role"))
                    .col(text("status"))
                    .col(text_null("password_hash"))
                    .col(text_null("oidc_subject"))
                    .col(text("time_zone"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("tenant_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("user_unique_email")
                    .table("user")
                    .col("tenant_id")
                    .col("email")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("sign_in_code")
                    .col(text("hash"))
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("kind"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .col(big_integer_null("used_at"))
                    .primary_key(Index::create().col("hash"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("web_session")
                    .col(text("hash"))
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(big_integer("created_at"))
                    .col(big_integer("last_seen_at"))
                    .col(big_integer("expires_at"))
                    .primary_key(Index::create().col("hash"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("api_token")
                    .col(text("tenant_id"))
                    .col(text("id"))
                    .col(text("user_id"))
                    .col(text("hash"))
                    .col(text("name"))
                    .col(json_binary("scopes"))
                    .col(big_integer("created_at"))
                    .col(big_integer_null("last_used_at"))
                    .col(big_integer_null("revoked_at"))
                    .primary_key(Index::create().col("tenant_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("api_token_unique_hash")
                    .table("api_token")
                    .col("hash")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("platform_state")
                    .col(text("key"))
                    .col(text("value"))
                    .primary_key(Index::create().col("key"))
                    .to_owned(),
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager.drop_table(Table::drop().table(*table).to_owned()).await?;
        }
        Ok(())
    }
}
