//! What is searched of the notes in a workspace: pieces of files with their words, in full-text search.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Words stand in `terms`, separated by spaces, each behind a mark of its owner: a search reads nobody else's words, also
/// for all that begin with one. Triggers keep `memory_fts` in step whoever changes the table.
const SQLITE: [&str; 6] = [
    "CREATE TABLE memory_chunk (\
        id integer NOT NULL PRIMARY KEY, tenant_id text NOT NULL, user_id text NOT NULL, agent_id text NOT NULL, \
        path text NOT NULL, start_line bigint NOT NULL, end_line bigint NOT NULL, content text NOT NULL, \
        terms text NOT NULL)",
    "CREATE INDEX memory_chunk_file ON memory_chunk (tenant_id, user_id, agent_id, path)",
    "CREATE VIRTUAL TABLE memory_fts USING fts5(\
        terms, content = 'memory_chunk', content_rowid = 'id', tokenize = 'ascii', detail = 'column')",
    "CREATE TRIGGER memory_chunk_added AFTER INSERT ON memory_chunk BEGIN \
        INSERT INTO memory_fts (rowid, terms) VALUES (new.id, new.terms); END",
    "CREATE TRIGGER memory_chunk_removed AFTER DELETE ON memory_chunk BEGIN \
        INSERT INTO memory_fts (memory_fts, rowid, terms) VALUES ('delete', old.id, old.terms); END",
    "CREATE TRIGGER memory_chunk_changed AFTER UPDATE ON memory_chunk BEGIN \
        INSERT INTO memory_fts (memory_fts, rowid, terms) VALUES ('delete', old.id, old.terms); \
        INSERT INTO memory_fts (rowid, terms) VALUES (new.id, new.terms); END",
];

/// No GIN index: row-level security lets no operator but a leakproof one look before the policy does, so each search
/// reads the pieces of one agent by the other index.
const POSTGRES: [&str; 2] = [
    "CREATE TABLE memory_chunk (\
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL, user_id text NOT NULL, \
        agent_id text NOT NULL, path text NOT NULL, start_line bigint NOT NULL, end_line bigint NOT NULL, \
        content text NOT NULL, terms text NOT NULL, \
        search tsvector NOT NULL GENERATED ALWAYS AS (array_to_tsvector(string_to_array(terms, ' '))) STORED)",
    "CREATE INDEX memory_chunk_file ON memory_chunk (tenant_id, user_id, agent_id, path)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let statements: &[&str] = if manager.get_database_backend() == DbBackend::Postgres {
            &POSTGRES
        } else {
            &SQLITE
        };
        for statement in statements {
            db.execute_unprepared(statement).await?;
        }
        // Files that are there already are looked through by the first search.
        for statement in [
            "ALTER TABLE workspace_file ADD COLUMN indexed_version bigint NOT NULL DEFAULT 0",
            "CREATE INDEX workspace_file_unread ON workspace_file (tenant_id, user_id, agent_id, path) \
             WHERE indexed_version <> version",
        ] {
            db.execute_unprepared(statement).await?;
        }
        row_security::tenant_only(manager, &["memory_chunk"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("DROP INDEX workspace_file_unread").await?;
        db.execute_unprepared("ALTER TABLE workspace_file DROP COLUMN indexed_version")
            .await?;
        if manager.get_database_backend() != DbBackend::Postgres {
            db.execute_unprepared("DROP TABLE memory_fts").await?;
        }
        db.execute_unprepared("DROP TABLE memory_chunk").await?;
        Ok(())
    }
}
