//! From a file to what will be stored: pure, so that it can be looked at before anything is written.

use claw_actors::config::providers::ProviderDraft;
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
    /// Sections of the user's document that the file sets.
    pub(super) document: Map<String, Value>,
    pub(super) report: Report,
}

/// Sections without meaning here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("$schema", ""),
    ("acp", "no local coding agents in the cloud"),
    (
        "approvals",
        "approvals are answered in the Admin UI and by paired clients",
    ),
    ("audio", "not available yet"),
    ("auth", "credentials are kept under Settings → AI Providers"),
    ("broadcast", "not available yet"),
    ("browser", "a browser belongs to a paired device"),
    ("canvasHost", "a canvas belongs to a paired device"),
    ("cli", "settings of the local command line"),
    ("diagnostics", "the operator's business"),
    ("discovery", "there is no local network to be found in"),
    ("env", "its values were used where the file refers to them"),
    ("gateway", "the gateway is this service"),
    ("hooks", "not available yet"),
    ("logging", "the operator's business"),
    ("mcp", "not available yet"),
    ("media", "not available yet"),
    ("memory", "memory is kept in the workspace"),
    ("meta", ""),
    ("nodeHost", "a setting of the device"),
    ("plugins", "plugins cannot run in the cloud"),
    ("secrets", "secrets are sealed by this service"),
    ("talk", "not available yet"),
    ("ui", "settings of the local Control UI"),
    ("update", "updates are the operator's business"),
    ("web", "WhatsApp Web needs a machine of your own"),
    ("wizard", ""),
];

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
            other => match ELSEWHERE.iter().find(|(known, _)| *known == other) {
                Some((_, why)) => plan.report.add(Outcome::NoMeaning, other, *why),
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
