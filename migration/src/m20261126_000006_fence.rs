//! SQLite: a statement that fails unless an epoch still holds, so that a fenced turn's writes can go to the database as
//! one text. `INSERT INTO fence` never stores anything. PostgreSQL locks the lease's row instead.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "CREATE TABLE fence (tenant_id TEXT NOT NULL, user_id TEXT NOT NULL, epoch INTEGER NOT NULL)",
            )
            .await?;
        connection
            .execute_unprepared(
                "CREATE TRIGGER fence_holds BEFORE INSERT ON fence BEGIN \
                 SELECT RAISE(ABORT, 'fenced') WHERE NOT EXISTS (SELECT 1 FROM user_lease WHERE \
                 tenant_id = NEW.tenant_id AND user_id = NEW.user_id AND epoch = NEW.epoch); \
                 SELECT RAISE(IGNORE); END",
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            manager.drop_table(Table::drop().table("fence").to_owned()).await?;
        }
        Ok(())
    }
}
