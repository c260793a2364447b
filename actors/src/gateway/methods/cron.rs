//! `cron.*`: scheduled jobs, their log, and running one now. Shapes as the original gateway's (`gateway-protocol`
//! §11.7).

mod log;

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Nothing;
use crate::config::cron::{CronLimits, Delivered, Job, next_wake};
use crate::crypto::token;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::session::cron::{self, Asked, Started};

/// Most entries of one page.
const PAGE: usize = 200;

pub(super) fn register(methods: &mut Methods) {
    methods.add("cron.add", Access::Scope(ADMIN), add).write_limited();
    methods.add("cron.get", Access::Scope(READ), get);
    methods.add("cron.list", Access::Scope(READ), list);
    methods.add("cron.remove", Access::Scope(ADMIN), remove).write_limited();
    methods.add("cron.run", Access::Scope(ADMIN), run).write_limited();
    methods.add("cron.runs", Access::Scope(READ), log::runs);
    methods.add("cron.status", Access::Scope(READ), status);
    methods.add("cron.update", Access::Scope(ADMIN), update).write_limited();
}

/// `id`, or `jobId` as older clients say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    id: Option<String>,
    job_id: Option<String>,
}

impl Named {
    fn take(self, method: &str) -> Result<String, WireError> {
        self.job_id
            .or(self.id)
            .filter(|id| !id.is_empty())
            .ok_or_else(|| WireError::invalid(format!("invalid {method} params: must have required property 'id'")))
    }
}

fn unknown(id: &str) -> WireError {
    WireError::invalid(format!("unknown cron job id: {id}")).details(json!({"code": "CRON_JOB_NOT_FOUND", "jobId": id}))
}

/// A refusal in the method's words.
fn refused(method: &str, id: &str, error: Error) -> WireError {
    if let Error::Invalid(why) = error {
        return WireError::invalid(format!("invalid {method} params: {why}"));
    }
    if matches!(error, Error::NotFound { .. }) {
        return unknown(id);
    }
    error.into()
}

fn limits(call: &Call) -> CronLimits {
    call.state.services.limits.cron
}

async fn add(call: Call, params: Value) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let job = config
        .add_cron_job(call.scope(), &params, limits(&call))
        .await
        .map_err(|error| refused("cron.add", "", error))?;
    cron::changed(&call.state.directory, call.scope(), "added", &job);
    let mut shown = job.wire(None);
    shown.insert("deliveryPreview".to_owned(), job.delivery_preview());
    Ok(Value::Object(shown))
}

async fn get(call: Call, params: Named) -> Result<Value, WireError> {
    let id = params.take("cron.get")?;
    let config = &call.state.services.config;
    let job = config.cron_job(call.scope(), &id).await?.ok_or_else(|| unknown(&id))?;
    shown(&call, &job).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    id: Option<String>,
    job_id: Option<String>,
    patch: Value,
    expected_config_revision: Option<String>,
}

async fn update(call: Call, params: UpdateParams) -> Result<Value, WireError> {
    let named = Named {
        id: params.id,
        job_id: params.job_id,
    };
    let id = named.take("cron.update")?;
    let config = &call.state.services.config;
    let expected = params.expected_config_revision.as_deref();
    let job = config
        .update_cron_job(call.scope(), &id, &params.patch, expected, limits(&call))
        .await
        .map_err(|error| refused("cron.update", &id, error))?;
    cron::changed(&call.state.directory, call.scope(), "updated", &job);
    shown(&call, &job).await
}

async fn remove(call: Call, params: Named) -> Result<Value, WireError> {
    let id = params.take("cron.remove")?;
    let removed = cron::remove(&call.state.directory, call.scope(), &id).await?;
    Ok(json!({"ok": true, "removed": removed}))
}

/// Removes the jobs of an agent that is no more.
pub(super) async fn remove_of_agent(call: &Call, agent: &str) -> Result<(), WireError> {
    for job in call.state.services.config.cron_jobs(call.scope()).await? {
        if job.definition.agent_id.as_deref() == Some(agent) {
            cron::remove(&call.state.directory, call.scope(), &job.id).await?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunParams {
    id: Option<String>,
    job_id: Option<String>,
    mode: Option<String>,
    expected_process_instance_id: Option<String>,
}

async fn run(call: Call, params: RunParams) -> Result<Value, WireError> {
    let named = Named {
        id: params.id,
        job_id: params.job_id,
    };
    let id = named.take("cron.run")?;
    let asked = match params.mode.as_deref() {
        None | Some("force") => Asked::Force,
        Some("due") => Asked::Due,
        Some("if-enabled") => Asked::IfEnabled,
        Some(_) => {
            return Err(WireError::invalid(
                "invalid cron.run params: at /mode: must be due, force or if-enabled",
            ));
        }
    };
    let instance = &call.state.services.replica.boot_id;
    if params
        .expected_process_instance_id
        .is_some_and(|expected| expected != *instance)
    {
        return Err(WireError::invalid(
            "the gateway was restarted since; connect again and retry",
        ));
    }
    let started = cron::run_now(&call.state.directory, call.scope(), &id, asked, None)
        .await
        .map_err(|error| refused("cron.run", &id, error))?;
    Ok(match started {
        Started::Run(run_id) => {
            json!({"ok": true, "enqueued": true, "runId": run_id, "processInstanceId": instance})
        }
        Started::Not(reason) => json!({"ok": true, "ran": false, "reason": reason}),
    })
}

async fn status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let services = &call.state.services;
    let settings = services.config.settings(call.scope()).await?;
    let jobs = services.config.cron_jobs(call.scope()).await?;
    let mut shown = json!({
        "enabled": settings.cron.enabled, "triggersEnabled": false, "storePath": "", "storage": "database",
        "sqlitePath": "", "jobs": jobs.len(),
    });
    if let Some(next) = next_wake(&jobs) {
        shown["nextWakeAtMs"] = json!(next);
    }
    Ok(shown)
}

/// The job as clients see it.
async fn shown(call: &Call, job: &Job) -> Result<Value, WireError> {
    let jobs = std::slice::from_ref(job);
    let delivered = call
        .state
        .services
        .config
        .cron_job_deliveries(call.scope(), jobs)
        .await?;
    Ok(Value::Object(job.wire(delivered.get(&job.id).map(|it| it.status))))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    #[serde(default)]
    include_disabled: bool,
    limit: Option<usize>,
    offset: Option<usize>,
    query: Option<String>,
    /// `all`, `enabled` or `disabled`.
    enabled: Option<String>,
    schedule_kind: Option<String>,
    last_run_status: Option<String>,
    /// `all`, `conditional` or `unconditional`: no job here has a condition.
    trigger: Option<String>,
    sort_by: Option<String>,
    sort_dir: Option<String>,
    agent_id: Option<String>,
    #[serde(default)]
    compact: bool,
    #[serde(default)]
    include_delivery_previews: bool,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let settings = config.settings(call.scope()).await?;
    let default_agent = settings.default_agent.as_str();
    let mut jobs = config.cron_jobs(call.scope()).await?;
    jobs.retain(|job| wanted(job, &params, default_agent));
    jobs.sort_by(|one, other| order(one, other, &params));
    let revisions: Vec<String> = jobs.iter().map(Job::revision).collect();
    let total = jobs.len();
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let offset = params.offset.unwrap_or(0);
    let page: Vec<Job> = jobs.into_iter().skip(offset).take(limit).collect();
    let delivered = config.cron_job_deliveries(call.scope(), &page).await?;
    let has_more = offset.saturating_add(page.len()) < total;
    let mut answer = json!({
        "jobs": page.iter().map(|job| row(job, &params, default_agent, &delivered)).collect::<Vec<_>>(),
        "snapshotRevision": format!("sha256:{}", token::hash(&revisions.join("\n"))),
        "total": total, "offset": offset, "limit": limit, "hasMore": has_more,
        "nextOffset": has_more.then_some(offset.saturating_add(page.len())),
    });
    if params.include_delivery_previews {
        let previews: Map<String, Value> = page
            .iter()
            .map(|job| (job.id.clone(), job.delivery_preview()))
            .collect();
        answer["deliveryPreviews"] = Value::Object(previews);
    }
    Ok(answer)
}

fn row(job: &Job, params: &ListParams, default_agent: &str, delivered: &HashMap<String, Delivered>) -> Value {
    let delivery = delivered.get(&job.id).map(|it| it.status);
    if params.compact {
        return Value::Object(job.compact(default_agent, delivery));
    }
    let mut shown = job.wire(delivery);
    shown.insert("effectiveAgentId".to_owned(), json!(job.agent(default_agent)));
    Value::Object(shown)
}

fn wanted(job: &Job, params: &ListParams, default_agent: &str) -> bool {
    let definition = &job.definition;
    let named = |filter: &Option<String>, value: &str| {
        filter
            .as_deref()
            .is_none_or(|filter| filter == "all" || filter == value)
    };
    let shown = match params.enabled.as_deref() {
        Some("all") => true,
        Some("disabled") => !job.enabled,
        Some("enabled") => job.enabled,
        Some(_) | None => job.enabled || params.include_disabled,
    };
    let found = params.query.as_deref().map(str::to_lowercase).is_none_or(|query| {
        let texts = [Some(&definition.name), definition.description.as_ref(), Some(&job.id)];
        texts
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&query))
    });
    shown
        && found
        && named(&params.schedule_kind, definition.schedule.kind())
        && named(
            &params.last_run_status,
            job.state.last_run_status.as_deref().unwrap_or("unknown"),
        )
        && named(&params.trigger, "unconditional")
        && params
            .agent_id
            .as_deref()
            .is_none_or(|agent| agent == job.agent(default_agent))
}

/// By the next time it is due, unless something else is asked for. What is not planned comes last.
fn order(one: &Job, other: &Job, params: &ListParams) -> Ordering {
    let descending = params.sort_dir.as_deref() == Some("desc");
    let turn = |order: Ordering| if descending { order.reverse() } else { order };
    let by = match params.sort_by.as_deref() {
        Some("name") => turn(
            one.definition
                .name
                .to_lowercase()
                .cmp(&other.definition.name.to_lowercase()),
        ),
        Some("updatedAtMs") => turn(one.updated_at.cmp(&other.updated_at)),
        Some(_) | None => match (one.next_run_at, other.next_run_at) {
            (Some(one), Some(other)) => turn(one.cmp(&other)),
            (one, other) => one.is_none().cmp(&other.is_none()),
        },
    };
    by.then_with(|| one.id.cmp(&other.id))
}
