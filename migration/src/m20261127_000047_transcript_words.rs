//! What is searched of transcripts: the words of messages, in full-text search, and how far each transcript was read.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::row_security;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// As `memory_chunk` has it: words behind a mark of their owner, and triggers that keep the index in step. Whoever deletes
/// an entry deletes its words.
const SQLITE: [&str; 4] = [
    "CREATE TABLE transcript_words (\
        id integer NOT NULL PRIMARY KEY, tenant_id text NOT NULL, user_id text NOT NULL, session_id text NOT NULL, \
        seq bigint NOT NULL, terms text NOT NULL, \
        FOREIGN KEY (tenant_id, user_id, session_id, seq) \
        REFERENCES transcript_entry (tenant_id, user_id, session_id, seq) ON DELETE CASCADE)",
    "CREATE VIRTUAL TABLE transcript_fts USING fts5(\
        terms, content = 'transcript_words', content_rowid = 'id', tokenize = 'ascii', detail = 'column')",
    "CREATE TRIGGER transcript_words_added AFTER INSERT ON transcript_words BEGIN \
        INSERT INTO transcript_fts (rowid, terms) VALUES (new.id, new.terms); END",
    "CREATE TRIGGER transcript_words_removed AFTER DELETE ON transcript_words BEGIN \
        INSERT INTO transcript_fts (transcript_fts, rowid, terms) VALUES ('delete', old.id, old.terms); END",
];

/// No GIN index, for the reason `memory_chunk` has none.
const POSTGRES: [&str; 1] = ["CREATE TABLE transcript_words (\
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL, user_id text NOT NULL, \
        session_id text NOT NULL, seq bigint NOT NULL, terms text NOT NULL, \
        search tsvector NOT NULL GENERATED ALWAYS AS (array_to_tsvector(string_to_array(terms, ' '))) STORED, \
        FOREIGN KEY (tenant_id, user_id, session_id, seq) \
        REFERENCES transcript_entry (tenant_id, user_id, session_id, seq) ON DELETE CASCADE)"];

const BOTH: [&str; 3] = [
    "CREATE UNIQUE INDEX transcript_words_entry ON transcript_words (tenant_id, user_id, session_id, seq)",
    "CREATE INDEX transcript_words_newest ON transcript_words (tenant_id, user_id, id)",
    "CREATE TABLE transcript_read (\
        tenant_id text NOT NULL, user_id text NOT NULL, session_id text NOT NULL, seq bigint NOT NULL, \
        PRIMARY KEY (tenant_id, user_id, session_id))",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let own: &[&str] = if manager.get_database_backend() == DbBackend::Postgres {
            &POSTGRES
        } else {
            &SQLITE
        };
        for statement in own.iter().chain(&BOTH) {
            db.execute_unprepared(statement).await?;
        }
        row_security::tenant_only(manager, &["transcript_words", "transcript_read"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if manager.get_database_backend() != DbBackend::Postgres {
            db.execute_unprepared("DROP TABLE transcript_fts").await?;
        }
        db.execute_unprepared("DROP TABLE transcript_words").await?;
        db.execute_unprepared("DROP TABLE transcript_read").await?;
        Ok(())
    }
}
