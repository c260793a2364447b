//! Calling nodes (`node.invoke`), and what nodes report by themselves.

use std::time::Duration;

use claw_entities::approval;
use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::node_pending::put_off;
use super::{Nothing, filled};
use crate::clock::now_ms;
use crate::config::devices::pending;
use crate::crypto::token;
use crate::error::Error;
use crate::gateway::messages::InvokeResult;
use crate::gateway::methods::node::callable;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Local, Methods};
use crate::gateway::scopes::{ADMIN, WRITE};
use crate::gateway::system_run;
use crate::supervisor::directory::InvokeNode;

/// Without `timeoutMs`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest text kept of a node's statistics, bytes.
const LARGEST_STATS: usize = 4096;

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.invoke", Access::Scope(WRITE), invoke);
    methods.add_local("node.invoke.result", Access::Node, Local::InvokeResult);
    methods.add_local("node.invoke.progress", Access::Node, Local::InvokeProgress);
    methods.add("node.event", Access::Node, event);
    methods.add("node.skills.update", Access::Node, skills);
    methods.add("node.pluginTools.update", Access::Node, plugin_tools);
    methods.add("node.runnerInventory.update", Access::Node, runner_inventory);
    methods.add("skills.bins", Access::Node, bins);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokeParams {
    node_id: String,
    command: String,
    #[serde(default)]
    params: Value,
    timeout_ms: Option<u64>,
    idempotency_key: String,
}

async fn invoke(call: Call, params: InvokeParams) -> Result<Value, WireError> {
    filled("node.invoke", "nodeId", &params.node_id)?;
    filled("node.invoke", "command", &params.command)?;
    filled("node.invoke", "idempotencyKey", &params.idempotency_key)?;
    let command = params.command.as_str();
    if command.starts_with("system.execApprovals.") {
        return Err(WireError::invalid(
            "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*",
        ));
    }
    if command.starts_with("browser.proxy") || command == "fs.listDir" || command == "terminal.upload" {
        call.require(ADMIN)?;
    }
    let timeout = params
        .timeout_ms
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
        .min(LONGEST_TIMEOUT);
    let scope = call.scope();
    let key = format!(
        "{}|{}|node.invoke|{}|{}|{}",
        scope.tenant(),
        scope.user(),
        params.node_id,
        params.command,
        params.idempotency_key
    );
    let key_hash = token::hash(&key);
    let work = async {
        let platform = check(&call, &params.node_id, &params.command).await?;
        let mut arguments = params.params;
        let approval = match params.command.as_str() {
            "system.run" => approved_run(&call, &params.node_id, &mut arguments).await?,
            _ => None,
        };
        if !note_sent(&call, key_hash).await? {
            return Ok(Err(sent_before()));
        }
        if approval.is_some_and(|row| row.decision.as_deref() == Some("allow-once"))
            && !use_approval(&call, &arguments).await?
        {
            return Ok(Err(system_run::used_up()));
        }
        let request = InvokeNode {
            node_id: params.node_id.clone(),
            command: params.command.clone(),
            params: arguments.clone(),
            timeout,
            idempotency_key: params.idempotency_key.clone(),
        };
        let outcome = tokio::select! {
            outcome = call.state.directory.invoke_node(call.scope(), request) => outcome,
            // Dropping the call tells the node to stop. The key keeps this answer: it does not run a second time.
            () = call.ended.cancelled() => return Ok(Err(WireError::unavailable(
                "the caller went away and the node was told to stop",
            ))),
        };
        Ok(match outcome {
            Ok(result) => serde_json::to_value(result).map_err(|error| WireError::internal(&error)),
            Err(Error::Upstream(message)) if in_background(&platform, &message) => {
                let (node, command, key) = (&params.node_id, &params.command, &params.idempotency_key);
                Err(put_off(&call, node, command, &arguments, key)
                    .await
                    .unwrap_or_else(|error| error))
            }
            Err(error) => Err(error.into()),
        })
    };
    call.state.idempotency.once(key, Box::pin(work)).await
}

/// Takes the word of a caller that a person allowed the run only if one did. Gives the approval, if there is a claim.
async fn approved_run(call: &Call, node_id: &str, arguments: &mut Value) -> Result<Option<approval::Model>, WireError> {
    let claim = system_run::take_claim(arguments)?;
    if arguments.is_object() && arguments.get("runId").is_none() {
        arguments["runId"] = json!(uuid::Uuid::new_v4().to_string());
    }
    let Some(claim) = claim else {
        return Ok(None);
    };
    let row = call
        .state
        .services
        .config
        .approval(call.scope(), &claim.approval_id)
        .await?;
    system_run::check_claim(row.as_ref(), node_id, arguments, now_ms())?;
    if let Some(row) = &row {
        system_run::bear_out(arguments, row);
    }
    Ok(row)
}

async fn use_approval(call: &Call, arguments: &Value) -> Result<bool, WireError> {
    let id = arguments["runId"].as_str().unwrap_or_default();
    Ok(call
        .state
        .services
        .config
        .use_approval(call.scope(), id, now_ms())
        .await?)
}

/// Notes durably that the call goes out now. False: it did before, and what came of it is not known here.
async fn note_sent(call: &Call, key_hash: String) -> Result<bool, WireError> {
    let scope = call.scope().clone();
    let writer = &call.state.services.writer;
    let fresh = writer.run(call.scope(), move |tx| {
        let (scope, key_hash) = (scope.clone(), key_hash.clone());
        async move { pending::note_call(tx, &scope, &key_hash, now_ms()).await }.boxed()
    });
    Ok(fresh.await?)
}

fn sent_before() -> WireError {
    WireError::unavailable(
        "this call was sent before a restart, and its outcome is not known; use a new idempotencyKey",
    )
    .details(json!({"code": "OUTCOME_UNKNOWN"}))
}

/// Did a phone say that it must be in the foreground for this.
fn in_background(platform: &str, message: &str) -> bool {
    let platform = platform.trim().to_ascii_lowercase();
    (platform.starts_with("ios") || platform.starts_with("ipados"))
        && message.starts_with("NODE_BACKGROUND_UNAVAILABLE")
}

/// Calls a node of the caller, if the command is approved, declared and the node is there.
pub(super) async fn call_node(
    call: &Call,
    node_id: &str,
    command: &str,
    params: Value,
    timeout: Duration,
    idempotency_key: String,
) -> Result<InvokeResult, WireError> {
    check(call, node_id, command).await?;
    let request = InvokeNode {
        node_id: node_id.to_owned(),
        command: command.to_owned(),
        params,
        timeout,
        idempotency_key,
    };
    Ok(call.state.directory.invoke_node(call.scope(), request).await?)
}

/// Is the node there, and the command approved and declared. Gives its platform.
async fn check(call: &Call, node_id: &str, command: &str) -> Result<String, WireError> {
    let node = call.state.services.config.node(call.scope(), node_id).await?;
    let connected = call.state.directory.connected_nodes(call.scope()).await?;
    let Some(live) = connected.iter().find(|info| info.device_id.as_deref() == Some(node_id)) else {
        return Err(WireError::unavailable("node not connected").details(json!({"code": "NOT_CONNECTED"})));
    };
    if node.approved().is_none() {
        return Err(awaiting_approval(node.pending_request()));
    }
    if !callable(&node, Some(live)).iter().any(|allowed| allowed == command) {
        let reason = if live.commands.iter().any(|declared| declared == command) {
            "command not approved"
        } else {
            "command not declared by node"
        };
        return Err(
            WireError::invalid(format!("node command not allowed: {command} ({reason})"))
                .details(json!({"reason": reason, "command": command})),
        );
    }
    Ok(live.platform.clone())
}

fn awaiting_approval(request_id: Option<&str>) -> WireError {
    let what = match request_id {
        Some(id) => format!(
            "node capability surface is awaiting operator approval; run `openclaw nodes approve {id}` (see `openclaw nodes pending`), then this node retries automatically"
        ),
        None => "node capability surface is not approved; reconnect the node to ask again".to_owned(),
    };
    WireError::unavailable(what)
}

#[derive(Deserialize)]
struct EventParams {
    event: String,
    payload: Option<Value>,
    #[serde(rename = "payloadJSON")]
    payload_json: Option<String>,
}

async fn event(call: Call, params: EventParams) -> Result<Value, WireError> {
    filled("node.event", "event", &params.event)?;
    if params.event != "node.host.stats" {
        // Real nodes report more than this server has a use for; that is no error.
        return Ok(json!({"ok": true, "event": params.event, "handled": false}));
    }
    let payload = params
        .payload_json
        .filter(|text| text.len() <= LARGEST_STATS)
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .or(params.payload)
        .filter(Value::is_object);
    let Some(mut stats) = payload else {
        return Ok(json!({"ok": true, "event": params.event, "handled": false, "reason": "invalid"}));
    };
    stats["updatedAtMs"] = json!(now_ms());
    if stats.to_string().len() <= LARGEST_STATS {
        let scope = call.scope();
        let key = (scope.tenant().clone(), scope.user().clone(), node_id(&call));
        call.state.host_stats.insert(key, stats);
    }
    Ok(json!({"ok": true, "event": params.event, "handled": true, "reason": "updated"}))
}

#[derive(Deserialize)]
struct SkillsParams {
    #[serde(default)]
    skills: Vec<Value>,
}

/// Skills of nodes are not offered to agents yet: none is kept, and the answer says so.
async fn skills(call: Call, params: SkillsParams) -> Result<Value, WireError> {
    if params.skills.len() > 64 {
        return Err(WireError::invalid(
            "invalid node.skills.update params: at /skills: must NOT have more than 64 items",
        ));
    }
    Ok(json!({"nodeId": node_id(&call), "skills": []}))
}

#[derive(Deserialize)]
struct ToolsParams {
    #[serde(default)]
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    tools: Vec<Value>,
}

/// Tools of node plug-ins are not offered to agents yet: none is kept, and the answer says so.
async fn plugin_tools(call: Call, _: ToolsParams) -> Result<Value, WireError> {
    Ok(json!({"nodeId": node_id(&call), "tools": []}))
}

async fn runner_inventory(call: Call, _: Nothing) -> Result<Value, WireError> {
    let node_id = node_id(&call);
    let node = call.state.services.config.node(call.scope(), &node_id).await?;
    if node.approved().is_none() {
        return Err(awaiting_approval(node.pending_request()));
    }
    Ok(json!({"nodeId": node_id}))
}

/// Programs the user's skills want on a node: no skill asks for any yet.
async fn bins(_: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"bins": []}))
}

fn node_id(call: &Call) -> String {
    call.connection.device_id.clone().unwrap_or_default()
}
