//! `transcript …`: a session's transcript as OpenClaw's JSON lines, out and in.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use claw_actors::config::ConfigService;
use claw_actors::config::identity::User;
use claw_actors::conversation::portable::Export;
use claw_actors::conversation::{ConversationService, jsonl};
use claw_actors::session::blobs::Room;
use claw_actors::session::{key, routing};
use claw_entities::SessionKey;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a session's transcript to a file
    Export {
        #[command(flatten)]
        of: Of,
        /// File to write; it must not exist yet
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a session of a transcript that OpenClaw or `transcript export` wrote
    Import {
        #[command(flatten)]
        of: Of,
        file: PathBuf,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// Slug of the tenant
    #[arg(long)]
    tenant: String,
    /// E-mail address of the user
    #[arg(long)]
    user: String,
    /// Key of the session; may be short
    #[arg(long)]
    session: String,
}

impl Of {
    async fn found(&self, config: &ConfigService) -> Result<(User, SessionKey), CliError> {
        let user = place::user(config, &self.tenant, &self.user).await?;
        let settings = config.settings(&user.scope).await?;
        let session = key::resolve(&self.session, &routing::default_agent(&settings))?;
        Ok((user, session))
    }

    /// As [`Self::found`], of an agent that is there: one that was removed gets no new sessions.
    async fn of_agent(&self, config: &ConfigService) -> Result<(User, SessionKey), CliError> {
        let (user, session) = self.found(config).await?;
        let settings = config.settings(&user.scope).await?;
        if !settings.has_agent(key::agent_of(&session)) {
            return Err(CliError::Usage("there is no such agent".to_owned()));
        }
        Ok((user, session))
    }
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        let conversation = ConversationService::new(place::database(settings).await?);
        match self {
            Self::Export { of, out: path } => {
                let (user, session) = of.found(&config).await?;
                let export = conversation.export(&user.scope, &session).await?;
                let file = create(&path).map_err(|error| CliError::file(&path, error))?;
                if let Err(error) = write(export, file, &path).await {
                    // Half a transcript must not pass for a whole one.
                    let _ = std::fs::remove_file(&path);
                    return Err(error);
                }
                out::note(format!("wrote {}", path.display()));
            }
            Self::Import { of, file, json } => {
                let text = read(&file)?;
                let (user, session) = of.of_agent(&config).await?;
                let room = Room {
                    bytes: settings.limits.stored_bytes_per_user,
                    unused: Duration::from_secs(settings.limits.stored_unused_secs),
                };
                // Who runs this has the machine: their file may be larger than one that is uploaded.
                let parsed = jsonl::parse_at_most(&text, usize::MAX)?;
                drop(text);
                let imported = conversation.import(&user.scope, &session, parsed, room).await?;
                if json {
                    out::json(&serde_json::json!({
                        "sessionKey": imported.session_key, "sessionId": imported.session_id,
                        "entries": imported.entries, "skipped": imported.skipped,
                    }));
                } else {
                    let (entries, skipped) = (imported.entries, imported.skipped);
                    out::line(format!(
                        "made session {} with {entries} entries; {skipped} lines were left out",
                        imported.session_key
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A new file that only its owner reads: it holds a conversation.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

async fn write(mut export: Export, file: File, path: &Path) -> Result<(), CliError> {
    let mut writer = BufWriter::new(file);
    while let Some(line) = export.next().await? {
        writeln!(writer, "{line}").map_err(|error| CliError::file(path, error))?;
    }
    writer.flush().map_err(|error| CliError::file(path, error))
}

fn read(path: &Path) -> Result<String, CliError> {
    let size = std::fs::metadata(path)
        .map_err(|error| CliError::file(path, error))?
        .len();
    if size > MAX_FILE {
        return Err(CliError::file(path, "is larger than 256 MiB"));
    }
    std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))
}
