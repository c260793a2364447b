//! MCP servers of the caller's: added, tried, switched, taken away. What their headers say is never shown again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::document::McpServer;
use claw_actors::config::mcp::McpChange;
use claw_actors::crypto::Secret;
use claw_actors::ports::servers::{Offer, ServerFailure};
use claw_actors::session::remote::{self, Look, words};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::{Caller, FullCaller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

/// How long a server that is tried may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// Characters of a description that are shown.
const SHOWN: usize = 2_000;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/mcp-servers").route(web::get().to(list)))
        .service(
            resource("/mcp-servers/{name}")
                .route(web::put().to(put))
                .route(web::delete().to(delete)),
        )
        .service(resource("/mcp-servers/{name}/test").route(web::post().to(test)))
        .service(resource("/mcp-servers/{name}/approve").route(web::post().to(approve)));
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServersOut {
    pub servers: Vec<McpServerOut>,
}

/// A server as it is configured, and what is known of it without asking.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerOut {
    pub name: String,
    /// What its tools' names begin with, before `__`.
    pub prefix: String,
    pub url: String,
    pub enabled: bool,
    /// Names of the headers it is sent; their values are not shown.
    pub headers: Vec<String>,
    /// Milliseconds.
    pub connection_timeout_ms: u64,
    pub request_timeout_ms: u64,
    /// Only these of its tools, as it names them; empty: all. `*` stands for anything.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Its tools that guests may use too.
    pub guests: Vec<String>,
    /// `unknown`, `ready` or `failing`.
    pub state: &'static str,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// How many tools it offers.
    pub tools: Option<usize>,
}

impl McpServerOut {
    fn new(server: &McpServer, seen: Option<Result<Arc<Offer>, ServerFailure>>) -> Self {
        let (state, problem, tools) = match seen {
            None => ("unknown", None, None),
            Some(Ok(offer)) => ("ready", None, Some(offer.tools.len())),
            Some(Err(failure)) => ("failing", Some(sentence(failure)), None),
        };
        Self {
            name: server.name.clone(),
            prefix: server.prefix.clone(),
            url: server.url.clone(),
            enabled: server.enabled,
            headers: server.headers.clone(),
            connection_timeout_ms: millis(server.connecting),
            request_timeout_ms: millis(server.calling),
            include: server.include.clone().unwrap_or_default(),
            exclude: server.exclude.clone(),
            guests: server.guests.clone(),
            state,
            problem,
            tools,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn sentence(failure: ServerFailure) -> String {
    format!("The server {failure}.")
}

/// What is absent stays as it was; a new server needs its `url`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct McpServerIn {
    url: Option<String>,
    enabled: Option<bool>,
    /// By name. Absent ones stay, an empty one is taken away. At another origin all of them are given anew.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    headers: BTreeMap<String, Secret>,
    /// Milliseconds; 0 for the default.
    connection_timeout_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    guests: Option<Vec<String>>,
}

/// What a server said when it was tried.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpTestOut {
    pub ok: bool,
    /// What is wrong, where something is.
    pub problem: Option<String>,
    /// What it calls itself.
    pub server: Option<String>,
    /// The revision of the protocol.
    pub protocol: Option<String>,
    pub tools: Vec<McpToolOut>,
    /// Tools that are not listed: too many, too large, or without a usable name.
    pub left_out: usize,
    /// Of all the tools say of themselves; approving needs it.
    pub fingerprint: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpToolOut {
    /// As the server calls it.
    pub name: String,
    /// As agents know it.
    pub called: String,
    pub title: Option<String>,
    /// In the server's own words.
    pub description: String,
    /// It says that it changes nothing.
    pub read_only: bool,
    /// It says something else of itself than when it was taken on, and is not used until that is approved.
    pub changed: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct McpApproveIn {
    /// Of the test that showed the tools.
    fingerprint: String,
}

impl From<Result<Look, ServerFailure>> for McpTestOut {
    fn from(outcome: Result<Look, ServerFailure>) -> Self {
        let look = match outcome {
            Ok(look) => look,
            Err(failure) => {
                return Self {
                    ok: false,
                    problem: Some(sentence(failure)),
                    server: None,
                    protocol: None,
                    tools: Vec::new(),
                    left_out: 0,
                    fingerprint: None,
                };
            }
        };
        let tools = look
            .offer
            .tools
            .iter()
            .zip(&look.called)
            .map(|(tool, called)| McpToolOut {
                name: words::plain(&tool.name, SHOWN),
                called: called.clone(),
                title: tool.title.as_deref().map(|title| words::plain(title, 200)),
                description: words::plain(&tool.description, SHOWN),
                read_only: tool.read_only,
                changed: look.held.contains(&tool.name),
            });
        Self {
            ok: true,
            problem: None,
            server: look.offer.server.clone(),
            protocol: Some(look.offer.protocol.clone()),
            tools: tools.collect(),
            left_out: look.offer.left_out,
            fingerprint: Some(look.fingerprint),
        }
    }
}

async fn shown(state: &AppState, caller: &Caller) -> ApiResult<Vec<McpServerOut>> {
    let services = &state.services;
    let settings = services.config.settings(caller.scope()).await?;
    let servers = &settings.mcp.servers;
    let accesses = services.config.mcp_access(caller.scope(), servers).await?;
    let mut seen: HashMap<&str, _> = HashMap::new();
    if let Some(port) = services.ports.servers() {
        seen.extend(
            accesses
                .iter()
                .map(|access| (access.server.name.as_str(), port.seen(access))),
        );
    }
    let views = servers
        .iter()
        .map(|server| McpServerOut::new(server, seen.remove(server.name.as_str()).flatten()));
    Ok(views.collect())
}

#[utoipa::path(get, path = "/api/mcp-servers", operation_id = "listMcpServers", tag = "mcp servers",
    responses((status = 200, body = McpServersOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let servers = shown(&state, &caller).await?;
    Ok(HttpResponse::Ok().json(McpServersOut { servers }))
}

#[utoipa::path(put, path = "/api/mcp-servers/{name}", operation_id = "putMcpServer", tag = "mcp servers",
    params(("name" = String, Path)), request_body = McpServerIn, responses((status = 200, body = McpServerOut)))]
pub async fn put(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    name: Path<String>,
    body: JsonIn<McpServerIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    let change = McpChange {
        url: input.url,
        enabled: input.enabled,
        headers: input.headers,
        connection_timeout_ms: input.connection_timeout_ms,
        request_timeout_ms: input.request_timeout_ms,
        include: input.include,
        exclude: input.exclude,
        guests: input.guests,
    };
    let config = state.services.config.acting_as(caller.actor());
    config.change_mcp_server(caller.scope(), &name, change).await?;
    forget(&state, &caller, &name);
    let found = shown(&state, &caller)
        .await?
        .into_iter()
        .find(|server| server.name == *name);
    Ok(HttpResponse::Ok().json(found.ok_or(Error::NotFound { what: "MCP server" })?))
}

#[utoipa::path(delete, path = "/api/mcp-servers/{name}", operation_id = "deleteMcpServer", tag = "mcp servers",
    params(("name" = String, Path)), responses((status = 204)))]
pub async fn delete(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    name: Path<String>,
) -> ApiResult<HttpResponse> {
    let config = state.services.config.acting_as(caller.actor());
    config.delete_mcp_server(caller.scope(), &name).await?;
    forget(&state, &caller, &name);
    Ok(HttpResponse::NoContent().finish())
}

/// Its connection goes with what it was configured as.
fn forget(state: &AppState, caller: &Caller, name: &str) {
    if let Some(port) = state.services.ports.servers() {
        port.forget(caller.scope(), name);
    }
}

#[utoipa::path(post, path = "/api/mcp-servers/{name}/test", operation_id = "testMcpServer", tag = "mcp servers",
    params(("name" = String, Path)), responses((status = 200, body = McpTestOut)))]
pub async fn test(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    name: Path<String>,
) -> ApiResult<HttpResponse> {
    let look = remote::look(&state.services, caller.scope(), &name, PATIENCE, true).await?;
    Ok(HttpResponse::Ok().json(McpTestOut::from(look)))
}

#[utoipa::path(post, path = "/api/mcp-servers/{name}/approve", operation_id = "approveMcpTools", tag = "mcp servers",
    params(("name" = String, Path)), request_body = McpApproveIn, responses((status = 204)))]
pub async fn approve(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    name: Path<String>,
    body: JsonIn<McpApproveIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    remote::approve(&state.services, caller.scope(), &name, &input.fingerprint, PATIENCE).await?;
    Ok(HttpResponse::NoContent().finish())
}
