//! Collecting tool calls from deltas that servers key in different ways: by index, by id, or not at all.

use claw_actors::ports::message::ToolCall;
use claw_actors::ports::model::ModelEvent;
use uuid::Uuid;

use super::wire::ToolDelta;
use crate::providers::draft::{MOST_PARTS, arguments as whole};

/// A call under way.
struct Open {
    index: Option<u64>,
    id: String,
    /// The id is ours, because the server gave none.
    made_up: bool,
    name: String,
    arguments: String,
    announced: bool,
}

impl Open {
    fn is_whole(&self) -> bool {
        !self.name.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok()
    }
}

/// All calls of one message, in the order they began.
pub(super) struct ToolCalls {
    open: Vec<Open>,
    /// Makes the ids of calls that came without one.
    seed: Uuid,
}

impl ToolCalls {
    pub(super) fn new(seed: Uuid) -> Self {
        Self { open: Vec::new(), seed }
    }

    /// Takes a delta. Gives the position of a call that is new, the event once its name is known, and what came of its
    /// arguments.
    pub(super) fn take(&mut self, delta: ToolDelta) -> (Option<usize>, [Option<ModelEvent>; 2]) {
        let function = delta.function.unwrap_or_default();
        let (id, name) = (delta.id.0, function.name.0);
        let index = delta.index.0;
        let known = match (index, id.is_empty()) {
            (Some(index), _) => self.by_index(index, &id, &name),
            (None, false) => self.open.iter().position(|call| call.id == id),
            // Neither: the open one, unless it is whole and this begins another.
            (None, true) => self
                .open
                .len()
                .checked_sub(1)
                .filter(|last| name.is_empty() || !self.open[*last].is_whole()),
        };
        let at = known.unwrap_or(self.open.len());
        if known.is_none() {
            if at == MOST_PARTS {
                return (None, [None, None]);
            }
            self.open.push(Open {
                index,
                id: format!("call_{}{at}", self.seed.simple()),
                made_up: true,
                name: String::new(),
                arguments: String::new(),
                announced: false,
            });
        }
        let call = &mut self.open[at];
        if call.made_up && !call.announced && !id.is_empty() {
            call.id = id;
            call.made_up = false;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(&function.arguments.0);
        let event = (!call.announced && !call.name.is_empty()).then(|| {
            call.announced = true;
            ModelEvent::ToolCallStart {
                id: call.id.clone(),
                name: call.name.clone(),
            }
        });
        let piece = function.arguments.0;
        let came = (!piece.is_empty()).then_some(ModelEvent::ToolCallDelta(piece));
        (known.is_none().then_some(at), [event, came])
    }

    /// Some servers give every call the index 0; another id with a name is another call then.
    fn by_index(&self, index: u64, id: &str, name: &str) -> Option<usize> {
        let at = self.open.iter().rposition(|call| call.index == Some(index))?;
        let call = &self.open[at];
        let another = !id.is_empty() && !call.made_up && call.id != id && !name.is_empty();
        if another { None } else { Some(at) }
    }

    /// The call at a position. `None` for one that never got a name.
    pub(super) fn finish(&mut self, at: usize) -> Option<ToolCall> {
        let call = self.open.get_mut(at).filter(|call| !call.name.is_empty())?;
        let arguments = std::mem::take(&mut call.arguments);
        Some(ToolCall {
            id: std::mem::take(&mut call.id),
            name: std::mem::take(&mut call.name),
            arguments: whole(arguments),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_message_has_so_many_calls() {
        let mut calls = ToolCalls::new(Uuid::nil());
        let delta = |index: usize| from_value(json!({"index": index, "function": {"name": "x"}})).expect("a delta");
        let begun = (0..2 * MOST_PARTS).filter(|index| calls.take(delta(*index)).0.is_some());
        assert_eq!(begun.count(), MOST_PARTS);
        assert!(calls.finish(MOST_PARTS - 1).is_some());
    }
}
