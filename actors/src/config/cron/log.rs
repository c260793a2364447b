//! Entries of the log of scheduled runs, as the wire spells them (`gateway-protocol` §11.7).

use std::collections::HashMap;

use claw_entities::cron_run;
use serde_json::{Value, json};

use super::Delivered;
use super::job::run_id;

/// One entry. `delivered` is what became of the answers, by run id.
pub fn log_entry(row: &cron_run::Model, delivered: &HashMap<String, Delivered>) -> Value {
    let run_id = run_id(&row.job_id, row.scheduled_at);
    let ended_at = row.ended_at.unwrap_or(row.started_at);
    let ok = row.status.as_deref() == Some("ok");
    let delivered = delivered.get(&run_id);
    let status = delivered.map_or("not-requested", |it| it.status);
    let mut shown = json!({
        "ts": ended_at, "jobId": row.job_id, "action": "finished", "status": row.status,
        "completionStatus": if ok { "succeeded" } else { "failed" }, "runAtMs": row.started_at,
        "durationMs": (ended_at - row.started_at).max(0), "deliveryStatus": status,
        "sessionKey": row.session_key, "jobName": row.job_name, "runId": run_id,
    });
    for (name, value) in [
        ("summary", json!(row.summary)),
        ("error", json!(row.error)),
        ("nextRunAtMs", json!(row.next_run_at)),
        ("model", json!(row.model)),
        ("provider", json!(row.provider)),
        ("sessionId", json!(row.session_id)),
        ("deliveryError", json!(delivered.and_then(|it| it.error.clone()))),
    ] {
        if !value.is_null() {
            shown[name] = value;
        }
    }
    if status != "not-requested" {
        shown["delivered"] = json!(status == "delivered");
    }
    if row.usage.is_object() {
        let count = |name: &str| row.usage[name].as_u64().unwrap_or(0);
        shown["usage"] = json!({
            "input_tokens": count("input"), "output_tokens": count("output"), "total_tokens": count("totalTokens"),
            "cache_read_tokens": count("cacheRead"), "cache_write_tokens": count("cacheWrite"),
        });
    }
    shown
}
