//! The call that has a node run a command: the plan as it is, and with an approval exactly what was allowed.

use std::time::Duration;

use claw_entities::{Scope, approval};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Variables, Work};
use crate::config::devices::without_nulls;
use crate::gateway::node_streams::{self, Progress, Streams};
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::supervisor::directory::{Directory, InvokeNode};

/// The node's command.
pub(crate) const RUN: &str = "system.run";
/// What a node has beside the command's own time: it ends the command by itself, and what it says then is worth more
/// than our silence.
pub(crate) const NODE_TIME: Duration = Duration::from_secs(15);

/// Which run of a command it is.
pub(crate) struct Run<'a> {
    /// As the node is told.
    pub(crate) id: &'a str,
    /// Sent once under this.
    pub(crate) key: String,
    pub(crate) allowed: Option<&'a approval::Model>,
}

/// Has the node run it. Gives the node's answer without what is stored for the skill.
///
/// # Errors
/// Of the call, and what the node said instead of an answer.
pub(crate) async fn perform(
    directory: &Directory,
    scope: &Scope,
    (work, variables): (&Work, &Variables),
    run: Run<'_>,
    show: impl Fn(),
    gone: &CancellationToken,
) -> Result<Value, WireError> {
    let Some(plan) = work.parsed() else {
        return Err(WireError::invalid("the plan of the command cannot be read"));
    };
    let env = (!variables.all.is_empty()).then_some(&variables.all);
    let mut params = without_nulls(json!({
        "command": plan.argv, "cwd": plan.cwd, "agentId": plan.agent_id, "sessionKey": plan.session_key, "env": env,
        // Whoever asked is told by the answer.
        "suppressNotifyOnExit": true,
        "timeoutMs": work.timeout_ms, "runId": run.id,
    }));
    if let Some(row) = run.allowed {
        params["approved"] = json!(true);
        params["approvalDecision"] = json!(row.decision);
    }
    let call = InvokeNode {
        node_id: work.node_id.clone(),
        command: RUN.to_owned(),
        params,
        timeout: Duration::from_millis(work.timeout_ms) + NODE_TIME,
        idempotency_key: run.key,
    };
    let (streams, pieces) = Streams::heard();
    let show = |_: Progress| {
        show();
        std::future::ready(())
    };
    let outcome = nodes::invoke(directory, scope, call, streams, gone);
    let mut answer = node_streams::shown(outcome, pieces, show)
        .await
        .map_err(|error| WireError {
            message: variables.hide(error.message.clone()),
            ..error
        })?;
    let mut answer = answer["payload"].take();
    variables.hide_in(&mut answer);
    Ok(answer)
}
