//! Firecrawl.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::json;

use super::{Answer, Asking, Engine, Query, american, hits};

const ADDRESS: &str = "https://api.firecrawl.dev";

pub(super) struct Firecrawl;

impl Engine for Firecrawl {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &["country", "freshness", "date_after", "date_before"]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let query = asking.query;
            let mut body = json!({"query": query.query, "limit": asking.count, "sources": ["web"]});
            let wishes = [
                ("country", &query.country.as_deref().map(str::to_uppercase)),
                ("tbs", &times(query)),
            ];
            Asking::put(&mut body, &wishes);
            let request = asking.post_with_key(&format!("{}/v2/search", asking.base(ADDRESS)), &body)?;
            let answer = asking.send(request).await?;
            // Instances of one's own that are older give the list itself.
            let data = &answer["data"];
            Ok(hits(data.get("web").unwrap_or(data), "description", "date"))
        })
    }
}

/// When, as the address of a search page has it.
fn times(query: &Query) -> Option<String> {
    let unit = match query.freshness.as_deref() {
        Some("day") => Some('d'),
        Some("week") => Some('w'),
        Some("month") => Some('m'),
        Some("year") => Some('y'),
        Some(_) | None => None,
    };
    if let Some(unit) = unit {
        return Some(format!("qdr:{unit}"));
    }
    if query.date_after.is_none() && query.date_before.is_none() {
        return None;
    }
    let mut times = "cdr:1".to_owned();
    for (name, date) in [("cd_min", &query.date_after), ("cd_max", &query.date_before)] {
        if let Some(date) = date {
            times.push_str(&format!(",{name}:{}", american(date)));
        }
    }
    Some(times)
}
