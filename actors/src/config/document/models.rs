//! Which models stand in for one another, and how long a provider's key rests: `agents.defaults.model.fallbacks` and
//! `auth` (`agent-runtime` §11).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::UserSettings;
use super::parse::{at, number, text, texts};
use crate::ports::model::{CacheRetention, Thinking};

const HOUR: u64 = 3600;
/// Models that may stand in for one.
const MOST_FALLBACKS: usize = 16;
/// Longest name of a tier.
const LONGEST_TIER: usize = 40;

/// What the document says about models beside which one is used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelSettings {
    /// `agents.defaults.model.fallbacks`, in the order they are tried.
    pub fallbacks: Vec<String>,
    /// `auth.order`: names of keys by provider. Where there is a list, no other key is used.
    pub key_order: HashMap<String, Vec<String>>,
    pub cooldowns: Cooldowns,
    /// `agents.defaults.thinkingDefault`.
    pub thinking_default: Option<Thinking>,
    /// `agents.defaults.models.<ref>.params.thinking`, by ref.
    pub thinking: HashMap<String, Thinking>,
    /// `agents.defaults.params`, and those of a model by its ref.
    pub params: ModelParams,
    pub params_of: HashMap<String, ModelParams>,
}

/// `params`: what is said of the requests to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelParams {
    pub temperature: Option<f32>,
    /// Longest answer, tokens.
    pub max_tokens: Option<u32>,
    pub cache: Option<CacheRetention>,
    pub service_tier: Option<String>,
    /// `context1m`: a window of a million tokens, where Anthropic has it for the model.
    pub context_1m: Option<bool>,
    /// `fastMode`: the faster tier, where neither session nor agent say.
    pub fast: Option<bool>,
}

impl ModelParams {
    pub(super) fn parse(section: &Value) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a temperature is a small number")]
        let temperature = at(section, "/temperature").as_f64().map(|degrees| degrees as f32);
        let tokens = number(at(section, "/maxTokens")).and_then(|tokens| u32::try_from(tokens).ok());
        let tier = text(at(section, "/serviceTier"));
        Self {
            temperature: temperature.filter(|degrees| (0.0..=2.0).contains(degrees)),
            max_tokens: tokens.filter(|tokens| *tokens > 0),
            cache: match text(at(section, "/cacheRetention")).as_deref() {
                Some("none" | "off") => Some(CacheRetention::None),
                Some("short" | "5m") => Some(CacheRetention::Short),
                Some("long" | "1h") => Some(CacheRetention::Long),
                Some(_) | None => None,
            },
            service_tier: tier.filter(|tier| tier.len() <= LONGEST_TIER),
            context_1m: at(section, "/context1m").as_bool(),
            fast: at(section, "/fastMode").as_bool(),
        }
    }

    /// These, and what they do not say as `others` say it.
    fn or(self, others: &Self) -> Self {
        Self {
            temperature: self.temperature.or(others.temperature),
            max_tokens: self.max_tokens.or(others.max_tokens),
            cache: self.cache.or(others.cache),
            service_tier: self.service_tier.or_else(|| others.service_tier.clone()),
            context_1m: self.context_1m.or(others.context_1m),
            fast: self.fast.or(others.fast),
        }
    }
}

impl UserSettings {
    /// What is said of requests to this model: by the agent, else for the model, else for all.
    pub fn model_params(&self, agent_id: &str, reference: &str) -> ModelParams {
        let own = self
            .agent(agent_id)
            .map(|agent| agent.params.clone())
            .unwrap_or_default();
        let of_model = self.models.params_of.get(reference).cloned().unwrap_or_default();
        own.or(&of_model).or(&self.models.params)
    }
}

/// `auth.cooldowns`: how long a key rests that its provider does not want.
#[derive(Clone, Debug, PartialEq)]
pub struct Cooldowns {
    /// After the first refusal for want of credit; each further one doubles it.
    pub billing: Duration,
    pub billing_by_provider: HashMap<String, Duration>,
    pub billing_max: Duration,
    /// After this time without a failure, failures are counted from the beginning.
    pub window: Duration,
}

impl Default for Cooldowns {
    fn default() -> Self {
        Self {
            billing: Duration::from_secs(5 * HOUR),
            billing_by_provider: HashMap::new(),
            billing_max: Duration::from_secs(24 * HOUR),
            window: Duration::from_secs(24 * HOUR),
        }
    }
}

impl ModelSettings {
    /// Reads `agents.defaults` and `auth`.
    pub(super) fn parse(defaults: &Value, auth: &Value) -> Self {
        let order = at(auth, "/order").as_object();
        Self {
            fallbacks: fallbacks(at(defaults, "/model")).unwrap_or_default(),
            key_order: order
                .into_iter()
                .flatten()
                .filter_map(|(provider, names)| Some((provider.trim().to_lowercase(), texts(names)?)))
                .collect(),
            cooldowns: cooldowns(at(auth, "/cooldowns")),
            thinking_default: thinking(at(defaults, "/thinkingDefault")),
            params: ModelParams::parse(at(defaults, "/params")),
            params_of: at(defaults, "/models")
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, entry)| (name.clone(), ModelParams::parse(at(entry, "/params"))))
                .collect(),
            thinking: at(defaults, "/models")
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(name, entry)| Some((name.clone(), thinking(at(entry, "/params/thinking"))?)))
                .collect(),
        }
    }
}

/// A level of thinking.
pub(super) fn thinking(value: &Value) -> Option<Thinking> {
    Thinking::parse(&text(value)?)
}

/// `fallbacks` of a model choice. `None` where the choice says nothing of it, a plain text for one.
pub(super) fn fallbacks(choice: &Value) -> Option<Vec<String>> {
    let mut models = texts(choice.get("fallbacks")?)?;
    models.truncate(MOST_FALLBACKS);
    Some(models)
}

fn cooldowns(section: &Value) -> Cooldowns {
    let usual = Cooldowns::default();
    let span = |pointer| hours(at(section, pointer));
    let by_provider = at(section, "/billingBackoffHoursByProvider").as_object();
    Cooldowns {
        billing: span("/billingBackoffHours").unwrap_or(usual.billing),
        billing_by_provider: by_provider
            .into_iter()
            .flatten()
            .filter_map(|(provider, value)| Some((provider.trim().to_lowercase(), hours(value)?)))
            .collect(),
        billing_max: span("/billingMaxHours").unwrap_or(usual.billing_max),
        window: span("/failureWindowHours").unwrap_or(usual.window),
    }
}

/// A number of hours, at most a week.
fn hours(value: &Value) -> Option<Duration> {
    const WEEK: f64 = 168.0;
    let hours = value.as_f64().or_else(|| text(value)?.parse().ok())?;
    (hours > 0.0).then(|| Duration::from_secs_f64(hours.min(WEEK) * 3600.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn params_are_the_agents_then_the_models_then_those_of_all() {
        let settings = UserSettings::parse(&json!({"agents": {
            "defaults": {"params": {"temperature": 0.1, "serviceTier": "flex"}, "models": {"a/b": {"params":
                {"temperature": 0.5, "maxTokens": 100, "cacheRetention": "long", "fastMode": true, "context1m": true}}}},
            "list": [{"id": "main"}, {"id": "work", "params": {"maxTokens": 7, "temperature": 9}}],
        }}));
        let own = settings.model_params("work", "a/b");
        assert_eq!(
            (own.temperature, own.max_tokens, own.fast),
            (Some(0.5), Some(7), Some(true))
        );
        assert_eq!(
            (own.cache, own.service_tier.as_deref(), own.context_1m),
            (Some(CacheRetention::Long), Some("flex"), Some(true))
        );
        let other = settings.model_params("main", "c/d");
        assert_eq!(
            (other.temperature, other.max_tokens, other.cache, other.fast),
            (Some(0.1), None, None, None)
        );
    }

    #[test]
    fn fallbacks_order_and_hours() {
        let defaults = json!({"model": {"primary": "a/b", "fallbacks": ["c/d", " e/f ", 3, ""]}});
        let auth = json!({
            "order": {"OpenAI": ["openai:work", "spare"], "broken": "x"},
            "cooldowns": {"billingBackoffHours": 0.5, "billingBackoffHoursByProvider": {"OpenAI": "2", "x": -1},
                "billingMaxHours": 1e9, "failureWindowHours": "soon"},
        });
        let read = ModelSettings::parse(&defaults, &auth);
        assert_eq!(read.fallbacks, ["c/d", "e/f", "3"]);
        assert_eq!(read.key_order.len(), 1);
        assert_eq!(read.key_order["openai"], ["openai:work", "spare"]);
        let cooldowns = &read.cooldowns;
        assert_eq!(cooldowns.billing, Duration::from_secs(1800));
        assert_eq!(cooldowns.billing_by_provider.len(), 1);
        assert_eq!(cooldowns.billing_by_provider["openai"], Duration::from_secs(7200));
        assert_eq!(cooldowns.billing_max, Duration::from_secs(168 * 3600));
        assert_eq!(cooldowns.window, Cooldowns::default().window);
        assert_eq!(
            ModelSettings::parse(&json!({"model": "a/b"}), &Value::Null),
            ModelSettings::default()
        );
        assert_eq!(fallbacks(&json!("a/b")), None);
        assert_eq!(fallbacks(&json!({"primary": "a/b", "fallbacks": []})), Some(Vec::new()));
    }
}
