//! Perplexity: its Search API; with a model, an address or a key of OpenRouter its Sonar models, which answer in words.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Answer, Asking, Engine, american, hits, written};

const ADDRESS: &str = "https://api.perplexity.ai/search";
const SONAR: &str = "https://api.perplexity.ai";
const OPENROUTER: &str = "https://openrouter.ai/api/v1";
const MODEL: &str = "perplexity/sonar-pro";

pub(super) struct Perplexity;

impl Engine for Perplexity {
    fn filters(&self, access: &SearchAccess) -> &'static [&'static str] {
        if answers(access) {
            &["freshness"]
        } else {
            &[
                "country",
                "language",
                "freshness",
                "date_after",
                "date_before",
                "domain_filter",
                "max_tokens",
            ]
        }
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            if answers(asking.access) {
                words(asking).await
            } else {
                list(asking).await
            }
        })
    }
}

/// Is a model asked instead of the index. An address that ends in `/search` is one of the index.
fn answers(access: &SearchAccess) -> bool {
    let own = access.base_url.as_deref().map(|base| base.trim_end_matches('/'));
    access.model.is_some() || of_openrouter(access) || own.is_some_and(|base| !base.ends_with("/search"))
}

fn of_openrouter(access: &SearchAccess) -> bool {
    access
        .key
        .as_ref()
        .is_some_and(|key| key.expose().starts_with("sk-or-"))
}

async fn list(asking: &Asking<'_>) -> Result<Answer, String> {
    let query = asking.query;
    let mut body = json!({"query": query.query, "max_results": asking.count});
    let wishes = [
        ("country", &query.country.as_deref().map(str::to_uppercase)),
        ("search_recency_filter", &query.freshness),
        ("search_after_date_filter", &query.date_after.as_deref().map(american)),
        ("search_before_date_filter", &query.date_before.as_deref().map(american)),
    ];
    Asking::put(&mut body, &wishes);
    if let Some(language) = &query.language {
        body["search_language_filter"] = json!([language]);
    }
    if !query.domain_filter.is_empty() {
        body["search_domain_filter"] = json!(query.domain_filter);
    }
    if let Some(tokens) = query.max_tokens {
        body["max_tokens"] = json!(tokens);
    }
    let request = asking.post_with_key(asking.base(ADDRESS), &body)?;
    Ok(hits(&asking.send(request).await?["results"], "snippet", "date"))
}

async fn words(asking: &Asking<'_>) -> Result<Answer, String> {
    let base = asking.base(if of_openrouter(asking.access) {
        OPENROUTER
    } else {
        SONAR
    });
    let model = asking.model(MODEL);
    // Perplexity itself knows its models without its name before them.
    let model = if base == SONAR {
        model.trim_start_matches("perplexity/")
    } else {
        model
    };
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": asking.query.query}]});
    Asking::put(&mut body, &[("search_recency_filter", &asking.query.freshness)]);
    let request = asking.post_with_key(&format!("{base}/chat/completions"), &body)?;
    let answer = asking.send(request).await?;
    let message = &answer["choices"][0]["message"];
    let text = message["content"].as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Err("perplexity gave no answer to this search.".to_owned());
    }
    let each = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let found = each(&answer["search_results"]).into_iter().filter_map(|page| {
        let title = page["title"].as_str().unwrap_or_default();
        Some((page["url"].as_str()?.to_owned(), title.to_owned()))
    });
    let cited = each(&answer["citations"]).into_iter();
    let cited = cited.filter_map(|url| Some((url.as_str()?.to_owned(), String::new())));
    // OpenRouter puts them beside the words.
    let marked = each(&message["annotations"]).into_iter().filter_map(|mark| {
        let mark = &mark["url_citation"];
        let title = mark["title"].as_str().unwrap_or_default();
        Some((mark["url"].as_str()?.to_owned(), title.to_owned()))
    });
    Ok(written(text, found.chain(cited).chain(marked)))
}
