//! One tool, called by a program instead of a model (`agent-runtime` §21.4): same policy, same schema, same record of
//! what acts outside; no turn, and nothing in a transcript.

use std::sync::Arc;

use claw_entities::{Scope, SessionKey};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::prompt::Audience;
use super::reach::Chain;
use super::tool_context::Calling;
use super::tool_policy::{self, Caller};
use super::toolbox::{self, Toolbox};
use super::turn::Authority;
use super::{key, own, routing, run};
use crate::config::document::UserSettings;
use crate::error::{Error, Result};
use crate::ports::message::ToolCall;
use crate::ports::tool::{SessionSnapshot, ToolOutput, ToolSpec};
use crate::session::budget::Charge;
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
    let head = services.conversation.head(scope, &session_key).await?;
    let caller = Caller::program(&session_key, head.as_ref(), &settings).within_session(head.as_ref());
    let depth = caller.depth.map_or(0, |depth| depth.own);
    let mut toolbox = Toolbox::new(services, scope, caller);
    // The tools of MCP servers have such names.
    if asked.tool.contains("__") && services.ports.tool(&asked.tool).is_none() {
        toolbox = toolbox.with_servers(&settings).await;
    }
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
    if let Err(why) = toolbox::check(tool.as_ref(), &arguments) {
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
            charge: Charge::default(),
        };
        let performer = Performer {
            directory,
            authority: &authority,
            settings: &settings,
            toolbox: &toolbox,
            depth,
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
    /// Of the sub-agent whose session it is; 0: none.
    pub(crate) depth: u32,
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
        let calling = Calling {
            directory: self.directory,
            authority: self.authority,
            run_id,
            round: 0,
            audience,
            place: None,
            answering: None,
            group: None,
            outlet: None,
            chain: Chain::default(),
            depth: self.depth,
            time_zone: self.settings.time_zone.as_deref().unwrap_or("UTC"),
            status: SessionSnapshot::default(),
            cancel,
        };
        self.toolbox.one(self.authority, &calling.context(), call).await
    }
}

/// The tools a session has.
pub(crate) struct Effective {
    pub(crate) profile: String,
    /// Ours under `None`, then each MCP server's under its name.
    pub(crate) groups: Vec<(Option<String>, Vec<Arc<ToolSpec>>)>,
}

/// What the session's next turn would be offered as its owner's, and the profile that holds for it.
///
/// # Errors
/// When its model cannot be found.
pub(crate) async fn effective(directory: &Directory, scope: &Scope, session: &SessionKey) -> Result<Effective> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let head = services.conversation.head(scope, session).await?;
    let agent_id = key::agent_of(session).to_owned();
    let wanted = head.as_ref().and_then(run::override_of);
    let model = services.config.resolve_model(scope, &agent_id, wanted).await?;
    let profile = tool_policy::profile_of(&settings, &agent_id);
    let authority = Authority {
        scope: scope.clone(),
        key: session.clone(),
        agent_id,
        epoch: 0,
        charge: Charge::default(),
    };
    let audience = if own::is_own(&services.config, scope, session).await? {
        Audience::Owner
    } else {
        Audience::Group { owner: true }
    };
    let caller = Caller::of(&authority, head.as_ref(), &settings, &model, audience).within_session(head.as_ref());
    let toolbox = Toolbox::new(services, scope, caller).with_servers(&settings).await;
    let groups = toolbox.by_origin(&settings);
    let groups = groups
        .into_iter()
        .map(|(server, specs)| (server.map(str::to_owned), specs))
        .collect();
    Ok(Effective { profile, groups })
}
