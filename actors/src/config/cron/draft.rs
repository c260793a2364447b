//! From what a client, a tool or a file says to a job that can be kept: normalised leniently, checked strictly.

use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::job::{Definition, DeliveryMode, FailureAlert, FailureTarget, Payload, Target};
use super::schedule;
use crate::config::document::UserSettings;
use crate::session::key;

/// Longest names, characters, and texts, bytes.
const LONGEST_NAME: usize = 200;
const LARGEST: usize = 96 * 1024;
/// Models that stand in for the chosen one, and the longest name of one, bytes.
const MOST_FALLBACKS: usize = 10;
const LONGEST_MODEL: usize = 256;
/// Shortest interval of jobs that only leave a line for the main session, milliseconds.
const SHORTEST_EVENT_MS: i64 = 10_000;

/// What a draft is read with.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub settings: &'a UserSettings,
    /// The user's own zone.
    pub zone: Tz,
    /// Epoch milliseconds.
    pub now: i64,
    /// Shortest pause between two runs of the agent, milliseconds.
    pub shortest: i64,
    /// How far ahead a job that runs once has to be, milliseconds.
    pub ahead: i64,
    /// A model asks, not a person.
    pub by_model: bool,
}

/// A job out of the parameters of `cron.add` (or a job of a file). The error says what to change.
pub fn read(given: &Value, facts: &Facts<'_>) -> Result<Definition, String> {
    let mut draft = given.as_object().cloned().ok_or("a job must be an object")?;
    normalise(&mut draft);
    if text_of(&draft, "name").is_none() {
        return Err("must have required property 'name'".to_owned());
    }
    let at = |draft: &Map<String, Value>, name: &str| draft.get(name).cloned().unwrap_or_default();
    if at(&draft, "deleteAfterRun").is_null() && at(&draft, "schedule")["kind"] == "at" {
        draft.insert("deleteAfterRun".to_owned(), json!(true));
    }
    let answers = at(&draft, "payload")["kind"] == "agentTurn" && at(&draft, "sessionTarget") != "main";
    if draft.get("delivery").is_none_or(Value::is_null) && answers {
        draft.insert("delivery".to_owned(), json!({"mode": "announce", "channel": "last"}));
    }
    let job = settle(draft, facts, true)?;
    by_a_person(&job, None, facts)?;
    Ok(job)
}

/// An address outside, which also gets the user's webhook token, and whose words are trusted, is a person's choice, not a
/// model's: a page it read may have led to it. What is asked is what came of the draft, however it was spelled.
fn by_a_person(job: &Definition, old: Option<&Definition>, facts: &Facts<'_>) -> Result<(), String> {
    if !facts.by_model {
        return Ok(());
    }
    let known = old.map(Definition::addresses).unwrap_or_default();
    if job.addresses().iter().any(|to| !known.contains(to)) {
        return Err("only the user can make a job post to a web address".to_owned());
    }
    // What a stranger's words led to stays known as that.
    let made_in = old.and_then(|old| old.session_key.as_deref());
    if made_in.is_some_and(key::is_hook) && job.session_key.as_deref() != made_in {
        return Err("a job that a hook led to stays in that hook's session; make another one".to_owned());
    }
    if job.trusts_strangers() && old.is_none_or(|old| old.payload != job.payload) {
        return Err("only the user can change a job with allowUnsafeExternalContent".to_owned());
    }
    Ok(())
}

/// The job with a patch of `cron.update` on it.
pub fn change(job: &Definition, patch: &Value, facts: &Facts<'_>) -> Result<Definition, String> {
    let mut patch = patch.as_object().cloned().ok_or("patch must be an object")?;
    let rescheduled = ["schedule", "at", "atMs", "everyMs", "expr"]
        .iter()
        .any(|field| patch.contains_key(*field));
    let old = json!(job);
    let target = patch.get("sessionTarget").cloned();
    // What stays the same need not be named: a payload without its kind is of the old one.
    if let Some(Value::Object(payload)) = patch.get_mut("payload")
        && !payload.contains_key("kind")
        && payload.keys().all(|field| field != "message" && field != "text")
    {
        payload.insert("kind".to_owned(), old["payload"]["kind"].clone());
    }
    let had_kind = patch.contains_key("payload");
    normalise(&mut patch);
    if target.is_none() && !had_kind {
        patch.remove("sessionTarget");
    }
    let mut merged = old.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        match name.as_str() {
            "payload" if value["kind"] == old["payload"]["kind"] => merge(&mut merged, "payload", value),
            "delivery" if value.is_object() => merge(&mut merged, "delivery", value),
            "failureAlert" if value.is_object() => merge(&mut merged, "failureAlert", value),
            // A session of its own stays when only the payload is changed.
            "sessionTarget" if target.is_none() && fits(&merged, &value) => {}
            _ if value.is_null() => {
                merged.remove(&name);
            }
            _ => {
                merged.insert(name, value);
            }
        }
    }
    let changed = settle(merged, facts, rescheduled)?;
    by_a_person(&changed, Some(job), facts)?;
    Ok(changed)
}

/// Does the job's target suit the payload that `implied` is the usual target of.
fn fits(job: &Map<String, Value>, implied: &Value) -> bool {
    let target = job.get("sessionTarget").and_then(Value::as_str);
    (implied == "main") == (target == Some("main"))
}

fn merge(into: &mut Map<String, Value>, name: &str, patch: Value) {
    let slot = into.entry(name).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    if let (Some(fields), Value::Object(patch)) = (slot.as_object_mut(), patch) {
        for (field, value) in patch {
            if value.is_null() {
                fields.remove(&field);
            } else {
                fields.insert(field, value);
            }
        }
    }
}

/// Older and flat spellings become today's.
fn normalise(draft: &mut Map<String, Value>) {
    if let Some(Value::Object(inner)) = draft.remove("job") {
        draft.extend(inner);
    }
    if !draft.contains_key("schedule") {
        let flat = move_fields(draft, &["at", "atMs", "everyMs", "anchorMs", "expr", "tz", "staggerMs"]);
        if !flat.is_empty() {
            draft.insert("schedule".to_owned(), Value::Object(flat));
        }
    }
    if let Some(Value::Object(schedule)) = draft.get_mut("schedule") {
        normalise_schedule(schedule);
    }
    if !draft.contains_key("payload") {
        let flat = move_fields(
            draft,
            &[
                "message",
                "text",
                "model",
                "fallbacks",
                "thinking",
                "timeoutSeconds",
                "toolsAllow",
                "lightContext",
                "allowUnsafeExternalContent",
            ],
        );
        if !flat.is_empty() {
            draft.insert("payload".to_owned(), Value::Object(flat));
        }
    }
    normalise_payload(draft);
    for name in [
        "name",
        "description",
        "sessionTarget",
        "wakeMode",
        "agentId",
        "sessionKey",
    ] {
        if let Some(Value::String(text)) = draft.get_mut(name) {
            *text = text.trim().to_owned();
        }
    }
    if let Some(Value::Object(delivery)) = draft.get_mut("delivery") {
        normalise_target(delivery);
        if delivery.get("mode").is_some_and(|mode| mode == "deliver") {
            delivery.insert("mode".to_owned(), json!("announce"));
        }
        if let Some(Value::Object(failure)) = delivery.get_mut("failureDestination") {
            normalise_target(failure);
        }
    }
    if let Some(Value::Object(alert)) = draft.get_mut("failureAlert") {
        normalise_target(alert);
    }
    let kind = draft.get("payload").map(|payload| payload["kind"].clone());
    let named = draft.get("sessionTarget").and_then(Value::as_str);
    let target = match named {
        None | Some("") => match kind.as_ref().and_then(Value::as_str) {
            Some("systemEvent") => Some("main".to_owned()),
            Some("agentTurn") => Some("isolated".to_owned()),
            Some(_) | None => None,
        },
        // Fixed when it is chosen: what is current later is something else.
        Some("current") => Some(match text_of(draft, "sessionKey") {
            Some(key) => format!("session:{key}"),
            None => "isolated".to_owned(),
        }),
        Some(target) => Some(target.to_owned()),
    };
    if let Some(target) = target {
        draft.insert("sessionTarget".to_owned(), json!(target));
    }
}

fn normalise_schedule(schedule: &mut Map<String, Value>) {
    if let Some(at) = schedule.remove("atMs").filter(|at| !at.is_null()) {
        schedule.entry("at").or_insert(at);
    }
    if let Some(Value::Number(at)) = schedule.get("at") {
        let at = at.to_string();
        schedule.insert("at".to_owned(), json!(at));
    }
    let kind = schedule
        .get("kind")
        .and_then(Value::as_str)
        .map(str::trim)
        .map(str::to_owned);
    let kind = kind.filter(|kind| !kind.is_empty()).or_else(|| {
        [("at", "at"), ("everyMs", "every"), ("expr", "cron")]
            .iter()
            .find(|(field, _)| schedule.contains_key(*field))
            .map(|(_, kind)| (*kind).to_owned())
    });
    if let Some(kind) = kind {
        schedule.insert("kind".to_owned(), json!(kind.to_lowercase()));
    }
}

fn normalise_payload(draft: &mut Map<String, Value>) {
    let mut deliver = Map::new();
    if let Some(Value::Object(payload)) = draft.get_mut("payload") {
        let kind = payload.get("kind").and_then(Value::as_str).map(str::to_lowercase);
        let kind = match kind.as_deref().map(str::trim) {
            Some("systemevent") => Some("systemEvent".to_owned()),
            Some("agentturn") => Some("agentTurn".to_owned()),
            Some("") | None if payload.contains_key("message") => Some("agentTurn".to_owned()),
            Some("") | None if payload.contains_key("text") => Some("systemEvent".to_owned()),
            Some(other) => Some(other.to_owned()),
            None => None,
        };
        if let Some(kind) = kind {
            payload.insert("kind".to_owned(), json!(kind));
        }
        // Once a part of the payload.
        deliver = move_fields(payload, &["deliver", "channel", "to", "bestEffortDeliver"]);
    }
    if deliver.is_empty() || draft.contains_key("delivery") {
        return;
    }
    let announce = deliver.get("deliver") != Some(&json!(false));
    let mut delivery = Map::new();
    delivery.insert("mode".to_owned(), json!(if announce { "announce" } else { "none" }));
    for (old, new) in [
        ("channel", "channel"),
        ("to", "to"),
        ("bestEffortDeliver", "bestEffort"),
    ] {
        if let Some(value) = deliver.remove(old) {
            delivery.insert(new.to_owned(), value);
        }
    }
    draft.insert("delivery".to_owned(), Value::Object(delivery));
}

fn normalise_target(target: &mut Map<String, Value>) {
    for name in ["channel", "to", "accountId"] {
        match target.get_mut(name) {
            Some(Value::String(text)) => {
                *text = if name == "channel" {
                    text.trim().to_lowercase()
                } else {
                    text.trim().to_owned()
                };
            }
            Some(Value::Number(number)) => {
                let number = number.to_string();
                target.insert(name.to_owned(), json!(number));
            }
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {}
        }
    }
}

fn move_fields(from: &mut Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let mut moved = Map::new();
    for name in names {
        if let Some(value) = from.remove(*name).filter(|value| !value.is_null()) {
            moved.insert((*name).to_owned(), value);
        }
    }
    moved
}

fn text_of<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Reads the normalised job and checks it. `rescheduled`: its schedule is new, so it must lie ahead.
fn settle(mut draft: Map<String, Value>, facts: &Facts<'_>, rescheduled: bool) -> Result<Definition, String> {
    unavailable(&draft)?;
    draft.retain(|_, value| !value.is_null());
    draft.entry("wakeMode").or_insert_with(|| json!("now"));
    let size = Value::Object(draft.clone()).to_string().len();
    if size > LARGEST {
        return Err(format!("the job is larger than {} KiB", LARGEST / 1024));
    }
    let mut job: Definition = serde_json::from_value(Value::Object(draft)).map_err(|error| {
        let complaint = error.to_string();
        let missing = complaint
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        match missing {
            Some(field) => format!("must have required property '{field}'"),
            None => complaint,
        }
    })?;
    if job.failure_alert == Some(FailureAlert::Never(true)) {
        return Err("failureAlert must be false or an object".to_owned());
    }
    let names = [Some(&job.name), job.display_name.as_ref(), job.declaration_key.as_ref()];
    if names
        .into_iter()
        .flatten()
        .any(|name| name.chars().count() > LONGEST_NAME)
    {
        return Err(format!("a name has at most {LONGEST_NAME} characters"));
    }
    if let Some(agent) = &job.agent_id {
        let known = facts.settings.agents.iter().any(|known| known.id == *agent);
        if !known && *agent != facts.settings.default_agent {
            return Err(format!("unknown agent id \"{agent}\""));
        }
    }
    let agent = job
        .agent_id
        .clone()
        .unwrap_or_else(|| facts.settings.default_agent.clone());
    if let Some(key) = &job.session_key {
        key::resolve(key, &agent).map_err(|error| error.to_string())?;
    }
    if rescheduled {
        job.schedule = job.schedule.settled(facts.now, facts.zone)?;
    }
    target(&mut job, &agent)?;
    payload(&mut job)?;
    let waits = matches!(job.payload, Payload::SystemEvent { .. });
    let shortest = if waits {
        facts.shortest.min(SHORTEST_EVENT_MS)
    } else {
        facts.shortest
    };
    if rescheduled {
        job.schedule.check(facts.now, shortest)?;
        job.schedule.check_ahead(facts.now, facts.ahead)?;
    } else if !job.schedule.is_once() {
        // The payload may have become one that may run less often.
        job.schedule.check(facts.now, shortest)?;
    }
    Ok(job)
}

/// Longest web address, bytes.
const LONGEST_ADDRESS: usize = 2048;

/// The session it runs in, which must suit what it does.
fn target(job: &mut Definition, agent: &str) -> Result<(), String> {
    let event = matches!(job.payload, Payload::SystemEvent { .. });
    match job.session_target.as_str() {
        "main" if !event => return Err("main cron jobs require payload.kind=\"systemEvent\"".to_owned()),
        "main" | "isolated" => {}
        other => {
            let Some(named) = other.strip_prefix("session:") else {
                return Err("sessionTarget must be main, isolated, current or session:<key>".to_owned());
            };
            let key = key::resolve(named, agent).map_err(|error| error.to_string())?;
            if key::agent_of(&key) != agent {
                return Err("sessionTarget names a session of another agent".to_owned());
            }
            job.session_target = format!("session:{key}");
        }
    }
    if event && job.session_target != "main" {
        return Err("isolated/current/session cron jobs require payload.kind=\"agentTurn\"".to_owned());
    }
    let announces =
        |delivery: &super::job::Delivery| delivery.mode != DeliveryMode::None || delivery.failure_destination.is_some();
    if event && job.delivery.as_ref().is_some_and(announces) {
        return Err("cron channel delivery config is only supported for sessionTarget=\"isolated\"".to_owned());
    }
    Ok(())
}

fn payload(job: &mut Definition) -> Result<(), String> {
    match &mut job.payload {
        Payload::SystemEvent { text } => {
            if text.trim().is_empty() {
                return Err("payload.text must not be empty".to_owned());
            }
        }
        Payload::AgentTurn {
            message,
            timeout_seconds,
            tools_allow,
            fallbacks,
            ..
        } => {
            if message.trim().is_empty() {
                return Err("payload.message must not be empty".to_owned());
            }
            if timeout_seconds.is_some_and(|seconds| !seconds.is_finite() || !(0.0..=1e9).contains(&seconds)) {
                return Err("payload.timeoutSeconds must be a number of seconds".to_owned());
            }
            tools_allow.get_or_insert_with(|| vec!["*".to_owned()]);
            let listed = fallbacks.as_deref().unwrap_or_default();
            if listed.len() > MOST_FALLBACKS {
                return Err(format!("payload.fallbacks has {MOST_FALLBACKS} at most"));
            }
            if listed
                .iter()
                .any(|name| name.trim().is_empty() || name.len() > LONGEST_MODEL)
            {
                return Err("payload.fallbacks are names of models".to_owned());
            }
        }
    }
    if let Some(FailureAlert::After { after, cooldown_ms, .. }) = &job.failure_alert {
        if after.is_some_and(|after| after < 1) {
            return Err("failureAlert.after must be at least 1".to_owned());
        }
        if cooldown_ms.is_some_and(|cooldown| !(0..=schedule::LATEST_MS).contains(&cooldown)) {
            return Err("failureAlert.cooldownMs must not be negative".to_owned());
        }
    }
    let delivery = job.delivery.as_ref();
    let alert = match &job.failure_alert {
        Some(FailureAlert::After { to, .. }) => Some(to),
        Some(FailureAlert::Never(_)) | None => None,
    };
    let destination = delivery.and_then(|delivery| delivery.failure_destination.as_ref());
    let failures = |to: &'_ FailureTarget| (to.is_posted(), to.target.clone());
    for (place, found) in [
        (
            "delivery",
            delivery.map(|delivery| (delivery.mode == DeliveryMode::Webhook, delivery.target.clone())),
        ),
        ("delivery.failureDestination", destination.map(failures)),
        ("failureAlert", alert.map(failures)),
    ] {
        match found {
            Some((true, target)) => check_address(place, &target)?,
            Some((false, target)) => check_target(&target)?,
            None => {}
        }
    }
    Ok(())
}

/// Whether it may be reached is decided when something is sent.
fn check_address(place: &str, target: &Target) -> Result<(), String> {
    let to = target.to.as_deref().unwrap_or_default();
    let web = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
    let fits =
        |rest: &str| !rest.is_empty() && !rest.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    if to.len() > LONGEST_ADDRESS || !web.is_some_and(fits) {
        return Err(format!(
            "{place}.to must be a web address (http or https) for {place}.mode \"webhook\""
        ));
    }
    Ok(())
}

fn check_target(target: &Target) -> Result<(), String> {
    let whole = |thread: &Value| thread.is_string() || thread.is_i64() || thread.is_u64();
    if target.thread_id.as_ref().is_some_and(|thread| !whole(thread)) {
        return Err("threadId must be a text or a whole number".to_owned());
    }
    if target.to.is_some() && target.channel().is_none() {
        return Err("delivery.to needs delivery.channel".to_owned());
    }
    Ok(())
}

/// Refuses what a hosted gateway does not do, instead of keeping it without effect.
fn unavailable(draft: &Map<String, Value>) -> Result<(), String> {
    let at = |name: &str| draft.get(name).unwrap_or(&Value::Null);
    for (place, word, why) in [
        ("schedule", "on-exit", "commands run on paired devices only"),
        ("schedule", "stream", "commands run on paired devices only"),
        ("payload", "command", "commands run on paired devices only"),
        ("payload", "script", "scripts are not run here"),
        ("payload", "heartbeat", "it is made by the gateway itself"),
    ] {
        if at(place)["kind"] == word {
            return Err(format!("{place}.kind \"{word}\" is not available: {why}"));
        }
    }
    for name in ["trigger", "pacing"] {
        if !at(name).is_null() {
            return Err(format!("{name} is not available here"));
        }
    }
    let delivery = at("delivery");
    if delivery["completionDestination"]["mode"] == "webhook" {
        return Err("delivery.completionDestination is not available here: use delivery.mode webhook".to_owned());
    }
    for (place, mode) in [
        (
            "delivery.failureDestination.mode",
            &delivery["failureDestination"]["mode"],
        ),
        ("failureAlert.mode", &at("failureAlert")["mode"]),
    ] {
        if !mode.is_null() && mode != "announce" && mode != "webhook" {
            return Err(format!("{place} must be announce or webhook"));
        }
    }
    Ok(())
}
