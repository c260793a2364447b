//! `cron.runs`: what became of earlier runs.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::cron::job::firing_of;
use crate::config::cron::{RunFilter, log_entry};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;

/// Most entries of one page, and the usual number.
const PAGE: u64 = 200;
const USUAL: u64 = 50;
/// Entries looked at when what became of their answers is asked for: that is not in the log but in the outbox.
const LOOKED_AT: u64 = 2000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunsParams {
    agent_id: Option<String>,
    /// `job` or `all`.
    scope: Option<String>,
    id: Option<String>,
    job_id: Option<String>,
    run_id: Option<String>,
    limit: Option<u64>,
    offset: Option<u64>,
    #[serde(default)]
    statuses: Vec<String>,
    status: Option<String>,
    #[serde(default)]
    delivery_statuses: Vec<String>,
    delivery_status: Option<String>,
    query: Option<String>,
    sort_dir: Option<String>,
}

pub(super) async fn runs(call: Call, params: RunsParams) -> Result<Value, WireError> {
    let job_id = params.job_id.or(params.id).filter(|id| !id.is_empty());
    if params.scope.as_deref() == Some("job") && job_id.is_none() {
        return Err(WireError::invalid("invalid cron.runs params: missing id"));
    }
    let limit = params.limit.unwrap_or(USUAL).clamp(1, PAGE);
    let offset = params.offset.unwrap_or(0).min(i64::MAX as u64 / 2);
    let deliveries: Vec<String> = chosen(params.delivery_statuses, params.delivery_status);
    let firing = params.run_id.as_deref().map(firing_of);
    let mut filter = RunFilter {
        job_id: job_id.filter(|_| params.scope.as_deref() != Some("all")),
        scheduled_at: None,
        agent_id: params.agent_id,
        statuses: chosen(params.statuses, params.status),
        query: params.query,
        oldest_first: params.sort_dir.as_deref() == Some("asc"),
        limit,
        offset,
    };
    match firing {
        None => {}
        Some(Some((job, at))) if filter.job_id.as_deref().is_none_or(|id| id == job) => {
            filter.job_id = Some(job.to_owned());
            filter.scheduled_at = Some(at);
        }
        // No run of this id.
        Some(_) => return Ok(page(Vec::new(), 0, offset, limit)),
    }
    let config = &call.state.services.config;
    if deliveries.is_empty() {
        let (rows, total) = config.cron_runs(call.scope(), &filter).await?;
        let delivered = config.cron_deliveries(call.scope(), &rows).await?;
        let entries = rows.iter().map(|row| log_entry(row, &delivered)).collect();
        return Ok(page(entries, total, offset, limit));
    }
    (filter.limit, filter.offset) = (LOOKED_AT, 0);
    let (rows, _) = config.cron_runs(call.scope(), &filter).await?;
    let delivered = config.cron_deliveries(call.scope(), &rows).await?;
    let entries: Vec<Value> = rows
        .iter()
        .map(|row| log_entry(row, &delivered))
        .filter(|entry| deliveries.iter().any(|status| entry["deliveryStatus"] == *status))
        .collect();
    let total = entries.len() as u64;
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    let taken = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(page(
        entries.into_iter().skip(skipped).take(taken).collect(),
        total,
        offset,
        limit,
    ))
}

fn chosen(many: Vec<String>, one: Option<String>) -> Vec<String> {
    if many.is_empty() {
        one.into_iter().filter(|one| one != "all").collect()
    } else {
        many
    }
}

fn page(entries: Vec<Value>, total: u64, offset: u64, limit: u64) -> Value {
    let next = offset + entries.len() as u64;
    let has_more = next < total;
    json!({
        "entries": entries, "total": total, "offset": offset, "limit": limit, "hasMore": has_more,
        "nextOffset": has_more.then_some(next),
    })
}
