//! Gemini, which answers in words grounded with Google Search.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};
use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Answer, Asking, Engine, Query, day, written};

const ADDRESS: &str = "https://generativelanguage.googleapis.com/v1beta";
const MODEL: &str = "gemini-3.6-flash";

pub(super) struct Gemini;

impl Engine for Gemini {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &["freshness", "date_after", "date_before"]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let model = asking.model(MODEL).trim_start_matches("models/");
            let url = format!("{}/models/{model}:generateContent", asking.base(ADDRESS));
            let request = asking.post(&url, &body(asking.query, Utc::now()))?;
            let answer = asking.send(request.header("x-goog-api-key", asking.key())).await?;
            read(&answer)
        })
    }
}

fn body(query: &Query, now: DateTime<Utc>) -> Value {
    let mut search = json!({});
    if let Some((from, to)) = range(query, now) {
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        search["timeRangeFilter"] = json!({"startTime": text(from), "endTime": text(to)});
    }
    let mut words = query.query.clone();
    // A range of one day is shorter than what the service takes as one.
    if query.freshness.as_deref() == Some("day") {
        words.push_str("\n\nUse sources of the last 24 hours. Say so where there are none.");
    }
    json!({
        "contents": [{"role": "user", "parts": [{"text": words}]}],
        "tools": [{"google_search": search}],
    })
}

/// From when until when; the last day of a range is part of it.
fn range(query: &Query, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    let days = match query.freshness.as_deref() {
        Some("week") => Some(7),
        Some("month") => Some(30),
        Some("year") => Some(365),
        Some(_) | None => None,
    };
    if let Some(days) = days {
        return Some((now.checked_sub_days(Days::new(days))?, now));
    }
    let (after, before) = (query.date_after.as_deref(), query.date_before.as_deref());
    if after.is_none() && before.is_none() {
        return None;
    }
    let from = after.and_then(day).map_or(DateTime::UNIX_EPOCH, midnight);
    let until = before
        .and_then(day)
        .and_then(|date| date.checked_add_days(Days::new(1)));
    Some((from, until.map_or(now, midnight)))
}

fn read(answer: &Value) -> Result<Answer, String> {
    let candidate = &answer["candidates"][0];
    let parts = candidate["content"]["parts"].as_array();
    let words = parts
        .into_iter()
        .flatten()
        .filter(|part| part["thought"] != true)
        .filter_map(|part| part["text"].as_str());
    let text: String = words.collect();
    if text.trim().is_empty() {
        return Err("gemini gave no answer to this search.".to_owned());
    }
    let chunks = candidate["groundingMetadata"]["groundingChunks"].as_array();
    let sources = chunks.into_iter().flatten().filter_map(|chunk| {
        let title = chunk["web"]["title"].as_str().unwrap_or_default();
        Some((chunk["web"]["uri"].as_str()?.to_owned(), title.to_owned()))
    });
    Ok(written(&text, sources))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_for_a_time_are_ranges() {
        let now = DateTime::parse_from_rfc3339("2026-11-27T10:00:00Z").unwrap().to_utc();
        let filter = |query: Query| body(&query, now)["tools"][0]["google_search"]["timeRangeFilter"].clone();
        assert_eq!(filter(Query::default()), Value::Null);
        let week = Query {
            freshness: Some("week".to_owned()),
            ..Query::default()
        };
        assert_eq!(
            filter(week),
            json!({"startTime": "2026-11-20T10:00:00Z", "endTime": "2026-11-27T10:00:00Z"})
        );
        let until = Query {
            date_before: Some("2026-02-28".to_owned()),
            ..Query::default()
        };
        assert_eq!(
            filter(until),
            json!({"startTime": "1970-01-01T00:00:00Z", "endTime": "2026-03-01T00:00:00Z"})
        );
        let today = Query {
            freshness: Some("day".to_owned()),
            ..Query::default()
        };
        let asked = body(&today, now);
        assert!(asked.to_string().contains("last 24 hours"), "{asked}");
        assert_eq!(filter(today), Value::Null);
    }
}
