//! Skill archives that come in pieces.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["skill_upload", "skill_upload_chunk"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("skill_upload")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("id"))
                    .col(text("slug"))
                    .col(boolean("force"))
                    .col(big_integer("size"))
                    .col(text_null("wanted_sha256"))
                    .col(text_null("sha256"))
                    .col(big_integer("received"))
                    .col(text_null("begin_key"))
                    .col(big_integer("expires_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("skill_upload_begin_key")
                    .table("skill_upload")
                    .col("tenant_id")
                    .col("user_id")
                    .col("begin_key")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("skill_upload_chunk")
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("upload_id"))
                    .col(big_integer("begins_at"))
                    .col(blob("content"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("upload_id")
                            .col("begins_at"),
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
