//! The wire of each search service: the request, and what its answer says. A filter a service does not have is refused by
//! name, so that the model does not take unfiltered results for filtered ones.

use chrono::NaiveDate;
use claw_actors::config::document::SearchEngine;
use claw_actors::session::reach::search::SearchAccess;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{DESCRIPTION, Found, Query};
use crate::egress::{Egress, EgressError, Purpose, Request};

const BRAVE: &str = "https://api.search.brave.com/res/v1/web/search";
const TAVILY: &str = "https://api.tavily.com/search";

/// The request; the outer error names a filter that the service does not have.
pub(super) fn request(
    egress: &Egress,
    query: &Query,
    count: u64,
    access: &SearchAccess,
) -> Result<Result<Request, EgressError>, String> {
    dates(query)?;
    let unsupported = match access.engine {
        SearchEngine::Brave => given(&[("domain_filter", !query.domain_filter.is_empty())]),
        SearchEngine::Tavily => given(&[
            ("country", query.country.is_some()),
            ("language", query.language.is_some()),
            ("ui_lang", query.ui_lang.is_some()),
        ]),
        SearchEngine::Searxng => given(&[
            ("country", query.country.is_some()),
            ("ui_lang", query.ui_lang.is_some()),
            ("date_after", query.date_after.is_some()),
            ("date_before", query.date_before.is_some()),
            ("domain_filter", !query.domain_filter.is_empty()),
            ("freshness week", query.freshness.as_deref() == Some("week")),
        ]),
    };
    if let Some(name) = unsupported {
        return Err(format!("{} has no filter {name}: leave it out.", access.engine.name()));
    }
    // An address of the user's own is theirs to answer for; the services' own are ours.
    let purpose = if access.base_url.is_some() {
        Purpose::Configured
    } else {
        Purpose::Fixed
    };
    let key = access.key.as_ref();
    let post = |url: &str, body: &Value| {
        let request = egress.request(purpose, Method::POST, url)?.json(body);
        Ok(match key {
            Some(key) => request.bearer(key),
            None => request,
        })
    };
    let get = |url: &str, pairs: &[(&str, String)]| {
        let Ok(mut url) = Url::parse(url) else {
            return Err("The address of the search service cannot be read.".to_owned());
        };
        url.query_pairs_mut().extend_pairs(pairs);
        let request = egress.request(purpose, Method::GET, url.as_str());
        Ok(request.map(|request| request.header("accept", "application/json")))
    };
    let base = access.base_url.as_deref().map(|base| base.trim_end_matches('/'));
    match access.engine {
        SearchEngine::Brave => {
            let request = get(base.unwrap_or(BRAVE), &brave(query, count))?;
            Ok(request.map(|request| match key {
                Some(key) => request.header("x-subscription-token", key.expose()),
                None => request,
            }))
        }
        SearchEngine::Tavily => Ok(post(base.unwrap_or(TAVILY), &tavily(query, count))),
        SearchEngine::Searxng => {
            let base = base.ok_or("The address of the search service is missing.")?;
            get(&format!("{base}/search"), &searxng(query))
        }
    }
}

fn brave(query: &Query, count: u64) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("q", query.query.clone()), ("count", count.to_string())];
    let wishes = [
        ("country", &query.country),
        ("search_lang", &query.language),
        ("ui_lang", &query.ui_lang),
    ];
    pairs.extend(
        wishes
            .into_iter()
            .filter_map(|(name, wish)| Some((name, wish.clone()?))),
    );
    let freshness = match query.freshness.as_deref() {
        Some("day") => Some("pd".to_owned()),
        Some("week") => Some("pw".to_owned()),
        Some("month") => Some("pm".to_owned()),
        Some("year") => Some("py".to_owned()),
        Some(_) | None if query.date_after.is_some() || query.date_before.is_some() => {
            let after = query.date_after.as_deref().unwrap_or("1970-01-01");
            let before = query.date_before.as_deref().unwrap_or("2100-01-01");
            Some(format!("{after}to{before}"))
        }
        Some(_) | None => None,
    };
    pairs.extend(freshness.map(|freshness| ("freshness", freshness)));
    pairs
}

fn tavily(query: &Query, count: u64) -> Value {
    let mut body = json!({"query": query.query, "max_results": count});
    for (name, wish) in [
        ("time_range", &query.freshness),
        ("start_date", &query.date_after),
        ("end_date", &query.date_before),
    ] {
        if let Some(wish) = wish {
            body[name] = json!(wish);
        }
    }
    if !query.domain_filter.is_empty() {
        body["include_domains"] = json!(query.domain_filter);
    }
    body
}

fn searxng(query: &Query) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("q", query.query.clone()), ("format", "json".to_owned())];
    let wishes = [("language", &query.language), ("time_range", &query.freshness)];
    pairs.extend(
        wishes
            .into_iter()
            .filter_map(|(name, wish)| Some((name, wish.clone()?))),
    );
    pairs
}

/// What an answer says. What cannot be read of it is left out.
pub(super) fn results(engine: SearchEngine, body: &Value) -> Vec<Found> {
    let (list, description, published) = match engine {
        SearchEngine::Brave => (&body["web"]["results"], "description", "age"),
        SearchEngine::Tavily => (&body["results"], "content", "published_date"),
        SearchEngine::Searxng => (&body["results"], "content", "publishedDate"),
    };
    let text = |entry: &Value, name: &str| entry[name].as_str().map(plain);
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let url = Url::parse(entry["url"].as_str()?).ok()?;
            matches!(url.scheme(), "http" | "https").then_some(())?;
            Some(Found {
                title: text(entry, "title").unwrap_or_default(),
                url: url.to_string(),
                description: text(entry, description).unwrap_or_default(),
                published: text(entry, published).filter(|published| !published.is_empty()),
            })
        })
        .take(50)
        .collect()
}

/// Without the marks around hits, on one line, and not endless.
fn plain(text: &str) -> String {
    let text = text.replace("<strong>", "").replace("</strong>", "");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(DESCRIPTION).collect()
}

fn given(filters: &[(&'static str, bool)]) -> Option<&'static str> {
    filters.iter().find(|(_, given)| *given).map(|(name, _)| *name)
}

fn dates(query: &Query) -> Result<(), String> {
    for (name, date) in [("date_after", &query.date_after), ("date_before", &query.date_before)] {
        if date
            .as_deref()
            .is_some_and(|date| NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err())
        {
            return Err(format!("{name} is no date: write YYYY-MM-DD."));
        }
    }
    if query.freshness.is_some() && (query.date_after.is_some() || query.date_before.is_some()) {
        return Err("Either freshness or dates, not both.".to_owned());
    }
    Ok(())
}
