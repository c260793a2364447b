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
use crate::egress::Egress;

const MOST_RESULTS: u64 = 10;
/// Longest query, characters (Brave's limit).
const LONGEST: usize = 400;
/// Characters of one description.
const DESCRIPTION: usize = 1_500;
/// Characters of an answer in words.
const LONGEST_ANSWER: usize = 20_000;
/// Sources of an answer in words.
const MOST_SOURCES: usize = 20;
/// The arguments that narrow a search down.
const FILTERS: [&str; 8] = [
    "country",
    "language",
    "ui_lang",
    "freshness",
    "date_after",
    "date_before",
    "domain_filter",
    "max_tokens",
];

/// The tool.
pub(super) struct WebSearch {
    spec: Arc<ToolSpec>,
    egress: Egress,
    cache: Cache<Key, Answer>,
}

/// What was asked, of whom, and for whom.
type Key = (Scope, SearchEngine, Option<String>, Option<String>, Query);

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
    max_tokens: Option<u64>,
}

impl Query {
    /// The filters that are wished for, by their names.
    fn filters(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            self.country.is_some(),
            self.language.is_some(),
            self.ui_lang.is_some(),
            self.freshness.is_some(),
            self.date_after.is_some(),
            self.date_before.is_some(),
            !self.domain_filter.is_empty(),
            self.max_tokens.is_some(),
        ];
        FILTERS
            .into_iter()
            .zip(given)
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
    }
}

/// What a service said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The answer in words, of a service that reads for itself.
    text: Option<String>,
    /// The results, or what the words rest on.
    found: Vec<Found>,
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Found {
    title: String,
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
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
                description: "Searches the web and returns titles, addresses and descriptions, or an answer with its \
                    sources. Read a page with web_fetch."
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
                        "max_tokens": {
                            "type": "integer", "minimum": 1, "maximum": 1_000_000,
                            "description": "Most text of all results together, in tokens.",
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
        let key = (
            scope.clone(),
            access.engine,
            access.base_url.clone(),
            access.model.clone(),
            query.clone(),
        );
        let (found, cached) = match self.cache.get_within(&key, access.cache) {
            Some(found) => (found, true),
            None => {
                let asked = engines::ask(&self.egress, &query, count, access).await;
                let found = Arc::new(asked.map_err(ToolOutput::error)?);
                if !access.cache.is_zero() {
                    self.cache.put(key, Arc::clone(&found));
                }
                (found, false)
            }
        };
        let most = match found.text {
            Some(_) => MOST_SOURCES,
            None => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let shown: Vec<&Found> = found.found.iter().take(most).collect();
        let engine = access.engine.name();
        let text = if found.text.is_none() && shown.is_empty() {
            format!("{engine} found nothing.")
        } else {
            let list = match &found.text {
                Some(text) => json!({"answer": text, "sources": shown}),
                None => json!(shown),
            };
            let list = serde_json::to_string_pretty(&list).unwrap_or_default();
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
}

impl Tool for WebSearch {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
