//! How hard the model of a run thinks (`agent-runtime` §10.10): the message says, else the session, else the settings.

use serde_json::Value;

use crate::config::providers::ResolvedModel;
use crate::ports::model::Thinking;

/// Field of the session's entry.
pub(crate) const LEVEL: &str = "thinkingLevel";

/// The level stored with a session.
pub(crate) fn stored(entry: &Value) -> Option<Thinking> {
    entry.get(LEVEL).and_then(Value::as_str).and_then(Thinking::parse)
}

/// Sets the level where the message or the session say something else than the settings. A model that cannot think
/// does not.
pub(crate) fn apply(model: &mut ResolvedModel, said: Option<&str>, entry: &Value) {
    if model.reasoning
        && let Some(level) = said.and_then(Thinking::parse).or_else(|| stored(entry))
    {
        model.thinking = level;
    }
}

/// Is a provider's refusal about thinking.
pub(crate) fn is_refused(refusal: &str) -> bool {
    let refusal = refusal.to_lowercase();
    ["effort", "thinking", "reasoning"]
        .iter()
        .any(|word| refusal.contains(word))
}

/// The highest level below `asked` that a provider names in its refusal of that one; `None` when it is about something
/// else.
pub(crate) fn supported(refusal: &str, asked: Thinking) -> Option<Thinking> {
    if asked == Thinking::Off || !is_refused(refusal) {
        return None;
    }
    let refusal = refusal.to_lowercase();
    let named = |level: Thinking| {
        let quoted = ["'", "\"", "`"]
            .iter()
            .any(|mark| refusal.contains(&format!("{mark}{}{mark}", level.name())));
        quoted && level < asked
    };
    let ladder = [Thinking::High, Thinking::Medium, Thinking::Low, Thinking::Minimal];
    Some(ladder.into_iter().find(|level| named(*level)).unwrap_or(Thinking::Off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_level_gives_way_to_the_highest_that_is_named() {
        let refusal = "Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model. Supported values are: 'low', 'medium', and 'high'.";
        assert_eq!(supported(refusal, Thinking::XHigh), Some(Thinking::High));
        assert_eq!(supported(refusal, Thinking::Medium), Some(Thinking::Low));
        assert_eq!(
            supported("thinking is not supported by this model", Thinking::Low),
            Some(Thinking::Off)
        );
        assert_eq!(supported("messages.3: unexpected tool_use_id", Thinking::Low), None);
        assert_eq!(supported(refusal, Thinking::Off), None);
        assert!(is_refused(refusal));
        assert!(is_refused(
            "Reasoning is mandatory for this endpoint and cannot be disabled."
        ));
        assert!(!is_refused("messages.3: unexpected tool_use_id"));
    }
}
