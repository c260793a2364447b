//! Vectors of the notes' pieces: a piece is known by what it says, so one that did not change is not asked about again.
//! And what calls have used that no run stands behind, by user, hour and model.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const VECTORS: &str = "memory_vector";
const USAGE: &str = "side_usage";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Pieces from before have none; the first search that needs it fills it in.
        let db = manager.get_connection();
        db.execute_unprepared("ALTER TABLE memory_chunk ADD COLUMN hash text NOT NULL DEFAULT ''")
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(VECTORS)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(text("space"))
                    .col(text("hash"))
                    .col(text("model"))
                    .col(integer("dimensions"))
                    .col(blob("vector"))
                    .col(big_integer("made_at"))
                    .primary_key(Index::create().col("tenant_id").col("user_id").col("space").col("hash"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(USAGE)
                    .col(text("tenant_id"))
                    .col(text("user_id"))
                    .col(big_integer("hour"))
                    .col(text("provider"))
                    .col(text("model"))
                    .col(big_integer("calls"))
                    .col(big_integer("errors"))
                    .col(big_integer("input"))
                    .col(big_integer("output"))
                    .col(double("cost"))
                    .primary_key(
                        Index::create()
                            .col("tenant_id")
                            .col("user_id")
                            .col("hour")
                            .col("provider")
                            .col("model"),
                    )
                    .to_owned(),
            )
            .await?;
        row_security::tenant_only(manager, &[VECTORS, USAGE]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(USAGE).to_owned()).await?;
        manager.drop_table(Table::drop().table(VECTORS).to_owned()).await?;
        let db = manager.get_connection();
        db.execute_unprepared("ALTER TABLE memory_chunk DROP COLUMN hash")
            .await?;
        Ok(())
    }
}
