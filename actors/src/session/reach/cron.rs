//! The user's scheduled jobs, as the agent of one of their sessions handles them.

use serde_json::{Map, Value, json};

use super::{Chain, Reach, Refusal, away};
use crate::config::cron::job::firing_of;
use crate::config::cron::{CronLimits, RunFilter, log_entry, next_wake};
use crate::conversation::display;
use crate::ports::channel::PeerKind;
use crate::session::cron::{self as jobs, Asked, Started};
use crate::session::{key, own, wake};

/// Log entries of one look.
const ENTRIES: u64 = 20;
/// What was said lately, told to a reminder: messages, characters of each, and of all.
const MOST_CONTEXT: u64 = 10;
const CONTEXT_LINE: usize = 220;
const CONTEXT: usize = 700;
/// Longest text of a wake, bytes.
const LONGEST_WAKE: usize = 16 * 1024;

/// The job or patch itself, however often it was put into another.
fn unwrapped(given: &Value, what: &str) -> Result<Map<String, Value>, Refusal> {
    let mut draft = given.as_object().cloned().ok_or(format!("{what} must be an object"))?;
    while let Some(inner) = draft.remove("job") {
        if let Value::Object(inner) = inner {
            draft.extend(inner);
        }
    }
    Ok(draft)
}

impl Reach {
    /// What the agent of a hook's session schedules stays known as that: a stranger's words led to it. So does what a job
    /// schedules that was made there.
    async fn of_a_hook(&self, draft: &mut Map<String, Value>) -> Result<(), Refusal> {
        let own = &self.0.authority.key;
        let mut hook = key::is_hook(own.as_str()).then(|| own.to_string());
        if let (None, Some((job, _))) = (&hook, firing_of(&self.0.run_id)) {
            let config = &self.0.directory.services().config;
            let job = config.cron_job(&self.0.authority.scope, job).await.map_err(away)?;
            let made_in = job.and_then(|job| job.definition.session_key);
            hook = made_in.filter(|key| key::is_hook(key));
        }
        if let Some(hook) = hook {
            draft.insert("sessionKey".to_owned(), json!(hook));
        }
        Ok(())
    }

    fn own_jobs(&self) -> Result<(), Refusal> {
        if self.0.alone {
            return Ok(());
        }
        Err("Scheduled jobs are only for a chat of the owner's alone.".to_owned())
    }

    /// A run that no person asked for may not come back at once: it would go on for ever, a second at a time.
    fn cron_limits(&self) -> CronLimits {
        let limits = self.0.directory.services().limits.cron;
        let by_itself = self.0.chain != Chain::default() || firing_of(&self.0.run_id).is_some();
        CronLimits {
            ahead_ms: if by_itself { limits.interval_ms } else { limits.ahead_ms },
            by_model: true,
            ..limits
        }
    }

    /// Whether jobs run, how many there are, and when the next is due.
    pub async fn cron_status(&self) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let enabled = self.settings().await?.cron.enabled;
        let config = &self.0.directory.services().config;
        let all = config.cron_jobs(&self.0.authority.scope).await.map_err(away)?;
        Ok(json!({"enabled": enabled, "jobs": all.len(), "nextWakeAtMs": next_wake(&all)}))
    }

    pub async fn cron_list(&self, include_disabled: bool) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let config = &self.0.directory.services().config;
        let all = config.cron_jobs(&self.0.authority.scope).await.map_err(away)?;
        let shown = all.iter().filter(|job| job.enabled || include_disabled);
        Ok(json!({"jobs": shown.map(|job| job.wire(None)).collect::<Vec<_>>()}))
    }

    /// Adds a job. What it does not say comes from where the agent is: session, agent, and the chat to answer in.
    pub async fn cron_add(&self, job: &Value, context: u64) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let mut job = unwrapped(job, "job")?;
        let run = &self.0;
        let services = run.directory.services();
        job.entry("agentId").or_insert_with(|| json!(run.authority.agent_id));
        let scope = &run.authority.scope;
        if own::is_own(&services.config, scope, &run.authority.key)
            .await
            .map_err(away)?
        {
            job.entry("sessionKey").or_insert_with(|| json!(run.authority.key));
        }
        self.of_a_hook(&mut job).await?;
        self.answer_here(&mut job).await?;
        if context > 0 {
            self.remind(&mut job, context).await?;
        }
        let added = services
            .config
            .add_cron_job(scope, &Value::Object(job), self.cron_limits())
            .await
            .map_err(away)?;
        jobs::changed(&run.directory, scope, "added", &added);
        Ok(Value::Object(added.wire(None)))
    }

    pub async fn cron_update(&self, id: &str, patch: &Value) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let mut patch = unwrapped(patch, "patch")?;
        self.of_a_hook(&mut patch).await?;
        let (run, scope) = (&self.0, &self.0.authority.scope);
        let services = run.directory.services();
        let job = services
            .config
            .update_cron_job(scope, id, &Value::Object(patch), None, self.cron_limits())
            .await
            .map_err(away)?;
        jobs::changed(&run.directory, scope, "updated", &job);
        Ok(Value::Object(job.wire(None)))
    }

    pub async fn cron_remove(&self, id: &str) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let (run, scope) = (&self.0, &self.0.authority.scope);
        let removed = jobs::remove(&run.directory, scope, id).await.map_err(away)?;
        Ok(json!({"ok": true, "removed": removed}))
    }

    /// Runs one now, or only if it is due.
    pub async fn cron_run(&self, id: &str, due: bool) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let asked = if due { Asked::Due } else { Asked::Force };
        let chain = self.0.chain.woken()?;
        let started = jobs::run_now(&self.0.directory, &self.0.authority.scope, id, asked, Some(chain));
        Ok(match started.await.map_err(away)? {
            Started::Run(run_id) => json!({"ok": true, "enqueued": true, "runId": run_id}),
            Started::Not(reason) => json!({"ok": true, "ran": false, "reason": reason}),
        })
    }

    /// The newest entries of a job's log.
    pub async fn cron_runs(&self, id: &str) -> Result<Value, Refusal> {
        self.own_jobs()?;
        let config = &self.0.directory.services().config;
        let scope = &self.0.authority.scope;
        let filter = RunFilter {
            job_id: Some(id.to_owned()),
            limit: ENTRIES,
            ..RunFilter::default()
        };
        let (rows, total) = config.cron_runs(scope, &filter).await.map_err(away)?;
        let delivered = config.cron_deliveries(scope, &rows).await.map_err(away)?;
        let entries: Vec<Value> = rows.iter().map(|row| log_entry(row, &delivered)).collect();
        Ok(json!({"entries": entries, "total": total}))
    }

    /// Tells the agent's main session something, now or with its next turn.
    pub async fn cron_wake(&self, text: &str, now: bool) -> Result<Value, Refusal> {
        self.own_jobs()?;
        if text.trim().is_empty() || text.len() > LONGEST_WAKE {
            return Err(format!("text has 1 byte to {} KiB.", LONGEST_WAKE / 1024));
        }
        let (run, scope) = (&self.0, &self.0.authority.scope);
        let session = key::main(&run.authority.agent_id);
        let told = if now {
            wake::relay(&run.directory, scope, &session, text, (run.chain, run.chain.woken()?)).await
        } else {
            wake::tell(&run.directory, scope, &session, text, false).await
        };
        told.map_err(away)?;
        Ok(json!({"ok": true}))
    }

    /// A job that answers answers in the chat the run is in, if it says nothing else.
    async fn answer_here(&self, job: &mut Map<String, Value>) -> Result<(), Refusal> {
        let run = &self.0;
        let Some(here) = &run.place else { return Ok(()) };
        let named = |field: &str| job.get("delivery").is_some_and(|delivery| !delivery[field].is_null());
        let kind = job.get("payload").and_then(|payload| payload["kind"].as_str());
        let silent = job
            .get("delivery")
            .and_then(|delivery| delivery["mode"].as_str())
            .is_some_and(|mode| mode != "announce");
        if silent || named("channel") || named("to") || kind == Some("systemEvent") || job.contains_key("text") {
            return Ok(());
        }
        let account = run
            .directory
            .services()
            .config
            .account(run.authority.scope.tenant(), &here.channel, &here.account_id)
            .await
            .map_err(away)?;
        // On somebody else's bot the user is where they linked themselves, which is found by itself.
        if account.is_none_or(|account| account.owner != *run.authority.scope.user()) {
            return Ok(());
        }
        let word = match here.peer.kind {
            PeerKind::Direct => "direct",
            PeerKind::Group => "group",
            PeerKind::Channel => "channel",
        };
        let delivery = job.entry("delivery").or_insert_with(|| json!({}));
        let Value::Object(delivery) = delivery else {
            return Ok(());
        };
        delivery.insert("mode".to_owned(), json!("announce"));
        delivery.insert("channel".to_owned(), json!(here.channel));
        delivery.insert("accountId".to_owned(), json!(here.account_id));
        delivery.insert("to".to_owned(), json!(format!("{word}:{}", here.peer.id)));
        if let Some(thread) = &here.peer.thread {
            delivery.insert("threadId".to_owned(), json!(thread));
        }
        Ok(())
    }

    /// Puts what was said lately under the text of a reminder.
    async fn remind(&self, job: &mut Map<String, Value>, messages: u64) -> Result<(), Refusal> {
        let run = &self.0;
        let (scope, session) = (&run.authority.scope, &run.authority.key);
        let conversation = &run.directory.services().conversation;
        let page = conversation
            .history(scope, session, messages.min(MOST_CONTEXT))
            .await
            .map_err(away)?;
        let mut lines = String::new();
        for message in &page.messages {
            let who = match message["role"].as_str() {
                Some("user") => "User",
                Some("assistant") => "Assistant",
                Some(_) | None => continue,
            };
            let Some(text) = display::one_line(message, CONTEXT_LINE) else {
                continue;
            };
            if lines.chars().count() + text.chars().count() > CONTEXT {
                break;
            }
            lines.push_str(&format!("\n- {who}: {text}"));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let under = |text: &mut Value| {
            if let Value::String(text) = text {
                text.push_str("\n\nRecent context:");
                text.push_str(&lines);
            }
        };
        for field in ["text", "message"] {
            if let Some(text) = job.get_mut(field) {
                under(text);
            }
            if let Some(text) = job.get_mut("payload").and_then(|payload| payload.get_mut(field)) {
                under(text);
            }
        }
        Ok(())
    }
}
