//! When stored bytes are looked at: those that nothing refers to any more go away. What is there already is looked at at
//! once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(
                Table::alter()
                    .table("blob")
                    .add_column(big_integer("look_at").default(0))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("blob_looks")
                    .table("blob")
                    .col("look_at")
                    .col("tenant_id")
                    .col("user_id")
                    .to_owned(),
            )
            .await?;
        // What a user's files weigh is read from the index alone.
        manager
            .create_index(
                Index::create()
                    .name("blob_weight")
                    .table("blob")
                    .col("tenant_id")
                    .col("user_id")
                    .col("size")
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("skill_upload_expires")
                    .table("skill_upload")
                    .col("expires_at")
                    .to_owned(),
            )
            .await?;
        row_security::system_reads_columns(manager, "blob", &["tenant_id", "user_id", "look_at"]).await?;
        row_security::system_reads_columns(manager, "skill_upload", &["tenant_id", "user_id", "expires_at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        row_security::system_reads_columns_no_more(manager, "blob", &["tenant_id", "user_id", "look_at"]).await?;
        row_security::system_reads_columns_no_more(manager, "skill_upload", &["tenant_id", "user_id", "expires_at"])
            .await?;
        for (index, table) in [
            ("blob_looks", "blob"),
            ("blob_weight", "blob"),
            ("skill_upload_expires", "skill_upload"),
        ] {
            manager
                .drop_index(Index::drop().name(index).table(table).to_owned())
                .await?;
        }
        manager
            .alter_table(Table::alter().table("blob").drop_column("look_at").to_owned())
            .await
    }
}
