//! What a person is told about a limit. Pure.

use chrono::{DateTime, Utc};

use super::ledger::Shortage;
use crate::config::budgets::{Budget, Kind, Origin, Period, Unit};

const MILLION: i64 = 1_000_000;

/// Which limit stands in the way, how much of it is used, until when, and who can change that. Where others read along,
/// only that there is one.
pub(super) fn refusal(shortage: &Shortage, job: Option<&str>, overheard: bool) -> String {
    if overheard {
        return "A spending limit is reached, so I cannot answer now. Please try again later.".to_owned();
    }
    let budget = &shortage.budget;
    let (spent, whole) = (amount(shortage.spent, budget), amount(budget.amount, budget));
    let state = if shortage.spent >= budget.amount {
        format!("is used up ({spent} of {whole})")
    } else if shortage.reserved > 0 {
        let held = amount(shortage.reserved, budget);
        format!("has no room for this answer ({spent} of {whole} used, {held} held for answers under way)")
    } else {
        format!("has no room for this answer ({spent} of {whole} used)")
    };
    let again = match shortage.ends_at.and_then(|at| time(at, budget)) {
        Some(at) => format!("It opens again on {at}."),
        None => "It does not open again by itself.".to_owned(),
    };
    format!("The {} {state}. {again} {}", limit(budget, job), who(budget))
}

/// A limit in money does not hold for a model whose price nobody knows, so it is not called.
pub(super) fn unpriced(budget: &Budget, model: &str) -> String {
    format!(
        "There is a {}, and nobody has said what the model {model} costs, so I did not ask it. Set its price \
         (models.providers.<provider>.models[].cost: input and output, in USD per million tokens; 0 is free), or choose \
         another model.",
        limit(budget, None)
    )
}

fn limit(budget: &Budget, job: Option<&str>) -> String {
    let period = match budget.period {
        Period::Day => "daily",
        Period::Week => "weekly",
        Period::Month => "monthly",
        Period::Total => "total",
    };
    let unit = match budget.unit {
        Unit::Tokens => "tokens",
        Unit::Money => "USD",
    };
    let whose = match budget.kind {
        Kind::Tenant => "all users together".to_owned(),
        Kind::User => "this user".to_owned(),
        Kind::Agent => format!("the agent {}", budget.target),
        Kind::Cron => format!("the scheduled job {}", job.unwrap_or(&budget.target)),
    };
    format!("{period} limit of {} {unit} for {whose}", amount(budget.amount, budget))
}

fn who(budget: &Budget) -> &'static str {
    match budget.origin {
        Origin::Admin => "An administrator can raise it under Settings → Budgets.",
        Origin::User => "You can change it under Settings → Budgets.",
    }
}

/// An amount in the budget's unit, as exact as its size asks for. Never rounded up: 4.999 of 5 are not 5.
fn amount(amount: i64, budget: &Budget) -> String {
    match budget.unit {
        Unit::Tokens => grouped(amount),
        Unit::Money => {
            let cents = amount.rem_euclid(MILLION) / 10_000;
            if budget.amount >= MILLION {
                return format!("{}.{cents:02}", grouped(amount.div_euclid(MILLION)));
            }
            let exact = format!("{}.{:06}", amount.div_euclid(MILLION), amount.rem_euclid(MILLION));
            let short = exact.trim_end_matches('0');
            let least = exact.len() - 4;
            exact.get(..short.len().max(least)).unwrap_or(&exact).to_owned()
        }
    }
}

/// 1234567 as `1,234,567`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < 0 {
        shown.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn time(at: i64, budget: &Budget) -> Option<String> {
    let at = DateTime::<Utc>::from_timestamp_millis(at)?.with_timezone(&budget.zone);
    Some(format!("{} ({})", at.format("%-d %B %H:%M"), budget.zone.name()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono_tz::Tz;

    use super::*;

    fn budget(kind: Kind, unit: Unit, amount: i64, period: Period) -> Budget {
        Budget {
            id: "b".to_owned(),
            kind,
            user: None,
            target: "work".to_owned(),
            unit,
            amount,
            period,
            zone: Tz::Europe__Berlin,
            origin: if kind == Kind::Tenant || kind == Kind::User {
                Origin::Admin
            } else {
                Origin::User
            },
            enabled: true,
            created_at: 0,
            updated_at: 0,
        }
    }

    fn short(budget: Budget, spent: i64, reserved: i64) -> Shortage {
        // 1 December 2026, midnight in Berlin.
        let ends_at = (budget.period != Period::Total).then_some(1_796_079_600_000);
        Shortage {
            budget: Arc::new(budget),
            spent,
            reserved,
            ends_at,
        }
    }

    #[test]
    fn a_refusal_says_which_limit_how_much_and_until_when() {
        let monthly = budget(Kind::User, Unit::Money, 5_000_000, Period::Month);
        assert_eq!(
            refusal(&short(monthly.clone(), 5_000_000, 0), None, false),
            "The monthly limit of 5.00 USD for this user is used up (5.00 of 5.00). It opens again on 1 December 00:00 \
             (Europe/Berlin). An administrator can raise it under Settings → Budgets."
        );
        assert!(refusal(&short(monthly.clone(), 4_999_999, 0), None, false).contains("(4.99 of 5.00 used)"));
        let held = refusal(&short(monthly.clone(), 0, 4_950_000), None, false);
        assert!(
            held.contains("(0.00 of 5.00 used, 4.95 held for answers under way)"),
            "{held}"
        );
        let job = budget(Kind::Cron, Unit::Tokens, 1_234_567, Period::Total);
        assert_eq!(
            refusal(&short(job, 1_300_000, 0), Some("Morning news"), false),
            "The total limit of 1,234,567 tokens for the scheduled job Morning news is used up (1,300,000 of 1,234,567). \
             It does not open again by itself. You can change it under Settings → Budgets."
        );
        let overheard = refusal(&short(monthly, 5_000_000, 0), None, true);
        assert!(
            !overheard.contains(|letter: char| letter.is_ascii_digit()),
            "{overheard}"
        );
        let small = budget(Kind::Agent, Unit::Money, 1_500, Period::Day);
        let small = refusal(&short(small, 1_499, 0), None, false);
        assert!(
            small.contains("0.0015 USD for the agent work") && small.contains("(0.001499 of 0.0015 used)"),
            "{small}"
        );
    }

    #[test]
    fn amounts_are_as_exact_as_they_must_be() {
        let of = |whole: i64, part: i64| amount(part, &budget(Kind::Tenant, Unit::Money, whole, Period::Day));
        assert_eq!(of(5_000_000, 12_345_678), "12.34");
        assert_eq!(of(10_000, 10_000), "0.01");
        assert_eq!(of(100_000, 100_000), "0.10");
        assert_eq!(of(1, 1), "0.000001");
        assert_eq!(of(9_000_000_000, 1_234_567_890_000), "1,234,567.89");
        assert_eq!(of(1, 0), "0.00");
    }
}
