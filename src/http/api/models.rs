//! The models a user may pick.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, ServiceConfig};
use claw_actors::config::providers::ModelView;
use serde::Serialize;
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::Caller;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config.service(resource("/models").route(web::get().to(list)));
}

#[derive(Serialize, ToSchema)]
pub struct ModelsOut {
    pub models: Vec<ModelOut>,
}

/// A model of a provider that is switched on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelOut {
    /// `provider/id`.
    #[serde(rename = "ref")]
    pub reference: String,
    pub name: String,
    pub provider: String,
    /// Tokens.
    pub context_window: u64,
    pub reasoning: bool,
    pub default: bool,
}

impl From<ModelView> for ModelOut {
    fn from(model: ModelView) -> Self {
        Self {
            reference: format!("{}/{}", model.provider, model.id),
            name: model.name,
            provider: model.provider,
            context_window: model.context_window,
            reasoning: model.reasoning,
            default: model.default,
        }
    }
}

#[utoipa::path(get, path = "/api/models", operation_id = "listModels", tag = "providers",
    responses((status = 200, body = ModelsOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let models = state.services.config.list_models(caller.scope()).await?;
    Ok(HttpResponse::Ok().json(ModelsOut {
        models: models.into_iter().map(ModelOut::from).collect(),
    }))
}
