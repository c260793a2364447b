//! The agent as an OpenAI-compatible API for other programs: `/v1/models`, `/v1/chat/completions`, `/v1/responses`,
//! `/v1/embeddings`.
//!
//! A request is a message like any other: stored before it is worked on, answered by a run of its session. A client that
//! goes away aborts its run.

pub(crate) mod chat;
mod content;
pub(crate) mod embeddings;
pub(crate) mod error;
mod fetched;
pub(crate) mod models;
pub(crate) mod responses;
mod sse;
mod target;

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource};
use claw_actors::Error;
use claw_actors::gateway::scopes;
use claw_actors::session::asking::{self, Answer};
use claw_actors::session::intake::ClientMessage;
use serde::de::DeserializeOwned;

use self::error::V1Error;
use super::auth::{self, Caller};
use super::body;
use super::places::Place;
use super::state::AppState;

/// Largest body (`agent-runtime` §21.1).
const MAX_BODY: usize = 20 * 1024 * 1024;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/models").route(web::get().to(models::list)))
        // Ids of agents have a slash in them.
        .service(resource("/models/{id:.+}").route(web::get().to(models::get)))
        .service(resource("/chat/completions").route(web::post().to(chat::create)))
        .service(resource("/responses").route(web::post().to(responses::create)))
        .service(resource("/embeddings").route(web::post().to(embeddings::create)))
        .default_service(web::to(nothing));
}

fn resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(no_such_method))
}

async fn no_such_method() -> HttpResponse {
    V1Error::no_such_method()
}

async fn nothing(request: HttpRequest) -> Result<HttpResponse, V1Error> {
    // Strangers do not learn what there is.
    auth::agent(&request).await?;
    Err(Error::NotFound { what: "endpoint" }.into())
}

/// Who asks, with a place among the requests of theirs that are answered, and what they ask. The body is read last.
async fn admitted<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    state: &AppState,
) -> Result<(Caller, Place, T), V1Error> {
    let caller = auth::agent(request).await?;
    let place = state.place_of(caller.scope())?;
    Ok((
        caller,
        place,
        body_of(request, payload.into_inner(), state, MAX_BODY).await?,
    ))
}

pub(super) async fn body_of<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    limit: usize,
) -> Result<T, V1Error> {
    let patience = Duration::from_secs(state.http.body_timeout_secs);
    let bytes = body::json_bytes(request, payload, limit, patience).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("the body is not as documented: {error}")).into())
}

/// Asks the agent. A repeat of an `Idempotency-Key` hears the first answer.
async fn ask(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    prefix: &str,
    key: &str,
    message: ClientMessage,
) -> Result<Answer, V1Error> {
    let run_id = run_id(request, prefix)?;
    let message = ClientMessage {
        source: "http".to_owned(),
        approver: caller.holds(scopes::APPROVALS),
        ..message
    };
    let stored = asking::ask(&state.directory, caller.scope(), key, &run_id, message);
    let patience = Duration::from_secs(state.limits.accept_timeout_secs);
    match tokio::time::timeout(patience, stored).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Fenced.into()),
    }
}

/// What the answer is called, and so what keeps it from being asked for twice.
fn run_id(request: &HttpRequest, prefix: &str) -> Result<String, V1Error> {
    let mut given = request.headers().get_all("idempotency-key");
    let Some(key) = given.next() else {
        return Ok(format!("{prefix}{}", uuid::Uuid::new_v4().simple()));
    };
    let key = key.to_str().ok().filter(|key| (1..=200).contains(&key.len()));
    match (key, given.next()) {
        (Some(key), None) => Ok(format!("{prefix}{key}")),
        (Some(_) | None, _) => Err(Error::invalid("Idempotency-Key must have 1 to 200 visible characters").into()),
    }
}

/// The one value of a header, trimmed; empty ones are none.
fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let value = request.headers().get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then_some(value)
}

/// Seconds since 1970.
fn now() -> i64 {
    claw_actors::clock::now_ms() / 1000
}
