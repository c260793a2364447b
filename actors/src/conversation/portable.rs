//! Taking a session's transcript elsewhere and bringing one from elsewhere, as JSON lines ([`super::jsonl`]). Files that
//! messages refer to stand in the lines themselves.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_entities::{
    Scope, SessionKey, UserOwned, blob, run, session, transcript_entry, transcript_read, transcript_words,
};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::{NotSet, Set},
    ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::{Value, json};

use super::ConversationService;
use super::entry::Body;
use super::jsonl::{self, Parsed, ParsedEntry};
use super::transcript::{self, SessionHead};
use crate::clock::now_ms;
use crate::db::{Batch, Db, Transaction};
use crate::error::{Error, Result};
use crate::ports::message::{FileFormat, Message, Part};
use crate::session::blobs::{self, Room};
use crate::session::branches;
use crate::session::key::{self, Kind};

/// Rows read at a time: each may be large.
const PAGE: u64 = 50;
/// Rows of one insert statement.
const ROWS: usize = 200;
/// Files of one import.
const MOST_FILES: usize = 2000;

/// A transcript on its way out, line by line.
pub struct Export {
    db: Db,
    scope: Scope,
    head: SessionHead,
    rows: VecDeque<transcript_entry::Model>,
    /// Position of the last row that was read; 0 before the first.
    after: i64,
    /// Position of the last row that there is.
    last: i64,
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
    ///
    /// # Errors
    /// `Conflict` when the transcript was deleted meanwhile.
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
                if self.after < self.last {
                    return Err(Error::Conflict(
                        "the transcript was deleted while it was written out".to_owned(),
                    ));
                }
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
        let places: &[&str] = match row.kind.as_str() {
            "message" => &["/message/content", "/message/attachments"],
            _ => &["/content"],
        };
        let mut parts = Vec::new();
        for place in places {
            let list = body.pointer_mut(place).and_then(Value::as_array_mut);
            parts.extend(
                list.map(std::mem::take)
                    .into_iter()
                    .flatten()
                    .map(|part| (*place, part)),
            );
        }
        for (_, part) in &mut parts {
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
        for (place, part) in parts {
            if let Some(list) = body.pointer_mut(place).and_then(Value::as_array_mut) {
                list.push(part);
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
        let last: Option<i64> = transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::Seq)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .filter(transcript_entry::Column::Seq.lt(head.next_seq))
            .order_by_desc(transcript_entry::Column::Seq)
            .limit(1)
            .into_tuple()
            .one(&self.db.glance(scope).await?)
            .await?;
        Ok(Export {
            db: self.db.clone(),
            scope: scope.clone(),
            head,
            rows: VecDeque::new(),
            after: 0,
            last: last.unwrap_or(0),
            begun: false,
        })
    }

    /// Makes a session of a transcript from elsewhere, all of it or nothing.
    ///
    /// # Errors
    /// `Conflict` when there is a session of this key, `Invalid` when the key is one that only we make sessions of or
    /// the transcript has too many files, `TooLarge` when its files find no room.
    pub async fn import(&self, scope: &Scope, key: &SessionKey, parsed: Parsed, room: Room) -> Result<Imported> {
        let kind = key::parse(key.as_str()).map(|parsed| parsed.kind);
        if matches!(kind, Some(Kind::Cron | Kind::Hook | Kind::Subagent)) {
            return Err(Error::invalid(
                "this key belongs to sessions of jobs, hooks and sub-agents",
            ));
        }
        let Parsed {
            id,
            entries,
            leaf,
            skipped,
        } = parsed;
        // Before the transaction, which others wait for.
        let owner = scope.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(&owner, room, entries));
        let Prepared {
            rows,
            files,
            compactions,
        } = prepared.await.map_err(Error::internal)??;
        let count = rows.len();
        let state = json!({"compactionCount": compactions, "totalTokensFresh": false});
        let now = now_ms();
        let tx = self.db.write(scope).await?;
        // This also has two imports of one user take turns.
        blobs::make_room(&*tx, scope, room, files.bytes).await?;
        if transcript::head(&*tx, scope, key).await?.is_some() {
            return Err(taken());
        }
        let session_id = match id.as_deref().and_then(|id| uuid::Uuid::parse_str(id).ok()) {
            Some(id) if !is_taken(&tx, scope, &id.to_string()).await? => id.to_string(),
            Some(_) | None => uuid::Uuid::new_v4().to_string(),
        };
        forget_words(&tx, scope, &session_id).await?;
        for file in files.rows {
            blobs::insert(&*tx, file).await?;
        }
        let mut page = Vec::with_capacity(ROWS.min(count));
        for mut row in rows {
            row.session_id = Set(session_id.clone());
            page.push(row);
            if page.len() == ROWS {
                insert(&tx, std::mem::take(&mut page)).await?;
            }
        }
        if !page.is_empty() {
            insert(&tx, page).await?;
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
            leaf_id: leaf,
            next_seq: i64::try_from(count).unwrap_or(i64::MAX - 1) + 1,
            created_at: now,
            updated_at: now,
            events: 0,
            events_seen: 0,
        };
        session::Entity::insert(session::ActiveModel::from(row).reset_all())
            .exec_without_returning(&*tx)
            .await
            .map_err(clash)?;
        let mut batch = Batch::new(&tx);
        branches::record_arrival(&mut batch, scope, key, ("import", &session_id), 0);
        batch.run(&tx).await?;
        tx.commit().await?;
        Ok(Imported {
            session_key: key.clone(),
            session_id,
            entries: count,
            skipped,
        })
    }
}

fn taken() -> Error {
    Error::Conflict("there is a session of this key already".to_owned())
}

/// Somebody else made the session after we looked.
fn clash(error: DbErr) -> Error {
    let error = Error::from(error);
    if matches!(error, Error::Conflict(_)) {
        return taken();
    }
    error
}

/// What full-text search knows of a transcript that had this id before: the new one is read from its beginning.
async fn forget_words(tx: &Transaction, scope: &Scope, session_id: &str) -> Result<()> {
    transcript_words::Entity::delete_owned(scope)
        .filter(transcript_words::Column::SessionId.eq(session_id))
        .exec(tx)
        .await?;
    transcript_read::Entity::delete_owned(scope)
        .filter(transcript_read::Column::SessionId.eq(session_id))
        .exec(tx)
        .await?;
    Ok(())
}

async fn is_taken(tx: &Transaction, scope: &Scope, session_id: &str) -> Result<bool> {
    let entries = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .count(tx)
        .await?;
    let sessions = session::Entity::owned_by(scope)
        .filter(session::Column::SessionId.eq(session_id))
        .count(tx)
        .await?;
    // A session that was deleted is still known by its runs: deleting it again must not take this one's transcript.
    let runs = run::Entity::owned_by(scope)
        .filter(run::Column::SessionId.eq(session_id))
        .count(tx)
        .await?;
    Ok(entries + sessions + runs > 0)
}

async fn insert(tx: &Transaction, rows: Vec<transcript_entry::ActiveModel>) -> Result<()> {
    transcript_entry::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// A transcript as it is stored, but for the session's id.
struct Prepared {
    rows: Vec<transcript_entry::ActiveModel>,
    files: Files,
    compactions: usize,
}

/// Files that stood in the entries.
struct Files {
    owner: Scope,
    room: Room,
    rows: Vec<blob::ActiveModel>,
    /// What they weigh together.
    bytes: u64,
}

impl Files {
    /// Gives the file's id.
    fn keep(&mut self, mime_type: &str, bytes: Vec<u8>) -> Result<String> {
        if self.rows.len() >= MOST_FILES {
            return Err(Error::invalid(format!(
                "the transcript holds more than {MOST_FILES} files; no more are imported at once"
            )));
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        // They need not be read to the end to see that they find no place.
        if self.bytes > self.room.bytes {
            return Err(Error::TooLarge(format!(
                "the files of the transcript weigh more than the room for stored files ({} MiB)",
                self.room.bytes >> 20
            )));
        }
        let (id, row) = blobs::row(&self.owner, self.room, mime_type, bytes);
        self.rows.push(row);
        Ok(id)
    }
}

/// Decodes, types and hashes files, and encodes entries: all that needs no database.
fn prepare(scope: &Scope, room: Room, entries: Vec<ParsedEntry>) -> Result<Prepared> {
    let mut files = Files {
        owner: scope.clone(),
        room,
        rows: Vec::new(),
        bytes: 0,
    };
    let mut rows = Vec::with_capacity(entries.len());
    let mut compactions = 0;
    for (seq, mut entry) in (1_i64..).zip(entries) {
        keep_files(&mut files, &mut entry.body)?;
        compactions += usize::from(entry.body.compaction().is_some());
        rows.push(transcript_entry::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            session_id: NotSet,
            seq: Set(seq),
            id: Set(entry.id),
            parent_id: Set(entry.parent_id),
            kind: Set(entry.body.kind().to_owned()),
            body: Set(entry.body.encode().map_err(Error::internal)?),
            run_id: Set(None),
            created_at: Set(entry.created_at),
        });
    }
    Ok(Prepared {
        rows,
        files,
        compactions,
    })
}

/// Takes the files out that stand in the entry itself.
fn keep_files(files: &mut Files, body: &mut Body) -> Result<()> {
    let content = match body {
        Body::Message(body) => match Arc::make_mut(&mut body.message) {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content,
            Message::Assistant(message) => &mut message.attachments,
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
                *blob = Some(files.keep(kind, bytes)?);
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
                *blob = Some(files.keep(kind, bytes)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use claw_entities::{TenantId, UserId};

    fn entries(images: usize) -> Vec<ParsedEntry> {
        let part = r#"{"type":"image","mimeType":"image/png","data":"iVBORw0K"}"#;
        let parts = vec![part; images].join(",");
        let file = format!(
            "{{\"type\":\"session\",\"version\":3}}\n{{\"type\":\"message\",\"id\":\"a\",\"message\":\
             {{\"role\":\"user\",\"content\":[{parts}]}}}}"
        );
        jsonl::parse(&file).expect("reads").entries
    }

    #[test]
    fn so_many_files_come_in_at_once_and_no_more_than_find_room() {
        let scope = Scope::vouch(TenantId::from("t"), UserId::from("u"));
        let room = |bytes| Room {
            bytes,
            unused: std::time::Duration::from_secs(86_400),
        };
        let prepared = prepare(&scope, room(1 << 20), entries(MOST_FILES)).expect("as many as may be");
        assert_eq!(prepared.files.rows.len(), MOST_FILES);
        assert_eq!(prepared.files.bytes, 6 * MOST_FILES as u64);
        let error = prepare(&scope, room(1 << 20), entries(MOST_FILES + 1)).err();
        let error = error.expect("one too many");
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert!(error.to_string().contains("2000 files"), "{error}");
        let error = prepare(&scope, room(5), entries(1)).err();
        assert!(matches!(error, Some(Error::TooLarge(_))), "{error:?}");
    }

    #[test]
    fn a_session_that_is_there_by_then_is_a_conflict() {
        assert_eq!(taken().code(), crate::error::Code::Conflict);
        let away = clash(DbErr::RecordNotFound("x".to_owned()));
        assert_eq!(away.code(), crate::error::Code::Unavailable);
    }
}
