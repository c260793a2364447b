//! Everything that answers HTTP. The route table is this file.

pub mod state;

pub(crate) mod client;
pub(crate) mod places;
pub(crate) mod rate;
mod tenant;

mod auth;
mod body;

mod admin_ui;
pub mod api;
mod gateway;
pub(crate) mod gateway_socket;
pub(crate) mod health;
mod hooks;
mod tools;
pub(crate) mod v1;
mod webhooks;

mod trace;
pub(crate) mod upgrade;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use actix_web::dev::HttpServiceFactory;
use actix_web::guard;
use actix_web::http::{Method, header};
use actix_web::middleware::{Compress, DefaultHeaders, from_fn};
use actix_web::web::{self, Data, PathConfig, QueryConfig, ServiceConfig};
use claw_actors::Error;

use crate::error::{ApiError, path_error, query_error};
use state::AppState;

/// The OpenAPI document of the REST API, JSON.
pub fn openapi() -> String {
    api::openapi::document()
}

/// Every route of the process.
pub fn routes(state: &Data<AppState>, config: &mut ServiceConfig) {
    config
        .app_data(state.clone())
        .app_data(PathConfig::default().error_handler(|error, _| path_error(&error).into()))
        .app_data(QueryConfig::default().error_handler(|error, _| query_error(&error).into()))
        // Messaging platforms: the hottest path, so it is looked for first.
        .service(webhook("/webhooks/{path}"))
        .service(webhook("/webhooks/{path}/{account}"))
        // Any host.
        .route("/health", readable().to(health::live))
        .route("/healthz", readable().to(health::live))
        .route("/ready", readable().to(health::ready))
        .route("/readyz", readable().to(health::ready))
        .route("/metrics", web::get().to(health::metrics))
        // OpenClaw clients.
        .service(web::resource("/gateway/ws").route(web::get().to(gateway::no_upgrade)))
        .service(join("/gateway/ws/j/{code}"))
        .service(join("/j/{code}"));
    for path in extra_paths(state) {
        config.service(webhook(path));
    }
    config
        // The Admin UI and scripts.
        .service(
            web::scope("/api")
                .wrap(from_fn(trace::to_the_end))
                .wrap(from_fn(trace::request))
                .wrap(Compress::default())
                .wrap(DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store")))
                .configure(api::session::routes)
                .configure(api::tokens::routes)
                .configure(api::providers::routes)
                .configure(api::models::routes)
                .configure(api::channels::routes)
                .configure(api::pairing::routes)
                .configure(api::activity::routes)
                .configure(api::approvals::routes)
                .configure(api::audit::routes)
                .configure(api::budgets::routes)
                .configure(api::blobs::routes)
                .configure(api::mcp_servers::routes)
                .configure(api::skill_store::routes)
                .configure(api::skills::routes)
                .configure(api::transcripts::routes)
                .configure(api::users::routes)
                .configure(api::openapi::routes)
                .default_service(web::to(nothing)),
        )
        // Other programs.
        .service(web::scope("/v1").wrap(from_fn(trace::request)).configure(v1::routes))
        .service(tools::resource().wrap(from_fn(trace::request)))
        .service(
            hooks::resource()
                .wrap(from_fn(trace::to_the_end))
                .wrap(from_fn(trace::hot)),
        )
        // Pages.
        .service(
            web::scope("")
                .wrap(from_fn(trace::hot))
                .wrap(Compress::default())
                .route("/", readable().to(admin_ui::root))
                .default_service(web::to(admin_ui::other)),
        );
}

/// What an upgrade may ask for.
fn socket_routes(state: &Data<AppState>, config: &mut ServiceConfig) {
    config
        .app_data(state.clone())
        .service(socket("/gateway/ws"))
        // As people write it into a client's configuration.
        .service(socket("/gateway/ws/"))
        .service(socket("/"))
        .default_service(web::to(no_socket));
}

/// Headers of every answer.
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::X_FRAME_OPTIONS, "DENY"))
        // Not `no-referrer`: that would make browsers hide the Origin of our own requests.
        .add((header::REFERRER_POLICY, "same-origin"))
        .add(("cross-origin-opener-policy", "same-origin"))
        .add(("cross-origin-resource-policy", "same-origin"))
}

fn readable() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A platform that closes early, once it has sent everything, does not stop the storing half-way.
fn webhook(path: &str) -> impl HttpServiceFactory + 'static + use<> {
    web::resource(path)
        .route(web::get().to(webhooks::receive))
        .route(web::post().to(webhooks::receive))
        .wrap(from_fn(trace::to_the_end))
        .wrap(from_fn(trace::hot))
}

/// A client's code for its way in.
fn join(path: &str) -> impl HttpServiceFactory + 'static + use<> {
    web::resource(path)
        .route(web::get().to(gateway::join))
        .wrap(from_fn(trace::request))
}

/// A request that becomes a socket. Its span ends with the answer: the connection has its own.
fn socket(path: &str) -> impl HttpServiceFactory + 'static + use<> {
    web::resource(path)
        .route(web::get().to(gateway::socket))
        .wrap(from_fn(trace::hot))
}

/// Paths that adapters have beside `/webhooks/…`.
fn extra_paths(state: &AppState) -> impl Iterator<Item = &'static str> {
    let channels = state.services.ports.channels();
    channels
        .iter()
        .flat_map(|channel| channel.manifest().extra_paths.iter().copied())
}

/// An upgrade at another address: a proxy that sets the header everywhere is told so.
async fn no_socket(method: Method) -> Result<actix_web::HttpResponse, ApiError> {
    if method == Method::CONNECT {
        return Err(ApiError::not_found(""));
    }
    let message = "the header `Upgrade: websocket` is only for `/` and `/gateway/ws`: ask here without it";
    Err(Error::invalid(message).into())
}

async fn nothing() -> Result<actix_web::HttpResponse, ApiError> {
    Err(ApiError::not_found(""))
}
