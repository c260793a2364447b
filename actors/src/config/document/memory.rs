//! `memorySearch` of the defaults and of each agent: how notes are searched, and which model makes their vectors
//! (`agent-runtime` §9). Names and defaults are the original's.

use serde_json::Value;

use super::parse::{agent_id, at, number, text};

/// Results of one search nobody can configure beyond.
pub const MOST_RESULTS: usize = 50;

/// Whose model makes vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Embedder {
    /// The first of the usual ones that the tenant has a key of.
    #[default]
    Auto,
    /// This provider's.
    Named(String),
    /// Nobody's: words alone are searched.
    None,
}

/// How one agent's notes are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct MemorySettings {
    /// May they be searched at all.
    pub enabled: bool,
    pub embedder: Embedder,
    /// `model`; without it the provider's usual one.
    pub model: Option<String>,
    /// `outputDimensionality`; without it as many as the model makes.
    pub dimensions: Option<u32>,
    /// `remote.baseUrl`: an address of the user's own. Only their own key goes there.
    pub base_url: Option<String>,
    /// Where in the document the marker of `remote.apiKey` stands.
    pub key_at: Option<String>,
    /// `query.maxResults`, where it is set.
    pub max_results: Option<usize>,
    /// `query.minScore`, where it is set.
    pub min_score: Option<f64>,
    /// `query.hybrid.vectorWeight` and `textWeight`; together 1.
    pub vector_weight: f64,
    pub text_weight: f64,
    /// `query.hybrid.candidateMultiplier`.
    pub candidates: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self::parse((&Value::Null, ""), (&Value::Null, ""))
    }
}

impl MemorySettings {
    /// Each section with its place in the document; what the agent's own leaves open the defaults say.
    fn parse((own, own_at): (&Value, &str), (usual, usual_at): (&Value, &str)) -> Self {
        let pick = |pointer: &str| {
            let own = at(own, pointer);
            if own.is_null() { at(usual, pointer) } else { own }
        };
        let key_at = [(own, own_at), (usual, usual_at)]
            .into_iter()
            .find(|(section, _)| text(at(section, KEY)).is_some())
            .map(|(_, place)| format!("{place}{KEY}"));
        let flag = |pointer: &str| pick(pointer).as_bool().unwrap_or(true);
        let named = text(pick("/provider")).map(|name| name.to_lowercase());
        let with_vectors = flag("/query/hybrid/enabled") && flag("/store/vector/enabled");
        let embedder = match named.as_deref() {
            _ if !with_vectors => Embedder::None,
            None | Some("auto") => Embedder::Auto,
            // A model on the machine itself there; here there is no such machine.
            Some("none" | "local") => Embedder::None,
            Some(name) => Embedder::Named(name.to_owned()),
        };
        let weight = |pointer: &str, usual: f64| {
            let weight = pick(pointer).as_f64().unwrap_or(usual);
            weight.clamp(0.0, 1.0)
        };
        let (vector, words) = (
            weight("/query/hybrid/vectorWeight", 0.7),
            weight("/query/hybrid/textWeight", 0.3),
        );
        let sum = vector + words;
        let (vector, words) = if sum > 0.0 {
            (vector / sum, words / sum)
        } else {
            (0.7, 0.3)
        };
        let small = |pointer: &str, most: usize| {
            let count = number(pick(pointer)).and_then(|count| usize::try_from(count).ok());
            count.map(|count| count.clamp(1, most))
        };
        Self {
            enabled: flag("/enabled"),
            embedder,
            model: text(pick("/model")),
            dimensions: number(pick("/outputDimensionality"))
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| (1..=16_384).contains(count)),
            base_url: text(pick("/remote/baseUrl")),
            key_at,
            max_results: small("/query/maxResults", MOST_RESULTS),
            min_score: pick("/query/minScore").as_f64().map(|least| least.clamp(0.0, 1.0)),
            vector_weight: vector,
            text_weight: words,
            candidates: small("/query/hybrid/candidateMultiplier", 20).unwrap_or(4),
        }
    }
}

const KEY: &str = "/remote/apiKey";

/// For agents that are not configured, and for each that is, by id.
pub(super) fn memories(doc: &Value) -> (MemorySettings, Vec<(String, MemorySettings)>) {
    const USUAL: &str = "/agents/defaults/memorySearch";
    let usual = at(doc, USUAL);
    let listed = at(doc, "/agents/list").as_array().into_iter().flatten().enumerate();
    let listed = listed.filter_map(|(index, entry)| {
        let id = agent_id(&text(at(entry, "/id"))?);
        Some((id, entry, format!("/agents/list/{index}/memorySearch")))
    });
    let named = at(doc, "/agents/entries").as_object().into_iter().flatten();
    let named = named.map(|(id, entry)| {
        let escaped = id.replace('~', "~0").replace('/', "~1");
        (agent_id(id), entry, format!("/agents/entries/{escaped}/memorySearch"))
    });
    let mut all: Vec<(String, MemorySettings)> = Vec::new();
    for (id, entry, place) in listed.chain(named) {
        if all.iter().all(|(known, _)| *known != id) {
            all.push((
                id,
                MemorySettings::parse((at(entry, "/memorySearch"), &place), (usual, USUAL)),
            ));
        }
    }
    (MemorySettings::parse((&Value::Null, ""), (usual, USUAL)), all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agents_own_settings_count_before_the_defaults() {
        let doc = json!({"agents": {
            "defaults": {"memorySearch": {"provider": "OpenAI", "remote": {"apiKey": "k"},
                "query": {"maxResults": 900, "hybrid": {"vectorWeight": 3, "textWeight": 1}}}},
            "list": [{"id": "Main"}, {"id": "b", "memorySearch": {"provider": "none", "outputDimensionality": 256,
                "remote": {"apiKey": "own"}}}],
            "entries": {"x/y": {"memorySearch": {"remote": {"apiKey": "z"}}}},
        }});
        let (usual, own) = memories(&doc);
        assert_eq!(usual.embedder, Embedder::Named("openai".to_owned()));
        assert_eq!(usual.max_results, Some(MOST_RESULTS));
        assert!(
            (usual.vector_weight - 0.5).abs() < 1e-9,
            "weights are clamped, then made 1 together"
        );
        assert_eq!(
            own[0].1.key_at.as_deref(),
            Some("/agents/defaults/memorySearch/remote/apiKey")
        );
        assert_eq!((&own[1].1.embedder, own[1].1.dimensions), (&Embedder::None, Some(256)));
        assert_eq!(
            own[1].1.key_at.as_deref(),
            Some("/agents/list/1/memorySearch/remote/apiKey")
        );
        assert_eq!(
            own[2].1.key_at.as_deref(),
            Some("/agents/entries/x~1y/memorySearch/remote/apiKey")
        );
    }

    #[test]
    fn what_is_not_said_is_the_originals() {
        let usual = MemorySettings::default();
        assert!(usual.enabled && usual.embedder == Embedder::Auto && usual.min_score.is_none());
        assert!((usual.vector_weight - 0.7).abs() < 1e-9 && usual.candidates == 4);
        let off =
            memories(&json!({"agents": {"defaults": {"memorySearch": {"query": {"hybrid": {"enabled": false}}}}}}));
        assert_eq!(off.0.embedder, Embedder::None);
    }
}
