//! `budget …`: spending limits of a tenant, its users, and their agents and scheduled jobs.

use std::collections::HashMap;

use clap::{ArgGroup, Subcommand, ValueEnum};
use claw_actors::config::budgets::{Budget, BudgetDraft, BudgetView, Kind, Period, Setter, Unit};
use claw_entities::UserId;
use serde_json::json;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the limits, and how much of each is used now
    List {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Set a limit, or change the amount of the one there is; prints its id
    #[command(group(ArgGroup::new("amount").required(true).args(["tokens", "money"])))]
    Set {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// E-mail address of the user; all users together unless given
        #[arg(long)]
        user: Option<String>,
        /// Id of one of the user's agents
        #[arg(long, requires = "user", conflicts_with = "job")]
        agent: Option<String>,
        /// Id of one of the user's scheduled jobs
        #[arg(long, requires = "user")]
        job: Option<String>,
        /// So many tokens
        #[arg(long)]
        tokens: Option<f64>,
        /// So many US dollars
        #[arg(long)]
        money: Option<f64>,
        /// When it starts anew
        #[arg(long, value_enum)]
        per: Per,
        /// Where its days begin, e.g. Europe/Berlin; the user's zone, or UTC for the tenant, unless given
        #[arg(long)]
        time_zone: Option<String>,
    },
    /// Remove a limit
    Remove {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// Its id, as the list shows it
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Per {
    Day,
    Week,
    Month,
    /// It never does
    Total,
}

impl From<Per> for Period {
    fn from(per: Per) -> Self {
        match per {
            Per::Day => Self::Day,
            Per::Week => Self::Week,
            Per::Month => Self::Month,
            Per::Total => Self::Total,
        }
    }
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        let by = Setter::operator();
        match self {
            Self::List { tenant, json } => {
                let tenant = place::tenant(&config, &tenant).await?;
                let views = config.list_budgets(&tenant, &by).await?;
                let users = config.list_users(&tenant).await?.into_iter();
                let emails: HashMap<UserId, String> =
                    users.map(|user| (user.scope.user().clone(), user.email)).collect();
                let email = |budget: &Budget| budget.user.as_ref().and_then(|user| emails.get(user));
                if json {
                    let all: Vec<_> = views.iter().map(|view| machine(view, email(&view.budget))).collect();
                    out::json(&all);
                } else {
                    views
                        .iter()
                        .for_each(|view| out::line(person(view, email(&view.budget))));
                }
            }
            Self::Set {
                tenant,
                user,
                agent,
                job,
                tokens,
                money,
                per,
                time_zone,
            } => {
                let user = match user {
                    Some(email) => Some(place::user(&config, &tenant, &email).await?.scope.user().clone()),
                    None => None,
                };
                let tenant = place::tenant(&config, &tenant).await?;
                let (unit, amount) = match (tokens, money) {
                    (Some(tokens), _) => (Unit::Tokens, tokens),
                    (None, money) => (Unit::Money, money.unwrap_or_default()),
                };
                let kind = match (&user, &agent, &job) {
                    (None, _, _) => Kind::Tenant,
                    (Some(_), Some(_), _) => Kind::Agent,
                    (Some(_), None, Some(_)) => Kind::Cron,
                    (Some(_), None, None) => Kind::User,
                };
                let draft = BudgetDraft {
                    kind,
                    user,
                    target: agent.or(job),
                    unit,
                    amount: unit.read(amount)?,
                    period: per.into(),
                    time_zone,
                };
                out::line(config.set_budget(&tenant, &by, draft).await?.id);
            }
            Self::Remove { tenant, id } => {
                let tenant = place::tenant(&config, &tenant).await?;
                config.delete_budget(&tenant, &by, &id).await?;
                out::line(format!("removed {id}"));
            }
        }
        Ok(())
    }
}

fn whose(budget: &Budget, email: Option<&String>) -> String {
    let user = email.map_or("a user who is gone", String::as_str);
    match budget.kind {
        Kind::Tenant => "all users".to_owned(),
        Kind::User => user.to_owned(),
        Kind::Agent => format!("agent {} of {user}", budget.target),
        Kind::Cron => format!("job {} of {user}", budget.target),
    }
}

fn person(view: &BudgetView, email: Option<&String>) -> String {
    let budget = &view.budget;
    let written = |amount: i64| budget.unit.written(amount);
    format!(
        "{}\t{}\t{} of {} {} used, per {}{}",
        budget.id,
        whose(budget, email),
        written(view.spent),
        written(budget.amount),
        match budget.unit {
            Unit::Tokens => "tokens",
            Unit::Money => "USD",
        },
        budget.period.name(),
        if budget.enabled { "" } else { " (off)" }
    )
}

fn machine(view: &BudgetView, email: Option<&String>) -> serde_json::Value {
    let budget = &view.budget;
    let written = |amount: i64| budget.unit.written(amount);
    json!({
        "id": budget.id, "kind": budget.kind, "user": email, "target": budget.target, "unit": budget.unit,
        "amount": written(budget.amount), "spent": written(view.spent), "reserved": written(view.reserved),
        "period": budget.period, "timeZone": budget.zone.name(), "resetsAt": view.span.ends_at,
        "origin": budget.origin, "enabled": budget.enabled,
    })
}
