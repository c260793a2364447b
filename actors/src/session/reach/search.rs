//! Which search service the user chose, and its key.

use std::time::Duration;

use super::{Reach, Refusal, away};
use crate::config::document::SearchEngine;
use crate::crypto::Secret;

/// Everything a search needs of the configuration.
#[derive(Debug)]
pub struct SearchAccess {
    pub engine: SearchEngine,
    pub key: Option<Secret>,
    /// An address of the user's own instead of the service's.
    pub base_url: Option<String>,
    /// Of a service that answers with a model, instead of its usual one.
    pub model: Option<String>,
    /// Results without `count`.
    pub count: u64,
    /// For everything a search takes.
    pub timeout: Duration,
    /// How old an answer may be that is given again; zero: none is.
    pub cache: Duration,
}

impl Reach {
    /// The search service, ready to be asked.
    pub async fn search_access(&self) -> Result<SearchAccess, Refusal> {
        const MISSING: &str = "No search service is configured. The user can set one up under tools.web.search: brave, \
            gemini, grok, kimi, perplexity, firecrawl or tavily with an API key, or searxng with the address of an \
            instance.";
        let settings = self.settings().await?;
        let search = &settings.tools.search;
        let chosen = search.chosen().ok_or(MISSING)?;
        let config = &self.0.directory.services().config;
        let key = match &chosen.key_at {
            Some(pointer) => config
                .document_secret(&self.0.authority.scope, pointer)
                .await
                .map_err(away)?,
            None => None,
        };
        if chosen.engine.needs_key() && key.is_none() {
            return Err(MISSING.to_owned());
        }
        Ok(SearchAccess {
            engine: chosen.engine,
            key,
            base_url: chosen.base_url.clone(),
            model: chosen.model.clone(),
            count: search.count,
            timeout: chosen.timeout,
            cache: search.cache,
        })
    }
}
