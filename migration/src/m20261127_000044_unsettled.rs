//! Looks after the end of a run that failed, so that one that can never be passed on is given up.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "unsettled";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("run_id"))
                    .col(big_integer("tries"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("run_id"))
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[TABLE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
