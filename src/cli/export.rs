//! `export`: everything a user owns in one JSON file, secrets excluded. The format is in `docs/export.md`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use claw_actors::clock::now_ms;
use claw_actors::config::ConfigService;
use claw_actors::config::document::redact;
use claw_actors::config::identity::User;
use claw_actors::db::{Db, Tx};
use claw_entities::{
    Scope, UserOwned, blob, channel_link, cron_job, device, session, skill, skill_file, transcript_entry,
    workspace_file,
};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

/// What `format` says in a file of ours.
pub(super) const FORMAT: &str = "clawcentral.export";
/// Raised when a reader of today could not read a file of tomorrow.
pub(super) const VERSION: u32 = 1;
/// Rows read at a time.
const PAGE: u64 = 500;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Slug of the tenant
    #[arg(long)]
    tenant: String,
    /// E-mail address of the user
    #[arg(long)]
    user: String,
    /// File to write; it must not exist yet
    #[arg(long)]
    out: PathBuf,
}

/// The whole file, as it is read back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Archive {
    pub(super) version: u32,
    pub(super) document: Value,
    #[serde(default)]
    pub(super) files: Vec<StoredFile>,
    #[serde(default)]
    pub(super) workspace: Vec<WorkspaceFile>,
    #[serde(default)]
    pub(super) sessions: Vec<Session>,
    #[serde(default)]
    pub(super) transcripts: Vec<Transcript>,
    #[serde(default)]
    pub(super) devices: Vec<Value>,
    #[serde(default)]
    pub(super) cron_jobs: Vec<Value>,
    #[serde(default)]
    pub(super) skills: Vec<ExportedSkill>,
}

/// A file that transcripts refer to by its id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredFile {
    pub(super) id: String,
    pub(super) mime_type: String,
    pub(super) sha256: String,
    pub(super) created_at: i64,
    pub(super) base64: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkspaceFile {
    pub(super) agent_id: String,
    pub(super) path: String,
    pub(super) content: String,
    pub(super) updated_at: i64,
}

/// A skill the user installed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExportedSkill {
    pub(super) key: String,
    pub(super) sha256: String,
    pub(super) files: Vec<ExportedFile>,
}

/// A text, or other bytes in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExportedFile {
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base64: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) key: String,
    pub(super) session_id: String,
    pub(super) agent_id: String,
    pub(super) label: Option<String>,
    pub(super) entry: Value,
    pub(super) destination: Value,
    pub(super) leaf_id: Option<String>,
    pub(super) next_seq: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transcript {
    pub(super) session_id: String,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) parent_id: Option<String>,
    pub(super) kind: String,
    pub(super) body: Value,
    pub(super) run_id: Option<String>,
    pub(super) created_at: i64,
}

impl Export {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        let user = place::user(&config, &self.tenant, &self.user).await?;
        let db = place::database(settings).await?;
        let file = File::create_new(&self.out).map_err(|error| CliError::file(&self.out, error))?;
        let mut writer = BufWriter::new(file);
        let written = write(&config, &db, &user, &mut writer).await;
        let written = written.and_then(|()| writer.flush().map_err(|error| CliError::file(&self.out, error)));
        if let Err(error) = written {
            // Half an export must not pass for a whole one.
            let _ = std::fs::remove_file(&self.out);
            return Err(error);
        }
        out::note(format!("wrote {}", self.out.display()));
        Ok(())
    }
}

/// Writes the file piece by piece: a long transcript is never in memory as a whole. Everything is read in one
/// transaction, so the pieces fit together.
async fn write(config: &ConfigService, db: &Db, user: &User, writer: &mut impl Write) -> Result<(), CliError> {
    let scope = &user.scope;
    let tx = db.snapshot(scope).await?;
    let document = redact(&config.document_in(&tx, scope).await?.doc);
    let mut file = Pieces { writer };
    file.raw("{")?;
    file.value("format", &FORMAT)?;
    file.next("version", &VERSION)?;
    file.next("exportedAt", &now_ms())?;
    file.next(
        "user",
        &json!({ "email": user.email, "name": user.name, "role": user.role, "timeZone": user.time_zone }),
    )?;
    file.next("document", &document)?;
    file.next("channelLinks", &links(&tx, scope).await?)?;
    file.next("devices", &devices(&tx, scope).await?)?;
    file.next("cronJobs", &cron_jobs(&tx, scope).await?)?;
    files(&tx, scope, &mut file).await?;
    workspace(&tx, scope, &mut file).await?;
    skills(&tx, scope, &mut file).await?;
    file.next("sessions", &sessions(&tx, scope).await?)?;
    transcripts(&tx, scope, &mut file).await?;
    file.raw("}\n")
}

struct Pieces<'a, W> {
    writer: &'a mut W,
}

impl<W: Write> Pieces<'_, W> {
    fn raw(&mut self, text: &str) -> Result<(), CliError> {
        self.writer.write_all(text.as_bytes()).map_err(cannot_write)
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut *self.writer, value).map_err(|error| cannot_write(error.into()))
    }

    fn value(&mut self, name: &str, value: &impl Serialize) -> Result<(), CliError> {
        self.raw(&format!("\n\"{name}\":"))?;
        self.json(value)
    }

    fn next(&mut self, name: &str, value: &impl Serialize) -> Result<(), CliError> {
        self.raw(",")?;
        self.value(name, value)
    }
}

fn cannot_write(error: std::io::Error) -> CliError {
    CliError::Usage(format!("cannot write the export: {error}"))
}

async fn links(tx: &Tx, scope: &Scope) -> Result<Vec<Value>, CliError> {
    let rows = channel_link::Entity::owned_by(scope)
        .order_by_asc(channel_link::Column::CreatedAt)
        .all(&**tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| json!({ "channel": row.channel, "accountId": row.account_id, "senderId": row.sender_id }))
        .collect())
}

async fn devices(tx: &Tx, scope: &Scope) -> Result<Vec<Value>, CliError> {
    let rows = device::Entity::owned_by(scope)
        .order_by_asc(device::Column::CreatedAt)
        .all(&**tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id, "displayName": row.display_name, "label": row.label, "platform": row.platform,
                "deviceFamily": row.device_family, "clientId": row.client_id, "clientMode": row.client_mode,
                "roles": row.roles, "scopes": row.scopes, "createdAt": row.created_at, "approvedAt": row.approved_at,
                "lastSeenAt": row.last_seen_at,
            })
        })
        .collect())
}

/// Jobs as `cron.add` takes them, with their ids.
async fn cron_jobs(tx: &Tx, scope: &Scope) -> Result<Vec<Value>, CliError> {
    let rows = cron_job::Entity::owned_by(scope)
        .order_by_asc(cron_job::Column::CreatedAt)
        .all(&**tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut job = row.definition;
            job["id"] = json!(row.id);
            job["enabled"] = json!(row.enabled);
            job
        })
        .collect())
}

async fn workspace<W: Write>(tx: &Tx, scope: &Scope, file: &mut Pieces<'_, W>) -> Result<(), CliError> {
    file.raw(",\n\"workspace\":[")?;
    let mut done = 0;
    loop {
        let rows = workspace_file::Entity::owned_by(scope)
            .order_by_asc(workspace_file::Column::AgentId)
            .order_by_asc(workspace_file::Column::Path)
            .offset(done)
            .limit(20)
            .all(&**tx)
            .await?;
        if rows.is_empty() {
            return file.raw("]");
        }
        for row in rows {
            file.raw(if done == 0 { "\n" } else { ",\n" })?;
            file.json(&WorkspaceFile {
                agent_id: row.agent_id,
                path: row.path,
                content: row.content,
                updated_at: row.updated_at,
            })?;
            done += 1;
        }
    }
}

/// One stored file at a time.
async fn files<W: Write>(tx: &Tx, scope: &Scope, file: &mut Pieces<'_, W>) -> Result<(), CliError> {
    file.raw(",\n\"files\":[")?;
    let ids: Vec<String> = blob::Entity::owned_by(scope)
        .select_only()
        .column(blob::Column::Id)
        .order_by_asc(blob::Column::Id)
        .into_tuple()
        .all(&**tx)
        .await?;
    for (index, id) in ids.into_iter().enumerate() {
        let row = blob::Entity::owned_by(scope)
            .filter(blob::Column::Id.eq(id))
            .one(&**tx)
            .await?;
        let Some(row) = row else { continue };
        file.raw(if index == 0 { "\n" } else { ",\n" })?;
        file.json(&StoredFile {
            id: row.id,
            mime_type: row.mime_type,
            sha256: row.sha256,
            created_at: row.created_at,
            base64: STANDARD.encode(row.bytes),
        })?;
    }
    file.raw("]")
}

/// One skill at a time. What nodes offer is theirs.
async fn skills<W: Write>(tx: &Tx, scope: &Scope, file: &mut Pieces<'_, W>) -> Result<(), CliError> {
    file.raw(",\n\"skills\":[")?;
    let rows = skill::Entity::owned_by(scope)
        .filter(skill::Column::NodeId.eq(""))
        .order_by_asc(skill::Column::Key)
        .all(&**tx)
        .await?;
    for (index, row) in rows.into_iter().enumerate() {
        file.raw(if index == 0 { "\n" } else { ",\n" })?;
        let files = skill_file::Entity::owned_by(scope)
            .filter(skill_file::Column::NodeId.eq(""))
            .filter(skill_file::Column::Key.eq(&row.key))
            .order_by_asc(skill_file::Column::Path)
            .all(&**tx)
            .await?;
        file.json(&ExportedSkill {
            key: row.key,
            sha256: row.sha256,
            files: files.into_iter().map(exported).collect(),
        })?;
    }
    file.raw("]")
}

fn exported(row: skill_file::Model) -> ExportedFile {
    match String::from_utf8(row.content) {
        Ok(text) => ExportedFile {
            path: row.path,
            text: Some(text),
            base64: None,
        },
        Err(bytes) => ExportedFile {
            path: row.path,
            text: None,
            base64: Some(STANDARD.encode(bytes.as_bytes())),
        },
    }
}

async fn sessions(tx: &Tx, scope: &Scope) -> Result<Vec<Session>, CliError> {
    let rows = session::Entity::owned_by(scope)
        .order_by_asc(session::Column::Key)
        .all(&**tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Session {
            key: row.key.into(),
            session_id: row.session_id,
            agent_id: row.agent_id,
            label: row.label,
            entry: row.entry,
            destination: row.destination,
            leaf_id: row.leaf_id,
            next_seq: row.next_seq,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
        .collect())
}

/// Transcripts in use and those that a reset left behind.
async fn transcripts<W: Write>(tx: &Tx, scope: &Scope, file: &mut Pieces<'_, W>) -> Result<(), CliError> {
    let ids: Vec<String> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::SessionId)
        .distinct()
        .order_by_asc(transcript_entry::Column::SessionId)
        .into_tuple()
        .all(&**tx)
        .await?;
    file.raw(",\n\"transcripts\":[")?;
    for (index, id) in ids.iter().enumerate() {
        file.raw(if index == 0 { "\n" } else { ",\n" })?;
        file.raw(&format!("{{\"sessionId\":{},\"entries\":[", json!(id)))?;
        let mut last = i64::MIN;
        loop {
            let rows = transcript_entry::Entity::owned_by(scope)
                .filter(transcript_entry::Column::SessionId.eq(id))
                .filter(transcript_entry::Column::Seq.gt(last))
                .order_by_asc(transcript_entry::Column::Seq)
                .limit(PAGE)
                .all(&**tx)
                .await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                file.raw(if last == i64::MIN { "\n" } else { ",\n" })?;
                last = row.seq;
                file.json(&Entry {
                    seq: row.seq,
                    id: row.id,
                    parent_id: row.parent_id,
                    kind: row.kind,
                    // Our own JSON; kept as a text should it ever not parse.
                    body: serde_json::from_str(&row.body).unwrap_or(Value::String(row.body)),
                    run_id: row.run_id,
                    created_at: row.created_at,
                })?;
            }
        }
        file.raw("]}")?;
    }
    file.raw("]")
}

#[cfg(test)]
mod tests {
    use claw_actors::config::skills::{Bundle, BundleFile, Source};
    use claw_actors::crypto::token;
    use sea_orm::{EntityTrait, Set};

    use super::super::import::Import;
    use super::super::testing;
    use super::*;

    fn export(here: &testing::Here, name: &str) -> Export {
        Export {
            tenant: "demo".to_owned(),
            user: "owner@demo.local".to_owned(),
            out: here.path(name),
        }
    }

    #[tokio::test]
    async fn an_export_is_read_back_by_another_installation() {
        let here = testing::start_on_any().await;
        let config = place::open(&here.settings).await.expect("opens");
        let user = place::user(&config, "demo", "owner@demo.local")
            .await
            .expect("is there");
        let scope = &user.scope;
        let doc = json!({"agents": {"list": [{"id": "main"}]}, "skills": {"entries": {"gh": {"apiKey": "sk-secret"}}}});
        config.put_document(scope, doc, None).await.expect("stores");
        let job = json!({"name": "tidy up", "schedule": {"kind": "every", "everyMs": 3_600_000}, "message": "tidy"});
        let limits = here.settings.limits.cron();
        config.add_cron_job(scope, &job, limits).await.expect("adds");
        config
            .put_workspace_file(scope, "main", "notes.md", "hello", None)
            .await
            .expect("writes");
        let files = [
            ("SKILL.md", "---\nname: tea\ndescription: d\n---\n".as_bytes()),
            ("a/b.bin", &[0, 255]),
        ];
        let files = files.map(|(path, content)| BundleFile {
            path: path.to_owned(),
            content: content.to_vec(),
        });
        let bundle = Bundle::of(files.to_vec(), "0a".repeat(32)).expect("is a skill");
        config
            .install_skill(scope, &bundle, &Source::Upload, false)
            .await
            .expect("installs");
        let db = place::database(&here.settings).await.expect("opens");
        let tx = db.write(scope).await.expect("begins");
        session::Entity::insert(session::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            key: Set("agent:main:main".into()),
            session_id: Set("s1".to_owned()),
            agent_id: Set("main".to_owned()),
            label: Set(None),
            entry: Set(json!({"thinkingLevel": "low"})),
            destination: Set(Value::Null),
            leaf_id: Set(Some("e2".to_owned())),
            next_seq: Set(3),
            created_at: Set(1),
            updated_at: Set(2),
            ..Default::default()
        })
        .exec_without_returning(&*tx)
        .await
        .expect("inserts");
        for seq in 1..3 {
            transcript_entry::Entity::insert(transcript_entry::ActiveModel {
                tenant_id: Set(scope.tenant().clone()),
                user_id: Set(scope.user().clone()),
                session_id: Set("s1".to_owned()),
                seq: Set(seq),
                id: Set(format!("e{seq}")),
                parent_id: Set(None),
                kind: Set("message".to_owned()),
                body: Set(json!({"message": {"role": "user", "content": "hi"}}).to_string()),
                run_id: Set(None),
                created_at: Set(seq),
            })
            .exec_without_returning(&*tx)
            .await
            .expect("inserts");
        }
        blob::Entity::insert(blob::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            id: Set("f1".to_owned()),
            user_id: Set(scope.user().clone()),
            mime_type: Set("application/pdf".to_owned()),
            sha256: Set(token::hash_bytes(b"%PDF-1.4 \0\xff")),
            size: Set(11),
            bytes: Set(b"%PDF-1.4 \0\xff".to_vec()),
            created_at: Set(7),
            look_at: Set(i64::MAX),
        })
        .exec_without_returning(&*tx)
        .await
        .expect("inserts");
        tx.commit().await.expect("commits");

        export(&here, "first.json").run(&here.settings).await.expect("exports");
        let twice = export(&here, "first.json").run(&here.settings).await;
        assert!(
            matches!(twice, Err(CliError::File { .. })),
            "an export overwrites nothing"
        );
        let first = std::fs::read_to_string(here.path("first.json")).expect("reads");
        assert!(!first.contains("sk-secret"));

        let there = testing::start_on_any().await;
        let import = || Import::of("demo", "owner@demo.local", here.path("first.json"));
        import().run(&there.settings).await.expect("imports");
        import().run(&there.settings).await.expect("imports again");
        export(&there, "second.json")
            .run(&there.settings)
            .await
            .expect("exports");
        let second = std::fs::read_to_string(there.path("second.json")).expect("reads");
        let parts = |text: &str| {
            let mut file: Value = serde_json::from_str(text).expect("is JSON");
            assert_eq!(file["format"], FORMAT);
            file["workspace"][0]["updatedAt"] = json!(0);
            (
                file["workspace"].clone(),
                file["sessions"].clone(),
                file["files"].clone(),
                file["transcripts"].clone(),
                file["cronJobs"].clone(),
                file["skills"].clone(),
            )
        };
        assert_eq!(parts(&first), parts(&second));
        let file: Value = serde_json::from_str(&second).expect("is JSON");
        assert_eq!(file["files"].as_array().map(Vec::len), Some(1));
        assert_eq!(file["cronJobs"].as_array().map(Vec::len), Some(1));
        assert_eq!(file["cronJobs"][0]["name"], "tidy up");
        assert_eq!(
            (&file["skills"][0]["key"], &file["skills"][0]["sha256"]),
            (&json!("tea"), &json!("0a".repeat(32)))
        );
        assert_eq!(
            file["skills"][0]["files"][1],
            json!({"path": "a/b.bin", "base64": "AP8="})
        );
        assert_eq!(
            file["document"],
            json!({"agents": {"list": [{"id": "main"}]}, "skills": {"entries": {"gh": {}}}})
        );
        assert_eq!(file["transcripts"][0]["entries"].as_array().map(Vec::len), Some(2));
    }
}
