//! Paired devices and node surfaces.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 5] = [
    "device",
    "device_token",
    "device_request",
    "node_surface",
    "exec_approvals",
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
                    .table("device")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("public_key"))
                    .col(text_null("display_name"))
                    .col(text_null("label"))
                    .col(text("platform"))
                    .col(text("device_family"))
                    .col(text("client_id"))
                    .col(text("client_mode"))
                    .col(json_binary("roles"))
                    .col(json_binary("scopes"))
                    .col(text("approved_via"))
                    .col(big_integer("created_at"))
                    .col(big_integer("approved_at"))
                    .col(big_integer_null("last_seen_at"))
                    .col(text_null("last_seen_reason"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("device_token")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("device_id"))
                    .col(text("role"))
                    .col(text("hash"))
                    .col(json_binary("scopes"))
                    .col(integer("generation"))
                    .col(big_integer("created_at"))
                    .col(big_integer_null("rotated_at"))
                    .col(big_integer_null("last_used_at"))
                    .col(big_integer_null("revoked_at"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("device_id")
                            .col("role"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("device_token_unique_hash")
                    .table("device_token")
                    .col("tenant_id")
                    .col("hash")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("device_request")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("device_id"))
                    .col(text("request_id"))
                    .col(text("role"))
                    .col(json_binary("scopes"))
                    .col(boolean("is_repair"))
                    .col(json_binary("row"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("device_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .unique()
                    .name("device_request_unique_request_id")
                    .table("device_request")
                    .col("tenant_id")
                    .col("request_id")
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("node_surface")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("node_id"))
                    .col(text_null("display_name"))
                    .col(json_binary("caps"))
                    .col(json_binary("commands"))
                    .col(big_integer_null("approved_at"))
                    .col(text_null("request_id"))
                    .col(json_binary("pending"))
                    .col(json_binary("facts"))
                    .col(big_integer_null("last_connected_at"))
                    .col(big_integer_null("last_disconnected_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("node_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("exec_approvals")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(json_binary("file"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id"))
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
