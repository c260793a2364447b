//! What the end of a run stores and says of the model and key that answered.

use serde_json::{Map, Value, json};

use super::{Attempt, Failover, PINNED, PINNED_AT, PINNED_BY, compactions};
use crate::config::providers::profile_id;
use crate::conversation::transcript::SessionHead;
use crate::session::preview::Outlet;
use crate::session::run::RunContext;
use crate::session::turn::Piece;

/// Fields of the session's entry.
const SELECTED: &str = "fallbackNoticeSelectedModel";
const ACTIVE: &str = "fallbackNoticeActiveModel";
const REASON: &str = "fallbackNoticeReason";

/// What is to be said of a run that was answered by another model than the chosen one, or by the chosen one again.
pub(in crate::session::run) struct Notice {
    /// For the person.
    text: String,
    /// `data` of the `lifecycle` event.
    pub(in crate::session::run) event: Value,
}

impl Notice {
    /// For the chat: which model answers is the owner's business, and theirs alone.
    pub(in crate::session::run) fn pieces(&self, context: &RunContext, outlet: &Outlet) -> Vec<Piece> {
        let last = context.turn.last();
        if !last.direct || !last.guest.is_empty() || context.turn.beat().is_some() {
            return Vec::new();
        }
        let rendered = outlet.render(&self.text).into_iter();
        rendered
            .map(|rendered| Piece::new("notice", &outlet.destination, rendered))
            .collect()
    }
}

/// What the end of the run stores and says.
#[derive(Default)]
pub(in crate::session::run) struct Marks {
    /// Changes of the session's entry.
    pub(in crate::session::run) entry: Map<String, Value>,
    pub(in crate::session::run) notice: Option<Notice>,
}

impl Failover {
    /// A run was answered: what is stored of that in the session, and what is said.
    pub(in crate::session::run) fn marks(&self, head: &SessionHead) -> Marks {
        let mut entry = Map::new();
        let (Some(first), Some(slot)) = (self.chain.first(), self.slot()) else {
            return Marks { entry, notice: None };
        };
        if self.takes_key(head, &slot) {
            entry.insert(PINNED.to_owned(), json!(profile_id(&slot.provider, &slot.key)));
            entry.insert(PINNED_BY.to_owned(), json!("auto"));
            entry.insert(PINNED_AT.to_owned(), json!(compactions(head)));
        }
        let selected = self.left_out.clone().unwrap_or_else(|| first.reference());
        let active = format!("{}/{}", slot.provider, slot.model);
        let before = |name: &str| head.entry.get(name).and_then(Value::as_str);
        let (of, name) = selected.split_once('/').unwrap_or(("", selected.as_str()));
        let mut event = json!({
            "selectedProvider": of, "selectedModel": name,
            "activeProvider": slot.provider, "activeModel": slot.model,
        });
        let notice = if selected == active {
            let Some(previous) = before(ACTIVE) else {
                return Marks { entry, notice: None };
            };
            for name in [SELECTED, ACTIVE, REASON] {
                entry.insert(name.to_owned(), Value::Null);
            }
            event["phase"] = json!("fallback_cleared");
            event["previousActiveModel"] = json!(previous);
            let text = format!("↪️ Model Fallback cleared: {selected} (was {previous})");
            Some(Notice { text, event })
        } else if before(SELECTED) != Some(&selected) || before(ACTIVE) != Some(&active) {
            let reason = self.reason();
            entry.insert(SELECTED.to_owned(), json!(selected));
            entry.insert(ACTIVE.to_owned(), json!(active));
            entry.insert(REASON.to_owned(), json!(reason));
            let attempts = self.attempts.iter().map(
                |attempt| json!({"provider": attempt.provider, "model": attempt.model, "reason": attempt.reason, "error": attempt.words()}),
            );
            let summaries = self.attempts.iter();
            event["attemptSummaries"] = summaries
                .map(|attempt| json!(format!("{} {}", attempt.reference(), attempt.words())))
                .collect();
            event["attempts"] = attempts.collect();
            event["phase"] = json!("fallback");
            event["reasonSummary"] = json!(reason);
            let text = format!("↪️ Model Fallback: {active} (selected {selected}; {reason})");
            Some(Notice { text, event })
        } else {
            None
        };
        Marks { entry, notice }
    }

    fn reason(&self) -> String {
        let first = self
            .attempts
            .first()
            .map_or_else(|| "selected model unavailable".to_owned(), Attempt::words);
        match self.attempts.len() {
            0 | 1 => first,
            more => format!("{first} (+{} more attempts)", more - 1),
        }
    }
}

/// The model that stands in for the chosen one in this session, and why.
pub(crate) fn fallback_of(entry: &Value, selected: &str) -> Option<String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let active = text(ACTIVE).filter(|_| text(SELECTED) == Some(selected))?;
    Some(match text(REASON) {
        Some(reason) => format!("{active} ({reason})"),
        None => active.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_of_the_model_that_is_chosen_now() {
        let entry = json!({SELECTED: "a/b", ACTIVE: "c/d", REASON: "billing"});
        assert_eq!(fallback_of(&entry, "a/b").as_deref(), Some("c/d (billing)"));
        assert_eq!(fallback_of(&entry, "x/y"), None);
        assert_eq!(fallback_of(&json!({}), "a/b"), None);
    }
}
