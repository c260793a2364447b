//! PostgreSQL's own line of defence: every owned table is FORCE ROW LEVEL SECURITY.
//!
//! `claw_app` sees the rows of the tenant named by the transaction's `claw.tenant`, and none when it is unset.
//! `claw_system` sees all rows, of the listed tables only: inbox batch insert, token and host look-up, leases,
//! recovery, scheduler. Of the platform's own state `claw_app` may see and raise the configuration revision, and
//! nothing else. Neither owns a table and neither may bypass row-level security. SQLite has no such thing;
//! there the scope type is the only line.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Owned tables and the column that names their tenant.
const OWNED: &[(&str, &str)] = &[
    ("tenant", "id"),
    ("user", "tenant_id"),
    ("sign_in_code", "tenant_id"),
    ("web_session", "tenant_id"),
    ("api_token", "tenant_id"),
    ("secret", "tenant_id"),
    ("provider", "tenant_id"),
    ("channel_account", "tenant_id"),
    ("channel_link", "tenant_id"),
    ("sender_approval", "tenant_id"),
    ("pairing_request", "tenant_id"),
    ("user_config", "tenant_id"),
    ("workspace_file", "tenant_id"),
    ("audit", "tenant_id"),
    ("session", "tenant_id"),
    ("transcript_entry", "tenant_id"),
    ("inbox", "tenant_id"),
    ("outbox", "tenant_id"),
    ("run", "tenant_id"),
    ("tool_intent", "tenant_id"),
    ("user_lease", "tenant_id"),
    ("blob", "tenant_id"),
    ("device", "tenant_id"),
    ("device_token", "tenant_id"),
    ("device_request", "tenant_id"),
    ("node_surface", "tenant_id"),
    ("exec_approvals", "tenant_id"),
];

/// What `claw_system` may touch.
const SYSTEM: &[&str] = &[
    "tenant",
    "user",
    "sign_in_code",
    "web_session",
    "api_token",
    "channel_account",
    "channel_link",
    "sender_approval",
    "inbox",
    "outbox",
    "run",
    "user_lease",
    "device_token",
    "platform_state",
    "replica",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let db = manager.get_connection();
        for role in ["claw_app", "claw_system"] {
            // Roles belong to the cluster, so another database of it may have made them already, even just now.
            db.execute_unprepared(&format!(
                "DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS; \
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            ))
            .await?;
            db.execute_unprepared(&format!(
                "DO $$ BEGIN IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN \
                 EXECUTE 'GRANT {role} TO ' || quote_ident(current_user); END IF; END $$"
            ))
            .await?;
            db.execute_unprepared(&format!(
                "DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || quote_ident(current_schema()) || ' TO {role}'; END $$"
            ))
            .await?;
        }
        for (table, column) in OWNED {
            db.execute_unprepared(&format!("ALTER TABLE \"{table}\" ENABLE ROW LEVEL SECURITY"))
                .await?;
            db.execute_unprepared(&format!("ALTER TABLE \"{table}\" FORCE ROW LEVEL SECURITY"))
                .await?;
            db.execute_unprepared(&format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON \"{table}\" TO claw_app"
            ))
            .await?;
            db.execute_unprepared(&format!(
                "CREATE POLICY tenant_only ON \"{table}\" TO claw_app \
                 USING ({column} = current_setting('claw.tenant', true)) \
                 WITH CHECK ({column} = current_setting('claw.tenant', true))"
            ))
            .await?;
        }
        for table in SYSTEM {
            db.execute_unprepared(&format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON \"{table}\" TO claw_system"
            ))
            .await?;
            if OWNED.iter().any(|(owned, _)| owned == table) {
                db.execute_unprepared(&format!(
                    "CREATE POLICY system_duties ON \"{table}\" TO claw_system USING (true) WITH CHECK (true)"
                ))
                .await?;
            }
        }
        for statement in [
            "ALTER TABLE platform_state ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE platform_state FORCE ROW LEVEL SECURITY",
            "GRANT SELECT, INSERT, UPDATE ON platform_state TO claw_app",
            "CREATE POLICY revision_only ON platform_state TO claw_app \
             USING (key = 'revision') WITH CHECK (key = 'revision')",
            "CREATE POLICY system_duties ON platform_state TO claw_system USING (true) WITH CHECK (true)",
        ] {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let db = manager.get_connection();
        for table in SYSTEM {
            db.execute_unprepared(&format!("DROP POLICY IF EXISTS system_duties ON \"{table}\""))
                .await?;
        }
        db.execute_unprepared("DROP POLICY IF EXISTS revision_only ON platform_state")
            .await?;
        db.execute_unprepared("ALTER TABLE platform_state NO FORCE ROW LEVEL SECURITY")
            .await?;
        db.execute_unprepared("ALTER TABLE platform_state DISABLE ROW LEVEL SECURITY")
            .await?;
        for (table, _) in OWNED {
            db.execute_unprepared(&format!("DROP POLICY IF EXISTS tenant_only ON \"{table}\""))
                .await?;
            db.execute_unprepared(&format!("ALTER TABLE \"{table}\" NO FORCE ROW LEVEL SECURITY"))
                .await?;
            db.execute_unprepared(&format!("ALTER TABLE \"{table}\" DISABLE ROW LEVEL SECURITY"))
                .await?;
        }
        Ok(())
    }
}
