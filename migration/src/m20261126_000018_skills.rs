//! Skills of a user, and their files.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["skill", "skill_file"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("skill")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("node_id"))
                    .col(text("key"))
                    .col(json_binary("manifest"))
                    .col(text("source"))
                    .col(text("sha256"))
                    .col(big_integer("files"))
                    .col(big_integer("size"))
                    .col(big_integer("created_at"))
                    .col(big_integer("updated_at"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("node_id")
                            .col("key"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("skill_file")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("node_id"))
                    .col(text("key"))
                    .col(text("path"))
                    .col(blob("content"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("node_id")
                            .col("key")
                            .col("path"),
                    )
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
