//! From a file to what will be stored: pure, so that it can be looked at before anything is written.

use claw_actors::config::providers::ProviderDraft;
use claw_actors::config::schema;
use claw_actors::crypto::Secret;
use serde_json::{Map, Value, json};

use super::channels::{self, AccountPlan};
use super::report::{Outcome, Report};
use super::{placeholders, providers, sections};

/// What a file means here.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) providers: Vec<ProviderDraft>,
    pub(super) accounts: Vec<AccountPlan>,
    /// Scheduled jobs, as the file has them.
    pub(super) cron_jobs: Vec<Value>,
    /// What opens the hooks of the gateway the file is from.
    pub(super) hook_token: Option<Secret>,
    /// Sections of the user's document that the file sets.
    pub(super) document: Map<String, Value>,
    pub(super) report: Report,
}

pub(super) fn plan(mut file: Value) -> Plan {
    let variables = placeholders::variables(&file);
    placeholders::fill(&mut file, &variables);
    let mut plan = Plan::default();
    let Value::Object(file) = file else {
        return plan;
    };
    let has_session = file.get("session").and_then(|session| session.get("dmScope")).is_some();
    for (name, section) in file {
        match name.as_str() {
            "models" => providers::read(&section, &mut plan),
            "channels" => channels::read(&section, &mut plan),
            other if sections::known(other) => sections::read(other, section, &mut plan),
            other => match schema::at(other) {
                Some(key) => plan.report.add(Outcome::NoMeaning, other, key.note()),
                None => plan.report.add(Outcome::Unknown, other, ""),
            },
        }
    }
    if !has_session {
        plan.report.add(
            Outcome::Note,
            "session.dmScope",
            "the file does not set it: OpenClaw would share one session (main) between all direct chats, here each \
             sender has their own (per-channel-peer); set it to main to have it as before",
        );
    }
    plan
}

/// Everything of `object` as text, for settings that are kept as they are.
pub(super) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The document's sections as one patch.
impl Plan {
    pub(super) fn document_patch(&self) -> Value {
        json!(self.document)
    }
}
