//! Taking a session's transcript elsewhere and bringing one from elsewhere, as JSON lines ([`super::jsonl`]). Files that
//! messages refer to stand in the lines themselves.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_entities::{Scope, SessionKey, UserOwned, blob, session, transcript_entry};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::{Value, json};

use super::ConversationService;
use super::entry::Body;
use super::jsonl::{self, Parsed};
use super::transcript::{self, SessionHead};
use crate::clock::now_ms;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::ports::message::{FileFormat, Message, Part};
use crate::session::blobs::{self, Room};
use crate::session::key::{self, Kind};

/// Rows read at a time: each may be large.
const PAGE: u64 = 50;
/// Rows of one insert statement.
const ROWS: usize = 200;

/// A transcript on its way out, line by line.
pub struct Export {
    db: Db,
    scope: Scope,
    head: SessionHead,
    rows: VecDeque<transcript_entry::Model>,
    /// Position of the last row that was read; 0 before the first.
    after: i64,
    begun: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub session_key: SessionKey,
    pub session_id: String,
    pub entries: usize,
    /// Lines that could not be read, or are of no kind that is known.
    pub skipped: usize,
}

impl Export {
    /// The next line, without its end. What is written while it goes on is not part of it.
    pub async fn next(&mut self) -> Result<Option<String>> {
        if !self.begun {
            self.begun = true;
            let head = &self.head;
            return Ok(Some(jsonl::header(
                &head.session_id,
                head.leaf_id.as_deref(),
                head.created_at,
            )));
        }
        loop {
            if self.rows.is_empty() {
                self.rows = self.page().await?;
            }
            let Some(mut row) = self.rows.pop_front() else {
                return Ok(None);
            };
            self.after = row.seq;
            self.inline(&mut row).await?;
            if let Some(line) = jsonl::line(&row) {
                return Ok(Some(line));
            }
        }
    }

    async fn page(&self) -> Result<VecDeque<transcript_entry::Model>> {
        let rows = transcript_entry::Entity::owned_by(&self.scope)
            .filter(transcript_entry::Column::SessionId.eq(self.head.session_id.as_str()))
            .filter(transcript_entry::Column::Seq.gt(self.after))
            .filter(transcript_entry::Column::Seq.lt(self.head.next_seq))
            .order_by_asc(transcript_entry::Column::Seq)
            .limit(PAGE)
            .all(&self.db.glance(&self.scope).await?)
            .await?;
        Ok(rows.into())
    }

    /// Puts the bytes of stored files in, as far as they are still there.
    async fn inline(&self, row: &mut transcript_entry::Model) -> Result<()> {
        if !row.body.contains("\"ref\":\"") {
            return Ok(());
        }
        let Ok(mut body) = serde_json::from_str::<Value>(&row.body) else {
            return Ok(());
        };
        let place = match row.kind.as_str() {
            "message" => "/message/content",
            _ => "/content",
        };
        let content = body.pointer_mut(place).and_then(Value::as_array_mut);
        for part in content.into_iter().flatten() {
            let Some(fields) = part.as_object_mut() else { continue };
            let kind = fields.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("image" | "file")) {
                continue;
            }
            let Some(Value::String(id)) = fields.remove("ref") else {
                continue;
            };
            let stored = blob::Entity::owned_by(&self.scope)
                .filter(blob::Column::Id.eq(id))
                .one(&self.db.glance(&self.scope).await?)
                .await?;
            if let Some(stored) = stored {
                fields.insert("data".to_owned(), json!(STANDARD.encode(stored.bytes)));
            }
        }
        row.body = body.to_string();
        Ok(())
    }
}

impl ConversationService {
    /// A session's transcript, with what was said on other branches.
    ///
    /// # Errors
    /// `NotFound` when there is no such session.
    pub async fn export(&self, scope: &Scope, key: &SessionKey) -> Result<Export> {
        let head = self
            .head(scope, key)
            .await?
            .ok_or(Error::NotFound { what: "session" })?;
        Ok(Export {
            db: self.db.clone(),
            scope: scope.clone(),
            head,
            rows: VecDeque::new(),
            after: 0,
            begun: false,
        })
    }

    /// Makes a session of a transcript from elsewhere, all of it or nothing.
    ///
    /// # Errors
    /// `Conflict` when there is a session of this key, `Invalid` when the key is one that only we make sessions of,
    /// `TooLarge` when its files find no room.
    pub async fn import(&self, scope: &Scope, key: &SessionKey, parsed: Parsed, room: Room) -> Result<Imported> {
        let kind = key::parse(key.as_str()).map(|parsed| parsed.kind);
        if matches!(kind, Some(Kind::Cron | Kind::Hook | Kind::Subagent)) {
            return Err(Error::invalid(
                "this key belongs to sessions of jobs, hooks and sub-agents",
            ));
        }
        let tx = self.db.write(scope).await?;
        if transcript::head(&*tx, scope, key).await?.is_some() {
            return Err(Error::Conflict("there is a session of this key already".to_owned()));
        }
        let session_id = match parsed.id.as_deref().and_then(|id| uuid::Uuid::parse_str(id).ok()) {
            Some(id) if !is_taken(&tx, scope, &id.to_string()).await? => id.to_string(),
            Some(_) | None => uuid::Uuid::new_v4().to_string(),
        };
        let count = parsed.entries.len();
        let compactions = parsed.entries.iter().filter(|entry| entry.body.compaction().is_some());
        let state = json!({"compactionCount": compactions.count(), "totalTokensFresh": false});
        let now = now_ms();
        let mut rows = Vec::with_capacity(ROWS.min(count));
        for (seq, mut entry) in (1..).zip(parsed.entries) {
            keep_files(&tx, scope, room, &mut entry.body).await?;
            rows.push(transcript_entry::ActiveModel {
                tenant_id: Set(scope.tenant().clone()),
                user_id: Set(scope.user().clone()),
                session_id: Set(session_id.clone()),
                seq: Set(seq),
                id: Set(entry.id),
                parent_id: Set(entry.parent_id),
                kind: Set(entry.body.kind().to_owned()),
                body: Set(entry.body.encode().map_err(Error::internal)?),
                run_id: Set(None),
                created_at: Set(entry.created_at),
            });
            if rows.len() == ROWS {
                insert(&tx, std::mem::take(&mut rows)).await?;
            }
        }
        if !rows.is_empty() {
            insert(&tx, rows).await?;
        }
        let row = session::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            key: key.clone(),
            session_id: session_id.clone(),
            agent_id: key::agent_of(key).to_owned(),
            label: None,
            entry: state,
            destination: Value::Null,
            leaf_id: parsed.leaf,
            next_seq: i64::try_from(count).unwrap_or(i64::MAX - 1) + 1,
            created_at: now,
            updated_at: now,
            events: 0,
            events_seen: 0,
        };
        session::Entity::insert(session::ActiveModel::from(row).reset_all())
            .exec_without_returning(&*tx)
            .await?;
        tx.commit().await?;
        Ok(Imported {
            session_key: key.clone(),
            session_id,
            entries: count,
            skipped: parsed.skipped,
        })
    }
}

async fn is_taken(tx: &DatabaseTransaction, scope: &Scope, session_id: &str) -> Result<bool> {
    let entries = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .count(tx)
        .await?;
    let sessions = session::Entity::owned_by(scope)
        .filter(session::Column::SessionId.eq(session_id))
        .count(tx)
        .await?;
    Ok(entries + sessions > 0)
}

async fn insert(tx: &DatabaseTransaction, rows: Vec<transcript_entry::ActiveModel>) -> Result<()> {
    transcript_entry::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Stores files that stand in the entry itself.
async fn keep_files(tx: &DatabaseTransaction, scope: &Scope, room: Room, body: &mut Body) -> Result<()> {
    let content = match body {
        Body::Message(body) => match Arc::make_mut(&mut body.message) {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content,
            Message::Assistant(_) => return Ok(()),
        },
        Body::CustomMessage(body) => &mut body.content,
        Body::Compaction(_)
        | Body::BranchSummary(_)
        | Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => return Ok(()),
    };
    for part in content {
        let data = match part {
            Part::Text { .. } => continue,
            Part::Image { data, blob, .. } | Part::File { data, blob, .. } => {
                // An id of another installation names nothing here.
                *blob = None;
                data.take()
            }
        };
        let bytes = data.and_then(|data| STANDARD.decode(data.as_bytes()).ok());
        let known = bytes.and_then(|bytes| Some((blobs::image_type(&bytes).or_else(|| format_of(&bytes))?, bytes)));
        match (known, &mut *part) {
            (Some((kind, bytes)), Part::Image { blob, mime_type, .. }) if kind.starts_with("image/") => {
                *blob = Some(blobs::insert(tx, scope, room, kind, bytes).await?);
                kind.clone_into(mime_type);
            }
            (
                Some((kind, bytes)),
                Part::File {
                    blob,
                    mime_type,
                    size,
                    name,
                    ..
                },
            ) if !kind.starts_with("image/") => {
                *name = blobs::plain_name(name);
                *size = bytes.len() as u64;
                *blob = Some(blobs::insert(tx, scope, room, kind, bytes).await?);
                kind.clone_into(mime_type);
            }
            (_, part) => {
                *part = Part::Text {
                    text: "[a file that was not part of the transcript]".to_owned(),
                }
            }
        }
    }
    Ok(())
}

fn format_of(bytes: &[u8]) -> Option<&'static str> {
    FileFormat::of(bytes).map(FileFormat::mime_type)
}
