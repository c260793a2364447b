//! `POST /hooks/wake`, `/hooks/agent` and `/hooks/<mapping>` (`agent-runtime` §19.1): programs elsewhere, with tokens of
//! their own.
//!
//! Proven first, stored second, acknowledged last. What comes in is somebody else's words, and is wrapped as that.

use std::time::Duration;

use actix_web::http::header::ALLOW;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError};
use claw_actors::Error;
use claw_actors::config::document::{HookAction, HookSettings, Mapping, UserSettings};
use claw_actors::config::hooks::HookToken;
use claw_actors::crypto::Secret;
use claw_actors::session::hook::{self, AgentHook, template};
use claw_actors::session::untrusted;
use claw_entities::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::bearer;
use super::state::AppState;
use super::{body, tenant};
use crate::error::{ApiError, ApiResult};

const TOKEN: &str = "x-openclaw-token";
/// Longest idempotency key, characters (§19.1).
const LONGEST_KEY: usize = 256;
/// Longest name of a hook, characters.
const LONGEST_NAME: usize = 40;
/// Longest run that a request may ask for, seconds.
const LONGEST_RUN: u64 = 6 * 3600;

pub(super) fn resource() -> Resource {
    web::resource("/hooks/{hook:.+}")
        .route(web::post().to(receive))
        .default_service(web::to(no_such_method))
}

async fn no_such_method() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((ALLOW, "POST"))
        .json(json!({"ok": false, "error": "Method Not Allowed"}))
}

async fn receive(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    hook: web::Path<String>,
) -> HttpResponse {
    let hook = hook.trim_matches('/').to_owned();
    match received(&request, payload, &state, &hook).await {
        Ok(answer) => {
            count("accepted");
            answer
        }
        Err(error) => {
            count("refused");
            error
                .answering(error.status_code())
                .json(json!({"ok": false, "error": error.to_string()}))
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("claw_hooks_total", "outcome" => outcome).increment(1);
}

async fn received(request: &HttpRequest, payload: Payload, state: &AppState, hook: &str) -> ApiResult<HttpResponse> {
    let (scope, token) = caller(request, state, hook).await?;
    let config = &state.services.config;
    let settings = config.settings(&scope).await?;
    if !settings.hooks.enabled {
        return Err(ApiError::not_found(""));
    }
    state
        .hooks
        .spend(&(scope.tenant().clone(), token.id.clone()))
        .map_err(|wait| Error::Busy {
            message: "too many calls with this token".to_owned(),
            retry_after: wait,
        })?;
    let patience = Duration::from_secs(state.http.body_timeout_secs);
    let bytes = body::read(request, payload.into_inner(), settings.hooks.max_body_bytes, patience).await?;
    let payload: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("the body is not as documented: {error}")))?;
    if !payload.is_object() {
        return Err(Error::invalid("the body must be an object").into());
    }
    let run_id = hook::run_id(hook, idempotency_key(request, &payload)?.as_deref());
    let stored = accept(state, &scope, &settings, &token, hook, &run_id, payload);
    match tokio::time::timeout(Duration::from_secs(state.limits.accept_timeout_secs), stored).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Fenced.into()),
    }
}

/// Whose hook it is. The tenant is the host's; its user is the token's.
async fn caller(request: &HttpRequest, state: &AppState, hook: &str) -> ApiResult<(Scope, HookToken)> {
    let tenant = tenant::known(request, state).await?;
    if tenant.suspended {
        // As for platforms: what is not acknowledged comes again.
        return Err(Error::Fenced.into());
    }
    let in_query = |pair: &str| pair.split('=').next() == Some("token");
    if request.query_string().split('&').any(in_query) {
        return Err(Error::invalid("a token must be sent as a header, never in the address").into());
    }
    let client = state.client(request);
    state.may_guess(&tenant.id, &client)?;
    let Some(given) = bearer(request).or_else(|| own_header(request)) else {
        return Err(state.no_proof(&tenant.id, &client));
    };
    let found = state.services.config.authenticate_hook(&tenant.id, &given).await?;
    // A token for another hook is a wrong one here: nobody learns what it opens.
    if let Some((scope, token)) = found
        && may_try(state, &scope, &token, hook).await?
    {
        return Ok((scope, token));
    }
    Err(state.wrong_proof(&tenant.id, &client, "the token is not valid"))
}

/// Is there a hook of the token's at this path. A mapping is known by its id too; which one it is, the body says.
async fn may_try(state: &AppState, scope: &Scope, token: &HookToken, hook: &str) -> ApiResult<bool> {
    if token.opens(hook) {
        return Ok(true);
    }
    let (Some(only), false) = (token.hook.as_deref(), matches!(hook, "wake" | "agent")) else {
        return Ok(false);
    };
    let settings = state.services.config.settings(scope).await?;
    Ok(settings.hooks.leads_to(hook, only))
}

/// `x-openclaw-token`. A doubled header is no proof, but it is an attempt.
fn own_header(request: &HttpRequest) -> Option<Secret> {
    let mut values = request.headers().get_all(TOKEN);
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Secret::default());
    }
    Some(Secret::new(value.to_str().ok()?.trim()))
}

fn idempotency_key(request: &HttpRequest, payload: &Value) -> ApiResult<Option<String>> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().to_owned())
    };
    let given = header("idempotency-key")
        .or_else(|| header("x-openclaw-idempotency-key"))
        .or_else(|| payload["idempotencyKey"].as_str().map(str::to_owned));
    let Some(key) = given.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    if key.chars().count() > LONGEST_KEY {
        return Err(Error::invalid("an idempotency key has at most 256 characters").into());
    }
    Ok(Some(key))
}

async fn accept(
    state: &AppState,
    scope: &Scope,
    user: &UserSettings,
    token: &HookToken,
    hook: &str,
    run_id: &str,
    payload: Value,
) -> ApiResult<HttpResponse> {
    let settings = &user.hooks;
    match hook {
        "wake" => {
            let input: WakeIn = read(payload)?;
            let later = later(input.mode.as_deref(), "mode")?;
            let text = told(&input.text);
            hook::wake(&state.directory, scope, run_id, &text, later).await?;
            Ok(woken(later))
        }
        "agent" => {
            let input: AgentIn = read(payload)?;
            let asked = asked(user, input, token)?;
            hook::agent(&state.directory, scope, run_id, asked).await?;
            Ok(started(run_id))
        }
        path => {
            // The body chose it: a token for one hook opens no other one that way.
            let own = |mapping: &&Mapping| token.hook.as_deref().is_none_or(|only| mapping.is_called(only));
            let Some(mapping) = settings.mapping(path, &payload).filter(own) else {
                return Err(ApiError::not_found("hook"));
            };
            match mapping.action {
                HookAction::Wake => {
                    let template = mapping.text_template.as_deref().or(mapping.message_template.as_deref());
                    let text = template::render(template.unwrap_or("{{text}}"), &payload, path);
                    let text = if mapping.allow_unsafe_external_content {
                        untrusted::neutralise(&text)
                    } else {
                        told(&text)
                    };
                    hook::wake(&state.directory, scope, run_id, &text, mapping.later).await?;
                    Ok(woken(mapping.later))
                }
                HookAction::Agent => {
                    let asked = mapped(user, mapping, &payload, path)?;
                    hook::agent(&state.directory, scope, run_id, asked).await?;
                    Ok(started(run_id))
                }
            }
        }
    }
}

/// A text for the main session, marked as a stranger's. Nothing stays nothing.
fn told(text: &str) -> String {
    let text = untrusted::neutralise(text);
    match text.trim() {
        "" => String::new(),
        text => format!("[from outside, not the user's words] {text}"),
    }
}

fn woken(later: bool) -> HttpResponse {
    let mode = if later { "next-heartbeat" } else { "now" };
    HttpResponse::Ok().json(json!({"ok": true, "mode": mode}))
}

fn started(run_id: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"ok": true, "runId": run_id}))
}

fn read<T: serde::de::DeserializeOwned>(payload: Value) -> ApiResult<T> {
    serde_json::from_value(payload)
        .map_err(|error| Error::invalid(format!("the body is not as documented: {error}")).into())
}

fn later(mode: Option<&str>, field: &str) -> ApiResult<bool> {
    match mode {
        None | Some("now") => Ok(false),
        Some("next-heartbeat") => Ok(true),
        Some(_) => Err(Error::invalid(format!("{field} must be now or next-heartbeat")).into()),
    }
}

#[derive(Deserialize)]
struct WakeIn {
    text: String,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentIn {
    message: String,
    name: Option<String>,
    agent_id: Option<String>,
    session_key: Option<String>,
    wake_mode: Option<String>,
    deliver: Option<bool>,
    channel: Option<String>,
    to: Option<String>,
    model: Option<String>,
    thinking: Option<String>,
    timeout_seconds: Option<u64>,
}

fn filled(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What `/hooks/agent` asks for, within what the user allows.
fn asked(user: &UserSettings, input: AgentIn, token: &HookToken) -> ApiResult<AgentHook> {
    let settings = &user.hooks;
    if input.message.trim().is_empty() {
        return Err(Error::invalid("message required").into());
    }
    if input.session_key.is_some() && !settings.allow_request_session_key {
        return Err(Error::invalid("sessionKey is not allowed: set hooks.allowRequestSessionKey to allow it").into());
    }
    let session_key = filled(input.session_key);
    let name = name(filled(input.name).as_deref().unwrap_or(&token.name));
    let asked = AgentHook {
        message: framed(&name, &untrusted::wrap(&format!("hook {name}"), &input.message)),
        agent_id: filled(input.agent_id),
        session_key: session(settings, session_key)?,
        later: later(input.wake_mode.as_deref(), "wakeMode")?,
        deliver: input.deliver.unwrap_or(true),
        channel: filled(input.channel),
        to: filled(input.to),
        model: filled(input.model),
        thinking: filled(input.thinking),
        timeout_seconds: input.timeout_seconds.map(|seconds| seconds.min(LONGEST_RUN)),
        name,
    };
    allowed(user, asked)
}

/// What a mapping makes of a payload. What its owner wrote is theirs; what is filled in is not.
fn mapped(user: &UserSettings, mapping: &Mapping, payload: &Value, path: &str) -> ApiResult<AgentHook> {
    let fill = |text: &Option<String>| filled(text.as_deref().map(|text| template::render(text, payload, path)));
    let given = fill(&mapping.name);
    let name = name(given.as_deref().or(mapping.key()).unwrap_or(path));
    let message = match &mapping.message_template {
        Some(text) => template::render(text, payload, path),
        None => payload.to_string(),
    };
    let message = if mapping.allow_unsafe_external_content {
        message
    } else {
        untrusted::wrap(&format!("hook {name}"), &message)
    };
    let asked = AgentHook {
        message: framed(&name, &message),
        agent_id: mapping.agent_id.clone(),
        session_key: session(&user.hooks, fill(&mapping.session_key))?,
        later: mapping.later,
        deliver: mapping.deliver.unwrap_or(true),
        channel: mapping.channel.clone(),
        to: fill(&mapping.to),
        model: mapping.model.clone(),
        thinking: mapping.thinking.clone(),
        timeout_seconds: mapping.timeout_seconds.map(|seconds| seconds.min(LONGEST_RUN)),
        name,
    };
    allowed(user, asked)
}

/// So that no payload is taken for a command, and everybody sees where it came from.
fn framed(name: &str, message: &str) -> String {
    format!("[hook {name}] {message}")
}

/// What of a name is shown. It stands outside the wrapper, so it can be no more than a name.
fn name(given: &str) -> String {
    let plain = |letter: char| {
        if letter.is_alphanumeric() || matches!(letter, ' ' | '.' | '_' | '-') {
            letter
        } else {
            '-'
        }
    };
    let name: String = given.trim().chars().take(LONGEST_NAME).map(plain).collect();
    name.trim_end().to_owned()
}

fn session(settings: &HookSettings, named: Option<String>) -> ApiResult<Option<String>> {
    let Some(key) = named else {
        return Ok(settings.default_session_key.clone());
    };
    let prefixes = settings.allowed_session_key_prefixes.as_ref();
    if prefixes.is_none_or(|prefixes| prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))) {
        return Ok(Some(key));
    }
    Err(Error::invalid("sessionKey must begin with one of hooks.allowedSessionKeyPrefixes").into())
}

/// Without a name it is the default agent, which the list must hold as well.
fn allowed(user: &UserSettings, asked: AgentHook) -> ApiResult<AgentHook> {
    let agent = asked.agent_id.as_deref().unwrap_or(&user.default_agent);
    if user.hooks.allows_agent(agent) {
        return Ok(asked);
    }
    Err(Error::invalid("agentId is not allowed by hooks.allowedAgentIds").into())
}
