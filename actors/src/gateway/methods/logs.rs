//! `logs.tail`: the tenant's audit log as log lines. A hosted server has no log file of a tenant's own; this is what it
//! keeps for them. Never message text, never a secret. Members see what they did themselves.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::audit::AuditEntry;
use crate::config::identity::Role;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// Lines and bytes of one answer, and the most of each (`gateway-methods` §2).
const LINES: u64 = 500;
const MOST_LINES: u64 = 5_000;
const BYTES: usize = 250_000;
const MOST_BYTES: usize = 1_000_000;

pub(super) fn register(methods: &mut Methods) {
    methods.add("logs.tail", Access::Scope(READ), tail);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TailParams {
    /// `cursor` of an earlier answer: only what came after it.
    cursor: Option<i64>,
    limit: Option<u64>,
    max_bytes: Option<usize>,
}

async fn tail(call: Call, params: TailParams) -> Result<Value, WireError> {
    let limit = params.limit.unwrap_or(LINES).clamp(1, MOST_LINES);
    let most = params.max_bytes.unwrap_or(BYTES).clamp(1, MOST_BYTES);
    let user = &call.identity.user;
    let actor = (user.role == Role::Member).then(|| call.scope().user().as_str());
    let config = &call.state.services.config;
    let tenant = call.scope().tenant_scope();
    let newest = config.newest_audit_seq(tenant).await?;
    // A cursor from beyond the end belongs to another log.
    let reset = params.cursor.is_some_and(|cursor| cursor > newest);
    let after = params.cursor.filter(|_| !reset);
    let entries = config.audit_after(tenant, after, actor, limit).await?;
    let newest = entries.last().map_or(newest, |last| last.seq.max(newest));
    let mut truncated = u64::try_from(entries.len()).unwrap_or(u64::MAX) == limit;
    let mut lines: Vec<String> = entries.iter().map(line).collect();
    let mut size = 0;
    let fitting = lines
        .iter()
        .rev()
        .take_while(|line| {
            size += line.len() + 1;
            size <= most
        })
        .count();
    if fitting < lines.len() {
        truncated = true;
        lines.drain(..lines.len() - fitting);
    }
    Ok(json!({
        "file": "audit", "cursor": newest, "size": newest, "lines": lines, "truncated": truncated, "reset": reset,
    }))
}

/// One line as the original's log files have it.
fn line(entry: &AuditEntry) -> String {
    let time = chrono::DateTime::from_timestamp_millis(entry.at).unwrap_or_default();
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({
        "time": time, "level": "info", "subsystem": "audit", "message": format!("{} {}", entry.action, entry.target),
        "actor": entry.actor, "detail": entry.detail,
        "_meta": {"logLevelName": "INFO", "date": time, "name": r#"{"subsystem":"audit"}"#},
    })
    .to_string()
}
