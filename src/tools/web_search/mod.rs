//! `web_search`: asks the search service the user chose. Its key stays here; what it finds is wrapped as untrusted.

mod engines;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_actors::config::document::SearchEngine;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::search::SearchAccess;
use claw_actors::session::untrusted;
use claw_entities::Scope;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache::Cache;
use super::{answered, reach, read, refused};
use crate::egress::{Egress, EgressError};

const MOST_RESULTS: u64 = 10;
/// Longest query, characters (Brave's limit).
const LONGEST: usize = 400;
/// Largest answer, bytes.
const MAX_BODY_BYTES: usize = 2_000_000;
/// Characters of one description.
const DESCRIPTION: usize = 1_500;

/// The tool.
pub(super) struct WebSearch {
    spec: Arc<ToolSpec>,
    egress: Egress,
    cache: Cache<Key, Vec<Found>>,
}

/// What was asked, of whom, and for whom.
type Key = (Scope, SearchEngine, Option<String>, Query);

/// What the model wants to find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
struct Query {
    query: String,
    count: Option<u64>,
    country: Option<String>,
    language: Option<String>,
    freshness: Option<String>,
    date_after: Option<String>,
    date_before: Option<String>,
    ui_lang: Option<String>,
    domain_filter: Vec<String>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Found {
    title: String,
    url: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
}

impl WebSearch {
    pub(super) fn new(egress: Egress) -> Self {
        let text = |about: &str| json!({"type": "string", "maxLength": 64, "description": about});
        Self {
            spec: Arc::new(ToolSpec {
                name: "web_search".to_owned(),
                description: "Searches the web and returns titles, addresses and descriptions. Read a page with \
                    web_fetch."
                    .to_owned(),
                summary: "search the web".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "query": {"type": "string", "minLength": 1, "maxLength": LONGEST},
                        "count": {
                            "type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "description": "Results (5).",
                        },
                        "country": text("Two-letter country, e.g. DE."),
                        "language": text("Language of the results, e.g. de."),
                        "ui_lang": text("Language of the service's own words, e.g. de-DE."),
                        "freshness": {"type": "string", "enum": ["day", "week", "month", "year"]},
                        "date_after": text("Not older than, YYYY-MM-DD."),
                        "date_before": text("Not newer than, YYYY-MM-DD."),
                        "domain_filter": {
                            "type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 253},
                            "description": "Only these sites.",
                        },
                    },
                    "required": ["query"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: Duration::from_secs(75),
            }),
            egress,
            cache: Cache::default(),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let query: Query = read(arguments)?;
        let access = reach(context)?.search_access().await.map_err(refused)?;
        self.search(&context.scope, query, &access).await
    }

    async fn search(&self, scope: &Scope, query: Query, access: &SearchAccess) -> Result<ToolOutput, ToolOutput> {
        let started = Instant::now();
        let count = query.count.unwrap_or(access.count).clamp(1, MOST_RESULTS);
        let key = (scope.clone(), access.engine, access.base_url.clone(), query.clone());
        let (found, cached) = match self.cache.get(&key) {
            Some(found) => (found, true),
            None => {
                let found = Arc::new(self.ask(&query, count, access).await.map_err(ToolOutput::error)?);
                self.cache.put(key, Arc::clone(&found));
                (found, false)
            }
        };
        let shown: Vec<&Found> = found
            .iter()
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect();
        let engine = access.engine.name();
        let text = if shown.is_empty() {
            format!("{engine} found nothing.")
        } else {
            let list = serde_json::to_string_pretty(&shown).unwrap_or_default();
            untrusted::wrap(&format!("web search with {engine}"), &list)
        };
        Ok(ToolOutput {
            details: Some(json!({
                "provider": engine, "count": shown.len(), "cached": cached,
                "tookMs": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            })),
            ..ToolOutput::text(text)
        })
    }

    /// Asks the service. The error is for the model, and names no key and no address.
    async fn ask(&self, query: &Query, count: u64, access: &SearchAccess) -> Result<Vec<Found>, String> {
        let engine = access.engine.name();
        let failed = |error: EgressError| format!("{engine} could not be asked: {error}.");
        let request = engines::request(&self.egress, query, count, access)?.map_err(failed)?;
        let answer = request
            .timeout(access.timeout)
            .max_body(MAX_BODY_BYTES)
            .send()
            .await
            .map_err(failed)?;
        match answer.status {
            200..=299 => {}
            401 | 403 => return Err(format!("{engine} refused the key that the user set.")),
            429 => return Err(format!("{engine} takes no more searches right now (limit reached).")),
            status => return Err(format!("{engine} answered with HTTP status {status}.")),
        }
        let body: Value = answer
            .json()
            .map_err(|_| format!("{engine} answered with something that is no JSON."))?;
        Ok(engines::results(access.engine, &body))
    }
}

impl Tool for WebSearch {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
