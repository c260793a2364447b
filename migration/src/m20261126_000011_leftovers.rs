//! What is looked for without searching: lines that wait for a session, and transcripts of scheduled runs that are over.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite takes one column at a time.
        for column in ["events", "events_seen"] {
            manager
                .alter_table(
                    Table::alter()
                        .table("session")
                        .add_column(big_integer(column).default(0))
                        .to_owned(),
                )
                .await?;
        }
        manager
            .alter_table(
                Table::alter()
                    .table("cron_run")
                    .add_column(big_integer_null("expires_at"))
                    .to_owned(),
            )
            .await?;
        let db = manager.get_connection();
        // The tables' owner is held to row-level security as well, and names no tenant here.
        forced(manager, false).await?;
        db.execute_unprepared(
            "UPDATE session SET events = 1 WHERE EXISTS (SELECT 1 FROM system_event \
             WHERE system_event.tenant_id = session.tenant_id AND system_event.user_id = session.user_id \
             AND system_event.session_key = session.key)",
        )
        .await?;
        // Sessions of jobs' own, as they were kept until now: a day.
        db.execute_unprepared(
            "UPDATE cron_run SET expires_at = ended_at + 86400000 WHERE session_id IS NOT NULL \
             AND session_key = 'agent:' || agent_id || ':cron:' || job_id",
        )
        .await?;
        forced(manager, true).await?;
        db.execute_unprepared("CREATE INDEX cron_run_expiring ON cron_run (expires_at) WHERE expires_at IS NOT NULL")
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(Index::drop().name("cron_run_expiring").table("cron_run").to_owned())
            .await?;
        for (table, column) in [
            ("cron_run", "expires_at"),
            ("session", "events_seen"),
            ("session", "events"),
        ] {
            manager
                .alter_table(Table::alter().table(table).drop_column(column).to_owned())
                .await?;
        }
        Ok(())
    }
}

/// Whether row-level security holds for the owner of these tables. Nothing on SQLite.
async fn forced(manager: &SchemaManager<'_>, yes: bool) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        let no = if yes { "" } else { "NO " };
        for table in ["session", "system_event", "cron_run"] {
            let statement = format!("ALTER TABLE {table} {no}FORCE ROW LEVEL SECURITY");
            manager.get_connection().execute_unprepared(&statement).await?;
        }
    }
    Ok(())
}
