//! `import`: a real OpenClaw configuration (JSON5) becomes providers, channel accounts and the user's document; an
//! export of ours is read back. Running it twice changes nothing more.

mod apply;
mod archive;
mod channels;
mod placeholders;
mod plan;
mod providers;
mod report;
mod sections;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use claw_actors::config::ConfigService;
use claw_actors::config::identity::User;
use claw_actors::session::blobs::Room;
use serde_json::Value;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;
use report::Report;

/// Largest file we read, in bytes: all that may be stored of one user, as text, and as much again for everything else.
const MAX_FILE: u64 = 3 * 1024 * 1024 * 1024;
/// Largest file that people write by hand.
const MAX_JSON5: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Slug of the tenant
    #[arg(long)]
    tenant: String,
    /// E-mail address of the user
    #[arg(long)]
    user: String,
    /// An openclaw.json, or a file that `export` wrote
    file: PathBuf,
    #[arg(long, help = "Print JSON")]
    json: bool,
}

impl Import {
    #[cfg(test)]
    pub(super) fn of(tenant: &str, user: &str, file: PathBuf) -> Self {
        Self {
            tenant: tenant.to_owned(),
            user: user.to_owned(),
            file,
            json: true,
        }
    }

    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let file = read(&self.file)?;
        let config = place::open(settings).await?;
        let user = place::user(&config, &self.tenant, &self.user).await?;
        let report = import(&config, settings, &user, file).await?;
        if self.json {
            out::json(&report);
        } else {
            for line in report.lines() {
                out::line(line.to_string());
            }
            out::note(report.summary());
        }
        Ok(())
    }
}

/// Takes over what the file holds.
async fn import(config: &ConfigService, settings: &Settings, user: &User, file: Value) -> Result<Report, CliError> {
    if file.get("format").and_then(Value::as_str) == Some(super::export::FORMAT) {
        let db = place::database(settings).await?;
        let room = Room {
            bytes: settings.limits.stored_bytes_per_user,
            unused: Duration::from_secs(settings.limits.stored_unused_secs),
        };
        return archive::restore(config, &db, user, file, (settings.limits.cron(), room)).await;
    }
    apply::apply(config, user, plan::plan(file), settings.limits.cron()).await
}

fn read(path: &Path) -> Result<Value, CliError> {
    let size = std::fs::metadata(path)
        .map_err(|error| CliError::file(path, error))?
        .len();
    if size > MAX_FILE {
        return Err(CliError::file(path, "is larger than 3 GiB"));
    }
    // Strict JSON is much faster to read, and exports may be large: their text is never in memory as a whole.
    let file = File::open(path).map_err(|error| CliError::file(path, error))?;
    let value: Value = match serde_json::from_reader(BufReader::new(file)) {
        Ok(value) => value,
        Err(error) if size > MAX_JSON5 => return Err(CliError::file(path, format!("is not JSON: {error}"))),
        Err(_) => {
            let text = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
            json5::from_str(&text).map_err(|error| CliError::file(path, format!("is not JSON5: {error}")))?
        }
    };
    if value.is_object() {
        Ok(value)
    } else {
        Err(CliError::file(path, "holds no configuration object"))
    }
}

#[cfg(test)]
mod tests;
