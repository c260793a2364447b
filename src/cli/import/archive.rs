//! Reads an export back: document, workspace, sessions. What is there already stays as it is.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::Error;
use claw_actors::config::ConfigService;
use claw_actors::config::cron::CronLimits;
use claw_actors::config::document::REDACTED;
use claw_actors::config::identity::User;
use claw_actors::config::skills::{Bundle, BundleFile, Source};
use claw_actors::crypto::token;
use claw_actors::db::Db;
use claw_actors::session::blobs::{self, Room};
use claw_entities::{Scope, SessionKey, UserOwned, session, transcript_entry};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, Set};
use serde_json::Value;

use super::super::error::CliError;
use super::super::export::{Archive, Entry, ExportedSkill, Session, StoredFile, VERSION};
use super::report::{Outcome, Report};

/// Rows inserted by one statement.
const BATCH: usize = 200;

pub(super) async fn restore(
    config: &ConfigService,
    db: &Db,
    user: &User,
    file: Value,
    (limits, room): (CronLimits, Room),
) -> Result<Report, CliError> {
    let archive: Archive = serde_json::from_value(file)
        .map_err(|error| CliError::Usage(format!("this export cannot be read: {error}")))?;
    if archive.version > VERSION {
        return Err(CliError::Usage(format!(
            "this export has version {}, and this build reads up to {VERSION}",
            archive.version
        )));
    }
    let scope = &user.scope;
    let mut report = Report::default();

    let mut doc = archive.document;
    strip_markers(&mut doc);
    let current = config.document(scope).await?;
    if current.doc == doc {
        report.add(Outcome::Taken, "document", "it is the same already");
    } else if current.revision == 0 {
        config.put_document(scope, doc, None).await?;
        report.add(
            Outcome::Taken,
            "document",
            "secrets are not in an export: enter them again",
        );
    } else {
        report.add(Outcome::NotTaken, "document", "there is another one already");
    }

    // Before the transcripts that refer to them.
    let mut stored = 0;
    for file in archive.files {
        let name = format!("files {}", file.id);
        match restore_file(db, scope, room, file).await {
            Ok(true) => stored += 1,
            Ok(false) => {}
            Err(Error::Invalid(why) | Error::Conflict(why) | Error::TooLarge(why)) => {
                report.add(Outcome::NotTaken, name, why);
            }
            Err(error) => return Err(error.into()),
        }
    }
    report.add(Outcome::Taken, "files", format!("{stored} of them"));

    let mut files = 0;
    for file in archive.workspace {
        let there = config.workspace_file(scope, &file.agent_id, &file.path).await?;
        match there {
            Some(there) if there.version > 0 => {
                if there.content != file.content {
                    let name = format!("workspace {}/{}", file.agent_id, file.path);
                    report.add(Outcome::NotTaken, name, "there is another file already");
                }
            }
            Some(_) | None => {
                config
                    .put_workspace_file(scope, &file.agent_id, &file.path, &file.content, Some(0))
                    .await?;
                files += 1;
            }
        }
    }
    report.add(Outcome::Taken, "workspace", format!("{files} files"));

    let mut transcripts: HashSet<String> = HashSet::new();
    for transcript in archive.transcripts {
        if insert_transcript(db, scope, &transcript.session_id, transcript.entries).await? {
            transcripts.insert(transcript.session_id);
        }
    }
    report.add(Outcome::Taken, "transcripts", format!("{} of them", transcripts.len()));
    let mut sessions = 0;
    for session in archive.sessions {
        let name = format!("sessions {}", session.key);
        match insert_session(db, scope, session).await? {
            Stored::Now => sessions += 1,
            Stored::Before => {}
            Stored::Other => report.add(Outcome::NotTaken, name, "there is another session of this key already"),
        }
    }
    report.add(Outcome::Taken, "sessions", format!("{sessions} of them"));
    let mut jobs = 0;
    for job in archive.cron_jobs {
        let id = job["id"].as_str().unwrap_or_default();
        match config.restore_cron_job(scope, id, &job, limits).await {
            Ok(true) => jobs += 1,
            Ok(false) => {}
            Err(Error::Invalid(why)) => report.add(Outcome::NotTaken, format!("cronJobs {id}"), why),
            Err(error) => return Err(error.into()),
        }
    }
    report.add(Outcome::Taken, "cronJobs", format!("{jobs} of them"));
    let mut skills = 0;
    for skill in archive.skills {
        let name = format!("skills {}", skill.key);
        match restore_skill(config, scope, skill).await {
            Ok(true) => skills += 1,
            Ok(false) => {}
            Err(Error::Invalid(why) | Error::Conflict(why) | Error::TooLarge(why)) => {
                report.add(Outcome::NotTaken, name, why);
            }
            Err(error) => return Err(error.into()),
        }
    }
    report.add(Outcome::Taken, "skills", format!("{skills} of them"));
    if !archive.devices.is_empty() {
        report.add(Outcome::NoMeaning, "devices", "devices pair again");
    }
    Ok(report)
}

/// False: it is there already.
async fn restore_file(db: &Db, scope: &Scope, room: Room, file: StoredFile) -> claw_actors::Result<bool> {
    let bytes = STANDARD
        .decode(&file.base64)
        .map_err(|_| Error::invalid("it is not base64"))?;
    if token::hash_bytes(&bytes) != file.sha256 {
        return Err(Error::invalid("its bytes are not those that were exported"));
    }
    blobs::restore(db, scope, room, &file.id, &file.mime_type, file.created_at, bytes).await
}

/// False: it is there already, and the same.
async fn restore_skill(config: &ConfigService, scope: &Scope, skill: ExportedSkill) -> claw_actors::Result<bool> {
    let mut files = Vec::with_capacity(skill.files.len());
    for file in skill.files {
        let content = match (file.text, file.base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(bytes)) => STANDARD
                .decode(bytes)
                .map_err(|_| Error::invalid(format!("{} is not base64", file.path)))?,
            (None, None) => return Err(Error::invalid(format!("{} has no content", file.path))),
        };
        files.push(BundleFile {
            path: file.path,
            content,
        });
    }
    let hashed = skill.sha256.len() == 64 && skill.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hashed {
        return Err(Error::invalid("sha256 is not 64 hexadecimal digits"));
    }
    let bundle = Bundle::of(files, skill.sha256)?;
    if let Ok(there) = config.own_skill(scope, &bundle.manifest.key()).await
        && there.sha256 == bundle.sha256
    {
        return Ok(false);
    }
    config.install_skill(scope, &bundle, &Source::Import, false).await?;
    Ok(true)
}

/// Secrets are not in the file, and a marker of nothing is refused.
fn strip_markers(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, item| item != REDACTED);
            map.values_mut().for_each(strip_markers);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_markers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// True when it was not there before.
async fn insert_transcript(db: &Db, scope: &Scope, session_id: &str, entries: Vec<Entry>) -> Result<bool, CliError> {
    let tx = db.write(scope).await?;
    let there = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .count(&*tx)
        .await?;
    if there > 0 {
        return Ok(false);
    }
    for batch in entries.chunks(BATCH) {
        let rows = batch.iter().map(|entry| transcript_entry::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            session_id: Set(session_id.to_owned()),
            seq: Set(entry.seq),
            id: Set(entry.id.clone()),
            parent_id: Set(entry.parent_id.clone()),
            kind: Set(entry.kind.clone()),
            body: Set(entry
                .body
                .as_str()
                .map_or_else(|| entry.body.to_string(), str::to_owned)),
            run_id: Set(entry.run_id.clone()),
            created_at: Set(entry.created_at),
        });
        transcript_entry::Entity::insert_many(rows)
            .exec_without_returning(&*tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

enum Stored {
    Now,
    Before,
    Other,
}

async fn insert_session(db: &Db, scope: &Scope, row: Session) -> Result<Stored, CliError> {
    let key = SessionKey::from(row.key);
    let tx = db.write(scope).await?;
    let there = session::Entity::owned_by(scope)
        .filter(session::Column::Key.eq(key.clone()))
        .one(&*tx)
        .await?;
    if let Some(there) = there {
        return Ok(if there.session_id == row.session_id {
            Stored::Before
        } else {
            Stored::Other
        });
    }
    session::Entity::insert(session::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        key: Set(key),
        session_id: Set(row.session_id),
        agent_id: Set(row.agent_id),
        label: Set(row.label),
        entry: Set(row.entry),
        destination: Set(row.destination),
        leaf_id: Set(row.leaf_id),
        next_seq: Set(row.next_seq),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
        ..Default::default()
    })
    .exec_without_returning(&*tx)
    .await?;
    tx.commit().await?;
    Ok(Stored::Now)
}
