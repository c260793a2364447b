//! Commands that wait for the caller's word.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::config::devices::approvals::{DECISIONS, Decided, Decider};
use claw_actors::gateway::approvals;
use claw_actors::{Error, clock};
use claw_entities::approval;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource;
use crate::error::{ApiError, ApiResult};
use crate::http::auth::ApprovingCaller;
use crate::http::body::JsonIn;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/approvals").route(web::get().to(list)))
        .service(resource("/approvals/{id}").route(web::post().to(decide)));
}

#[derive(Serialize, ToSchema)]
pub struct ApprovalsOut {
    pub approvals: Vec<ApprovalOut>,
}

/// A command that runs only if the caller says so.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalOut {
    pub id: String,
    /// What will run, as a shell would read it; invisible characters are spelled out.
    pub command: String,
    pub cwd: Option<String>,
    /// Names of the variables that are set.
    pub env_keys: Vec<String>,
    /// Null: not on a node.
    pub node_id: Option<String>,
    pub node_name: Option<String>,
    pub agent_id: Option<String>,
    pub session_key: Option<String>,
    pub warning: Option<String>,
    /// What may be answered.
    pub decisions: Vec<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds; from then on it is denied.
    pub expires_at: i64,
}

impl ApprovalOut {
    fn new(row: approval::Model, node_name: Option<String>) -> Self {
        let text = |name: &str| row.request[name].as_str().map(str::to_owned);
        let texts = |name: &str| -> Vec<String> {
            let list = row.request[name].as_array().into_iter().flatten();
            list.filter_map(|item| item.as_str()).map(str::to_owned).collect()
        };
        Self {
            command: text("command").unwrap_or_default(),
            cwd: text("cwd"),
            env_keys: texts("envKeys"),
            node_id: text("nodeId"),
            node_name,
            agent_id: text("agentId"),
            session_key: text("sessionKey"),
            warning: text("warningText"),
            decisions: texts("allowedDecisions"),
            created_at: row.created_at,
            expires_at: row.expires_at,
            id: row.id,
        }
    }
}

#[derive(Deserialize, ToSchema)]
pub struct DecisionIn {
    /// `allow-once`, `allow-always` or `deny`.
    pub decision: String,
}

#[utoipa::path(get, path = "/api/approvals", operation_id = "listApprovals", tag = "approvals",
    responses((status = 200, body = ApprovalsOut)))]
pub async fn list(ApprovingCaller(caller): ApprovingCaller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let open = config.open_approvals(caller.scope(), None, clock::now_ms()).await?;
    let nodes = config.nodes(caller.scope()).await?;
    let name = |row: &approval::Model| {
        let node = nodes
            .iter()
            .find(|node| row.request["nodeId"] == node.device.id.as_str());
        node.and_then(|node| node.display_name()).map(str::to_owned)
    };
    Ok(HttpResponse::Ok().json(ApprovalsOut {
        approvals: open
            .into_iter()
            .map(|row| {
                let name = name(&row);
                ApprovalOut::new(row, name)
            })
            .collect(),
    }))
}

#[utoipa::path(post, path = "/api/approvals/{id}", operation_id = "decideApproval", tag = "approvals",
    params(("id" = String, Path)), request_body = DecisionIn, responses((status = 204)))]
pub async fn decide(
    ApprovingCaller(caller): ApprovingCaller,
    state: Data<AppState>,
    id: Path<String>,
    body: JsonIn<DecisionIn>,
) -> ApiResult<HttpResponse> {
    let DecisionIn { decision } = body.read().await?;
    if !DECISIONS.contains(&decision.as_str()) {
        return Err(Error::invalid("decision must be allow-once, allow-always or deny").into());
    }
    let by = Decider {
        name: &caller.identity.user.email,
        device_id: None,
        admin: caller.identity.scopes.iter().any(|scope| scope == "operator.admin"),
    };
    match approvals::decide(&state.directory, caller.scope(), &id, &decision, by).await? {
        Decided::Now(_) => Ok(HttpResponse::NoContent().finish()),
        // Said twice, meant once.
        Decided::Before(row) if row.decision.as_deref() == Some(decision.as_str()) => {
            Ok(HttpResponse::NoContent().finish())
        }
        Decided::Before(_) => Err(Error::Conflict("it was decided already".to_owned()).into()),
        Decided::NotAllowed => Err(Error::invalid("this one does not take allow-always").into()),
        Decided::Unknown => Err(ApiError::not_found("approval")),
    }
}
