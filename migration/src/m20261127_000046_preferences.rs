//! What clients remember for a user, and how a user groups sessions.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const PREFERENCES: &str = "user_pref";
const GROUPS: &str = "session_groups";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(PREFERENCES)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("name"))
                    .col(text("value"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("name"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(GROUPS)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(json_binary("names"))
                    .col(json_binary("section_order"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id"))
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[PREFERENCES, GROUPS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(GROUPS).to_owned()).await?;
        manager.drop_table(Table::drop().table(PREFERENCES).to_owned()).await
    }
}
