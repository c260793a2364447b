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

/// Lets `claw_system` read all rows of these tables, and change none. Nothing on SQLite.
pub(crate) async fn system_reads(manager: &SchemaManager<'_>, tables: &[&str]) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for table in tables {
        system_selects(manager, "SELECT", table).await?;
    }
    Ok(())
}

/// `what` is `SELECT`, of all columns or of some.
async fn system_selects(manager: &SchemaManager<'_>, what: &str, table: &str) -> Result<(), DbErr> {
    let db = manager.get_connection();
    db.execute_unprepared(&format!("GRANT {what} ON \"{table}\" TO claw_system"))
        .await?;
    db.execute_unprepared(&format!(
        "CREATE POLICY system_duties ON \"{table}\" FOR SELECT TO claw_system USING (true)"
    ))
    .await?;
    Ok(())
}

/// Lets `claw_system` read these columns of all rows, and change none. Nothing on SQLite.
pub(crate) async fn system_reads_columns(
    manager: &SchemaManager<'_>,
    table: &str,
    columns: &[&str],
) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    system_selects(manager, &format!("SELECT ({})", columns.join(", ")), table).await
}

/// Takes back what [`system_reads_columns`] gave.
pub(crate) async fn system_reads_columns_no_more(
    manager: &SchemaManager<'_>,
    table: &str,
    columns: &[&str],
) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let db = manager.get_connection();
    let columns = columns.join(", ");
    db.execute_unprepared(&format!("DROP POLICY system_duties ON \"{table}\""))
        .await?;
    db.execute_unprepared(&format!("REVOKE SELECT ({columns}) ON \"{table}\" FROM claw_system"))
        .await?;
    Ok(())
}
