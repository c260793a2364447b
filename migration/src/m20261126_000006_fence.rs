//! SQLite: a statement that fails unless an epoch still holds, so that a fenced turn's writes can go to the database as
//! one text. `fence` is a view: an insert stores nothing. PostgreSQL locks the lease's row instead.

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
            .execute_unprepared("CREATE VIEW fence AS SELECT tenant_id, user_id, epoch FROM user_lease")
            .await?;
        connection
            .execute_unprepared(
                "CREATE TRIGGER fence_holds INSTEAD OF INSERT ON fence BEGIN \
                 SELECT RAISE(ABORT, 'fenced') WHERE NOT EXISTS (SELECT 1 FROM user_lease WHERE \
                 tenant_id = NEW.tenant_id AND user_id = NEW.user_id AND epoch = NEW.epoch); END",
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            manager.get_connection().execute_unprepared("DROP VIEW fence").await?;
        }
        Ok(())
    }
}
