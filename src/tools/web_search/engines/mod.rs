//! The search services, each in a file of its own. A filter a service does not have is refused by name, so that the
//! model does not take unfiltered results for filtered ones.

mod brave;
mod firecrawl;
mod gemini;
mod grok;
mod kimi;
mod perplexity;
mod searxng;
mod tavily;

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use claw_actors::config::document::SearchEngine;
use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{Answer, DESCRIPTION, Found, Query};
use crate::egress::{Egress, EgressError, Purpose, Request};

/// Largest answer, bytes.
const MAX_BODY_BYTES: usize = 2_000_000;
/// Results that are read of an answer.
const MOST_READ: usize = 50;

/// One service.
pub(super) trait Engine: Sync {
    /// The filters it has, of `FILTERS`.
    fn filters(&self, access: &SearchAccess) -> &'static [&'static str];

    /// Asks it. The error is for the model, and names no key and no address.
    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>>;
}

/// The one that is meant.
fn engine(engine: SearchEngine) -> &'static dyn Engine {
    match engine {
        SearchEngine::Brave => &brave::Brave,
        SearchEngine::Gemini => &gemini::Gemini,
        SearchEngine::Grok => &grok::Grok,
        SearchEngine::Kimi => &kimi::Kimi,
        SearchEngine::Perplexity => &perplexity::Perplexity,
        SearchEngine::Firecrawl => &firecrawl::Firecrawl,
        SearchEngine::Tavily => &tavily::Tavily,
        SearchEngine::Searxng => &searxng::Searxng,
    }
}

/// Asks the service the user chose.
pub(super) async fn ask(egress: &Egress, query: &Query, count: u64, access: &SearchAccess) -> Result<Answer, String> {
    let name = access.engine.name();
    dates(query)?;
    let engine = engine(access.engine);
    let has = engine.filters(access);
    if let Some(filter) = query.filters().find(|filter| !has.contains(filter)) {
        return Err(format!("{name} has no filter {filter}: leave it out."));
    }
    let asking = Asking {
        egress,
        query,
        count,
        access,
        until: Instant::now() + access.timeout,
    };
    engine.ask(&asking).await
}

/// What is asked, and of whom.
pub(super) struct Asking<'a> {
    egress: &'a Egress,
    query: &'a Query,
    count: u64,
    access: &'a SearchAccess,
    until: Instant,
}

impl Asking<'_> {
    /// The address of the service, without a slash at its end.
    fn base(&self, usual: &'static str) -> &str {
        let own = self.access.base_url.as_deref();
        own.unwrap_or(usual).trim_end_matches('/')
    }

    /// The model that answers.
    fn model(&self, usual: &'static str) -> &str {
        self.access.model.as_deref().unwrap_or(usual)
    }

    fn key(&self) -> &str {
        self.access.key.as_ref().map_or("", |key| key.expose())
    }

    fn request(&self, method: Method, url: &str) -> Result<Request, String> {
        // An address of the user's own is theirs to answer for; the services' own are ours.
        let purpose = if self.access.base_url.is_some() {
            Purpose::Configured
        } else {
            Purpose::Fixed
        };
        let request = self.egress.request(purpose, method, url);
        request
            .map(|request| request.header("accept", "application/json"))
            .map_err(|error| self.away(error))
    }

    fn get(&self, url: &str, pairs: &[(&str, String)]) -> Result<Request, String> {
        let mut url = Url::parse(url).map_err(|_| "The address of the search service cannot be read.".to_owned())?;
        url.query_pairs_mut().extend_pairs(pairs);
        self.request(Method::GET, url.as_str())
    }

    fn post(&self, url: &str, body: &Value) -> Result<Request, String> {
        Ok(self.request(Method::POST, url)?.json(body))
    }

    /// With the key where most services want it.
    fn post_with_key(&self, url: &str, body: &Value) -> Result<Request, String> {
        let request = self.post(url, body)?;
        Ok(match &self.access.key {
            Some(key) => request.bearer(key),
            None => request,
        })
    }

    /// The answer as JSON.
    async fn send(&self, request: Request) -> Result<Value, String> {
        let name = self.access.engine.name();
        let left = self.until.saturating_duration_since(Instant::now());
        let answer = request
            .timeout(left.max(Duration::from_millis(1)))
            .max_body(MAX_BODY_BYTES)
            .send()
            .await
            .map_err(|error| self.away(error))?;
        match answer.status {
            200..=299 => {}
            401 | 403 => return Err(format!("{name} refused the key that the user set.")),
            402 => {
                return Err(format!(
                    "{name} wants to be paid: the credit of the user's key is used up."
                ));
            }
            429 => return Err(format!("{name} takes no more searches right now (limit reached).")),
            status => return Err(format!("{name} answered with HTTP status {status}.")),
        }
        answer
            .json()
            .map_err(|_| format!("{name} answered with something that is no JSON."))
    }

    fn away(&self, error: EgressError) -> String {
        format!("{} could not be asked: {error}.", self.access.engine.name())
    }

    /// Adds the wishes that are there to a body.
    fn put(body: &mut Value, wishes: &[(&str, &Option<String>)]) {
        for (name, wish) in wishes {
            if let Some(wish) = wish {
                body[*name] = json!(wish);
            }
        }
    }
}

/// The results in a list whose entries have these names for description and date. What cannot be read is left out.
fn hits(list: &Value, description: &str, published: &str) -> Answer {
    let text = |entry: &Value, name: &str| entry[name].as_str().map(plain);
    let hits = list.as_array().into_iter().flatten().filter_map(|entry| {
        Some(Found {
            title: text(entry, "title").unwrap_or_default(),
            url: web_address(entry["url"].as_str()?)?,
            description: text(entry, description).unwrap_or_default(),
            published: text(entry, published).filter(|published| !published.is_empty()),
        })
    });
    Answer {
        text: None,
        found: hits.take(MOST_READ).collect(),
    }
}

/// An answer in words, and the pages it rests on (address and title), each once.
fn written(text: &str, sources: impl IntoIterator<Item = (String, String)>) -> Answer {
    let mut found: Vec<Found> = Vec::new();
    for (url, title) in sources {
        if let Some(url) = web_address(&url).filter(|url| found.iter().all(|other| other.url != *url)) {
            found.push(Found {
                title: plain(&title),
                url,
                ..Found::default()
            });
        }
        if found.len() == MOST_READ {
            break;
        }
    }
    Answer {
        text: Some(text.trim().chars().take(super::LONGEST_ANSWER).collect()),
        found,
    }
}

/// Of a page, or nothing.
fn web_address(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

/// Without the marks around hits, on one line, and not endless.
fn plain(text: &str) -> String {
    let text = text.replace("<strong>", "").replace("</strong>", "");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(DESCRIPTION).collect()
}

/// `2026-11-27` as `11/27/2026`.
fn american(date: &str) -> String {
    day(date).map_or_else(|| date.to_owned(), |date| date.format("%m/%d/%Y").to_string())
}

fn day(date: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()
}

fn dates(query: &Query) -> Result<(), String> {
    for (name, date) in [("date_after", &query.date_after), ("date_before", &query.date_before)] {
        if date.as_deref().is_some_and(|date| day(date).is_none()) {
            return Err(format!("{name} is no date: write YYYY-MM-DD."));
        }
    }
    if query.freshness.is_some() && (query.date_after.is_some() || query.date_before.is_some()) {
        return Err("Either freshness or dates, not both.".to_owned());
    }
    let range = query.date_after.as_deref().zip(query.date_before.as_deref());
    if range.is_some_and(|(after, before)| day(after) > day(before)) {
        return Err("date_after is later than date_before.".to_owned());
    }
    Ok(())
}
