//! Sub-agents of the caller's session: begun, listed, told more, stopped.

use claw_entities::subagent as table;
use serde_json::{Value, json};

use super::{Reach, Refusal, away};
use crate::clock::now_ms;
use crate::config::document::EnclosureSettings;
use crate::ports::model::Thinking;
use crate::session::choice;
use crate::session::enclosed::{self, Enclosed};
use crate::session::key;
use crate::session::subagent::{self, Wish};

/// The tool that ends a turn until a sub-agent has ended.
pub const YIELD: &str = "sessions_yield";
/// Longest task and message, bytes.
const LONGEST: usize = 64 * 1024;
/// Longest label, characters.
const LABEL: usize = 120;
/// Minutes in which an ended one is listed.
const RECENT: u64 = 30;

/// What a sub-agent is to do.
#[derive(Clone, Debug, Default)]
pub struct SpawnWish {
    pub task: String,
    pub label: Option<String>,
    pub agent_id: Option<String>,
    pub model: Option<String>,
    pub thinking: Option<String>,
    pub timeout_seconds: Option<u64>,
    /// Its session goes when its end was told.
    pub delete: bool,
    /// Its session stays, and is told more when there is more to do.
    pub stays: bool,
    /// Files it begins with.
    pub attachments: Vec<Attachment>,
    /// The name of what asks for it, which begins one however often it is asked again; `None`: each call begins one.
    pub once: Option<String>,
}

/// A file for a sub-agent.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    pub name: String,
    /// What it is said to be; empty: nothing is said.
    pub mime_type: String,
    pub bytes: Vec<u8>,
}

impl Reach {
    /// Begins one, and gives its session and run at once.
    pub async fn spawn(&self, wish: SpawnWish) -> Result<Value, Refusal> {
        let run = &self.0;
        owner_only(run.owner)?;
        if wish.task.trim().is_empty() {
            return Err("The task is empty.".to_owned());
        }
        if wish.task.len() > LONGEST {
            return Err(format!("A task has at most {} KiB.", LONGEST / 1024));
        }
        if wish.delete && wish.stays {
            return Err("A session that stays is not deleted: leave cleanup out, or use mode run.".to_owned());
        }
        let settings = self.settings().await?;
        let enclosed = read(wish.attachments, &settings.tools.enclosures)?;
        let own = run.authority.agent_id.as_str();
        let rules = settings.subagents(own);
        let agent_id = match wish.agent_id.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
            None => own.to_owned(),
            Some(named) => {
                let id = key::agent_id(named);
                if !rules.may_begin(own, &id) {
                    return Err(format!(
                        "forbidden: sub-agents of agent {id} may not be begun from here; agents_list says which may."
                    ));
                }
                if id != own && settings.agent(&id).is_none() {
                    return Err(format!("There is no agent {id}."));
                }
                id
            }
        };
        let config = &run.directory.services().config;
        let model = match wish.model.or_else(|| rules.model.clone()) {
            Some(name) => {
                let found = choice::find(config, &run.authority.scope, &agent_id, &name).await;
                Some(
                    found
                        .map_err(away)?
                        .ok_or_else(|| format!("There is no model {name}."))?,
                )
            }
            None => None,
        };
        let thinking = match wish.thinking.as_deref() {
            Some(level) => Some(Thinking::parse(level).ok_or_else(|| format!("There is no thinking level {level}."))?),
            None => settings
                .subagents(&agent_id)
                .thinking
                .as_deref()
                .and_then(Thinking::parse),
        };
        let label = wish
            .label
            .map(|label| label.trim().chars().take(LABEL).collect::<String>());
        let _turn = run.beginning.lock().await;
        let mut attachments = Vec::new();
        for file in enclosed {
            let stored = file.store(run.directory.services(), &run.authority.scope);
            attachments.push(stored.await.map_err(away)?);
        }
        let begun = Wish {
            task: wish.task,
            label: label.filter(|label| !label.is_empty()),
            agent_id,
            model,
            thinking,
            timeout_seconds: wish
                .timeout_seconds
                .filter(|seconds| *seconds > 0)
                .or(rules.timeout_seconds),
            delete: wish.delete,
            stays: wish.stays,
            attachments,
            once: wish.once,
        };
        let (child, run_id) = subagent::begin(run, rules, begun).await.map_err(away)?;
        let (mode, note) = if wish.stays {
            (
                "session",
                "Its result comes to this session by itself when it is done. Do not poll for it. Its session stays: \
                 subagents steer tells it more, and its next result comes the same way; sessions_send asks it and \
                 waits; subagents kill ends it.",
            )
        } else {
            (
                "run",
                "Its result comes to this session by itself when it is done. Do not poll for it.",
            )
        };
        Ok(json!({"status": "accepted", "childSessionKey": child, "runId": run_id, "mode": mode, "note": note}))
    }

    /// Those that run, and those that ended lately.
    pub async fn list_subagents(&self, recent_minutes: Option<u64>) -> Result<Value, Refusal> {
        owner_only(self.0.owner)?;
        let rows = self.children().await?;
        let minutes = i64::try_from(recent_minutes.unwrap_or(RECENT)).unwrap_or(i64::MAX);
        let since = now_ms().saturating_sub(minutes.saturating_mul(60_000));
        let numbered = rows.iter().enumerate().map(|(at, row)| (at + 1, row));
        let (active, ended): (Vec<_>, Vec<_>) = numbered.partition(|(_, row)| row.state == "running");
        let recent = ended
            .into_iter()
            .filter(|(_, row)| row.ended_at >= Some(since) || subagent::stands(row));
        let active: Vec<Value> = active.into_iter().map(shown).collect();
        Ok(json!({
            "status": "ok", "requesterSessionKey": self.0.authority.key, "total": active.len(),
            "active": active, "recent": recent.map(shown).collect::<Vec<_>>(),
        }))
    }

    /// One of them, however long ago it ended.
    pub async fn subagent(&self, target: &str) -> Result<Value, Refusal> {
        owner_only(self.0.owner)?;
        let rows = self.children().await?;
        let row = subagent::find(&rows, target)?;
        let at = rows.iter().position(|one| one.id == row.id).unwrap_or_default();
        Ok(shown((at + 1, row)))
    }

    /// Stops one, or with `all` every one, and what they began.
    pub async fn kill_subagents(&self, target: &str) -> Result<Value, Refusal> {
        owner_only(self.0.owner)?;
        let run = &self.0;
        let rows = self.children().await?;
        let wanted = if matches!(target.trim(), "all" | "*") {
            rows
        } else {
            vec![subagent::find(&rows, target)?.clone()]
        };
        let scope = &run.authority.scope;
        let resting: Vec<String> = wanted
            .iter()
            .filter(|row| subagent::stands(row))
            .map(|row| row.id.clone())
            .collect();
        let stopped = subagent::stop(&run.directory, scope, wanted).await.map_err(away)?;
        let services = run.directory.services();
        let stopped = stopped + subagent::dismiss(services, scope, resting).await.map_err(away)?;
        Ok(json!({"status": "ok", "killed": stopped}))
    }

    /// What was said in one's session, newest messages last: its key, and the messages.
    pub async fn subagent_log(&self, target: &str, limit: Option<u64>) -> Result<(String, Value), Refusal> {
        owner_only(self.0.owner)?;
        let rows = self.children().await?;
        let row = subagent::find(&rows, target)?;
        self.session_history(row.child_key.as_str(), limit, true).await
    }

    /// May the turn end until a sub-agent of this session has ended.
    pub async fn wait_for_subagents(&self) -> Result<(), Refusal> {
        owner_only(self.0.owner)?;
        let run = &self.0;
        let services = run.directory.services();
        let awaited = subagent::is_awaited(services, &run.authority.scope, &run.authority.key);
        if awaited.await.map_err(away)? {
            return Ok(());
        }
        Err("No sub-agent of this session runs: nothing would come. Answer instead.".to_owned())
    }

    /// Tells one that runs, or whose session stays, something more.
    pub async fn steer_subagent(&self, target: &str, message: &str) -> Result<Value, Refusal> {
        owner_only(self.0.owner)?;
        if message.trim().is_empty() || message.len() > LONGEST {
            return Err(format!("A message has 1 byte to {} KiB.", LONGEST / 1024));
        }
        let run = &self.0;
        let rows = self.children().await?;
        let row = subagent::find(&rows, target)?;
        let settings = self.settings().await?;
        let most = settings.subagents(&run.authority.agent_id).children;
        let _one_by_one = run.beginning.lock().await;
        let run_id = subagent::steer(run, row, message, most).await.map_err(away)?;
        Ok(json!({"status": "accepted", "runId": run_id, "sessionKey": row.child_key}))
    }

    /// The caller's own, newest first.
    async fn children(&self) -> Result<Vec<table::Model>, Refusal> {
        let run = &self.0;
        let mut rows = subagent::below(run.directory.services(), &run.authority.scope, &run.authority.key)
            .await
            .map_err(away)?;
        rows.retain(|row| row.parent_key == run.authority.key);
        Ok(rows)
    }
}

fn owner_only(owner: bool) -> Result<(), Refusal> {
    if owner {
        return Ok(());
    }
    Err("Only the owner's agent has sub-agents.".to_owned())
}

/// The files, read as far as the settings let them in.
fn read(files: Vec<Attachment>, rules: &EnclosureSettings) -> Result<Vec<Enclosed>, Refusal> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    if !rules.enabled {
        return Err(
            "Files for sub-agents are off (tools.sessions_spawn.attachments.enabled). Write what it needs into the task."
                .to_owned(),
        );
    }
    if files.len() > rules.files {
        return Err(format!("A sub-agent is begun with at most {} files.", rules.files));
    }
    let total: usize = files.iter().map(|file| file.bytes.len()).sum();
    if let Some(large) = files.iter().find(|file| file.bytes.len() > rules.file_bytes) {
        return Err(format!(
            "The file {} has {} bytes, the limit is {}.",
            enclosed::shown(&large.name),
            large.bytes.len(),
            rules.file_bytes
        ));
    }
    if total > rules.total_bytes {
        return Err(format!(
            "The files have {total} bytes together, the limit is {}.",
            rules.total_bytes
        ));
    }
    let read = files.into_iter().map(|file| {
        // Its name alone is of no use to who is to work with it.
        match Enclosed::read(&file.name, &file.mime_type, file.bytes).map_err(away)? {
            Enclosed::Unread { name, .. } => Err(format!(
                "The file {name} is no text, image, PDF or sound that can be read here, or is too long."
            )),
            read @ (Enclosed::Text(_) | Enclosed::Image { .. } | Enclosed::File { .. }) => Ok(read),
        }
    });
    read.collect()
}

fn shown((number, row): (usize, &table::Model)) -> Value {
    let task: String = row.task.chars().take(200).collect();
    let until = row.ended_at.unwrap_or_else(now_ms);
    let mode = if row.cleanup == subagent::STAYS {
        "session"
    } else {
        "run"
    };
    json!({
        "index": number, "mode": mode, "runId": format!("spawn:{}", row.id), "sessionKey": row.child_key, "label": row.label,
        "task": task, "status": row.status.as_deref().unwrap_or("running"),
        "runtimeMs": (until - row.created_at).max(0),
    })
}
