//! Limits of what models may cost, what was used of them, and what calls under way have put aside.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const BUDGET: &str = "budget";
const USE: &str = "budget_use";
const HOLD: &str = "budget_hold";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(BUDGET)
                    .col(text("tenant_id"))
                    .col(text("id"))
                    .col(text("kind"))
                    .col(text("user_id"))
                    .col(text("target"))
                    .col(text("unit"))
                    .col(big_integer("amount"))
                    .col(text("period"))
                    .col(text("time_zone"))
                    .col(text("origin"))
                    .col(boolean("enabled"))
                    .col(text("created_by"))
                    .col(big_integer("created_at"))
                    .col(big_integer("updated_at"))
                    .primary_key(Index::create().col("tenant_id").col("id"))
                    .to_owned(),
            )
            .await?;
        // Two limits of one kind would only be a riddle.
        manager
            .create_index(
                Index::create()
                    .name("budget_once")
                    .table(BUDGET)
                    .col("tenant_id")
                    .col("user_id")
                    .col("kind")
                    .col("target")
                    .col("unit")
                    .col("period")
                    .col("origin")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(USE)
                    .col(text("tenant_id"))
                    .col(text("budget_id"))
                    .col(big_integer("starts_at"))
                    .col(big_integer("spent"))
                    .col(big_integer("reserved"))
                    .primary_key(Index::create().col("tenant_id").col("budget_id").col("starts_at"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(HOLD)
                    .col(text("tenant_id"))
                    .col(text("id"))
                    .col(text("budget_id"))
                    .col(text("user_id"))
                    .col(big_integer("starts_at"))
                    .col(big_integer("amount"))
                    .col(text("boot_id"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("tenant_id").col("id").col("budget_id"))
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[BUDGET, USE, HOLD]).await?;
        // Recovery finds tenants with calls of processes that are gone.
        row_security::system_reads(manager, &[HOLD]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [HOLD, USE, BUDGET] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
