//! The tenant's audit log, newest first.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use claw_actors::config::audit::AuditEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::AdminCaller;
use crate::http::state::AppState;

const PAGE: u64 = 100;

pub fn routes(config: &mut ServiceConfig) {
    config.service(resource("/audit").route(web::get().to(list)));
}

#[derive(Serialize, ToSchema)]
pub struct AuditOut {
    pub entries: Vec<AuditEntryOut>,
}

/// Who did what.
#[derive(Serialize, ToSchema)]
pub struct AuditEntryOut {
    /// From 1, without holes.
    pub seq: i64,
    /// Epoch milliseconds.
    pub at: i64,
    /// User id, `system` or `cli`.
    pub actor: String,
    pub action: String,
    pub target: String,
    #[schema(value_type = Object)]
    pub detail: Value,
}

impl From<AuditEntry> for AuditEntryOut {
    fn from(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            detail: entry.detail,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only entries with a smaller `seq`.
    before: Option<i64>,
}

#[utoipa::path(get, path = "/api/audit", operation_id = "listAudit", tag = "audit",
    params(AuditQuery), responses((status = 200, body = AuditOut)))]
pub async fn list(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    query: Query<AuditQuery>,
) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let entries = config.list_audit(caller.tenant_scope(), query.before, PAGE).await?;
    Ok(HttpResponse::Ok().json(AuditOut {
        entries: entries.into_iter().map(AuditEntryOut::from).collect(),
    }))
}
