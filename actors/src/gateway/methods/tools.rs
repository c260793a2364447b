//! `tools.catalog`, `tools.effective` and `tools.invoke`: the tools there are, those a session has, and one of them
//! called by a program.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::agents::known_agent;
use super::{agent_of, filled, session_key};
use crate::conversation::view;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, WRITE};
use crate::ports::message::Part;
use crate::ports::tool::{ToolOutput, ToolSpec};
use crate::session::invoking::{self, Invocation, Invoked};
use crate::session::key;
use crate::session::remote::Remote;
use crate::session::tool_policy::Caller;

/// How long a list of tools waits for servers that nothing is known of yet.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);
const MCP_PLUGIN: &str = "bundle-mcp";

pub(super) fn register(methods: &mut Methods) {
    methods.add("tools.catalog", Access::Scope(READ), catalog);
    methods.add("tools.effective", Access::Scope(READ), effective);
    methods.add("tools.invoke", Access::Scope(WRITE), invoke).waits();
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogParams {
    agent_id: Option<String>,
    include_plugins: Option<bool>,
}

async fn catalog(call: Call, params: CatalogParams) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let all = call.state.services.ports.tools();
    let tools: Vec<Value> = all
        .iter()
        .map(|tool| {
            let spec = tool.spec();
            json!({
                "id": spec.name, "label": spec.name, "description": spec.summary, "source": "core",
                "defaultProfiles": ["full"],
            })
        })
        .collect();
    let agent_id = params.agent_id.unwrap_or_else(|| settings.default_agent.clone());
    let mut groups = vec![json!({"id": "core", "label": "Built-in", "source": "core", "tools": tools})];
    if params.include_plugins != Some(false) {
        let services = &call.state.services;
        let caller = Caller::program(&key::main(&agent_id), None, &settings);
        let remote = Remote::gather(services, call.scope(), &settings, &caller, CATALOG_PATIENCE).await;
        groups.extend(
            remote
                .groups()
                .into_iter()
                .map(|(server, specs)| server_group(server, &specs)),
        );
    }
    Ok(json!({"agentId": agent_id, "profiles": [{"id": "full", "label": "Full"}], "groups": groups}))
}

/// An MCP server's tools. Of the two sources clients know, they come from a plugin: the original's is called so.
fn server_group(server: &str, specs: &[&ToolSpec]) -> Value {
    let tools: Vec<Value> = specs
        .iter()
        .map(|spec| {
            json!({
                "id": spec.name, "label": spec.name, "description": spec.description, "source": "plugin",
                "pluginId": MCP_PLUGIN, "defaultProfiles": ["coding", "messaging", "full"],
            })
        })
        .collect();
    json!({"id": format!("mcp:{server}"), "label": server, "source": "plugin", "pluginId": MCP_PLUGIN, "tools": tools})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EffectiveParams {
    session_key: String,
    agent_id: Option<String>,
}

async fn effective(call: Call, params: EffectiveParams) -> Result<Value, WireError> {
    filled("tools.effective", "sessionKey", &params.session_key)?;
    let session = session_key(&call, &params.session_key).await?;
    let agent = agent_of(&session);
    if let Some(named) = params.agent_id.filter(|named| named != agent) {
        known_agent(&call, &named).await?;
        return Err(WireError::invalid(format!(
            "agent id \"{named}\" does not match session agent \"{agent}\""
        )));
    }
    known_agent(&call, agent).await?;
    let found = call.state.services.conversation.session(call.scope(), &session).await?;
    if found.is_none() && !view::is_main(session.as_str()) {
        return Err(WireError::invalid(format!(
            "unknown session key \"{}\"",
            params.session_key
        )));
    }
    let found = invoking::effective(&call.state.directory, call.scope(), &session).await?;
    let groups: Vec<Value> = found
        .groups
        .iter()
        .map(|(server, specs)| effective_group(server.as_deref(), specs))
        .collect();
    Ok(json!({"agentId": agent, "profile": found.profile, "groups": groups}))
}

fn effective_group(server: Option<&str>, specs: &[Arc<ToolSpec>]) -> Value {
    let (id, label, source) = match server {
        None => ("core".to_owned(), "Built-in", "core"),
        Some(server) => (format!("mcp:{server}"), server, "plugin"),
    };
    let tools: Vec<Value> = specs
        .iter()
        .map(|spec| {
            let summary = if server.is_some() {
                &spec.description
            } else {
                &spec.summary
            };
            let mut tool = json!({
                "id": spec.name, "label": spec.name, "description": summary, "rawDescription": spec.description,
                "source": source,
            });
            if server.is_some() {
                tool["pluginId"] = json!(MCP_PLUGIN);
            }
            tool
        })
        .collect();
    json!({"id": id, "label": label, "source": source, "tools": tools})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokeParams {
    name: String,
    #[serde(default)]
    args: Value,
    session_key: Option<String>,
    agent_id: Option<String>,
}

async fn invoke(call: Call, params: InvokeParams) -> Result<Value, WireError> {
    filled("tools.invoke", "name", &params.name)?;
    let session = match (params.session_key, params.agent_id) {
        (Some(session), _) => Some(session),
        (None, Some(agent)) => {
            known_agent(&call, &agent).await?;
            Some(format!("agent:{agent}:main"))
        }
        (None, None) => None,
    };
    let asked = Invocation {
        tool: params.name.clone(),
        action: None,
        arguments: params.args,
        session_key: session,
        dry_run: false,
    };
    let cancel: CancellationToken = call.ended.child_token();
    let done = invoking::invoke(&call.state.directory, call.scope(), asked, cancel).await?;
    let name = params.name;
    let refused = |code: &str, message: String| json!({"ok": false, "toolName": name, "error": {"code": code, "message": message}});
    Ok(match done {
        Invoked::NoSuchTool => refused("not_found", format!("Tool not available: {name}")),
        Invoked::BadArguments(why) => refused("internal_error", why),
        Invoked::Done(output) if output.is_error => refused("internal_error", text_of(&output)),
        Invoked::Done(ToolOutput { content, details, .. }) => json!({
            "ok": true, "toolName": name, "output": {"content": content, "details": details}, "source": "core",
        }),
        Invoked::Would => json!({"ok": true, "toolName": name, "source": "core"}),
    })
}

fn text_of(output: &ToolOutput) -> String {
    let texts = output.content.iter().filter_map(Part::text);
    texts.collect::<Vec<_>>().join("\n")
}
