//! Where a compaction cuts: what goes into the summary and what stays word for word. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;

use crate::conversation::entry::{Body, Entry};
use crate::conversation::tokens;
use crate::ports::message::Message;

/// How much stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Tokens of the newest entries that stay at least. Nothing is cut from less.
    pub tokens: u64,
    /// Tokens that may stay where that keeps a turn whole.
    pub most: u64,
    /// Turns that stay where they fit into `most`.
    pub turns: usize,
}

/// A place between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Index of the first entry that stays.
    pub at: usize,
    /// The cut lies within a turn that is too large to stay whole: index of its question.
    pub turn: Option<usize>,
}

/// What an entry takes of the context; an earlier summary is replaced, whatever stays.
pub fn cost(entry: &Entry) -> u64 {
    match entry.body.compaction() {
        Some(_) => 0,
        None => tokens::entry(entry),
    }
}

/// The cut that leaves about `keep.tokens`: before a question if possible, else before an answer within a turn, and
/// never between a call and its result. Something is on each side of it. `None` when there is nothing to cut off.
pub fn cut(entries: &[impl Borrow<Entry>], keep: Keep) -> Option<Cut> {
    let left = left_from(entries);
    let from = left.iter().rposition(|left| *left >= keep.tokens)?;
    let joined = joined(entries);
    let first = entries.iter().position(|entry| cost(entry.borrow()) > 0)?;
    let fits = |at: usize| left.get(at).is_some_and(|left| *left <= keep.most);
    let places = |wanted: fn(&Entry) -> bool| {
        let free = entries.iter().zip(&joined).enumerate().skip(first + 1);
        free.filter(move |(_, (entry, joined))| !**joined && wanted((*entry).borrow()))
            .map(|(at, _)| at)
    };
    let turns: Vec<usize> = places(begins_turn).collect();
    let wanted = keep
        .turns
        .checked_sub(1)
        .and_then(|others| turns.iter().rev().nth(others));
    let from = wanted.filter(|at| fits(**at)).map_or(from, |at| from.min(*at));
    let before = turns.iter().rev().find(|at| **at <= from && fits(**at));
    let after = turns.iter().find(|at| **at > from);
    if let Some(at) = before.or(after) {
        return Some(Cut { at: *at, turn: None });
    }
    // One turn alone is too large: its newest part stays.
    let answers: Vec<usize> = places(is_answer).collect();
    let at = answers.iter().find(|at| **at >= from).or(answers.last())?;
    let turn = entries.iter().take(*at).rposition(|entry| begins_turn(entry.borrow()));
    Some(Cut { at: *at, turn })
}

/// Tokens from each entry to the end.
fn left_from(entries: &[impl Borrow<Entry>]) -> Vec<u64> {
    let mut left: Vec<u64> = entries
        .iter()
        .rev()
        .scan(0, |sum, entry| {
            *sum += cost(entry.borrow());
            Some(*sum)
        })
        .collect();
    left.reverse();
    left
}

/// Which entries may not be parted from the one before: they lie between a call and its result. Ids come back in later
/// turns with some providers, so a result belongs to the last call of its id.
fn joined(entries: &[impl Borrow<Entry>]) -> Vec<bool> {
    let mut joined = vec![false; entries.len()];
    let mut called: HashMap<&str, usize> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        match entry.borrow().body.message() {
            Some(Message::Assistant(message)) => {
                called.extend(message.tool_calls().map(|call| (call.id.as_str(), at)));
            }
            Some(Message::ToolResult { tool_call_id, .. }) => {
                let from = called.get(tool_call_id.as_str()).map_or(at, |call| call + 1);
                if let Some(between) = joined.get_mut(from..=at) {
                    between.fill(true);
                }
            }
            Some(Message::User { .. }) | None => {}
        }
    }
    joined
}

fn begins_turn(entry: &Entry) -> bool {
    match &entry.body {
        Body::Message(body) => matches!(*body.message, Message::User { .. }),
        Body::BranchSummary(_) | Body::CustomMessage(_) => true,
        Body::Compaction(_)
        | Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => false,
    }
}

fn is_answer(entry: &Entry) -> bool {
    matches!(entry.body.message(), Some(Message::Assistant(_)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::conversation::entry::Compaction;
    use crate::conversation::repair::{Target, repair};
    use crate::ports::message::{AssistantMessage, AssistantPart, Part, ToolCall};
    use crate::session::context::assemble;

    const TARGET: Target<'_> = Target {
        api: "openai-completions",
        provider: "p",
        model: "m",
    };

    /// (characters of the question, (characters of the result, calls) per round, characters of the answer)
    type Turn = (usize, Vec<(usize, usize)>, usize);

    fn entry(seq: usize, body: impl Into<Body>) -> Entry {
        Entry {
            id: format!("e{seq}"),
            parent_id: seq.checked_sub(1).map(|before| format!("e{before}")),
            seq: i64::try_from(seq).expect("small") + 1,
            body: body.into(),
            run_id: None,
            created_at: 1,
        }
    }

    fn answer(text: &str, calls: usize) -> Message {
        let mut content = vec![AssistantPart::Text { text: text.to_owned() }];
        content.extend((0..calls).map(|call| {
            AssistantPart::ToolCall(ToolCall {
                // The same ids in each round: the hard case.
                id: format!("call_{call}"),
                name: "read".to_owned(),
                arguments: json!({}),
            })
        }));
        Message::Assistant(AssistantMessage {
            content,
            ..AssistantMessage::default()
        })
    }

    fn result(call: usize, text: String) -> Message {
        Message::ToolResult {
            tool_call_id: format!("call_{call}"),
            tool_name: "read".to_owned(),
            content: vec![Part::Text { text }],
            details: None,
            is_error: false,
            timestamp: 1,
        }
    }

    fn conversation(turns: &[Turn]) -> Vec<Entry> {
        let mut messages = Vec::new();
        for (number, (question, rounds, said)) in turns.iter().enumerate() {
            messages.push(Message::user(format!("q{number} {}", "x".repeat(*question)), 1));
            for (size, calls) in rounds {
                messages.push(answer("looking", *calls));
                messages.extend((0..*calls).map(|call| result(call, "y".repeat(*size))));
            }
            messages.push(answer(&format!("a{number} {}", "z".repeat(*said)), 0));
        }
        messages
            .into_iter()
            .enumerate()
            .map(|(seq, message)| entry(seq, message))
            .collect()
    }

    fn keep(tokens: u64) -> Keep {
        Keep {
            tokens,
            most: tokens * 3 / 2,
            turns: 0,
        }
    }

    #[test]
    fn short_conversations_are_left_alone() {
        let entries = conversation(&[(40, vec![], 40), (40, vec![], 40)]);
        assert_eq!(cut(&entries, keep(1_000)), None);
        assert_eq!(cut(&Vec::<Entry>::new(), keep(0)), None);
        assert_eq!(cut(&entries[..1], keep(0)), None);
    }

    #[test]
    fn a_turn_stays_whole_where_it_fits() {
        // Each message is about 105 tokens, each turn 210.
        let entries = conversation(&[(400, vec![], 400), (400, vec![], 400), (400, vec![], 400)]);
        assert_eq!(cut(&entries, keep(150)), Some(Cut { at: 4, turn: None }));
        assert_eq!(cut(&entries, keep(300)), Some(Cut { at: 2, turn: None }));
        let three = Keep {
            tokens: 100,
            most: 430,
            turns: 2,
        };
        assert_eq!(cut(&entries, three), Some(Cut { at: 2, turn: None }));
        assert_eq!(
            cut(&entries, Keep { most: 400, ..three }),
            Some(Cut { at: 4, turn: None })
        );
    }

    #[test]
    fn a_huge_turn_is_cut_before_an_answer() {
        let entries = conversation(&[(4, vec![(4_000, 2); 6], 4)]);
        let found = cut(&entries, keep(3_000)).expect("is cut");
        assert_eq!(found.turn, Some(0));
        assert!(is_answer(&entries[found.at]));
    }

    #[test]
    fn a_huge_turn_goes_whole_when_another_follows() {
        let entries = conversation(&[(4, vec![(4_000, 2); 6], 4), (4, vec![], 4)]);
        let found = cut(&entries, keep(3_000)).expect("is cut");
        assert_eq!((found.at, found.turn), (entries.len() - 2, None));
    }

    fn said(entry: &Entry) -> Option<Arc<Message>> {
        entry.body.message().cloned().map(Arc::new)
    }

    proptest! {
        #[test]
        fn nothing_is_torn_apart_or_lost(
            turns in prop::collection::vec(
                (0_usize..800, prop::collection::vec((1_usize..3_000, 1_usize..4), 0..4), 0_usize..800), 1..12),
            tokens in 0_u64..4_000, more in 0_u64..2_000, kept_turns in 0_usize..4,
        ) {
            let mut entries = conversation(&turns);
            let keep = Keep { tokens, most: tokens + more, turns: kept_turns };
            let Some(found) = cut(&entries, keep) else {
                let all: u64 = entries.iter().map(cost).sum();
                // One question and its answer, or less than what stays anyway.
                prop_assert!(all < tokens || turns.len() == 1);
                return Ok(());
            };
            prop_assert!(found.at > 0 && found.at < entries.len());
            let (before, after) = entries.split_at(found.at);
            prop_assert!(before.iter().map(cost).sum::<u64>() > 0);
            prop_assert!(after.iter().map(cost).sum::<u64>() > 0);
            let orphan = matches!(after[0].body.message(), Some(Message::ToolResult { .. }));
            prop_assert!(!orphan);
            // Repair finds nothing to do on either side: each call has its results.
            for side in [before, after] {
                let messages: Vec<_> = side.iter().filter_map(said).collect();
                prop_assert_eq!(&repair(messages.clone(), TARGET), &messages);
            }
            // Summary first, then what stays, in order, then what comes later.
            let stays: Vec<_> = after.iter().filter_map(said).collect();
            let first = after[0].id.clone();
            let seq = entries.len();
            entries.push(entry(seq, Body::Compaction(Compaction {
                summary: "so far".to_owned(),
                first_kept_entry_id: first,
                tokens_before: 1,
                details: None,
            })));
            entries.push(entry(seq + 1, Message::user("later", 1)));
            let sent = assemble(&entries, None, TARGET, u64::MAX);
            prop_assert_eq!(sent.len(), stays.len() + 2);
            let leads = matches!(sent[0].as_ref(), Message::User { content, .. }
                if matches!(&content[0], Part::Text { text } if text.contains("so far")));
            prop_assert!(leads);
            prop_assert_eq!(&sent[1..=stays.len()], &stays[..]);
        }
    }
}
