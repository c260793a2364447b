//! What a job is, as the wire spells it (`agent-runtime` §17.1).

use claw_entities::cron_job;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::schedule::{Schedule, spell};
use crate::crypto::token;

/// Everything a person chose about a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after_run: Option<bool>,
    pub schedule: Schedule,
    /// `main`, `isolated` or `session:<key>`.
    pub session_target: String,
    pub wake_mode: WakeMode,
    pub payload: Payload,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_alert: Option<FailureAlert>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeMode {
    #[default]
    Now,
    NextHeartbeat,
}

/// What a firing does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Payload {
    /// Tells the main session something.
    SystemEvent { text: String },
    /// Asks the agent in a session of the job's own, or in a named one.
    AgentTurn {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking: Option<String>,
        /// 0 = no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_seconds: Option<f64>,
        /// Patterns of tools the run may use; `*` = all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tools_allow: Option<Vec<String>>,
        /// Models that stand in for the chosen one, in this order; an empty list: none does. Absent: the agent's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallbacks: Option<Vec<String>>,
        /// None of the workspace's files go into the prompt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        light_context: Option<bool>,
        /// What a hook's session says is asked as it stands, not as a stranger's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allow_unsafe_external_content: Option<bool>,
    },
}

/// Where the answer of an isolated run goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub mode: DeliveryMode,
    #[serde(flatten)]
    pub target: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_effort: Option<bool>,
    /// Where failures are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_destination: Option<FailureTarget>,
}

/// Where failures are told: a chat, or the web address in `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureTarget {
    /// Absent: announced in a chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FailureMode>,
    #[serde(flatten)]
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureMode {
    Announce,
    /// Posted to the web address in `to`.
    Webhook,
}

impl FailureTarget {
    pub fn is_posted(&self) -> bool {
        self.mode == Some(FailureMode::Webhook)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    #[default]
    None,
    Announce,
    /// Posted to the web address in `to`.
    Webhook,
}

/// A chat: a channel and who or what in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A channel's id; `last` or nothing is where the user wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// A text or a number, as the platform has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Value>,
}

impl Definition {
    /// Addresses outside this service that it posts to.
    pub fn addresses(&self) -> Vec<&str> {
        let delivery = self.delivery.as_ref();
        let answers = delivery.map(|delivery| (delivery.mode == DeliveryMode::Webhook, &delivery.target));
        let failures = [
            delivery.and_then(|delivery| delivery.failure_destination.as_ref()),
            match &self.failure_alert {
                Some(FailureAlert::After { to, .. }) => Some(to),
                Some(FailureAlert::Never(_)) | None => None,
            },
        ];
        let failures = failures.into_iter().flatten().map(|to| (to.is_posted(), &to.target));
        answers
            .into_iter()
            .chain(failures)
            .filter_map(|(posted, target)| {
                let to = target.to.as_deref()?;
                // An address without its mode waits for the mode.
                (posted || to.contains("://")).then_some(to)
            })
            .collect()
    }

    /// Are the words of a stranger asked as if they were the user's.
    pub fn trusts_strangers(&self) -> bool {
        match &self.payload {
            Payload::SystemEvent { .. } => false,
            Payload::AgentTurn {
                allow_unsafe_external_content,
                ..
            } => *allow_unsafe_external_content == Some(true),
        }
    }
}

impl Target {
    /// The named channel; `None` means where the user wrote last.
    pub fn channel(&self) -> Option<&str> {
        self.channel.as_deref().filter(|channel| *channel != "last")
    }
}

/// When failures are told, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailureAlert {
    /// Only ever `false`: never.
    Never(bool),
    After {
        /// Failures in a row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<i64>,
        /// Shortest time between two alerts.
        #[serde(default, rename = "cooldownMs", skip_serializing_if = "Option::is_none")]
        cooldown_ms: Option<i64>,
        #[serde(flatten)]
        to: FailureTarget,
    },
}

/// Facts about earlier runs. What is on the wire only is made in [`Job::wire`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_activated_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at_ms: Option<i64>,
    /// `ok`, `error` or `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub consecutive_errors: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub schedule_error_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_alert_at_ms: Option<i64>,
    /// As `cron_run.delivery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery_error: Option<String>,
    /// `cron_run.scheduled_at` of the newest ended run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scheduled_at: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A stored job.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub definition: Definition,
    pub enabled: bool,
    pub next_run_at: Option<i64>,
    pub running_at: Option<i64>,
    pub state: State,
    pub epoch: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl TryFrom<cron_job::Model> for Job {
    type Error = serde_json::Error;

    fn try_from(row: cron_job::Model) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.id,
            definition: serde_json::from_value(row.definition)?,
            enabled: row.enabled,
            next_run_at: row.next_run_at,
            running_at: row.running_at,
            state: serde_json::from_value(row.state)?,
            epoch: row.epoch,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The run id of a firing: the client's word for it, and the key of its inbox row.
pub fn run_id(job_id: &str, scheduled_at: i64) -> String {
    format!("cron:{job_id}:{scheduled_at}")
}

/// Job and planned time of a run id made by [`run_id`].
pub fn firing_of(run_id: &str) -> Option<(&str, i64)> {
    let (job, at) = run_id.strip_prefix("cron:")?.rsplit_once(':')?;
    Some((job, at.parse().ok()?))
}

impl Job {
    /// The agent it runs as.
    pub fn agent<'a>(&'a self, default: &'a str) -> &'a str {
        self.definition.agent_id.as_deref().unwrap_or(default)
    }

    /// Changes whenever a person changes the job.
    pub fn revision(&self) -> String {
        let text = json!({"definition": self.definition, "enabled": self.enabled}).to_string();
        format!("sha256:{}", token::hash(&text))
    }

    /// The job as events show it. `delivery` is `delivered`, `not-delivered`, `unknown` or `not-requested`.
    pub fn event(&self, delivery: Option<&str>) -> Value {
        let mut shown = fields(json!(self.definition));
        shown.insert("id".to_owned(), json!(self.id));
        shown.insert("enabled".to_owned(), json!(self.enabled));
        shown.insert("createdAtMs".to_owned(), json!(self.created_at));
        shown.insert("updatedAtMs".to_owned(), json!(self.updated_at));
        shown.insert("state".to_owned(), self.wire_state(delivery));
        shown.insert(
            "scheduledToolPolicy".to_owned(),
            json!({"version": 1, "mode": "trusted"}),
        );
        Value::Object(shown)
    }

    /// The job as `cron.get` and its kin answer.
    pub fn wire(&self, delivery: Option<&str>) -> Map<String, Value> {
        let mut shown = fields(self.event(delivery));
        shown.insert("configRevision".to_owned(), json!(self.revision()));
        if let Some(next) = self.next_run_at {
            shown.insert("nextRunAtMs".to_owned(), json!(next));
        }
        let state = &self.state;
        for (name, value) in [
            ("lastRunAtMs", json!(state.last_run_at_ms)),
            ("lastRunStatus", json!(state.last_run_status)),
            ("lastRunError", json!(state.last_error)),
            ("lastDeliveryStatus", json!(delivery)),
            ("lastDeliveryError", json!(state.last_delivery_error)),
        ] {
            if !value.is_null() {
                shown.insert(name.to_owned(), value);
            }
        }
        shown
    }

    /// The short form of lists (`compact`).
    pub fn compact(&self, default_agent: &str, delivery: Option<&str>) -> Map<String, Value> {
        let definition = &self.definition;
        let state = &self.state;
        let mut shown = Map::new();
        for (name, value) in [
            ("id", json!(self.id)),
            ("name", json!(definition.name)),
            ("agentId", json!(definition.agent_id)),
            ("updatedAtMs", json!(self.updated_at)),
            ("declarationKey", json!(definition.declaration_key)),
            ("displayName", json!(definition.display_name)),
            ("enabled", json!(self.enabled)),
            ("nextRunAt", json!(self.next_run_at.map(spell))),
            ("nextRunAtMs", json!(self.next_run_at)),
            ("scheduleKind", json!(definition.schedule.kind())),
            ("schedule", json!(definition.schedule)),
            ("lastDeliveryStatus", json!(delivery)),
            ("effectiveAgentId", json!(self.agent(default_agent))),
        ] {
            if !value.is_null() {
                shown.insert(name.to_owned(), value);
            }
        }
        // These stand there as null before the first run.
        shown.insert("lastRunAt".to_owned(), json!(state.last_run_at_ms.map(spell)));
        shown.insert("lastRunAtMs".to_owned(), json!(state.last_run_at_ms));
        shown.insert("lastRunStatus".to_owned(), json!(state.last_run_status));
        shown.insert("lastRunError".to_owned(), json!(state.last_error));
        shown
    }

    fn wire_state(&self, delivery: Option<&str>) -> Value {
        let state = &self.state;
        let mut shown = fields(json!(state));
        for internal in ["lastDelivery", "lastScheduledAt", "lastErrorReason"] {
            shown.remove(internal);
        }
        for (name, value) in [
            ("nextRunAtMs", json!(self.next_run_at)),
            ("runningAtMs", json!(self.running_at)),
            ("lastStatus", json!(state.last_run_status)),
            ("lastErrorReason", json!(state.last_error_reason.as_deref().map(reason))),
            ("lastDeliveryStatus", json!(delivery)),
            ("lastDelivered", json!(delivery.map(|status| status == "delivered"))),
        ] {
            if !value.is_null() {
                shown.insert(name.to_owned(), value);
            }
        }
        Value::Object(shown)
    }

    /// Where its answer goes, for people: `{label, detail}`.
    pub fn delivery_preview(&self) -> Value {
        let delivery = self.definition.delivery.as_ref();
        let Some(delivery) = delivery.filter(|delivery| delivery.mode != DeliveryMode::None) else {
            return json!({"label": "not requested", "detail": "not requested"});
        };
        if delivery.mode == DeliveryMode::Webhook {
            let to = delivery.target.to.as_deref().unwrap_or_default();
            return json!({"label": format!("webhook -> {to}"), "detail": "explicit"});
        }
        match delivery.target.channel() {
            None => json!({"label": "announce -> last", "detail": "resolved when the job has run"}),
            Some(channel) => {
                let to = delivery.target.to.as_deref().unwrap_or("last");
                json!({"label": format!("announce -> {channel}:{to}"), "detail": "explicit"})
            }
        }
    }
}

fn fields(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value {
        fields
    } else {
        Map::new()
    }
}

/// The protocol's word for a failure class.
fn reason(class: &str) -> &str {
    const KNOWN: [&str; 9] = [
        "auth",
        "auth_permanent",
        "format",
        "rate_limit",
        "overloaded",
        "billing",
        "timeout",
        "context_overflow",
        "model_not_found",
    ];
    match class {
        known if KNOWN.contains(&known) => known,
        "session_expired" => "session_expired",
        "network" => "server_error",
        "unknown" => "unknown",
        _ => "unclassified",
    }
}
