//! Calls of a user's nodes, whoever makes them: an operator's client, or the agent.

use std::time::Duration;

use claw_entities::{Scope, approval, new_id};
use futures::FutureExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::messages::InvokeResult;
use super::methods::node::callable;
use super::methods::node_pending::put_off;
use super::node_streams::Streams;
use super::protocol::WireError;
use super::system_run;
use crate::Services;
use crate::clock::now_ms;
use crate::config::devices::{pending, without_nulls};
use crate::crypto::token;
use crate::error::Error;
use crate::supervisor::directory::{Directory, InvokeNode};

/// Calls a node once per key. A `system.run` that claims a person's word needs the row that bears it out. When `gone`
/// is cancelled, or this future is dropped, the node is told to stop.
pub(crate) async fn invoke(
    directory: &Directory,
    scope: &Scope,
    mut call: InvokeNode,
    streams: Streams,
    gone: &CancellationToken,
) -> Result<Value, WireError> {
    let services = directory.services();
    let key = format!(
        "{}|{}|node.invoke|{}|{}|{}",
        scope.tenant(),
        scope.user(),
        call.node_id,
        call.command,
        call.idempotency_key
    );
    let key_hash = token::hash(&key);
    // However long the client's key is, what is kept of it is not.
    let kept_as = key_hash.clone();
    let work = async {
        let platform = check(directory, scope, &call.node_id, &call.command).await?;
        let approval = match call.command.as_str() {
            "system.run" => approved_run(services, scope, &call.node_id, &mut call.params).await?,
            _ => None,
        };
        if !note_sent(services, scope, key_hash).await? {
            return Ok(Err(sent_before()));
        }
        if approval.is_some_and(|row| row.decision.as_deref() == Some("allow-once"))
            && !use_approval(services, scope, &call.params).await?
        {
            return Ok(Err(system_run::used_up()));
        }
        let outcome = tokio::select! {
            outcome = directory.invoke_node(scope, call.clone(), streams) => outcome,
            // Dropping the call tells the node to stop. The key keeps this answer: it does not run a second time.
            () = gone.cancelled() => return Ok(Err(
                WireError::unavailable("node invoke cancelled; the node was told to stop")
                    .details(json!({"code": "ABORTED"})),
            )),
        };
        Ok(match outcome {
            Ok(result) => serde_json::to_value(result).map_err(|error| WireError::internal(&error)),
            Err(Error::Upstream(message)) if in_background(&platform, &message) => {
                let (node, command, key) = (&call.node_id, &call.command, &call.idempotency_key);
                Err(put_off(&services.config, scope, node, command, &call.params, key)
                    .await
                    .unwrap_or_else(|error| error))
            }
            Err(Error::Upstream(message)) => Err(node_failed(&message)),
            Err(Error::Timeout(_)) => Err(node_failed("TIMEOUT: node invoke timed out")),
            Err(error) => Err(error.into()),
        })
    };
    let owner = (scope.tenant().clone(), scope.user().clone());
    directory.node_results().once(owner, kept_as, Box::pin(work)).await
}

/// What a node said instead of an answer, `CODE: message`, as the original passes it on.
fn node_failed(said: &str) -> WireError {
    let is_code = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    let node_error = match said
        .split_once(": ")
        .filter(|(code, _)| !code.is_empty() && is_code(code))
    {
        Some((code, message)) => json!({"code": code, "message": message}),
        None => json!({"message": said}),
    };
    WireError::unavailable(said).details(json!({"nodeCommandDispatched": true, "nodeError": node_error}))
}

/// Calls a node for the server's own purposes, if the command is approved, declared and the node is there.
pub(super) async fn ask(directory: &Directory, scope: &Scope, call: InvokeNode) -> Result<InvokeResult, WireError> {
    check(directory, scope, &call.node_id, &call.command).await?;
    Ok(directory.invoke_node(scope, call, Streams::default()).await?)
}

/// Where a program is on a node; `None` when that is not known for certain.
pub(crate) async fn where_is(directory: &Directory, scope: &Scope, node_id: &str, program: &str) -> Option<String> {
    /// For a look at the node's path.
    const SHORT: Duration = Duration::from_secs(15);
    if program.contains(['/', '\\']) {
        return Some(program.to_owned());
    }
    let which = InvokeNode {
        node_id: node_id.to_owned(),
        command: "system.which".to_owned(),
        params: json!({"bins": [program]}),
        timeout: SHORT,
        idempotency_key: new_id(),
    };
    let answer = ask(directory, scope, which).await.ok()?;
    answer.payload["bins"][program].as_str().map(str::to_owned)
}

/// Is the node there, and the command approved and declared. Gives its platform.
pub(crate) async fn check(
    directory: &Directory,
    scope: &Scope,
    node_id: &str,
    command: &str,
) -> Result<String, WireError> {
    let config = &directory.services().config;
    let (node, settings) = (config.node(scope, node_id).await?, config.settings(scope).await?);
    let connected = directory.connected_nodes(scope).await?;
    let Some(live) = connected.iter().find(|info| info.device_id.as_deref() == Some(node_id)) else {
        return Err(WireError::unavailable("node not connected").details(json!({"code": "NOT_CONNECTED"})));
    };
    if node.approved().is_none() {
        return Err(awaiting_approval(node.pending_request()));
    }
    if !callable(&node, Some(live), &settings.nodes)
        .iter()
        .any(|allowed| allowed == command)
    {
        let ruling = node.ruling(&settings.nodes, command);
        let reason = if live.program.commands.iter().all(|declared| declared != command) {
            "command not declared by node".to_owned()
        } else {
            ruling.reason().unwrap_or_else(|| "command not approved".to_owned())
        };
        let details = json!({"reason": reason, "command": command, "setting": ruling.setting()});
        return Err(
            WireError::invalid(format!("node command not allowed: {command} ({reason})"))
                .details(without_nulls(details)),
        );
    }
    Ok(live.program.platform.clone())
}

pub(super) fn awaiting_approval(request_id: Option<&str>) -> WireError {
    let what = match request_id {
        Some(id) => format!(
            "node capability surface is awaiting operator approval; run `openclaw nodes approve {id}` (see `openclaw nodes pending`), then this node retries automatically"
        ),
        None => "node capability surface is not approved; reconnect the node to ask again".to_owned(),
    };
    WireError::unavailable(what)
}

/// Takes the word of a caller that a person allowed the run only if one did. Gives the approval, if there is a claim.
async fn approved_run(
    services: &Services,
    scope: &Scope,
    node_id: &str,
    arguments: &mut Value,
) -> Result<Option<approval::Model>, WireError> {
    let claim = system_run::take_claim(arguments)?;
    if arguments.is_object() && arguments.get("runId").is_none() {
        arguments["runId"] = json!(uuid::Uuid::new_v4().to_string());
    }
    let Some(claim) = claim else {
        return Ok(None);
    };
    let row = services.config.approval(scope, &claim.approval_id).await?;
    system_run::check_claim(row.as_ref(), node_id, arguments, now_ms())?;
    if let Some(row) = &row {
        system_run::bear_out(arguments, row);
    }
    Ok(row)
}

async fn use_approval(services: &Services, scope: &Scope, arguments: &Value) -> Result<bool, WireError> {
    let id = arguments["runId"].as_str().unwrap_or_default();
    Ok(services.config.use_approval(scope, id, now_ms()).await?)
}

/// Notes durably that the call goes out now. False: it did before, and what came of it is not known here.
async fn note_sent(services: &Services, scope: &Scope, key_hash: String) -> Result<bool, WireError> {
    let owner = scope.clone();
    let fresh = services.writer.run(scope, move |tx| {
        let (scope, key_hash) = (owner.clone(), key_hash.clone());
        async move { pending::note_call(tx, &scope, &key_hash, now_ms()).await }.boxed()
    });
    Ok(fresh.await?)
}

fn sent_before() -> WireError {
    WireError::unavailable(
        "this call was sent before and its outcome is not known any more (a restart, or it was too large to be kept); use \
         a new idempotencyKey",
    )
    .details(json!({"code": "OUTCOME_UNKNOWN"}))
}

/// Did a phone say that it must be in the foreground for this.
fn in_background(platform: &str, message: &str) -> bool {
    let platform = platform.trim().to_ascii_lowercase();
    (platform.starts_with("ios") || platform.starts_with("ipados"))
        && message.starts_with("NODE_BACKGROUND_UNAVAILABLE")
}
