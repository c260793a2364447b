//! Limits set, listed, changed and taken away. Who may do what to which is decided here alone.

use std::collections::HashMap;
use std::sync::Arc;

use claw_entities::{Scope, TenantOwned, TenantScope, UserId, budget, budget_hold, budget_use, new_id};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::{Value, json};

use super::super::{ConfigService, audit, conflict};
use super::{Budget, Budgets, Kind, Origin, Period, Span, Unit};
use crate::clock::now_ms;
use crate::error::{Error, Result};

/// Limits of one tenant, and those among them that one user has set.
const MOST: u64 = 5_000;
const MOST_OF_A_USER: u64 = 100;
/// Bytes of an agent's or a job's id.
const LONGEST_TARGET: usize = 128;

/// Who sets, changes or looks.
#[derive(Clone, Debug)]
pub struct Setter {
    /// `None`: the operator of the machine, who may do everything.
    pub user: Option<UserId>,
    /// With the role admin or owner.
    pub admin: bool,
}

impl Setter {
    /// The operator of the machine.
    pub const fn operator() -> Self {
        Self {
            user: None,
            admin: true,
        }
    }

    fn is(&self, user: Option<&UserId>) -> bool {
        self.user.is_none() || self.user.as_ref() == user
    }

    /// A limit that is not seen is not there.
    fn sees(&self, budget: &Budget) -> bool {
        match budget.kind {
            Kind::Tenant => true,
            Kind::User => self.admin || self.is(budget.user.as_ref()),
            Kind::Agent | Kind::Cron => self.is(budget.user.as_ref()),
        }
    }

    /// May this one be changed.
    pub fn may_change(&self, budget: &Budget) -> bool {
        match (budget.kind, budget.origin) {
            (Kind::Tenant, _) | (Kind::User, Origin::Admin) => self.admin,
            (Kind::User, Origin::User) => self.sees(budget),
            (Kind::Agent | Kind::Cron, _) => self.is(budget.user.as_ref()),
        }
    }
}

/// A limit to be set.
#[derive(Clone, Debug)]
pub struct BudgetDraft {
    pub kind: Kind,
    /// Whose; `None`: the setter's own.
    pub user: Option<UserId>,
    /// The agent or the job.
    pub target: Option<String>,
    pub unit: Unit,
    /// In the unit: tokens, or millionths of a US dollar.
    pub amount: i64,
    pub period: Period,
    /// IANA name; `None`: the user's, and UTC for the tenant.
    pub time_zone: Option<String>,
}

/// What is changed. `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetChange {
    pub amount: Option<i64>,
    pub enabled: Option<bool>,
}

/// A limit, and how much of it is used.
#[derive(Clone, Debug)]
pub struct BudgetView {
    pub budget: Budget,
    pub span: Span,
    pub spent: i64,
    /// Put aside for calls under way.
    pub reserved: i64,
}

impl BudgetView {
    /// One that nobody has used yet.
    pub fn unused(budget: Budget) -> Self {
        Self {
            span: budget.period.span(budget.zone, now_ms()),
            budget,
            spent: 0,
            reserved: 0,
        }
    }
}

impl ConfigService {
    /// The tenant's limits that are switched on: cached, so that who has none pays nothing for that.
    pub(crate) async fn budgets(&self, tenant: &TenantScope) -> Result<Arc<Budgets>> {
        if let Some(budgets) = self.cache.budgets.get(tenant.tenant()) {
            return Ok(budgets);
        }
        let seen = self.cache.generation();
        let view = self.db.glance(tenant).await?;
        let rows = budget::Entity::of_tenant(tenant)
            .filter(budget::Column::Enabled.eq(true))
            .all(&view)
            .await?;
        drop(view);
        let all: Result<Vec<Budget>> = rows.into_iter().map(Budget::try_from).collect();
        let budgets = Arc::new(Budgets::new(all?.into_iter()));
        self.cache
            .keep(&self.cache.budgets, seen, tenant.tenant().clone(), Arc::clone(&budgets));
        Ok(budgets)
    }

    /// Sets a limit.
    ///
    /// # Errors
    /// `Invalid` says what is wrong, `NotFound` names what there is not, `Forbidden` where the setter may not,
    /// `Conflict` when there is one of this kind already, or too many.
    pub async fn create_budget(&self, tenant: &TenantScope, by: &Setter, draft: BudgetDraft) -> Result<Budget> {
        draft.unit.check(draft.amount)?;
        let owner = self.owner(tenant, by, &draft).await?;
        let target = self.target(owner.as_ref(), &draft).await?;
        let time_zone = match (&draft.time_zone, &owner) {
            (Some(name), _) => name
                .parse()
                .map_err(|_| Error::invalid("the time zone is an IANA name, e.g. Europe/Berlin"))?,
            (None, Some(owner)) => self.cron_zone(owner).await?,
            (None, None) => chrono_tz::Tz::UTC,
        };
        let origin = match draft.kind {
            Kind::Tenant => Origin::Admin,
            Kind::User if by.admin => Origin::Admin,
            Kind::User | Kind::Agent | Kind::Cron => Origin::User,
        };
        let now = now_ms();
        let row = budget::Model {
            tenant_id: tenant.tenant().clone(),
            id: new_id(),
            kind: draft.kind.name().to_owned(),
            user_id: owner.as_ref().map(|owner| owner.user().clone()).unwrap_or_default(),
            target,
            unit: draft.unit.name().to_owned(),
            amount: draft.amount,
            period: draft.period.name().to_owned(),
            time_zone: time_zone.name().to_owned(),
            origin: origin.name().to_owned(),
            enabled: true,
            created_by: self.setter(by).to_owned(),
            created_at: now,
            updated_at: now,
        };
        let tx = self.change(tenant).await?;
        check_room(&*tx, tenant, owner.as_ref(), origin).await?;
        budget::Entity::insert(budget::ActiveModel {
            tenant_id: Set(row.tenant_id.clone()),
            id: Set(row.id.clone()),
            kind: Set(row.kind.clone()),
            user_id: Set(row.user_id.clone()),
            target: Set(row.target.clone()),
            unit: Set(row.unit.clone()),
            amount: Set(row.amount),
            period: Set(row.period.clone()),
            time_zone: Set(row.time_zone.clone()),
            origin: Set(row.origin.clone()),
            enabled: Set(row.enabled),
            created_by: Set(row.created_by.clone()),
            created_at: Set(row.created_at),
            updated_at: Set(row.updated_at),
        })
        .exec_without_returning(&*tx)
        .await
        .map_err(|error| {
            conflict(
                error,
                "there is a limit of this kind already: change that one".to_owned(),
            )
        })?;
        let made = Budget::try_from(row)?;
        audit::append(&*tx, tenant, self.setter(by), "budget.create", &made.id, detail(&made)).await?;
        self.changed(tx).await?;
        Ok(made)
    }

    /// The limits the setter sees, the tenant's first, with what is used of each now.
    pub async fn list_budgets(&self, tenant: &TenantScope, by: &Setter) -> Result<Vec<BudgetView>> {
        let tx = self.db.read(tenant).await?;
        let rows = budget::Entity::of_tenant(tenant)
            .order_by_asc(budget::Column::CreatedAt)
            .order_by_asc(budget::Column::Id)
            .all(&*tx)
            .await?;
        let mut seen = Vec::new();
        for row in rows {
            let budget = Budget::try_from(row)?;
            if by.sees(&budget) {
                seen.push(budget);
            }
        }
        seen.sort_by_key(|budget| match budget.kind {
            Kind::Tenant => 0,
            Kind::User => 1,
            Kind::Agent => 2,
            Kind::Cron => 3,
        });
        viewed(&*tx, tenant, seen).await
    }

    /// A limit that the setter sees.
    pub async fn budget(&self, tenant: &TenantScope, by: &Setter, id: &str) -> Result<Budget> {
        visible(&self.db.glance(tenant).await?, tenant, by, id).await
    }

    /// Sets a limit, or gives the one of this kind that there is another amount and switches it on.
    ///
    /// # Errors
    /// As [`Self::create_budget`].
    pub async fn set_budget(&self, tenant: &TenantScope, by: &Setter, draft: BudgetDraft) -> Result<Budget> {
        let change = BudgetChange {
            amount: Some(draft.amount),
            enabled: Some(true),
        };
        let wanted = draft.clone();
        let there = match self.create_budget(tenant, by, draft).await {
            Err(Error::Conflict(why)) => why,
            made => return made,
        };
        let target = wanted.target.unwrap_or_default();
        let user = wanted
            .user
            .or_else(|| by.user.clone().filter(|_| wanted.kind != Kind::Tenant));
        let views = self.list_budgets(tenant, by).await?.into_iter();
        let same = |budget: &Budget| {
            let what = (budget.kind, budget.unit, budget.period) == (wanted.kind, wanted.unit, wanted.period);
            what && budget.target == target && budget.user == user && by.may_change(budget)
        };
        let mut found = views.map(|view| view.budget).filter(|budget| {
            // Beside an administrator's there may be the user's own.
            same(budget) && (budget.kind != Kind::User || (budget.origin == Origin::Admin) == by.admin)
        });
        let Some(found) = found.next() else {
            return Err(Error::Conflict(there));
        };
        Ok(self.change_budget(tenant, by, &found.id, change).await?.budget)
    }

    /// Changes a limit. What is used of it stays.
    ///
    /// # Errors
    /// `Invalid`, `NotFound` for one the setter does not see, `Forbidden` for one they may not change.
    pub async fn change_budget(
        &self,
        tenant: &TenantScope,
        by: &Setter,
        id: &str,
        change: BudgetChange,
    ) -> Result<BudgetView> {
        let tx = self.change(tenant).await?;
        let mut budget = changeable(&*tx, tenant, by, id).await?;
        if let Some(amount) = change.amount {
            budget.unit.check(amount)?;
        }
        budget.amount = change.amount.unwrap_or(budget.amount);
        budget.enabled = change.enabled.unwrap_or(budget.enabled);
        budget.updated_at = now_ms();
        budget::Entity::update_of_tenant(tenant)
            .col_expr(budget::Column::Amount, Expr::value(budget.amount))
            .col_expr(budget::Column::Enabled, Expr::value(budget.enabled))
            .col_expr(budget::Column::UpdatedAt, Expr::value(budget.updated_at))
            .filter(budget::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        audit::append(&*tx, tenant, self.setter(by), "budget.change", id, detail(&budget)).await?;
        let view = viewed(&*tx, tenant, vec![budget]).await?.pop();
        self.changed(tx).await?;
        view.ok_or(Error::NotFound { what: "budget" })
    }

    /// Takes a limit away, and what was counted for it.
    ///
    /// # Errors
    /// `NotFound` for one the setter does not see, `Forbidden` for one they may not change.
    pub async fn delete_budget(&self, tenant: &TenantScope, by: &Setter, id: &str) -> Result<()> {
        let tx = self.change(tenant).await?;
        let budget = changeable(&*tx, tenant, by, id).await?;
        budget_hold::Entity::delete_of_tenant(tenant)
            .filter(budget_hold::Column::BudgetId.eq(id))
            .exec(&*tx)
            .await?;
        budget_use::Entity::delete_of_tenant(tenant)
            .filter(budget_use::Column::BudgetId.eq(id))
            .exec(&*tx)
            .await?;
        budget::Entity::delete_of_tenant(tenant)
            .filter(budget::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        audit::append(&*tx, tenant, self.setter(by), "budget.delete", id, detail(&budget)).await?;
        self.changed(tx).await
    }

    /// Who the audit log names.
    fn setter<'a>(&'a self, by: &'a Setter) -> &'a str {
        match &by.user {
            Some(user) if self.actor.is_none() => user.as_str(),
            Some(_) | None => self.actor(),
        }
    }

    /// Whose the limit becomes.
    async fn owner(&self, tenant: &TenantScope, by: &Setter, draft: &BudgetDraft) -> Result<Option<Scope>> {
        let wanted = draft.user.as_ref().or(by.user.as_ref());
        let (Kind::User | Kind::Agent | Kind::Cron, Some(user)) = (draft.kind, wanted) else {
            if draft.kind != Kind::Tenant {
                return Err(Error::invalid("a limit of this kind needs its user"));
            }
            if draft.user.is_some() {
                return Err(Error::invalid("a limit of the whole tenant has no user"));
            }
            if !by.admin {
                return Err(Error::Forbidden(
                    "the tenant's limits are set by an administrator".to_owned(),
                ));
            }
            return Ok(None);
        };
        if !by.is(Some(user)) {
            if !by.admin {
                return Err(Error::Forbidden(
                    "other people's limits are set by an administrator".to_owned(),
                ));
            }
            if draft.kind != Kind::User {
                return Err(Error::Forbidden(
                    "limits of an agent or a scheduled job are set by the person whose it is".to_owned(),
                ));
            }
        }
        Ok(Some(self.user(tenant, user).await?.scope.clone()))
    }

    /// The agent or the job, which there must be.
    async fn target(&self, owner: Option<&Scope>, draft: &BudgetDraft) -> Result<String> {
        let target = draft.target.as_deref().unwrap_or_default();
        let (Kind::Agent | Kind::Cron, Some(owner)) = (draft.kind, owner) else {
            if !target.is_empty() {
                return Err(Error::invalid(
                    "only limits of an agent or a scheduled job have a target",
                ));
            }
            return Ok(String::new());
        };
        if target.is_empty() || target.len() > LONGEST_TARGET {
            return Err(Error::invalid("say which agent or scheduled job the limit is for"));
        }
        if draft.kind == Kind::Agent {
            let settings = self.settings(owner).await?;
            let known = settings.default_agent == target || settings.agents.iter().any(|agent| agent.id == target);
            return known
                .then(|| target.to_owned())
                .ok_or(Error::NotFound { what: "agent" });
        }
        let job = self.cron_job(owner, target).await?;
        job.map(|job| job.id).ok_or(Error::NotFound { what: "scheduled job" })
    }
}

async fn check_room(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    owner: Option<&Scope>,
    origin: Origin,
) -> Result<()> {
    let all = budget::Entity::of_tenant(tenant).count(tx).await?;
    let own = match owner {
        Some(owner) if origin == Origin::User => {
            let own = budget::Entity::of_tenant(tenant)
                .filter(budget::Column::UserId.eq(owner.user().clone()))
                .filter(budget::Column::Origin.eq(Origin::User.name()));
            own.count(tx).await?
        }
        Some(_) | None => 0,
    };
    if all >= MOST || own >= MOST_OF_A_USER {
        return Err(Error::Conflict(format!(
            "there are {MOST_OF_A_USER} limits of a user's own or {MOST} of the tenant already: remove one first"
        )));
    }
    Ok(())
}

/// The row of this id, where the setter may change it.
async fn changeable(tx: &impl ConnectionTrait, tenant: &TenantScope, by: &Setter, id: &str) -> Result<Budget> {
    let budget = visible(tx, tenant, by, id).await?;
    if !by.may_change(&budget) {
        return Err(Error::Forbidden("this limit was set by an administrator".to_owned()));
    }
    Ok(budget)
}

async fn visible(tx: &impl ConnectionTrait, tenant: &TenantScope, by: &Setter, id: &str) -> Result<Budget> {
    let row = budget::Entity::of_tenant(tenant)
        .filter(budget::Column::Id.eq(id))
        .one(tx)
        .await?;
    let budget = row.map(Budget::try_from).transpose()?;
    budget
        .filter(|budget| by.sees(budget))
        .ok_or(Error::NotFound { what: "budget" })
}

async fn viewed(tx: &impl ConnectionTrait, tenant: &TenantScope, budgets: Vec<Budget>) -> Result<Vec<BudgetView>> {
    let now = now_ms();
    let spans = budgets.iter().map(|budget| budget.period.span(budget.zone, now));
    let spans: Vec<Span> = spans.collect();
    let mut starts: Vec<i64> = spans.iter().map(|span| span.starts_at).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut query = budget_use::Entity::of_tenant(tenant).filter(budget_use::Column::StartsAt.is_in(starts));
    if let [only] = budgets.as_slice() {
        query = query.filter(budget_use::Column::BudgetId.eq(only.id.as_str()));
    }
    let used: HashMap<(String, i64), (i64, i64)> = query
        .all(tx)
        .await?
        .into_iter()
        .map(|row| ((row.budget_id, row.starts_at), (row.spent, row.reserved)))
        .collect();
    let views = budgets.into_iter().zip(spans).map(|(budget, span)| {
        let key = (budget.id.clone(), span.starts_at);
        let (spent, reserved) = used.get(&key).copied().unwrap_or_default();
        BudgetView {
            budget,
            span,
            spent,
            reserved,
        }
    });
    Ok(views.collect())
}

fn detail(budget: &Budget) -> Value {
    json!({
        "kind": budget.kind, "user": budget.user, "target": budget.target, "unit": budget.unit,
        "amount": budget.amount, "period": budget.period, "enabled": budget.enabled,
    })
}
