//! Limits of what models may cost: who set which, and how much of each is used. They are held by
//! [`crate::session::budget`], before each call.

mod period;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;
use claw_entities::{UserId, budget};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use period::{Period, Span};
pub use store::{BudgetChange, BudgetDraft, BudgetView, Setter};

/// What a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All users together.
    Tenant,
    User,
    Agent,
    /// A scheduled job.
    Cron,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Cron => "cron",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Of prompts, cached ones too, and answers.
    Tokens,
    /// Millionths of a US dollar.
    Money,
}

impl Unit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "money",
        }
    }

    /// An amount as people write it: whole tokens, or US dollars with six decimals at most.
    ///
    /// # Errors
    /// `Invalid` where it is none.
    pub fn read(self, written: f64) -> Result<i64> {
        let scaled = written * self.scale();
        let rounded = scaled.round();
        let exact = (scaled - rounded).abs() <= 1e-3 && (1.0..=LARGEST).contains(&rounded);
        if !exact {
            return Err(Error::invalid(match self {
                Self::Tokens => "an amount of tokens is a whole number from 1 to 1,000,000,000,000,000",
                Self::Money => "an amount of money is 0.000001 to 1,000,000,000 US dollars, with six decimals at most",
            }));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in bounds")]
        Ok(rounded as i64)
    }

    /// An amount as people write it.
    pub fn written(self, amount: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "amounts stay below 2^53")]
        let amount = amount as f64;
        amount / self.scale()
    }

    fn check(self, amount: i64) -> Result<()> {
        self.read(self.written(amount)).map(|_| ())
    }

    const fn scale(self) -> f64 {
        match self {
            Self::Tokens => 1.0,
            Self::Money => 1e6,
        }
    }
}

/// Largest amount: a thousand million millions of tokens, or a thousand million US dollars.
const LARGEST: f64 = 1e15;

/// Who set a user's limit, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Admin,
    User,
}

impl Origin {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub id: String,
    pub kind: Kind,
    /// Whose; `None` for the tenant's.
    pub user: Option<UserId>,
    /// The agent or the job; else empty.
    pub target: String,
    pub unit: Unit,
    /// In the unit, at least 1.
    pub amount: i64,
    pub period: Period,
    /// Where its days begin.
    pub zone: Tz,
    pub origin: Origin,
    pub enabled: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub updated_at: i64,
}

impl TryFrom<budget::Model> for Budget {
    type Error = Error;

    fn try_from(row: budget::Model) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("budget {}: unknown {what}", row.id));
        Ok(Self {
            kind: named(
                [Kind::Tenant, Kind::User, Kind::Agent, Kind::Cron],
                Kind::name,
                &row.kind,
            )
            .ok_or_else(|| unknown("kind"))?,
            user: (!row.user_id.as_str().is_empty()).then(|| row.user_id.clone()),
            unit: named([Unit::Tokens, Unit::Money], Unit::name, &row.unit).ok_or_else(|| unknown("unit"))?,
            period: named(Period::ALL, Period::name, &row.period).ok_or_else(|| unknown("period"))?,
            zone: row.time_zone.parse().map_err(|_| unknown("time zone"))?,
            origin: named([Origin::Admin, Origin::User], Origin::name, &row.origin).ok_or_else(|| unknown("origin"))?,
            target: row.target.clone(),
            amount: row.amount,
            enabled: row.enabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
            id: row.id,
        })
    }
}

fn named<T: Copy, const N: usize>(all: [T; N], name: fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.into_iter().find(|one| name(*one) == wanted)
}

/// A tenant's limits that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    everybody: Vec<Arc<Budget>>,
    users: HashMap<UserId, Vec<Arc<Budget>>>,
}

impl Budgets {
    fn new(all: impl Iterator<Item = Budget>) -> Self {
        let mut budgets = Self::default();
        for budget in all.filter(|budget| budget.enabled).map(Arc::new) {
            match &budget.user {
                Some(user) => budgets.users.entry(user.clone()).or_default().push(budget),
                None => budgets.everybody.push(budget),
            }
        }
        budgets
    }

    /// Those that hold for a call of this user's which these agents and this job pay for, in the order they are locked.
    pub(crate) fn of_call(&self, user: &UserId, agents: &[&str], job: Option<&str>) -> Vec<Arc<Budget>> {
        let own = self.users.get(user).into_iter().flatten();
        let holds = |budget: &&Arc<Budget>| match budget.kind {
            Kind::Tenant | Kind::User => true,
            Kind::Agent => agents.contains(&budget.target.as_str()),
            Kind::Cron => job == Some(budget.target.as_str()),
        };
        let mut found: Vec<_> = self.everybody.iter().chain(own).filter(holds).cloned().collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.everybody.is_empty() && self.users.is_empty()
    }
}
