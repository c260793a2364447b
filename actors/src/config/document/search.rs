//! `tools.web.search`: which search service is asked, as a document says it (`agent-runtime` §12.2).

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, text};

/// A search service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchEngine {
    Brave,
    Gemini,
    Grok,
    Kimi,
    Perplexity,
    Firecrawl,
    Tavily,
    Searxng,
}

impl SearchEngine {
    /// In the order in which the first that is set up is taken.
    const ALL: [Self; 8] = [
        Self::Brave,
        Self::Gemini,
        Self::Grok,
        Self::Kimi,
        Self::Perplexity,
        Self::Firecrawl,
        Self::Tavily,
        Self::Searxng,
    ];

    /// As the configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brave => "brave",
            Self::Gemini => "gemini",
            Self::Grok => "grok",
            Self::Kimi => "kimi",
            Self::Perplexity => "perplexity",
            Self::Firecrawl => "firecrawl",
            Self::Tavily => "tavily",
            Self::Searxng => "searxng",
        }
    }

    /// With a key; without: with an address.
    pub const fn needs_key(self) -> bool {
        !matches!(self, Self::Searxng)
    }

    /// How long a search may take where nothing is said. Grok reads what it finds before it answers.
    const fn usual_timeout(self) -> Duration {
        Duration::from_secs(if matches!(self, Self::Grok) { 60 } else { 30 })
    }
}

/// One service as the document has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPlace {
    pub engine: SearchEngine,
    /// Where in the document the marker of its key stands.
    pub key_at: Option<String>,
    pub base_url: Option<String>,
    /// Of a service that answers with a model.
    pub model: Option<String>,
    pub timeout: Duration,
}

impl SearchPlace {
    fn is_ready(&self) -> bool {
        if self.engine.needs_key() {
            self.key_at.is_some()
        } else {
            self.base_url.is_some()
        }
    }
}

/// `tools.web.search`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchSettings {
    /// Those that can be asked; the first is.
    places: Vec<SearchPlace>,
    /// Results without a wish.
    pub count: u64,
    /// How old an answer may be that is given again. Zero: none is.
    pub cache: Duration,
}

impl SearchSettings {
    pub(super) fn parse(section: &Value) -> Self {
        let named = text(at(section, "/provider")).map(|name| name.to_lowercase());
        let places = SearchEngine::ALL.into_iter().filter(|engine| {
            let wanted = named.as_deref().is_none_or(|name| name == engine.name());
            wanted && at(section, "/enabled").as_bool() != Some(false)
        });
        let timeout = number(at(section, "/timeoutSeconds")).map(|seconds| Duration::from_secs(seconds.clamp(1, 60)));
        let places = places.map(|engine| {
            let own = |key: &str| format!("/{}/{key}", engine.name());
            // The key without a name is that of the service that is named, or Brave's, as in older files.
            let shared = named.is_some() || engine == SearchEngine::Brave;
            let pointers = [Some(own("apiKey")), shared.then(|| "/apiKey".to_owned())];
            let mut pointers = pointers.into_iter().flatten().filter(|_| engine.needs_key());
            let key = pointers.find(|key| text(at(section, key)).is_some());
            SearchPlace {
                engine,
                key_at: key.map(|key| format!("/tools/web/search{key}")),
                base_url: text(at(section, &own("baseUrl"))),
                model: text(at(section, &own("model"))),
                timeout: timeout.unwrap_or(engine.usual_timeout()),
            }
        });
        let minutes = number(at(section, "/cacheTtlMinutes")).unwrap_or(15).min(15);
        Self {
            places: places.filter(SearchPlace::is_ready).collect(),
            count: number(at(section, "/maxResults")).unwrap_or(5).clamp(1, 10),
            cache: Duration::from_secs(minutes * 60),
        }
    }

    /// The service that is asked.
    pub fn chosen(&self) -> Option<&SearchPlace> {
        self.places.first()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(search: Value) -> Option<(SearchEngine, Option<String>, Option<String>)> {
        let place = SearchSettings::parse(&search).chosen().cloned();
        place.map(|place| (place.engine, place.key_at, place.base_url))
    }

    #[test]
    fn the_search_service_is_the_named_one_or_the_first_that_can_be_asked() {
        assert_eq!(chosen(Value::Null), None);
        assert_eq!(
            chosen(json!({"apiKey": "k"})),
            Some((SearchEngine::Brave, Some("/tools/web/search/apiKey".to_owned()), None))
        );
        let tavily = Some("/tools/web/search/tavily/apiKey".to_owned());
        assert_eq!(
            chosen(json!({"tavily": {"apiKey": "k"}, "searxng": {"baseUrl": "https://s.example"}})),
            Some((SearchEngine::Tavily, tavily, None))
        );
        assert_eq!(
            chosen(json!({"provider": "SearXNG", "apiKey": "k", "searxng": {"baseUrl": "https://s.example"}})),
            Some((SearchEngine::Searxng, None, Some("https://s.example".to_owned())))
        );
        assert_eq!(chosen(json!({"provider": "tavily", "brave": {"apiKey": "k"}})), None);
        assert_eq!(chosen(json!({"enabled": false, "apiKey": "k"})), None);
    }

    #[test]
    fn without_a_name_keys_are_looked_for_in_order() {
        let order = ["brave", "gemini", "grok", "kimi", "perplexity", "firecrawl", "tavily"];
        for (at, first) in order.iter().enumerate() {
            let keys = order[at..]
                .iter()
                .map(|name| ((*name).to_owned(), json!({"apiKey": "k"})));
            let (engine, key, _) = chosen(Value::Object(keys.collect())).expect("one is ready");
            assert_eq!(engine.name(), *first);
            assert_eq!(key, Some(format!("/tools/web/search/{first}/apiKey")));
        }
        let (engine, key, _) = chosen(json!({"provider": "kimi", "apiKey": "k", "brave": {"apiKey": "b"}})).unwrap();
        assert_eq!(
            (engine, key.as_deref()),
            (SearchEngine::Kimi, Some("/tools/web/search/apiKey"))
        );
    }

    #[test]
    fn times_have_their_usual_lengths_and_limits() {
        let times = |search: Value| {
            let settings = SearchSettings::parse(&search);
            let place = settings.chosen().expect("is ready");
            (place.timeout.as_secs(), settings.cache.as_secs())
        };
        assert_eq!(times(json!({"brave": {"apiKey": "k"}})), (30, 900));
        assert_eq!(times(json!({"grok": {"apiKey": "k"}})), (60, 900));
        let set = json!({"grok": {"apiKey": "k"}, "timeoutSeconds": 900, "cacheTtlMinutes": 0});
        assert_eq!(times(set), (60, 0));
        let set = json!({"grok": {"apiKey": "k"}, "timeoutSeconds": 5, "cacheTtlMinutes": 99});
        assert_eq!(times(set), (5, 900));
    }
}
