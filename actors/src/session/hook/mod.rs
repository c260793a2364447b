//! Hooks: programs elsewhere tell a session something, or have the agent do something (`agent-runtime` §19).
//!
//! What is accepted is stored under the caller's idempotency key before it is acknowledged; a repeat changes nothing.
//! How a run ended is read from its record, at once when it ends here and again by a look at what is still open.

mod settle;
pub mod template;
#[cfg(test)]
mod tests;

use claw_entities::{Scope, hook_run, inbox};
use sea_orm::{EntityTrait, Set};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::intake::{self, ClientMessage, MAX_MESSAGE_BYTES};
use super::own::{self, Own};
use super::{heartbeat, key, routing, system_event};
use crate::clock::now_ms;
use crate::config::cron::job::Target;
use crate::crypto::token;
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;

pub(crate) use settle::{reconcile, settle};

/// Where inbox rows of hooks come from, and how their keys begin.
const SOURCE: &str = "hook";
const PREFIX: &str = "hook:";
/// Longest line for a session, bytes.
const LONGEST_LINE: usize = 16 * 1024;
/// Longest run for an event, milliseconds (`agent-runtime` §2.4).
const EVENT_MS: u64 = 10 * 60 * 1000;

/// What an agent is asked.
#[derive(Clone, Debug, Default)]
pub struct AgentHook {
    /// What people call it.
    pub name: String,
    /// Whole, with what wraps a stranger's words.
    pub message: String,
    /// The default one when absent.
    pub agent_id: Option<String>,
    /// A session of its own when absent.
    pub session_key: Option<String>,
    /// The main session hears of it with its next turn instead of at once.
    pub later: bool,
    pub deliver: bool,
    pub channel: Option<String>,
    pub to: Option<String>,
    pub model: Option<String>,
    pub thinking: Option<String>,
    /// 0 = no limit.
    pub timeout_seconds: Option<u64>,
}

/// Where an answer goes, as it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivers {
    deliver: bool,
    #[serde(flatten)]
    target: Target,
}

/// The run's id for an idempotency key; `None` makes one up. Keys of different hooks have nothing to do with each other.
pub fn run_id(hook: &str, idempotency_key: Option<&str>) -> String {
    match idempotency_key {
        None => format!("{PREFIX}{}", uuid::Uuid::new_v4()),
        Some(given) => format!("{PREFIX}{}", token::hash(&format!("{hook}\n{given}"))),
    }
}

/// Was it begun by a hook.
pub(crate) fn is_run(run_id: &str) -> bool {
    run_id.starts_with(PREFIX)
}

fn ready(directory: &Directory, scope: &Scope) -> Result<()> {
    if directory.draining() || directory.services().config.is_locked(scope) {
        return Err(Error::Fenced);
    }
    Ok(())
}

/// Tells the default agent's main session something, at once or with its next turn.
///
/// # Errors
/// `Invalid` for a text that is none, `TooLarge` for a long one.
pub async fn wake(directory: &Directory, scope: &Scope, run_id: &str, text: &str, later: bool) -> Result<()> {
    ready(directory, scope)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid("text required"));
    }
    if text.len() > LONGEST_LINE {
        return Err(Error::TooLarge("text is longer than 16 KiB".to_owned()));
    }
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let main = Own::main(&routing::default_agent(&settings));
    let session = main.key();
    let mark = inbox::ActiveModel {
        state: Set("done".to_owned()),
        ..intake::own_row(scope, SOURCE, run_id, session, "{}".to_owned(), now_ms())
    };
    if later {
        return once(note(directory, scope, main, text, mark).await);
    }
    match heartbeat::wake_once(directory, scope, session, text, mark).await {
        Ok(false) => {}
        woken => return once(woken.map(|_| ())),
    }
    let zone = services.config.cron_zone(scope).await?;
    let message = ClientMessage {
        source: SOURCE.to_owned(),
        message: system_event::prompt(now_ms(), zone, text),
        timeout_ms: Some(EVENT_MS),
        queue_mode: Some("followup".to_owned()),
        background: true,
        ..ClientMessage::default()
    };
    intake::accept_client(directory, scope, session.as_str(), run_id, message).await?;
    Ok(())
}

/// A repeat has been done already.
fn once(done: Result<()>) -> Result<()> {
    match done {
        Err(Error::Conflict(_)) => Ok(()),
        done => done,
    }
}

/// Leaves a line for the session's next turn, once.
async fn note(directory: &Directory, scope: &Scope, main: Own, text: &str, mark: inbox::ActiveModel) -> Result<()> {
    let (scope_in, text) = (scope.clone(), text.to_owned());
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, main, text, mark) = (scope_in.clone(), main.clone(), text.clone(), mark.clone());
            Box::pin(async move {
                let mut batch = Batch::new(tx);
                batch.add(&inbox::Entity::insert(mark));
                batch.run(tx).await?;
                system_event::put(tx, &scope, &main, &text).await
            })
        })
        .await
}

/// Has an agent do something. Its run, and what is to become of the answer, are stored together.
///
/// # Errors
/// `Invalid` for a message, agent or session that is none.
pub async fn agent(directory: &Directory, scope: &Scope, run_id: &str, hook: AgentHook) -> Result<()> {
    ready(directory, scope)?;
    if hook.message.trim().is_empty() {
        return Err(Error::invalid("message required"));
    }
    if hook.message.len() > MAX_MESSAGE_BYTES {
        return Err(Error::TooLarge("message is longer than 1 MiB".to_owned()));
    }
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let agent_id = match hook.agent_id {
        None => routing::default_agent(&settings),
        Some(named) if settings.has_agent(&named) => named,
        Some(_) => return Err(Error::invalid("unknown agentId")),
    };
    let session_key = match &hook.session_key {
        None => key::under(&agent_id, &format!("hook:{}", uuid::Uuid::new_v4())),
        Some(named) => key::resolve(named, &agent_id)?,
    };
    if key::agent_of(&session_key) != agent_id || !own::is_own(&services.config, scope, &session_key).await? {
        return Err(Error::invalid(
            "sessionKey must name a session of the agent that nobody else reads",
        ));
    }
    let message = ClientMessage {
        source: SOURCE.to_owned(),
        message: hook.message,
        model: hook.model,
        thinking: hook.thinking,
        timeout_ms: hook.timeout_seconds.map(|seconds| seconds.saturating_mul(1000)),
        queue_mode: Some("followup".to_owned()),
        background: true,
        ..ClientMessage::default()
    };
    let now = now_ms();
    let payload = serde_json::to_string(&message).map_err(Error::internal)?;
    let delivers = Delivers {
        deliver: hook.deliver,
        target: Target {
            channel: hook.channel,
            to: hook.to,
            ..Target::default()
        },
    };
    let run = hook_run::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        id: Set(run_id.to_owned()),
        name: Set(hook.name),
        agent_id: Set(agent_id),
        session_key: Set(session_key.clone()),
        target: Set(json!(delivers)),
        wakes: Set(!hook.later),
        started_at: Set(now),
        ended_at: Set(None),
        status: Set(None),
        delivery: Set("not-requested".to_owned()),
        delivery_error: Set(None),
        tries: Set(0),
    };
    let row = intake::own_row(scope, SOURCE, run_id, &session_key, payload, now);
    let stored = services
        .writer
        .run(scope, move |tx| {
            let (run, row) = (run.clone(), row.clone());
            Box::pin(async move {
                let mut batch = Batch::new(tx);
                batch.add(&inbox::Entity::insert(row));
                batch.add(&hook_run::Entity::insert(run));
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await;
    once(stored)?;
    // Of a repeat too: its first may have been stored by a process that died before it said so.
    directory.wake(scope, &session_key);
    Ok(())
}
