//! One tool, called by a program instead of a model (`agent-runtime` §21.4): same policy, same schema, same record of
//! what acts outside; no turn, and nothing in a transcript.

use claw_entities::{Scope, SessionKey};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::nodes::Nodes;
use super::prompt::Audience;
use super::reach::{self, Chain, Reach};
use super::skills::Shelf;
use super::tool_policy::{self, Caller};
use super::toolbox::{self, Toolbox};
use super::turn::Authority;
use super::workspace::Workspace;
use super::{freshness, key, routing};
use crate::config::document::UserSettings;
use crate::error::{Error, Result};
use crate::ports::message::ToolCall;
use crate::ports::tool::{SessionSnapshot, ToolContext, ToolOutput, Updates};
use crate::supervisor::directory::Directory;

/// Tools that are not called this way unless the user says so: they start runs, or change who may do what.
pub(crate) const KEPT_BACK: [&str; 6] = [
    "cron",
    "gateway",
    "sessions_send",
    "sessions_spawn",
    "subagents",
    "whatsapp_login",
];

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    pub tool: String,
    /// Put into the arguments where the tool has such a parameter.
    pub action: Option<String>,
    pub arguments: Value,
    /// The session whose policy and place count; the default agent's main one when absent.
    pub session_key: Option<String>,
    /// Says whether it would be called, and calls nothing.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Invoked {
    /// There is none of this name, or it may not be called: nobody learns which.
    NoSuchTool,
    BadArguments(String),
    /// Of a dry run.
    Would,
    Done(ToolOutput),
}

/// Calls a tool in the user's own name. `cancel` stops it.
///
/// # Errors
/// When it may not be tried now, or the session's name is none.
pub async fn invoke(
    directory: &Directory,
    scope: &Scope,
    asked: Invocation,
    cancel: CancellationToken,
) -> Result<Invoked> {
    let services = directory.services();
    if directory.draining() || services.config.is_locked(scope) {
        return Err(Error::Fenced);
    }
    let settings = services.config.settings(scope).await?;
    let named = asked.session_key.as_deref().filter(|key| !key.is_empty());
    let session_key: SessionKey = key::resolve(named.unwrap_or("main"), &routing::default_agent(&settings))?;
    if !settings.has_agent(key::agent_of(&session_key)) {
        return Err(Error::invalid("sessionKey names a session of no agent of yours"));
    }
    let policy = &settings.http_tools;
    let any = |patterns: &[String]| patterns.iter().any(|pattern| tool_policy::fits(pattern, &asked.tool));
    let kept_back = KEPT_BACK.contains(&asked.tool.to_ascii_lowercase().as_str()) && !any(&policy.allow);
    let agent_id = key::agent_of(&session_key).to_owned();
    let toolbox = Toolbox::new(services, scope, Caller::program(&agent_id));
    let found = toolbox.tool(&asked.tool).await.ok();
    let Some(tool) = found.filter(|_| !kept_back && !any(&policy.deny)) else {
        return Ok(Invoked::NoSuchTool);
    };
    let mut arguments = asked.arguments;
    if arguments.is_null() {
        arguments = Value::Object(serde_json::Map::new());
    }
    let takes_action = !tool.spec().parameters["properties"]["action"].is_null();
    if let (Value::Object(fields), Some(action), true) = (&mut arguments, asked.action, takes_action) {
        fields.entry("action").or_insert(Value::String(action));
    }
    if let Err(why) = toolbox::check(tool.spec(), &arguments) {
        return Ok(Invoked::BadArguments(why));
    }
    if asked.dry_run {
        return Ok(Invoked::Would);
    }
    let run_id = format!("invoke:{}", uuid::Uuid::new_v4());
    let call = ToolCall {
        id: "call_1".to_owned(),
        name: asked.tool,
        arguments,
    };
    let work = |epoch| async move {
        let authority = Authority {
            scope: scope.clone(),
            key: session_key,
            agent_id,
            epoch,
        };
        let performer = Performer {
            directory,
            authority: &authority,
            settings: &settings,
            toolbox: &toolbox,
        };
        Ok(performer.call(&run_id, &call, Audience::Owner, cancel).await)
    };
    directory.leases().under(scope, work).await.map(Invoked::Done)
}

/// Calls tools outside of a turn, in the user's own name.
pub(crate) struct Performer<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) authority: &'a Authority,
    pub(crate) settings: &'a UserSettings,
    pub(crate) toolbox: &'a Toolbox,
}

impl Performer<'_> {
    /// One call. `audience` reads what it gives.
    pub(crate) async fn call(
        &self,
        run_id: &str,
        call: &ToolCall,
        audience: Audience,
        cancel: CancellationToken,
    ) -> ToolOutput {
        let (directory, authority) = (self.directory, self.authority);
        let (scope, agent_id) = (&authority.scope, &authority.agent_id);
        let services = directory.services();
        let time_zone = self.settings.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = freshness::zone(&time_zone);
        let alone = audience.is_private();
        let reach = reach::Inner {
            directory: directory.clone(),
            authority: authority.clone(),
            run_id: run_id.to_owned(),
            owner: true,
            alone,
            place: None,
            chain: Chain::default(),
            depth: 0,
            beginning: tokio::sync::Mutex::default(),
        };
        let context = ToolContext {
            reach: Some(Reach::new(reach)),
            workspace: alone.then(|| Workspace::new(&services.config, scope, agent_id, zone)),
            scope: scope.clone(),
            session_key: authority.key.clone(),
            run_id: run_id.to_owned(),
            call_id: call.id.clone(),
            owner: true,
            time_zone,
            status: SessionSnapshot::default(),
            nodes: Some(Nodes::new(directory, authority, (run_id, 0), cancel.clone(), None)),
            skills: Some(Shelf::new(directory, scope, agent_id)),
            agent_id: agent_id.clone(),
            cancel,
            updates: Updates::default(),
        };
        self.toolbox.one(authority, &context, call).await
    }
}
