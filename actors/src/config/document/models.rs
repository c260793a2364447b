//! Which models stand in for one another, and how long a provider's key rests: `agents.defaults.model.fallbacks` and
//! `auth` (`agent-runtime` §11).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::parse::{at, text, texts};
use crate::ports::model::Thinking;

const HOUR: u64 = 3600;
/// Models that may stand in for one.
const MOST_FALLBACKS: usize = 16;

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
