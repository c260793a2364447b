//! The schema's history, one file per step. It knows nothing of today's entities: history must not change when they do.

pub use sea_orm_migration::prelude::*;

mod m20261124_000001_platform;
mod m20261124_000002_config;
mod m20261124_000003_session;
mod m20261124_000004_gateway;
mod m20261124_000005_row_level_security;
mod m20261126_000002_approvals;
mod m20261126_000003_joining;
mod m20261126_000005_one_inbox_key;
mod m20261126_000006_fence;
mod m20261126_000007_cron;
mod m20261126_000008_system_event;
mod m20261126_000010_heartbeat;
mod m20261126_000011_leftovers;
mod m20261126_000014_lock_outs;
mod m20261126_000018_skills;
mod m20261126_000019_request_order;
mod m20261126_000020_memory;
mod m20261126_000022_key_health;
mod m20261126_000024_hook_token;
mod m20261126_000025_hook_run;
mod m20261126_000026_subagent;
mod m20261127_000029_mcp_tool;
mod m20261127_000031_vectors;
mod m20261127_000032_outbox_media;
mod m20261127_000033_skill_origin;
mod m20261127_000034_skill_upload;
mod m20261127_000035_hook_tries;
mod m20261127_000036_exchange;
mod m20261127_000040_budgets;
mod m20261127_000043_blob_look;
mod m20261127_000044_unsettled;
mod m20261127_000046_preferences;
mod m20261127_000047_transcript_words;
mod m20261127_000050_outbox_message;
mod m20261127_000051_hold_prompt;
mod m20261127_000053_inbox_order;
mod m20261127_000060_exec_run;
mod m20261128_000061_outbox_choices;
mod row_security;

/// A step that is done wholly or not at all, on SQLite too, where none is a transaction by itself.
struct Whole(Box<dyn MigrationTrait>);

impl MigrationName for Whole {
    fn name(&self) -> &str {
        self.0.name()
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Whole {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.0.up(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.0.down(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// Runs the steps in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let steps: Vec<Box<dyn MigrationTrait>> = vec![
            Box::new(m20261124_000001_platform::Migration),
            Box::new(m20261124_000002_config::Migration),
            Box::new(m20261124_000003_session::Migration),
            Box::new(m20261124_000004_gateway::Migration),
            Box::new(m20261124_000005_row_level_security::Migration),
            Box::new(m20261126_000002_approvals::Migration),
            Box::new(m20261126_000003_joining::Migration),
            Box::new(m20261126_000005_one_inbox_key::Migration),
            Box::new(m20261126_000006_fence::Migration),
            Box::new(m20261126_000007_cron::Migration),
            Box::new(m20261126_000008_system_event::Migration),
            Box::new(m20261126_000010_heartbeat::Migration),
            Box::new(m20261126_000011_leftovers::Migration),
            Box::new(m20261126_000014_lock_outs::Migration),
            Box::new(m20261126_000018_skills::Migration),
            Box::new(m20261126_000019_request_order::Migration),
            Box::new(m20261126_000020_memory::Migration),
            Box::new(m20261126_000022_key_health::Migration),
            Box::new(m20261126_000024_hook_token::Migration),
            Box::new(m20261126_000025_hook_run::Migration),
            Box::new(m20261126_000026_subagent::Migration),
            Box::new(m20261127_000029_mcp_tool::Migration),
            Box::new(m20261127_000031_vectors::Migration),
            Box::new(m20261127_000032_outbox_media::Migration),
            Box::new(m20261127_000033_skill_origin::Migration),
            Box::new(m20261127_000034_skill_upload::Migration),
            Box::new(m20261127_000035_hook_tries::Migration),
            Box::new(m20261127_000036_exchange::Migration),
            Box::new(m20261127_000040_budgets::Migration),
            Box::new(m20261127_000043_blob_look::Migration),
            Box::new(m20261127_000044_unsettled::Migration),
            Box::new(m20261127_000046_preferences::Migration),
            Box::new(m20261127_000047_transcript_words::Migration),
            Box::new(m20261127_000050_outbox_message::Migration),
            Box::new(m20261127_000051_hold_prompt::Migration),
            Box::new(m20261127_000053_inbox_order::Migration),
            Box::new(m20261127_000060_exec_run::Migration),
            Box::new(m20261128_000061_outbox_choices::Migration),
        ];
        steps.into_iter().map(|step| Box::new(Whole(step)) as _).collect()
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::{
        ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
    };

    use super::*;

    /// In memory; with `CLAW_TEST_POSTGRES=postgres://user@host` on a fresh database of that server.
    async fn open() -> DatabaseConnection {
        let url = match std::env::var("CLAW_TEST_POSTGRES") {
            Err(_) => "sqlite::memory:".to_owned(),
            Ok(server) => {
                let server = server.trim_end_matches('/').to_owned();
                let admin = Database::connect(format!("{server}/postgres")).await.expect("connects");
                let name = format!("claw_migration_{}", std::process::id());
                let create = format!("CREATE DATABASE {name}");
                admin.execute_unprepared(&create).await.expect("creates a database");
                admin.close().await.expect("closes");
                format!("{server}/{name}")
            }
        };
        let mut options = ConnectOptions::new(url);
        // What is in memory is its connection's.
        options.max_connections(1);
        Database::connect(options).await.expect("opens")
    }

    /// All there is, as lines.
    async fn schema(db: &DatabaseConnection) -> Vec<String> {
        let all = if db.get_database_backend() == DbBackend::Sqlite {
            "SELECT name || ' ' || sql FROM sqlite_master WHERE sql IS NOT NULL \
                 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'seaql_%' ORDER BY 1"
        } else {
            "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable \
                 FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'seaql_%' \
                 UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'seaql_%' \
                 UNION SELECT tablename || ' ' || policyname || ' ' || roles::text || ' ' || coalesce(qual, '') \
                 FROM pg_policies WHERE schemaname = 'public' ORDER BY 1"
        };
        let statement = Statement::from_string(db.get_database_backend(), all);
        let rows = db.query_all_raw(statement).await.expect("reads");
        rows.iter()
            .map(|row| row.try_get_by_index::<String>(0).expect("a text"))
            .collect()
    }

    #[tokio::test]
    async fn the_schema_goes_up_and_down_and_up_again() {
        let db = open().await;
        Migrator::up(&db, None).await.expect("goes up");
        let first = schema(&db).await;
        assert!(first.len() > 50);
        Migrator::down(&db, None).await.expect("goes down");
        assert_eq!(schema(&db).await, Vec::<String>::new());
        Migrator::up(&db, None).await.expect("goes up again");
        assert_eq!(schema(&db).await, first);
    }
}
