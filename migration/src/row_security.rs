//! Row-level security for tables that came after the first schema. Steps of history call it, so its statements stay as
//! they are; a new rule is a new function.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Lets `claw_app` see and write only the rows of the transaction's tenant. Nothing on SQLite.
pub(crate) async fn tenant_only(manager: &SchemaManager<'_>, tables: &[&str]) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let db = manager.get_connection();
    for table in tables {
        for statement in [
            format!("ALTER TABLE \"{table}\" ENABLE ROW LEVEL SECURITY"),
            format!("ALTER TABLE \"{table}\" FORCE ROW LEVEL SECURITY"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON \"{table}\" TO claw_app"),
            format!(
                "CREATE POLICY tenant_only ON \"{table}\" TO claw_app \
                 USING (tenant_id = current_setting('claw.tenant', true)) \
                 WITH CHECK (tenant_id = current_setting('claw.tenant', true))"
            ),
        ] {
            db.execute_unprepared(&statement).await?;
        }
    }
    Ok(())
}
