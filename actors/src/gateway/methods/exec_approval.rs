//! `exec.approval.*`: a program asks whether it may run a command, a person decides, whoever waits is told.

use std::collections::BTreeMap;

use claw_entities::{Scope, approval, new_id};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nothing, filled};
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::devices::approvals::{
    ALWAYS, ASKED_BY, DECISIONS, Decided, Decider, NewApproval, RUN, may_review, reason,
};
use crate::gateway::approvals::{self, for_decider, listed};
use crate::gateway::exec_policy::Policy;
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, APPROVALS};
use crate::gateway::system_run::{self, Plan, visible};
use crate::session::forwarding;

/// Without `timeoutMs`, milliseconds.
const DEFAULT_LIFE_MS: i64 = 120_000;
/// Longest life of a request, milliseconds.
const LONGEST_LIFE_MS: i64 = 24 * 60 * 60 * 1000;
/// Largest request, bytes of JSON.
const LARGEST: usize = 128 * 1024;
/// Longest id, bytes.
const LONGEST_ID: usize = 128;
/// How long a decision is told to late comers after the request's time, milliseconds.
const AFTERGLOW_MS: i64 = 15_000;

pub(super) fn register(methods: &mut Methods) {
    methods
        .add("exec.approval.request", Access::Scope(APPROVALS), request)
        .write_limited()
        .waits();
    methods
        .add("exec.approval.waitDecision", Access::Scope(APPROVALS), wait_decision)
        .waits();
    methods.add("exec.approval.resolve", Access::Scope(APPROVALS), resolve);
    methods.add("exec.approval.list", Access::Scope(APPROVALS), list);
    methods.add("exec.approval.get", Access::Scope(APPROVALS), get);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestParams {
    id: Option<String>,
    command: Option<String>,
    command_argv: Option<Vec<String>>,
    #[serde(default)]
    system_run_plan: Value,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    node_id: Option<String>,
    host: Option<String>,
    security: Option<String>,
    ask: Option<String>,
    warning_text: Option<String>,
    #[serde(default)]
    scope: Value,
    #[serde(default)]
    unavailable_decisions: Vec<String>,
    agent_id: Option<String>,
    resolved_path: Option<String>,
    session_key: Option<String>,
    session_id: Option<String>,
    run_id: Option<String>,
    tool_call_id: Option<String>,
    turn_source_channel: Option<String>,
    turn_source_to: Option<String>,
    turn_source_account_id: Option<String>,
    #[serde(default)]
    turn_source_thread_id: Value,
    #[serde(default)]
    approval_reviewer_device_ids: Vec<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    two_phase: bool,
    /// Nobody is told: whoever decides looks for it.
    suppress_delivery: Option<bool>,
    /// No chat is told.
    deliver_to_approval_clients_only: Option<bool>,
    /// Without anybody who was told it is over at once, unless this is false.
    require_delivery_route: Option<bool>,
}

/// Stores the request, tells those who can decide, and answers when somebody did or the time is over (`decision: null`).
/// With nobody there to decide it is over at once, unless it may wait for somebody.
async fn request(call: Call, params: RequestParams) -> Result<Value, WireError> {
    let life = match params.timeout_ms {
        Some(0) => return Err(invalid("at /timeoutMs: must be >= 1")),
        Some(life) => i64::try_from(life).unwrap_or(LONGEST_LIFE_MS).min(LONGEST_LIFE_MS),
        None => DEFAULT_LIFE_MS,
    };
    let id = match params.id.as_deref().map(str::trim) {
        Some(id) if id.len() > LONGEST_ID => return Err(invalid("at /id: must NOT have more than 128 characters")),
        Some(id) if !id.is_empty() => id.to_owned(),
        Some(_) | None => new_id(),
    };
    let two_phase = params.two_phase;
    let to_nobody = params.suppress_delivery == Some(true);
    let to_no_chat = to_nobody || params.deliver_to_approval_clients_only == Some(true);
    let waits_alone = params.require_delivery_route == Some(false);
    let reviewers = params.approval_reviewer_device_ids.clone();
    if json!(reviewers).to_string().len() > LARGEST {
        return Err(too_large());
    }
    let standing = standing(&call, &params).await?;
    let shown = describe(&call.state.services.config, call.scope(), params, standing).await?;
    let (state, config) = (&call.state, &call.state.services.config);
    let now = now_ms();
    let new = NewApproval {
        id,
        request: shown,
        reviewers,
        created_at: now,
        expires_at: now.saturating_add(life),
    };
    let row = config.open_approval(call.scope(), new).await?;
    let heard = if to_nobody {
        0
    } else {
        let asked = approvals::requested(&row);
        let directory = &state.directory;
        directory
            .announce(call.scope(), asked, &call.connection.conn_id)
            .await?
    };
    let told = if to_no_chat {
        0
    } else {
        let place = ["nodeId", "host"].iter().find_map(|name| row.request[*name].as_str());
        let place = (place.unwrap_or("the machine of who asks"), false);
        forwarding::asked(&state.directory, call.scope(), &row, place, None).await?
    };
    // The row says everything else; what waits keeps no more of it than this.
    let (id, created_at, expires_at) = times_of(row);
    let route = match (told, heard) {
        (0, 0) => "none",
        (0, _) => "approval-client",
        _ => "forwarder",
    };
    if heard == 0 && told == 0 && !waits_alone {
        config
            .end_approval(call.scope(), &id, reason::NO_ROUTE, now_ms())
            .await?;
    } else if two_phase {
        call.answer_early(&json!({
            "status": "accepted", "id": id, "deliveryRoute": route, "createdAtMs": created_at, "expiresAtMs": expires_at,
        }))
        .await?;
    }
    let decided = state.directory.approvals().decision(config, call.scope(), &id).await?;
    // Whoever decided has told the chats that were asked by then.
    if let Some(over) = &decided {
        forwarding::ended(&state.directory, call.scope(), over);
    }
    Ok(json!({
        "id": id, "decision": decided.and_then(|row| row.decision),
        "createdAtMs": created_at, "expiresAtMs": expires_at,
    }))
}

/// Id, beginning and end of a request; the rest is let go.
fn times_of(row: approval::Model) -> (String, i64, i64) {
    (row.id, row.created_at, row.expires_at)
}

/// What this server knows of a command on a node, whatever the one who asks says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Resolved path of the program, from the node.
    pub(crate) program: Option<String>,
    /// Can "always" be remembered.
    pub(crate) always: bool,
    /// A run of the user's asks, not a client.
    pub(crate) by_a_run: bool,
}

/// For a command on a node: the user's policy for the plan's agent, and where the node has the program.
async fn standing(call: &Call, params: &RequestParams) -> Result<Standing, WireError> {
    let (Some("node"), Some(node_id)) = (params.host.as_deref().map(str::trim), params.node_id.as_deref()) else {
        return Ok(Standing::default());
    };
    let Ok(plan) = Plan::deserialize(&params.system_run_plan) else {
        return Ok(Standing::default());
    };
    let (Some(agent_id), Some(program)) = (&plan.agent_id, plan.argv.first()) else {
        return Ok(Standing::default());
    };
    let config = &call.state.services.config;
    let settings = config.settings(call.scope()).await?;
    if !settings.has_agent(agent_id) {
        return Ok(Standing::default());
    }
    let file = config.exec_approvals(call.scope()).await?;
    let policy = Policy::of_user(&file["file"], &settings, agent_id).within(&params.system_run_plan["policySnapshot"]);
    if !policy.asks_the_list() {
        return Ok(Standing::default());
    }
    let program = nodes::where_is(&call.state.directory, call.scope(), node_id.trim(), program).await;
    let always = policy.can_remember(program.as_deref());
    Ok(Standing {
        program,
        always,
        by_a_run: false,
    })
}

/// The request as clients are shown it. For a node it is the node's own plan, bound to what will run, and the program is
/// where the node said it is.
pub(crate) async fn describe(
    config: &ConfigService,
    caller: &Scope,
    params: RequestParams,
    standing: Standing,
) -> Result<Value, WireError> {
    let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let host = trimmed(params.host);
    let (mut cwd, mut agent_id, mut session_key) = (params.cwd, params.agent_id, params.session_key);
    let (mut node_id, mut binding, mut plan, mut preview) = (None, Value::Null, Value::Null, None);
    let (mut program, mut always, mut by_a_run) = (params.resolved_path, true, false);
    let mut argv = params.command_argv.filter(|argv| !argv.is_empty());
    if host.as_deref() == Some("node") {
        let node = trimmed(params.node_id).ok_or_else(|| WireError::invalid("nodeId is required for host=node"))?;
        // Of the caller's own nodes; another user's does not exist.
        config.node(caller, &node).await?;
        if params.system_run_plan.is_null() {
            return Err(WireError::invalid("systemRunPlan is required for host=node"));
        }
        let parsed = Plan::deserialize(&params.system_run_plan)
            .map_err(|error| invalid(&format!("at /systemRunPlan: {error}")))?;
        if parsed.argv.is_empty() {
            return Err(WireError::invalid("commandArgv is required for host=node"));
        }
        binding = system_run::binding(&parsed, &params.env);
        plan = params.system_run_plan;
        (cwd, agent_id, session_key) = (parsed.cwd, parsed.agent_id, parsed.session_key);
        preview = parsed.command_preview.as_deref().map(visible);
        (node_id, argv) = (Some(node), Some(parsed.argv));
        (program, always) = (standing.program, standing.always && agent_id.is_some());
        by_a_run = standing.by_a_run;
    }
    let command = match argv {
        Some(argv) => system_run::rendered(&argv),
        None => trimmed(params.command).ok_or_else(|| WireError::invalid("command is required"))?,
    };
    let allowed: Vec<&str> = DECISIONS
        .into_iter()
        .filter(|word| {
            *word != ALWAYS
                || (always
                    && params.ask.as_deref() != Some("always")
                    && !params.unavailable_decisions.iter().any(|gone| gone == word))
        })
        .collect();
    let mut shown = json!({
        "command": visible(&command), "systemRunBinding": binding, "systemRunPlan": plan, "cwd": cwd,
        "nodeId": node_id, "host": host, "security": params.security, "ask": params.ask,
        "warningText": params.warning_text.as_deref().map(visible), "scope": params.scope,
        "allowedDecisions": allowed, "agentId": agent_id, "resolvedPath": program,
        "sessionKey": session_key, "sessionId": params.session_id, "runId": params.run_id,
        "toolCallId": params.tool_call_id, "turnSourceChannel": trimmed(params.turn_source_channel),
        "turnSourceTo": trimmed(params.turn_source_to), "turnSourceAccountId": trimmed(params.turn_source_account_id),
        "turnSourceThreadId": params.turn_source_thread_id, "cronExecutionSource": null, "cronOperationBinding": null,
    });
    if let Some(preview) = preview {
        shown["commandPreview"] = json!(preview);
    }
    if by_a_run {
        shown[ASKED_BY] = json!(RUN);
    }
    if !params.env.is_empty() {
        shown["envKeys"] = json!(params.env.keys().collect::<Vec<_>>());
    }
    if shown.to_string().len() > LARGEST {
        return Err(too_large());
    }
    Ok(shown)
}

#[derive(Deserialize)]
struct IdParams {
    id: String,
}

async fn wait_decision(call: Call, params: IdParams) -> Result<Value, WireError> {
    filled("exec.approval.waitDecision", "id", &params.id)?;
    let over = || WireError::invalid("approval expired or not found").details(json!({"reason": "APPROVAL_NOT_FOUND"}));
    let (id, config) = (params.id.trim(), &call.state.services.config);
    let row = call
        .state
        .directory
        .approvals()
        .decision(config, call.scope(), id)
        .await?
        .ok_or_else(over)?;
    let told_until = row.expires_at.max(row.resolved_at.unwrap_or(0)) + AFTERGLOW_MS;
    if told_until < now_ms() {
        return Err(over());
    }
    Ok(json!({
        "id": row.id, "decision": row.decision, "createdAtMs": row.created_at, "expiresAtMs": row.expires_at,
        "terminalReason": row.reason,
    }))
}

#[derive(Deserialize)]
struct ResolveParams {
    id: String,
    decision: String,
}

/// Only an operator of the same user with the approvals scope comes here; the first of them decides.
async fn resolve(call: Call, params: ResolveParams) -> Result<Value, WireError> {
    filled("exec.approval.resolve", "id", &params.id)?;
    if !DECISIONS.contains(&params.decision.as_str()) {
        return Err(WireError::invalid("invalid decision"));
    }
    let info = &call.connection;
    let by = Decider {
        name: info.display_name.as_deref().unwrap_or(&info.program.client_id),
        device_id: info.device_id.as_deref(),
        admin: info.has_scope(ADMIN),
    };
    match approvals::decide(
        &call.state.directory,
        call.scope(),
        params.id.trim(),
        &params.decision,
        by,
    )
    .await?
    {
        Decided::Now(_) => Ok(json!({"ok": true})),
        // Said twice, meant once.
        Decided::Before(row) if row.decision.as_deref() == Some(params.decision.as_str()) => Ok(json!({"ok": true})),
        Decided::Before(_) => {
            Err(WireError::invalid("approval already resolved").details(json!({"reason": "APPROVAL_ALREADY_RESOLVED"})))
        }
        Decided::NotAllowed => Err(WireError::invalid(
            "allow-always is unavailable because the effective policy requires approval every time",
        )
        .details(json!({"reason": "APPROVAL_ALLOW_ALWAYS_UNAVAILABLE"}))),
        Decided::Unknown => Err(unknown()),
    }
}

async fn list(call: Call, _: Nothing) -> Result<Vec<Value>, WireError> {
    let device = call.connection.device_id.as_deref();
    let config = &call.state.services.config;
    let open = config.open_approvals(call.scope(), device, now_ms()).await?;
    let admin = call.connection.has_scope(ADMIN);
    Ok(open.iter().map(|row| for_decider(listed(row), admin)).collect())
}

async fn get(call: Call, params: IdParams) -> Result<Value, WireError> {
    filled("exec.approval.get", "id", &params.id)?;
    let config = &call.state.services.config;
    let row = config
        .approval(call.scope(), params.id.trim())
        .await?
        .filter(|row| row.resolved_at.is_none() && row.expires_at > now_ms())
        .filter(|row| may_review(row, call.connection.device_id.as_deref()))
        .ok_or_else(unknown)?;
    let request = for_decider(listed(&row), call.connection.has_scope(ADMIN))["request"].take();
    Ok(json!({
        "id": row.id, "commandText": request["command"], "commandPreview": request["commandPreview"],
        "allowedDecisions": request["allowedDecisions"], "host": request["host"], "nodeId": request["nodeId"],
        "agentId": request["agentId"], "expiresAtMs": row.expires_at,
    }))
}

fn unknown() -> WireError {
    WireError::new("APPROVAL_NOT_FOUND", "unknown or expired approval id")
        .details(json!({"reason": "APPROVAL_NOT_FOUND"}))
}

fn too_large() -> WireError {
    WireError::invalid("the approval request is too large")
}

fn invalid(complaint: &str) -> WireError {
    WireError::invalid(format!("invalid exec.approval.request params: {complaint}"))
}
