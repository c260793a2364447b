//! Old tool results are shortened in what is sent, never in what is stored (`agent-runtime` §8.6). Pure.
//!
//! A provider keeps a prompt in its cache for a while; changing what is cached costs more than it saves. So results are
//! shortened only where the cache was cold anyway: before a question that came later than the time to live after the
//! answer before it. That place follows from the messages' own times, so each later turn shortens the same results in
//! the same way, and what is cached stays as it was sent.

use std::sync::Arc;

use crate::config::document::PruningSettings;
use crate::conversation::tokens;
use crate::ports::message::{Message, Part};
use crate::session::tool_policy::fits;

/// Stands for an image in a result that was shortened.
const IMAGE: &str = "[image left out of an old tool result]";

/// Shortens old tool results of `history` for a model with this window (tokens). `now`: epoch milliseconds.
pub fn prune(history: &mut [Arc<Message>], settings: &PruningSettings, window: u64, now: i64) {
    let ttl = i64::try_from(settings.ttl.as_millis()).unwrap_or(i64::MAX);
    let Some(old) = cold(history, ttl, now).and_then(|cold| history.get_mut(..cold)) else {
        return;
    };
    let within = prunable(old, settings);
    if within.is_empty() || fill(old, window) < settings.soft {
        return;
    }
    for at in &within {
        if let Some(Message::ToolResult { content, .. }) = old.get_mut(*at).map(Arc::make_mut) {
            trim(content, settings);
        }
    }
    let size = |message: &Arc<Message>| match message.as_ref() {
        Message::ToolResult { content, .. } => chars(content),
        Message::User { .. } | Message::Assistant(_) => 0,
    };
    let frees: usize = within.iter().filter_map(|at| old.get(*at)).map(size).sum();
    if !settings.clears || frees < settings.least_chars {
        return;
    }
    for at in within {
        if fill(old, window) < settings.hard {
            return;
        }
        if let Some(Message::ToolResult { content, .. }) = old.get_mut(at).map(Arc::make_mut) {
            *content = vec![Part::Text {
                text: settings.placeholder.clone(),
            }];
        }
    }
}

/// Up to where the cache was cold the last time: messages before this index were sent anew then.
fn cold(history: &[Arc<Message>], ttl: i64, now: i64) -> Option<usize> {
    let mut answered: Option<i64> = None;
    let mut cold = None;
    let late = |answered: Option<i64>, at: i64| answered.is_some_and(|answered| at.saturating_sub(answered) > ttl);
    for (index, message) in history.iter().enumerate() {
        match message.as_ref() {
            Message::User { timestamp, .. } if late(answered, *timestamp) => cold = Some(index),
            Message::User { .. } | Message::ToolResult { .. } => {}
            Message::Assistant(message) => answered = Some(message.timestamp),
        }
    }
    let asked = matches!(history.last().map(Arc::as_ref), Some(Message::User { .. }));
    if !asked && late(answered, now) {
        return Some(history.len());
    }
    cold
}

/// Results after the first question and before the last answers that stay whole.
fn prunable(old: &[Arc<Message>], settings: &PruningSettings) -> Vec<usize> {
    let Some(first) = old.iter().position(|message| matches!(**message, Message::User { .. })) else {
        return Vec::new();
    };
    let answers = old.iter().enumerate().rev();
    let mut answers = answers.filter(|(_, message)| matches!(***message, Message::Assistant(_)));
    let end = match settings.keep_assistants.checked_sub(1) {
        None => old.len(),
        Some(others) => match answers.nth(others) {
            Some((at, _)) => at,
            None => return Vec::new(),
        },
    };
    let may = |name: &str| {
        !settings.deny.iter().any(|pattern| fits(pattern, name))
            && (settings.allow.is_empty() || settings.allow.iter().any(|pattern| fits(pattern, name)))
    };
    let between = old.iter().enumerate().take(end).skip(first + 1);
    between
        .filter(|(_, message)| matches!(message.as_ref(), Message::ToolResult { tool_name, .. } if may(tool_name)))
        .map(|(at, _)| at)
        .collect()
}

/// Percent of the window.
fn fill(messages: &[Arc<Message>], window: u64) -> u64 {
    let used: u64 = messages.iter().map(|message| tokens::message(message)).sum();
    used.saturating_mul(100) / window.max(1)
}

fn chars(content: &[Part]) -> usize {
    let one = |part: &Part| match part {
        Part::Text { text } => text.chars().count(),
        Part::Image { .. } | Part::File { .. } => 8_000,
    };
    content.iter().map(one).sum()
}

fn trim(content: &mut Vec<Part>, settings: &PruningSettings) {
    let [most, head, tail] = settings.trim;
    let total = chars(content);
    if total <= most {
        return;
    }
    let mut whole = String::new();
    for part in content.iter() {
        if !whole.is_empty() {
            whole.push('\n');
        }
        match part {
            Part::Text { text } => whole.push_str(text),
            Part::Image { .. } => whole.push_str(IMAGE),
            Part::File { .. } => whole.push_str(&part.words()),
        }
    }
    let length = whole.chars().count();
    if length > head + tail {
        let place = |count: usize| whole.char_indices().nth(count).map_or(whole.len(), |(at, _)| at);
        let (start, end) = (place(head), place(length - tail));
        let (first, last) = (&whole[..start], &whole[end..]);
        whole = format!(
            "{first}\n[… {} characters of this old result left out …]\n{last}",
            length - head - tail
        );
    }
    *content = vec![Part::Text { text: whole }];
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::message::{AssistantMessage, AssistantPart, ToolCall};

    const MINUTE: i64 = 60_000;
    const WINDOW: u64 = 20_000;

    fn settings() -> PruningSettings {
        PruningSettings {
            keep_assistants: 1,
            least_chars: 1_000,
            ttl: Duration::from_secs(300),
            ..PruningSettings::default()
        }
    }

    /// One turn at this minute: a question, a call, its result of this many characters, an answer.
    fn turn(minute: i64, size: usize) -> Vec<Message> {
        let at = minute * MINUTE;
        let assistant = |content| {
            Message::Assistant(AssistantMessage {
                content,
                timestamp: at,
                ..AssistantMessage::default()
            })
        };
        vec![
            Message::user("q", at),
            assistant(vec![AssistantPart::ToolCall(ToolCall {
                id: "c".to_owned(),
                name: "web_fetch".to_owned(),
                arguments: serde_json::json!({}),
            })]),
            Message::ToolResult {
                tool_call_id: "c".to_owned(),
                tool_name: "web_fetch".to_owned(),
                content: vec![Part::Text { text: "y".repeat(size) }],
                details: None,
                is_error: false,
                timestamp: at,
            },
            assistant(vec![AssistantPart::Text { text: "a".to_owned() }]),
        ]
    }

    fn sizes(history: &[Arc<Message>]) -> Vec<usize> {
        let size = |message: &Arc<Message>| match message.as_ref() {
            Message::ToolResult { content, .. } => Some(chars(content)),
            Message::User { .. } | Message::Assistant(_) => None,
        };
        history.iter().filter_map(size).collect()
    }

    fn pruned(turns: &[(i64, usize)], settings: &PruningSettings, now: i64) -> Vec<usize> {
        let past = turns.iter().flat_map(|(minute, size)| turn(*minute, *size));
        let all = past.chain([Message::user("now", now * MINUTE)]);
        let mut history: Vec<Arc<Message>> = all.map(Arc::new).collect();
        let before = history.clone();
        prune(&mut history, settings, WINDOW, now * MINUTE);
        for (was, is) in before.iter().zip(&history) {
            if !matches!(**was, Message::ToolResult { .. }) {
                assert_eq!(was, is, "only results are touched");
            }
        }
        sizes(&history)
    }

    #[test]
    fn a_warm_cache_is_left_alone() {
        let sizes = pruned(&[(0, 30_000), (1, 30_000)], &settings(), 3);
        assert_eq!(sizes, [30_000, 30_000]);
    }

    #[test]
    fn a_cold_one_is_trimmed_and_what_is_small_stays() {
        let sizes = pruned(&[(0, 30_000), (1, 900), (2, 900)], &settings(), 30);
        assert!(sizes[0] > 3_000 && sizes[0] < 3_100, "{sizes:?}");
        assert_eq!(sizes[1..], [900, 900]);
        // Not full enough to be worth it.
        assert_eq!(pruned(&[(0, 9_000), (1, 900)], &settings(), 30), [9_000, 900]);
    }

    #[test]
    fn the_oldest_are_cleared_until_it_fits() {
        let many: Vec<(i64, usize)> = (0..20).map(|minute| (minute, 4_000)).collect();
        let sizes = pruned(&many, &settings(), 60);
        let cleared = settings().placeholder.len();
        let gone = sizes.iter().take_while(|size| **size == cleared).count();
        assert!((5..15).contains(&gone), "{sizes:?}");
        assert!(sizes[gone..].iter().all(|size| *size == 4_000));
        let off = PruningSettings {
            clears: false,
            ..settings()
        };
        assert_eq!(pruned(&many, &off, 60), vec![4_000; 20]);
    }

    #[test]
    fn later_turns_send_what_the_cache_has() {
        // Cold at minute 30; what was sent then is sent again at 31 and 32, whatever came since.
        let first = pruned(&[(0, 30_000), (1, 900)], &settings(), 30);
        let second = pruned(&[(0, 30_000), (1, 900), (30, 20_000)], &settings(), 31);
        let third = pruned(&[(0, 30_000), (1, 900), (30, 20_000), (31, 20_000)], &settings(), 32);
        assert_eq!(first[..], second[..2]);
        assert_eq!(second[..], third[..3]);
        assert_eq!(second[2], 20_000);
    }

    #[test]
    fn tools_are_named_by_pattern_and_the_last_answers_keep_theirs() {
        let deny = PruningSettings {
            deny: vec!["web_*".to_owned()],
            ..settings()
        };
        assert_eq!(pruned(&[(0, 30_000), (1, 900)], &deny, 30), [30_000, 900]);
        let keeps = PruningSettings {
            keep_assistants: 9,
            ..settings()
        };
        assert_eq!(pruned(&[(0, 30_000), (1, 900)], &keeps, 30), [30_000, 900]);
    }
}
