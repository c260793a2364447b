//! `usage.cost`, `usage.status` and `sessions.usage`: what the user's runs have used, from their records.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Offset, TimeZone, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nothing, agent_of, session_key};
use crate::clock::now_ms;
use crate::config::devices::without_nulls;
use crate::conversation::history::{Archived, SessionFilter, SessionRow};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::session::usage::{self, By, DAY, Runs, Said, Span, Spent};
use crate::session::{freshness, side};

/// Days without a range, as the original.
const DAYS: i64 = 30;
const MOST_DAYS: i64 = 3660;
/// Sessions of `sessions.usage` without `limit`.
const ROWS: usize = 50;
const MOST_ROWS: usize = 500;

pub(super) fn register(methods: &mut Methods) {
    methods.add("usage.cost", Access::Scope(READ), cost);
    methods.add("usage.status", Access::Scope(READ), status);
    methods.add("sessions.usage", Access::Scope(READ), sessions).hidden();
}

/// The days a report is about.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RangeParams {
    days: Option<i64>,
    start_date: Option<String>,
    end_date: Option<String>,
    range: Option<String>,
    mode: Option<String>,
    utc_offset: Option<String>,
    time_zone: Option<String>,
}

/// First and last day (days since the epoch), and milliseconds from UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    first: i64,
    last: i64,
    offset: i64,
}

impl Range {
    /// `own` is the user's time zone, which `mode: gateway` means here.
    fn of(method: &str, params: &RangeParams, own: &str, now: i64) -> Result<Self, WireError> {
        let complain = |what: String| WireError::invalid(format!("invalid {method} params: {what}"));
        let of_zone = |name: &str| {
            let at = DateTime::from_timestamp_millis(now).unwrap_or_default();
            let zone = freshness::zone(name);
            i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()) * 1000
        };
        let offset = match (params.mode.as_deref(), &params.utc_offset, &params.time_zone) {
            (_, Some(given), _) => utc_offset(given)
                .ok_or_else(|| complain("at /utcOffset: must look like UTC+2 or UTC-5:30".to_owned()))?,
            (_, None, Some(zone)) => of_zone(zone),
            (Some("gateway"), None, None) => of_zone(own),
            _ => 0,
        };
        let day = |name: &str, given: &Option<String>| match given {
            None => Ok(None),
            Some(text) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map(|date| Some(i64::from(date.to_epoch_days())))
                .map_err(|_| complain(format!("at /{name}: must be a date like 2026-01-31"))),
        };
        let last = day("endDate", &params.end_date)?.unwrap_or((now + offset).div_euclid(DAY));
        let days = match (params.days, params.range.as_deref()) {
            (Some(days), _) => days,
            (None, Some("7d")) => 7,
            (None, Some("90d")) => 90,
            (None, Some("1y")) => 365,
            (None, Some("all")) => MOST_DAYS,
            _ => DAYS,
        };
        let days = days.clamp(1, MOST_DAYS);
        let first = day("startDate", &params.start_date)?.unwrap_or(last - days + 1);
        if first > last {
            return Err(complain("at /startDate: must not be after endDate".to_owned()));
        }
        Ok(Self {
            first: first.max(last - MOST_DAYS + 1),
            last,
            offset,
        })
    }

    fn span(self) -> Span {
        Span {
            from: self.first * DAY - self.offset,
            until: (self.last + 1) * DAY - self.offset,
            offset: self.offset,
        }
    }
}

/// `UTC+2`, `UTC-5:30` in milliseconds.
fn utc_offset(text: &str) -> Option<i64> {
    let rest = text.strip_prefix("UTC")?;
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..=14).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn date(day: i64) -> String {
    let date = DateTime::<Utc>::from_timestamp_millis(day.saturating_mul(DAY)).unwrap_or_default();
    date.format("%Y-%m-%d").to_string()
}

/// Sums of some runs.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    tokens: [i64; 4],
    cost: [f64; 4],
    runs: i64,
    errors: i64,
}

impl Totals {
    fn add(&mut self, spent: &Spent) {
        let tokens = [spent.input, spent.output, spent.cache_read, spent.cache_write];
        let cost = [
            spent.cost_input,
            spent.cost_output,
            spent.cost_cache_read,
            spent.cost_cache_write,
        ];
        for (sum, more) in self.tokens.iter_mut().zip(tokens) {
            *sum += more;
        }
        for (sum, more) in self.cost.iter_mut().zip(cost) {
            *sum += more;
        }
        self.runs += spent.runs;
        self.errors += spent.errors;
    }

    fn tokens(&self) -> i64 {
        self.tokens.iter().sum()
    }

    fn cost(&self) -> f64 {
        self.cost.iter().sum()
    }

    fn view(&self) -> Value {
        let ([input, output, read, write], [cost_in, cost_out, cost_read, cost_write]) = (self.tokens, self.cost);
        json!({
            "input": input, "output": output, "cacheRead": read, "cacheWrite": write, "totalTokens": self.tokens(),
            "totalCost": self.cost(), "inputCost": cost_in, "outputCost": cost_out, "cacheReadCost": cost_read,
            "cacheWriteCost": cost_write, "missingCostEntries": 0,
        })
    }

    fn dated(&self, day: i64) -> Value {
        let mut view = self.view();
        view["date"] = json!(date(day));
        view
    }
}

/// Sums by a key, in the key's order.
fn by<K: Ord>(spent: &[&Spent], key: impl Fn(&Spent) -> K) -> BTreeMap<K, Totals> {
    let mut sums: BTreeMap<K, Totals> = BTreeMap::new();
    for one in spent {
        sums.entry(key(one)).or_default().add(one);
    }
    sums
}

fn total(spent: &[&Spent]) -> Totals {
    by(spent, |_| ()).remove(&()).unwrap_or_default()
}

fn refs(spent: &[Spent]) -> Vec<&Spent> {
    spent.iter().collect()
}

async fn range(call: &Call, method: &str, params: &RangeParams) -> Result<Range, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    Range::of(method, params, settings.time_zone.as_deref().unwrap_or("UTC"), now_ms())
}

async fn cost(call: Call, params: RangeParams) -> Result<Value, WireError> {
    let range = range(&call, "usage.cost", &params).await?;
    let runs = Runs {
        span: range.span(),
        key: None,
        agent: None,
        keys: None,
    };
    let days = By {
        day: true,
        ..By::default()
    };
    let (services, scope, span) = (&call.state.services, call.scope(), range.span());
    let mut spent = usage::spent(services, scope, runs, days).await?;
    let aside = side::used(services, scope, span).await?;
    spent.extend(aside.iter().map(|row| side::spent(row, span)));
    let spent = refs(&spent);
    let daily: Vec<Value> = by(&spent, |one| one.day)
        .iter()
        .map(|(day, sum)| sum.dated(*day))
        .collect();
    Ok(json!({
        "updatedAt": now_ms(), "days": range.last - range.first + 1, "daily": daily, "totals": total(&spent).view(),
    }))
}

/// Providers with a key. None of them tells how much of a plan is left, so none has a window.
async fn status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let providers = config.list_providers(call.scope().tenant_scope()).await?;
    let providers: Vec<Value> = providers
        .iter()
        .filter(|provider| provider.enabled && provider.key_set)
        .map(|provider| json!({"provider": provider.id, "displayName": provider.id, "windows": []}))
        .collect();
    Ok(json!({"updatedAt": now_ms(), "providers": providers}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageParams {
    key: Option<String>,
    agent_id: Option<String>,
    limit: Option<usize>,
    #[serde(flatten)]
    range: RangeParams,
}

async fn sessions(call: Call, params: UsageParams) -> Result<Value, WireError> {
    let range = range(&call, "sessions.usage", &params.range).await?;
    let key = match &params.key {
        Some(given) => Some(session_key(&call, given).await?),
        None => None,
    };
    let (services, scope) = (&call.state.services, call.scope());
    let runs = Runs {
        span: range.span(),
        key: key.as_ref(),
        agent: params.agent_id.as_deref(),
        keys: None,
    };
    // Three sums instead of one over everything: a long span has many sessions and many days, and few need both.
    let daily = By {
        day: true,
        model: true,
        ..By::default()
    };
    let daily = usage::spent(services, scope, runs, daily).await?;
    let sessions = By {
        session: true,
        ..By::default()
    };
    let sessions = usage::spent(services, scope, runs, sessions).await?;
    let mut newest = refs(&sessions);
    newest.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.session_key.cmp(&b.session_key)));
    newest.truncate(params.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS));
    let shown: Vec<&str> = newest.iter().map(|one| one.session_key.as_str()).collect();
    let whole = By {
        session: true,
        transcript: true,
        day: true,
        model: true,
    };
    let of_shown = Runs {
        keys: Some(&shown),
        ..runs
    };
    let details = usage::spent(services, scope, of_shown, whole).await?;
    let mut by_session: HashMap<&str, Vec<&Spent>> = HashMap::new();
    for one in &details {
        by_session.entry(one.session_key.as_str()).or_default().push(one);
    }
    let said = usage::said(services, scope, range.span(), &transcripts(&refs(&details))).await?;
    let said: HashMap<&str, &Said> = said.iter().map(|one| (one.session_id.as_str(), one)).collect();
    let rows = rows(&call, &shown).await?;
    let views: Vec<Value> = shown
        .iter()
        .map(|key| {
            let runs = by_session.remove(key).unwrap_or_default();
            session_view(key, &runs, rows.get(*key), &said)
        })
        .collect();
    let in_all = usage::said_in_all(services, scope, runs).await?;
    let daily = refs(&daily);
    Ok(json!({
        "updatedAt": now_ms(), "startDate": date(range.first), "endDate": date(range.last), "sessions": views,
        "totals": total(&daily).view(), "aggregates": aggregates(&daily, &refs(&sessions), &in_all),
    }))
}

/// Transcripts of the runs, each once.
fn transcripts(spent: &[&Spent]) -> Vec<String> {
    let mut ids: Vec<String> = spent.iter().map(|one| one.session_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The rows of these sessions that still exist.
async fn rows(call: &Call, keys: &[&str]) -> Result<HashMap<String, SessionRow>, WireError> {
    let filter = SessionFilter {
        keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
        archived: Archived::With,
        ..SessionFilter::default()
    };
    let conversation = &call.state.services.conversation;
    let (rows, _) = conversation
        .find_sessions(call.scope(), &filter, keys.len() as u64, 0)
        .await?;
    Ok(rows.into_iter().map(|row| (row.key.clone().into(), row)).collect())
}

fn session_view(key: &str, runs: &[&Spent], row: Option<&SessionRow>, said: &HashMap<&str, &Said>) -> Value {
    let sum = total(runs);
    let first = runs.iter().map(|one| one.first).min().unwrap_or(0);
    let last = runs.iter().map(|one| one.last).max().unwrap_or(0);
    let newest = runs.iter().max_by_key(|one| one.last);
    let session_id = row
        .map(|row| row.session_id.as_str())
        .or(newest.map(|one| one.session_id.as_str()));
    let days = by(runs, |one| one.day);
    let daily: Vec<Value> = days
        .iter()
        .map(|(day, sum)| {
            let mut view = sum.dated(*day);
            view["tokens"] = json!(sum.tokens());
            view["cost"] = json!(sum.cost());
            view
        })
        .collect();
    let mut usage = sum.view();
    for (name, value) in [
        ("sessionId", json!(session_id)),
        ("firstActivity", json!(first)),
        ("lastActivity", json!(last)),
        ("durationMs", json!(last - first)),
        ("messageCounts", messages(&said_of(runs, said), sum.errors)),
        ("modelUsage", json!(models(runs))),
        (
            "activityDates",
            json!(days.keys().map(|day| date(*day)).collect::<Vec<_>>()),
        ),
        ("dailyBreakdown", json!(daily)),
    ] {
        usage[name] = value;
    }
    without_nulls(json!({
        "key": key, "label": row.and_then(|row| row.label.clone()), "sessionId": session_id, "scope": "family",
        "updatedAt": row.map_or(last, |row| row.updated_at), "agentId": crate::session::key::parse(key).map(|key| key.agent_id),
        "modelProvider": newest.map(|one| &one.provider), "model": newest.map(|one| &one.model),
        "usage": usage, "hasContextWeight": false,
    }))
}

/// Messages of these runs' transcripts.
fn said_of(runs: &[&Spent], said: &HashMap<&str, &Said>) -> Said {
    let mut sum = Said::default();
    for one in transcripts(runs).iter().filter_map(|id| said.get(id.as_str())) {
        sum.user += one.user;
        sum.assistant += one.assistant;
        sum.tool_results += one.tool_results;
    }
    sum
}

/// A call of a tool has one result.
fn messages(said: &Said, errors: i64) -> Value {
    json!({
        "total": said.user + said.assistant, "user": said.user, "assistant": said.assistant,
        "toolCalls": said.tool_results, "toolResults": said.tool_results, "errors": errors,
    })
}

fn models(spent: &[&Spent]) -> Vec<Value> {
    by(spent, |one| (one.provider.clone(), one.model.clone()))
        .iter()
        .map(|((provider, model), sum)| {
            json!({"provider": provider, "model": model, "count": sum.runs, "totals": sum.view()})
        })
        .collect()
}

/// `spent` by day and model, `sessions` by session.
fn aggregates(spent: &[&Spent], sessions: &[&Spent], said: &Said) -> Value {
    let providers: Vec<Value> = by(spent, |one| one.provider.clone())
        .iter()
        .map(|(provider, sum)| json!({"provider": provider, "count": sum.runs, "totals": sum.view()}))
        .collect();
    let agents: Vec<Value> = by(sessions, |one| agent_of(&one.session_key).to_owned())
        .iter()
        .map(|(agent, sum)| json!({"agentId": agent, "totals": sum.view()}))
        .collect();
    let channels: Vec<Value> = by(sessions, |one| {
        let parsed = crate::session::key::parse(one.session_key.as_str());
        parsed.and_then(|parsed| parsed.channel).map(str::to_owned)
    })
    .iter()
    .filter_map(|(channel, sum)| Some(json!({"channel": channel.as_ref()?, "totals": sum.view()})))
    .collect();
    let days = by(spent, |one| one.day);
    let daily: Vec<Value> = days
        .iter()
        .map(|(day, sum)| {
            json!({"date": date(*day), "tokens": sum.tokens(), "cost": sum.cost(), "runs": sum.runs, "errors": sum.errors})
        })
        .collect();
    let model_daily: Vec<Value> = by(spent, |one| (one.day, one.provider.clone(), one.model.clone()))
        .iter()
        .map(|((day, provider, model), sum)| {
            json!({"date": date(*day), "provider": provider, "model": model, "tokens": sum.tokens(),
                   "cost": sum.cost(), "count": sum.runs})
        })
        .collect();
    let messages = messages(said, total(spent).errors);
    json!({
        "sessionCount": sessions.len(), "messages": messages,
        "tools": {"totalCalls": messages["toolCalls"]},
        "byModel": models(spent), "byProvider": providers, "byAgent": agents, "byChannel": channels,
        "costDaily": days.iter().map(|(day, sum)| sum.dated(*day)).collect::<Vec<_>>(),
        "modelDaily": model_daily, "daily": daily,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 20_000 * DAY + DAY / 2;

    #[test]
    fn ranges_end_today_unless_dates_say_otherwise() {
        let check = |params: Value, first: i64, last: i64, offset: i64| {
            let parsed: RangeParams = serde_json::from_value(params.clone()).expect("parses");
            let range = Range::of("usage.cost", &parsed, "Europe/Berlin", NOON).expect("a range");
            assert_eq!(range, Range { first, last, offset }, "{params}");
        };
        let today = 20_000;
        check(json!({}), today - 29, today, 0);
        check(json!({"days": 7}), today - 6, today, 0);
        check(json!({"days": 0}), today, today, 0);
        check(json!({"range": "1y"}), today - 364, today, 0);
        check(
            json!({"utcOffset": "UTC+14", "days": 1}),
            today + 1,
            today + 1,
            14 * 3_600_000,
        );
        check(json!({"utcOffset": "UTC-5:30", "days": 1}), today, today, -19_800_000);
        check(json!({"mode": "gateway", "days": 1}), today, today, 7_200_000);
        check(
            json!({"startDate": "2024-10-01", "endDate": "2024-10-02"}),
            19_997,
            19_998,
            0,
        );
        for bad in [
            json!({"startDate": "2024-13-01"}),
            json!({"startDate": "2024-10-02", "endDate": "2024-10-01"}),
            json!({"utcOffset": "CET"}),
        ] {
            let parsed: RangeParams = serde_json::from_value(bad.clone()).expect("parses");
            assert!(Range::of("usage.cost", &parsed, "UTC", NOON).is_err(), "{bad}");
        }
    }
}
