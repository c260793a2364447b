//! Lock-outs: who may not be served is found by an index, and the scheduler passes over their jobs.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in [
            "ALTER TABLE cron_job ADD COLUMN held boolean NOT NULL DEFAULT FALSE",
            "DROP INDEX cron_job_waiting",
            "CREATE INDEX cron_job_waiting ON cron_job (next_run_at) \
             WHERE next_run_at IS NOT NULL AND running_at IS NULL AND NOT held",
            "CREATE INDEX user_locked ON \"user\" (tenant_id, id) WHERE status <> 'active'",
            "CREATE INDEX tenant_locked ON tenant (id) WHERE status <> 'active'",
        ] {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in [
            "DROP INDEX tenant_locked",
            "DROP INDEX user_locked",
            "DROP INDEX cron_job_waiting",
            "ALTER TABLE cron_job DROP COLUMN held",
            "CREATE INDEX cron_job_waiting ON cron_job (next_run_at) \
             WHERE next_run_at IS NOT NULL AND running_at IS NULL",
        ] {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
