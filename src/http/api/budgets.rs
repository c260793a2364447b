//! Spending limits: the tenant's, the caller's own, and for an administrator those of the other users.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::budgets::{Budget, BudgetChange, BudgetDraft, BudgetView, Kind, Origin, Period, Setter, Unit};
use claw_actors::config::identity::Role;
use claw_entities::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use super::resource;
use crate::error::{ApiError, ApiResult};
use crate::http::auth::{Caller, FullCaller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/budgets")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            resource("/budgets/{id}")
                .route(web::patch().to(change))
                .route(web::delete().to(delete)),
        );
}

#[derive(Serialize, ToSchema)]
pub struct BudgetsOut {
    pub budgets: Vec<BudgetOut>,
}

/// A limit, and how much of it is used now. Amounts are tokens or US dollars, by `unit`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetOut {
    pub id: String,
    /// `tenant` (all users together), `user`, `agent` or `cron` (a scheduled job).
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Whose it is; absent for the tenant's.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserId>,
    pub email: Option<String>,
    /// Id of the agent or the job.
    pub target: Option<String>,
    /// What people call the job; absent when it is gone.
    pub target_name: Option<String>,
    /// `tokens` or `money`.
    #[schema(value_type = String)]
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub amount: Number,
    #[schema(value_type = f64)]
    pub spent: Number,
    /// Put aside for answers under way.
    #[schema(value_type = f64)]
    pub reserved: Number,
    #[schema(value_type = f64)]
    pub remaining: Number,
    /// `day`, `week`, `month` or `total`.
    #[schema(value_type = String)]
    pub period: Period,
    /// IANA name: where its days begin.
    pub time_zone: String,
    /// Since when it is counted, epoch milliseconds; absent for `total`.
    pub starts_at: Option<i64>,
    /// When it starts anew, epoch milliseconds; absent for `total`.
    pub resets_at: Option<i64>,
    /// `admin` or `user`: who set it.
    #[schema(value_type = String)]
    pub origin: Origin,
    pub enabled: bool,
    /// May the caller change it.
    pub editable: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// A limit to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BudgetIn {
    /// `tenant` and other people's `user` are for administrators; `agent` and `cron` are the caller's own.
    #[schema(value_type = String)]
    kind: Kind,
    /// Whose; the caller's own unless given.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// Id of the agent or the scheduled job.
    target: Option<String>,
    /// `tokens` (of prompts, cached ones too, and answers) or `money` (US dollars).
    #[schema(value_type = String)]
    unit: Unit,
    /// Whole tokens, or US dollars with six decimals at most.
    amount: f64,
    /// `day`, `week` (from Monday), `month` or `total`.
    #[schema(value_type = String)]
    period: Period,
    /// IANA name; the user's own unless given, and UTC for the tenant.
    time_zone: Option<String>,
}

/// What is absent stays as it is. What is used stays, too.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetPatch {
    amount: Option<f64>,
    enabled: Option<bool>,
}

fn setter(caller: &Caller) -> Setter {
    Setter {
        user: Some(caller.scope().user().clone()),
        admin: caller.role() >= Role::Admin && caller.not_narrowed(),
    }
}

fn number(unit: Unit, amount: i64) -> Number {
    match unit {
        Unit::Tokens => amount.into(),
        Unit::Money => Number::from_f64(unit.written(amount)).unwrap_or_else(|| 0.into()),
    }
}

/// With the names that people know.
async fn shown(state: &AppState, caller: &Caller, views: Vec<BudgetView>) -> ApiResult<Vec<BudgetOut>> {
    let (config, by) = (&state.services.config, setter(caller));
    let jobs: HashMap<String, String> = if views.iter().any(|view| view.budget.kind == Kind::Cron) {
        let jobs = config.cron_jobs(caller.scope()).await?.into_iter();
        jobs.map(|job| (job.id, job.definition.name)).collect()
    } else {
        HashMap::new()
    };
    let mut shown = Vec::with_capacity(views.len());
    for view in views {
        let editable = by.may_change(&view.budget);
        let BudgetView {
            budget,
            span,
            spent,
            reserved,
        } = view;
        let email = match &budget.user {
            // Who is gone has no address.
            Some(user) => match config.user(caller.tenant_scope(), user).await {
                Ok(user) => Some(user.email.clone()),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let Budget { unit, amount, .. } = budget;
        let remaining = amount.saturating_sub(spent).saturating_sub(reserved).max(0);
        shown.push(BudgetOut {
            target_name: jobs.get(&budget.target).cloned(),
            target: (!budget.target.is_empty()).then_some(budget.target),
            id: budget.id,
            kind: budget.kind,
            user: budget.user,
            email,
            unit,
            amount: number(unit, amount),
            spent: number(unit, spent),
            reserved: number(unit, reserved),
            remaining: number(unit, remaining),
            period: budget.period,
            time_zone: budget.zone.name().to_owned(),
            starts_at: span.ends_at.map(|_| span.starts_at),
            resets_at: span.ends_at,
            origin: budget.origin,
            enabled: budget.enabled,
            editable,
            created_at: budget.created_at,
        });
    }
    Ok(shown)
}

async fn one(state: &AppState, caller: &Caller, view: BudgetView) -> ApiResult<BudgetOut> {
    let shown = shown(state, caller, vec![view]).await?.pop();
    shown.ok_or_else(|| Error::NotFound { what: "budget" }.into())
}

#[utoipa::path(get, path = "/api/budgets", operation_id = "listBudgets", tag = "budgets",
    responses((status = 200, body = BudgetsOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let views = config.list_budgets(caller.tenant_scope(), &setter(&caller)).await?;
    let budgets = shown(&state, &caller, views).await?;
    Ok(HttpResponse::Ok().json(BudgetsOut { budgets }))
}

/// One of a kind: a second limit of the same kind, unit and period is a 409.
#[utoipa::path(post, path = "/api/budgets", operation_id = "createBudget", tag = "budgets",
    request_body = BudgetIn, responses((status = 201, body = BudgetOut)))]
pub async fn create(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<BudgetIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    let draft = BudgetDraft {
        kind: input.kind,
        user: input.user,
        target: input.target,
        unit: input.unit,
        amount: input.unit.read(input.amount)?,
        period: input.period,
        time_zone: input.time_zone,
    };
    let (config, by) = (&state.services.config, setter(&caller));
    let made = config.create_budget(caller.tenant_scope(), &by, draft).await?;
    let view = BudgetView::unused(made);
    Ok(HttpResponse::Created().json(one(&state, &caller, view).await?))
}

#[utoipa::path(patch, path = "/api/budgets/{id}", operation_id = "changeBudget", tag = "budgets",
    params(("id" = String, Path)), request_body = BudgetPatch, responses((status = 200, body = BudgetOut)))]
pub async fn change(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
    body: JsonIn<BudgetPatch>,
) -> ApiResult<HttpResponse> {
    let BudgetPatch { amount, enabled } = body.read().await?;
    if amount.is_none() && enabled.is_none() {
        return Err(ApiError::from(Error::invalid(
            "say what is to be changed: amount or enabled",
        )));
    }
    let (config, by) = (&state.services.config, setter(&caller));
    let tenant = caller.tenant_scope();
    let change = BudgetChange {
        amount: match amount {
            Some(amount) => Some(config.budget(tenant, &by, &id).await?.unit.read(amount)?),
            None => None,
        },
        enabled,
    };
    let view = config.change_budget(tenant, &by, &id, change).await?;
    Ok(HttpResponse::Ok().json(one(&state, &caller, view).await?))
}

#[utoipa::path(delete, path = "/api/budgets/{id}", operation_id = "deleteBudget", tag = "budgets",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    config
        .delete_budget(caller.tenant_scope(), &setter(&caller), &id)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
