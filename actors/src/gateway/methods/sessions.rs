//! `sessions.*`: lists, single sessions and subscriptions. Changes are in [`change`].

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::models::{level_names, shown_levels};
use super::session_key;
use crate::clock::now_ms;
use crate::config::devices::without_nulls;
use crate::config::providers::ModelView;
use crate::conversation::history::{Archived, SessionFilter, SessionRow};
use crate::conversation::{display, view};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Local, Methods};
use crate::gateway::scopes::{ADMIN, READ, WRITE};
use crate::session::record;
use crate::session::thinking;
use crate::supervisor::directory::InFlight;

mod begin;
mod branches;
mod change;
mod compact;
mod many;
mod resolve;
mod search;
mod spent;

/// Rows of `sessions.list` without `limit`.
const ROWS: u64 = 100;
const MOST_ROWS: u64 = 500;
/// Rows of one list that get a title and last words: each costs a look into its transcript (the original's number).
const MOST_TOLD: usize = 100;
/// Characters of the last words.
const LAST_WORDS: usize = 200;
/// Keys of one `sessions.preview`.
const MOST_KEYS: usize = 64;
/// Messages of `sessions.get` without `limit`.
const MESSAGES: u64 = 200;

pub(super) fn register(methods: &mut Methods) {
    methods.add("sessions.list", Access::Scope(READ), list);
    methods.add("sessions.describe", Access::Scope(READ), describe);
    methods.add("sessions.get", Access::Scope(READ), get).hidden();
    methods.add("sessions.preview", Access::Scope(READ), preview);
    methods
        .add("sessions.resolve", Access::Scope(READ), resolve::resolve)
        .hidden();
    methods.add("sessions.create", Access::Scope(WRITE), begin::create);
    methods.add("sessions.send", Access::Scope(WRITE), begin::send);
    methods
        .add("sessions.steer", Access::Scope(WRITE), begin::steer)
        .hidden();
    methods.add("sessions.abort", Access::Scope(WRITE), begin::abort);
    methods.add("sessions.patch", Access::Scope(WRITE), change::patch);
    methods.add("sessions.patchMany", Access::Scope(WRITE), many::patch);
    methods.add("sessions.groups.list", Access::Scope(READ), many::list);
    methods
        .add("sessions.groups.put", Access::Scope(WRITE), many::put)
        .write_limited();
    methods
        .add("sessions.groups.rename", Access::Scope(WRITE), many::rename)
        .write_limited();
    methods
        .add("sessions.groups.delete", Access::Scope(WRITE), many::delete)
        .write_limited();
    methods.add("sessions.branches.list", Access::Scope(READ), branches::list);
    methods.add("sessions.branches.switch", Access::Scope(ADMIN), branches::switch);
    methods.add("sessions.rewind", Access::Scope(ADMIN), branches::rewind);
    methods
        .add("sessions.fork", Access::Scope(WRITE), branches::fork)
        .write_limited();
    methods.add("sessions.search", Access::Scope(READ), search::search);
    methods
        .add("sessions.usage.timeseries", Access::Scope(READ), spent::timeseries)
        .hidden();
    methods
        .add("sessions.usage.logs", Access::Scope(READ), spent::logs)
        .hidden();
    methods.add("sessions.reset", Access::Scope(ADMIN), change::reset);
    methods.add("sessions.compact", Access::Scope(ADMIN), compact::compact);
    methods.add("sessions.delete", Access::Scope(WRITE), change::delete);
    methods.add_local("sessions.subscribe", Access::Scope(READ), Local::SubscribeSessions);
    methods.add_local("sessions.unsubscribe", Access::Scope(READ), Local::UnsubscribeSessions);
    methods.add_local(
        "sessions.messages.subscribe",
        Access::Scope(READ),
        Local::SubscribeMessages,
    );
    methods.add_local(
        "sessions.messages.unsubscribe",
        Access::Scope(READ),
        Local::UnsubscribeMessages,
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    limit: Option<u64>,
    offset: Option<u64>,
    agent_id: Option<String>,
    search: Option<String>,
    label: Option<String>,
    active_minutes: Option<i64>,
    archived: Option<Value>,
    spawned_by: Option<String>,
    #[serde(flatten)]
    extras: Extras,
}

/// What is told of a session beside its row. Each costs a look into its transcript.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extras {
    #[serde(default)]
    include_derived_titles: bool,
    #[serde(default)]
    include_last_message: bool,
}

impl Extras {
    /// Adds what the session is about and what was said last, as far as asked for.
    async fn tell(self, call: &Call, row: &SessionRow, view: &mut Value) -> Result<(), WireError> {
        let conversation = &call.state.services.conversation;
        if self.include_derived_titles
            && let Some(title) = conversation.derived_title(call.scope(), row).await?
        {
            view["derivedTitle"] = json!(title);
        }
        if self.include_last_message
            && let Some(words) = conversation.last_words(call.scope(), row, LAST_WORDS).await?
        {
            view["lastMessagePreview"] = json!(words);
        }
        Ok(())
    }
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    let limit = params.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let offset = params.offset.unwrap_or(0);
    let filter = SessionFilter {
        agent_id: params.agent_id,
        label: params.label,
        spawned_by: spawner(&call, params.spawned_by.as_deref()).await?,
        search: params.search,
        active_since: params
            .active_minutes
            .map(|minutes| now_ms().saturating_sub(minutes.saturating_mul(60_000))),
        archived: archived(params.archived.as_ref())?,
        ..SessionFilter::default()
    };
    let services = &call.state.services;
    let (rows, total) = services
        .conversation
        .find_sessions(call.scope(), &filter, limit, offset)
        .await?;
    let models = services.config.list_models(call.scope()).await?;
    let active = record::active(services, call.scope()).await?;
    let mut views = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let mut view = shown(row, &models, active.get(&row.key).map(Vec::as_slice));
        if at < MOST_TOLD {
            params.extras.tell(&call, row, &mut view).await?;
        }
        views.push(view);
    }
    let next = offset + rows.len() as u64;
    let has_more = next < total;
    Ok(json!({
        "ts": now_ms(), "path": "", "count": rows.len(), "totalCount": total, "limitApplied": limit,
        "nextOffset": has_more.then_some(next), "hasMore": has_more, "owners": [],
        "defaults": default_model(&models), "sessions": views,
    }))
}

/// Full key of the session whose sub-agents are asked for.
async fn spawner(call: &Call, given: Option<&str>) -> Result<Option<String>, WireError> {
    Ok(match given {
        None => None,
        Some(given) => Some(session_key(call, given).await?.into()),
    })
}

/// The newest sessions, of one agent or of all, as lists show them; and how many there are.
pub(super) async fn newest_shown(
    call: &Call,
    models: &[ModelView],
    agent: Option<&str>,
    limit: u64,
) -> Result<(Vec<Value>, u64), WireError> {
    let filter = SessionFilter {
        agent_id: agent.map(str::to_owned),
        archived: Archived::With,
        ..SessionFilter::default()
    };
    let conversation = &call.state.services.conversation;
    let (rows, total) = conversation.find_sessions(call.scope(), &filter, limit, 0).await?;
    Ok((rows.iter().map(|row| shown(row, models, None)).collect(), total))
}

/// `archived` of a list: false, true, or `all`.
fn archived(given: Option<&Value>) -> Result<Archived, WireError> {
    match given {
        None | Some(Value::Null | Value::Bool(false)) => Ok(Archived::Without),
        Some(Value::Bool(true)) => Ok(Archived::Only),
        Some(Value::String(all)) if all == "all" => Ok(Archived::With),
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => Err(WireError::invalid(
            "invalid sessions.list params: at /archived: must be a boolean or \"all\"",
        )),
    }
}

/// What sessions have when they say nothing else.
pub(super) async fn defaults(call: &Call) -> Result<Value, WireError> {
    Ok(default_model(
        &call.state.services.config.list_models(call.scope()).await?,
    ))
}

pub(super) fn default_model(models: &[ModelView]) -> Value {
    let default = models.iter().find(|model| model.default).or(models.first());
    let reasons = default.is_some_and(|model| model.reasoning);
    without_nulls(json!({
        "modelProvider": default.map(|model| &model.provider), "model": default.map(|model| &model.id),
        "contextTokens": default.map(|model| model.context_tokens), "modelSelectionTarget": "session",
        "thinkingLevels": shown_levels(reasons), "thinkingOptions": level_names(reasons),
        "thinkingDefault": default.map_or("off", |model| model.thinking.name()),
    }))
}

/// A session's row with its model and the runs that go on.
fn shown(row: &SessionRow, models: &[ModelView], active: Option<&[String]>) -> Value {
    let mut view = view::session(row);
    let chosen = row.entry.get("modelOverride").and_then(Value::as_str);
    let model = match chosen {
        Some(chosen) => models
            .iter()
            .find(|model| format!("{}/{}", model.provider, model.id) == chosen),
        None => models.iter().find(|model| model.default).or(models.first()),
    };
    if let Some(model) = model {
        view["modelProvider"] = json!(model.provider);
        view["model"] = json!(model.id);
        view["contextTokens"] = json!(model.context_tokens);
    } else if let Some((provider, model)) = chosen.and_then(|chosen| chosen.split_once('/')) {
        // A model that providers have without listing it.
        view["modelProvider"] = json!(provider);
        view["model"] = json!(model);
    }
    if chosen.is_some() {
        view["modelOverrideSource"] = json!("user");
    }
    let reasons = model.is_some_and(|model| model.reasoning);
    view["thinkingLevels"] = shown_levels(reasons);
    view["thinkingOptions"] = level_names(reasons);
    view["thinkingDefault"] = json!(model.map_or("off", |model| model.thinking.name()));
    if let Some(level) = thinking::stored(&row.entry).filter(|_| reasons) {
        view["thinkingLevel"] = json!(level.name());
    }
    let runs = active.unwrap_or_default();
    view["hasActiveRun"] = json!(!runs.is_empty());
    view["activeRunIds"] = json!(runs);
    if !runs.is_empty() {
        view["status"] = json!("running");
    }
    view
}

/// One session as it is right now.
pub(super) struct Info {
    pub(super) view: Value,
    in_flight: Option<InFlight>,
}

impl Info {
    /// The turn that goes on, as `chat.history` shows it to whoever joins in the middle.
    pub(super) fn in_flight(&self) -> Option<Value> {
        let run = self.in_flight.as_ref()?;
        Some(json!({
            "runId": run.run_id, "text": run.text, "startedAt": run.started_at, "sessionAbortable": false,
        }))
    }
}

/// What there is to say of a session, of one that has no messages yet too.
pub(super) async fn info(call: &Call, key: &SessionKey) -> Result<Info, WireError> {
    let services = &call.state.services;
    let models = services.config.list_models(call.scope()).await?;
    let live = call.state.directory.observe_session(call.scope(), key).await?;
    let runs: Vec<String> = live.in_flight.iter().map(|run| run.run_id.clone()).collect();
    let found = services.conversation.session(call.scope(), key).await?;
    let view = match &found {
        Some(row) => shown(row, &models, Some(&runs)),
        None => {
            let mut view = shown(&unused(key), &models, Some(&runs));
            for field in ["sessionId", "createdAt", "updatedAt", "lastInteractionAt"] {
                view[field] = Value::Null;
            }
            without_nulls(view)
        }
    };
    Ok(Info {
        view,
        in_flight: live.in_flight,
    })
}

/// A session nobody has used.
fn unused(key: &SessionKey) -> SessionRow {
    SessionRow {
        key: key.clone(),
        session_id: String::new(),
        agent_id: super::agent_of(key).to_owned(),
        label: None,
        entry: Value::Null,
        destination: Value::Null,
        created_at: 0,
        updated_at: 0,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeParams {
    key: String,
    #[serde(flatten)]
    extras: Extras,
}

async fn describe(call: Call, params: DescribeParams) -> Result<Value, WireError> {
    let key = session_key(&call, &params.key).await?;
    let found = call.state.services.conversation.session(call.scope(), &key).await?;
    let mut session = None;
    if let Some(row) = &found {
        let mut view = info(&call, &key).await?.view;
        params.extras.tell(&call, row, &mut view).await?;
        session = Some(view);
    }
    Ok(json!({"ts": now_ms(), "session": session}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetParams {
    #[serde(alias = "sessionKey")]
    key: String,
    limit: Option<u64>,
}

/// The newest messages alone. An unknown session has none.
async fn get(call: Call, params: GetParams) -> Result<Value, WireError> {
    let key = session_key(&call, &params.key).await?;
    let limit = params.limit.unwrap_or(MESSAGES);
    let page = call
        .state
        .services
        .conversation
        .history(call.scope(), &key, limit)
        .await?;
    Ok(json!({"messages": page.messages}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreviewParams {
    keys: Vec<String>,
    limit: Option<u64>,
    max_chars: Option<usize>,
}

async fn preview(call: Call, params: PreviewParams) -> Result<Value, WireError> {
    if params.keys.is_empty() || params.keys.len() > MOST_KEYS {
        return Err(WireError::invalid(format!(
            "invalid sessions.preview params: at /keys: must have 1 to {MOST_KEYS} items"
        )));
    }
    let limit = params.limit.unwrap_or(12).clamp(1, 50);
    let most = params.max_chars.unwrap_or(240).clamp(20, 2000);
    let mut previews = Vec::with_capacity(params.keys.len());
    for given in params.keys {
        let key = session_key(&call, &given).await?;
        let page = call
            .state
            .services
            .conversation
            .history(call.scope(), &key, limit)
            .await?;
        let items: Vec<Value> = page
            .messages
            .iter()
            .filter_map(|message| preview_item(message, most))
            .collect();
        let status = if page.session_id.is_empty() {
            "missing"
        } else if items.is_empty() {
            "empty"
        } else {
            "ok"
        };
        previews.push(json!({"key": given, "status": status, "items": items}));
    }
    Ok(json!({"ts": now_ms(), "previews": previews}))
}

fn preview_item(message: &Value, most: usize) -> Option<Value> {
    let text = display::one_line(message, most)?;
    Some(json!({"role": message["role"].as_str()?, "text": text}))
}

/// The session whose current transcript has this id.
pub(super) async fn by_session_id(call: &Call, id: &str) -> Result<Option<SessionRow>, WireError> {
    let filter = SessionFilter {
        session_id: Some(id.to_owned()),
        ..SessionFilter::default()
    };
    newest(call, filter).await
}

/// The newest session that fits, archived or not.
async fn newest(call: &Call, filter: SessionFilter) -> Result<Option<SessionRow>, WireError> {
    let filter = SessionFilter {
        archived: Archived::With,
        ..filter
    };
    let conversation = &call.state.services.conversation;
    let (rows, _) = conversation.find_sessions(call.scope(), &filter, 1, 0).await?;
    Ok(rows.into_iter().next())
}
