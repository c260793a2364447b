//! Commands by which the owner looks after agents, what they began, and the configuration (`agent-runtime` §20). They go the
//! same way as the agent's own tools.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::budget::Charge;
use super::commands::{ConfigCommand, SubagentCommand};
use super::excerpt::beginning;
use super::item::Item;
use super::reach::subagents::SpawnWish;
use super::reach::{self, Chain, Reach};
use super::tool_policy;
use super::turn::Authority;
use crate::config::document::is_secret_key;
use crate::config::whole::{Change, Written};
use crate::conversation::display;
use crate::error::{Error, Result};
use crate::gateway::methods::config::shown;
use crate::supervisor::directory::Directory;

/// For who is not: none of these is ever carried out for a guest.
pub(crate) const OWNER_ONLY: &str = "Only the owner of the agent may do that.";
/// Messages of a log, characters of each, and of an answer.
const LOGGED: u64 = 12;
const LINE: usize = 300;
const LONGEST: usize = 3_500;

/// What the session reaches when its owner asks, not its agent.
fn reach(directory: &Directory, authority: &Authority, item: &Item) -> Reach {
    reach_at(directory, authority, item, 0, CancellationToken::new())
}

/// The same for what begins sub-agents: so deep below a session that is none, until `cancel`.
fn reach_at(directory: &Directory, authority: &Authority, item: &Item, depth: u32, cancel: CancellationToken) -> Reach {
    Reach::new(reach::Inner {
        directory: directory.clone(),
        authority: Authority {
            charge: Charge::default(),
            ..authority.clone()
        },
        run_id: String::new(),
        owner: true,
        alone: item.audience().is_private(),
        answering: None,
        place: item.destination.clone(),
        group: item.group().cloned(),
        chain: Chain::default(),
        depth,
        beginning: tokio::sync::Mutex::default(),
        cancel,
    })
}

/// `/subagents`, `/kill` and `/steer`. `stop` is cancelled when the session is stopped.
pub(crate) async fn subagents(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    said: &SubagentCommand,
    stop: &CancellationToken,
) -> Result<String> {
    let reach = reach(directory, authority, item);
    let answered = match said {
        SubagentCommand::Usage => return Ok(USAGE.to_owned()),
        SubagentCommand::Spawn {
            agent,
            task,
            model,
            thinking,
        } => {
            let head = directory
                .services()
                .conversation
                .head(&authority.scope, &authority.key)
                .await?;
            let depth = tool_policy::depth(&authority.key, head.as_ref());
            let wish = SpawnWish {
                task: task.clone(),
                agent_id: Some(agent.clone()),
                model: model.clone(),
                thinking: thinking.clone(),
                once: item.inbox_ids.first().cloned(),
                ..SpawnWish::default()
            };
            let begun = reach_at(directory, authority, item, depth, stop.clone())
                .spawn(wish)
                .await;
            begun.map(|begun| {
                let session = begun["childSessionKey"].as_str().unwrap_or_default();
                format!("Begun. Its result comes here when it is done.\nSession: {session}")
            })
        }
        SubagentCommand::List => reach.list_subagents(None).await.map(|found| listed(&found)),
        SubagentCommand::Info(target) => reach.subagent(target).await.map(|row| told(&row)),
        SubagentCommand::Kill(target) => reach
            .kill_subagents(target)
            .await
            .map(|done| match done["killed"].as_u64() {
                Some(0) | None => "Nothing of it was running.".to_owned(),
                Some(1) => "Stopped 1 sub-agent.".to_owned(),
                Some(many) => format!("Stopped {many} sub-agents."),
            }),
        SubagentCommand::Log(target) => {
            let log = reach.subagent_log(target, Some(LOGGED)).await;
            log.map(|(key, messages)| format!("{key}\n{}", lines(&messages)))
        }
        SubagentCommand::Steer { target, message } => {
            let steered = reach.steer_subagent(target, message).await;
            steered.map(|_| "Told. What it did is cut off, and it goes on from there.".to_owned())
        }
    };
    Ok(beginning(&answered.unwrap_or_else(|why| why), LONGEST))
}

const USAGE: &str = "Usage: /subagents [list], /subagents info|log|kill <number, label or id>, /subagents steer <number, label \
                     or id> <message>, /subagents spawn <agent> <task> [--model <model>] [--thinking <level>]. /kill all stops \
                     every one.";

fn rows(found: &Value) -> Vec<&Value> {
    let of = |name: &str| found[name].as_array().map(Vec::as_slice).unwrap_or_default();
    of("active").iter().chain(of("recent")).collect()
}

fn listed(found: &Value) -> String {
    let rows = rows(found);
    if rows.is_empty() {
        return "This session has no sub-agents.".to_owned();
    }
    let mut text = "Sub-agents:".to_owned();
    for row in rows {
        let name = row["label"].as_str().or(row["task"].as_str()).unwrap_or_default();
        let name: String = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let name: String = name.chars().take(80).collect();
        let _ = write!(
            text,
            "\n{}. {name}: {}, {} s",
            row["index"],
            row["status"].as_str().unwrap_or_default(),
            row["runtimeMs"].as_i64().unwrap_or(0) / 1000
        );
    }
    text
}

fn told(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or("–");
    format!(
        "Status: {}\nLabel: {}\nTask: {}\nSession: {}\nRun: {}\nTime: {} s",
        text("status"),
        text("label"),
        text("task"),
        text("sessionKey"),
        text("runId"),
        row["runtimeMs"].as_i64().unwrap_or(0) / 1000
    )
}

/// What was said, one line for each message.
fn lines(messages: &Value) -> String {
    let list = messages["messages"].as_array().or(messages.as_array());
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let said = list.iter().filter_map(|message| {
        let role = message["role"].as_str()?;
        Some(format!("{role}: {}", display::one_line(message, LINE)?))
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() {
        "Nothing was said in it yet.".to_owned()
    } else {
        said.join("\n")
    }
}

/// `/agents`.
pub(crate) async fn agents(directory: &Directory, authority: &Authority) -> Result<String> {
    let settings = directory.services().config.settings(&authority.scope).await?;
    let mut text = "Agents:".to_owned();
    for agent in &settings.agents {
        let here = if agent.id == authority.agent_id { ", here" } else { "" };
        let default = if agent.id == settings.default_agent {
            ", the default one"
        } else {
            ""
        };
        let name = agent
            .name
            .as_deref()
            .map(|name| format!(" ({name})"))
            .unwrap_or_default();
        let model = agent
            .model
            .as_deref()
            .map(|model| format!(": {model}"))
            .unwrap_or_default();
        let _ = write!(text, "\n{}{name}{here}{default}{model}", agent.id);
    }
    Ok(beginning(&text, LONGEST))
}

/// `/config`.
pub(crate) async fn config(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    said: &ConfigCommand,
) -> Result<String> {
    if !item.audience().is_private() {
        return Ok("The configuration is only for a chat of yours alone.".to_owned());
    }
    let services = directory.services();
    if !services.config.settings(&authority.scope).await?.commands.config {
        return Ok("/config is off. Set commands.config to true under Settings, or change things there.".to_owned());
    }
    let (path, value) = match said {
        ConfigCommand::Usage => {
            return Ok(
                "Usage: /config show [path], /config set <path> <value>, /config unset <path>. A path is dotted, e.g. \
                       agents.defaults.model."
                    .to_owned(),
            );
        }
        ConfigCommand::Show(path) => {
            let found = reach(directory, authority, item).config_get(path.as_deref()).await;
            return Ok(match found {
                Ok(found) if found["config"].is_null() => "Nothing is set there.".to_owned(),
                Ok(found) => {
                    let text = serde_json::to_string_pretty(&found["config"]).map_err(Error::internal)?;
                    format!("```json\n{}\n```", beginning(&text, LONGEST))
                }
                Err(why) => why,
            });
        }
        ConfigCommand::Set { path, value } => (path, value.clone()),
        ConfigCommand::Unset(path) => (path, Value::Null),
    };
    // A credential of a client may be worth less than its owner's word on a platform, which proves who writes.
    if item.destination.is_none() || item.options.delivered {
        return Ok("From a client, change the configuration under Settings.".to_owned());
    }
    if path.split('.').any(is_secret_key) {
        return Ok("Keys and tokens are set under Settings: what is written here stays in the chat.".to_owned());
    }
    let user = services
        .config
        .user(authority.scope.tenant_scope(), authority.scope.user())
        .await?;
    let patch = path.rsplit('.').fold(value, |inner, name| {
        Value::Object(Map::from_iter([(name.to_owned(), inner)]))
    });
    let change = Change::Patch {
        patch,
        replace: vec![path.clone()],
    };
    let apis = services.ports.apis();
    let seen = services.config.whole(&user).await?;
    let written = services.config.change_whole(&user, Some(&seen.hash), change, &apis);
    let written = match written.await {
        Ok(written) => written,
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
        Err(error) => return Ok(error.to_string()),
    };
    Ok(match written {
        Written::Stored { whole, changed, .. } => {
            if changed.is_empty() {
                "It was like that already.".to_owned()
            } else {
                directory.config_is(&authority.scope, whole.hash.clone());
                format!("Changed: {}.", changed.join(", "))
            }
        }
        Written::Refused(issues) => beginning(&format!("That would not be valid: {}", json!(shown(&issues))), LONGEST),
    })
}

/// `/export-session`.
pub(crate) fn export(authority: &Authority) -> String {
    format!(
        "This conversation as a file: GET /api/sessions/{}/transcript with an API token.",
        authority.key
    )
}
