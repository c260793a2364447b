//! `GET /v1/models`: the caller's agents. Models of providers are nobody's business here.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::config::document::UserSettings;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::V1Error;
use super::target;
use crate::http::auth;
use crate::http::state::AppState;

#[derive(Serialize, ToSchema)]
pub(crate) struct V1Models {
    /// `list`.
    pub object: &'static str,
    pub data: Vec<V1Model>,
}

/// An agent.
#[derive(Serialize, ToSchema)]
pub(crate) struct V1Model {
    /// `openclaw`, or `openclaw/<agentId>`.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    pub owned_by: &'static str,
}

impl V1Model {
    fn new(id: String) -> Self {
        Self {
            id,
            object: "model",
            created: 0,
            owned_by: "openclaw",
        }
    }
}

fn models(settings: &UserSettings) -> Vec<V1Model> {
    let own = settings.agents.iter().map(|agent| format!("openclaw/{}", agent.id));
    let usual = ["openclaw", "openclaw/default"].map(str::to_owned).into_iter();
    let mut ids: Vec<String> = usual.chain(own).collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    ids.into_iter().map(V1Model::new).collect()
}

#[utoipa::path(get, path = "/v1/models", operation_id = "listAgentsAsModels", tag = "programs",
    responses((status = 200, body = V1Models)))]
pub(crate) async fn list(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, V1Error> {
    let caller = auth::agent(&request).await?;
    let settings = state.services.config.settings(caller.scope()).await?;
    Ok(HttpResponse::Ok().json(V1Models {
        object: "list",
        data: models(&settings),
    }))
}

#[utoipa::path(get, path = "/v1/models/{id}", operation_id = "getAgentAsModel", tag = "programs",
    params(("id" = String, Path)),
    responses((status = 200, body = V1Model)))]
pub(crate) async fn get(
    request: HttpRequest,
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = auth::agent(&request).await?;
    let settings = state.services.config.settings(caller.scope()).await?;
    target::agent(&settings, Some(id.as_str()), None)?;
    Ok(HttpResponse::Ok().json(V1Model::new(id.into_inner())))
}
