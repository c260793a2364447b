//! The one door for all messaging platforms. It knows no platform: what a request means, its adapter says.
//!
//! Verified first, stored second, acknowledged last. This is the hot path: no log line per request, one copy of the
//! body, tenant and account from the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::config::accounts::ResolvedAccount;
use claw_actors::config::identity::Tenant;
use claw_actors::ports::channel::{Channel, HttpReply, Inbound, RawWebhook, WebhookOutcome};
use claw_actors::session::intake::accept_inbound;
use claw_actors::trace::Shown;
use claw_actors::{Code, Error, clock};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::state::AppState;
use super::{body, tenant};
use crate::error::{ApiError, ApiResult};

/// The account of a bare webhook path.
const DEFAULT_ACCOUNT: &str = "default";
/// Tells the platform, and whoever replays its events, that the event will not be lost.
const ACCEPTED: HeaderName = HeaderName::from_static("x-openclaw-delivery-accepted");
const DURABLE: HeaderValue = HeaderValue::from_static("durable");

/// `GET` and `POST` of `/webhooks/{path}`, `/webhooks/{path}/{account}` and the adapters' own paths.
pub(crate) async fn receive(request: HttpRequest, payload: Payload, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let tenant = tenant::known(&request, &state).await?;
    if tenant.suspended {
        return Err(busy());
    }
    let Some(channel) = channel(&request, &state) else {
        return Err(ApiError::not_found(""));
    };
    let span = tracing::debug_span!(
        "webhook.receive",
        channel.id = channel.manifest().id,
        event.id = Empty,
        outcome = Empty,
    );
    let received = received(&request, payload, &state, &tenant, channel.as_ref());
    received.instrument(span).await
}

/// What a known tenant's platform has to say.
async fn received(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    tenant: &Tenant,
    channel: &dyn Channel,
) -> ApiResult<HttpResponse> {
    let id = channel.manifest().id;
    let account_id = request.match_info().get("account").unwrap_or(DEFAULT_ACCOUNT);
    let account = state.services.config.account(&tenant.id, id, account_id).await;
    let Some(account) = account.map_err(unavailable)?.filter(|account| account.enabled) else {
        return Err(unknown_account(request, state, tenant));
    };
    let hook = raw(request, payload, state, channel).await?;
    if let Err(refused) = channel.verify(&hook, &account.account) {
        count(id, "refused");
        tracing::debug!(channel.id = id, tenant.id = %tenant.id, reason = refused.reason, "webhook refused");
        return Err(state.wrong_proof(&tenant.id, &state.client(request), "the proof of origin is wrong"));
    }
    state.webhooks.spend(&tenant.id).map_err(|wait| Error::Busy {
        message: "too many webhooks of this tenant".to_owned(),
        retry_after: wait,
    })?;
    // Only what is proven takes a place: strangers with slow bodies do not keep platforms out.
    let Some(_guard) = InFlight::enter(&state.webhooks_in_flight, state.limits.webhooks_in_flight) else {
        return Err(busy());
    };
    match channel.parse(&hook, &account.account) {
        Ok(WebhookOutcome::Messages { messages, reply }) => accept(state, id, &account, messages, reply).await,
        Ok(WebhookOutcome::Reply(reply)) => {
            count(id, "answered");
            Ok(answer(Some(reply)))
        }
        Ok(WebhookOutcome::Ignore(reason)) => {
            Span::current().record("outcome", "ignored");
            metrics::counter!("claw_webhooks_ignored_total", "channel" => id, "reason" => reason).increment(1);
            Ok(HttpResponse::Ok().finish())
        }
        Err(malformed) => {
            count(id, "malformed");
            tracing::debug!(channel.id = id, tenant.id = %tenant.id, reason = malformed.reason, "webhook malformed");
            Err(Error::invalid("the payload is not as the platform documents it").into())
        }
    }
}

/// Stores the messages, then acknowledges them.
async fn accept(
    state: &AppState,
    channel: &'static str,
    account: &ResolvedAccount,
    messages: Vec<Inbound>,
    reply: Option<HttpReply>,
) -> ApiResult<HttpResponse> {
    if let Some(first) = messages.first() {
        Span::current().record("event.id", tracing::field::display(Shown(&first.event_key)));
    }
    let stored = tokio::time::timeout(
        Duration::from_secs(state.limits.accept_timeout_secs),
        accept_inbound(&state.directory, account, messages),
    );
    match stored.await {
        Ok(Ok(_)) => {
            count(channel, "accepted");
            let mut answer = answer(reply);
            answer.headers_mut().insert(ACCEPTED, DURABLE);
            Ok(answer)
        }
        Ok(Err(error)) => {
            count(channel, "not_stored");
            Err(unavailable(error))
        }
        Err(_) => {
            count(channel, "not_stored");
            Err(busy())
        }
    }
}

/// The adapter this path belongs to.
fn channel<'a>(request: &HttpRequest, state: &'a AppState) -> Option<&'a Arc<dyn Channel>> {
    let ports = &state.services.ports;
    if let Some(path) = request.match_info().get("path") {
        return ports.channel_by_path(path);
    }
    let pattern = request.match_pattern()?;
    ports
        .channels()
        .iter()
        .find(|channel| channel.manifest().extra_paths.contains(&pattern.as_str()))
}

/// The request byte for byte.
async fn raw(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    channel: &dyn Channel,
) -> ApiResult<RawWebhook> {
    let limit = channel.manifest().max_body_bytes.min(state.limits.webhook_body_bytes);
    let patience = Duration::from_secs(state.http.body_timeout_secs);
    let body = body::read(request, payload.into_inner(), limit, patience).await?;
    Ok(RawWebhook {
        method: request.method().as_str().to_owned(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| {
                // `HeaderName` is lower case already. Bytes beyond text make a value that no proof equals.
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
        body,
        now: clock::now_ms() / 1000,
    })
}

/// Asking for accounts that do not exist costs a look-up each, so it is counted.
fn unknown_account(request: &HttpRequest, state: &AppState, tenant: &Tenant) -> ApiError {
    let error = state.no_proof(&tenant.id, &state.client(request));
    if error.code() == Code::Busy {
        return error;
    }
    ApiError::not_found("")
}

/// A platform repeats what was not acknowledged, if it is told to come back rather than that it was wrong.
fn unavailable(error: Error) -> ApiError {
    match error.code() {
        Code::Busy | Code::Timeout | Code::Fenced | Code::NotConnected | Code::PairingChanged | Code::Conflict => {
            busy()
        }
        Code::Invalid
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::TooLarge
        | Code::Budget
        | Code::Upstream
        | Code::Unavailable
        | Code::Internal => error.into(),
    }
}

/// 503 with `Retry-After`. Nothing was accepted, so the platform keeps it and comes again: that is also the answer for
/// a suspended tenant, since what was acknowledged would have to be answered, and a refusal (4xx) ends redelivery on
/// some platforms.
fn busy() -> ApiError {
    Error::Fenced.into()
}

/// What the platform waits for, or an empty 200.
fn answer(reply: Option<HttpReply>) -> HttpResponse {
    let Some(reply) = reply else {
        return HttpResponse::Ok().finish();
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    HttpResponse::build(status)
        .content_type(reply.content_type)
        .body(reply.body)
}

fn count(channel: &'static str, outcome: &'static str) {
    Span::current().record("outcome", outcome);
    metrics::counter!("claw_webhooks_total", "channel" => channel, "outcome" => outcome).increment(1);
}

/// One webhook being handled; dropped, it makes room.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(counter: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let guard = Self(counter);
        (counter.fetch_add(1, Ordering::Relaxed) < limit).then_some(guard)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
