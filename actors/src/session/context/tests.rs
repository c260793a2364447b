//! What is sent, and what is left out.

use serde_json::json;

use super::*;
use crate::conversation::entry::{Compaction, CustomMessage};
use crate::ports::message::{AssistantMessage, AssistantPart, Part};

const TARGET: Target<'_> = Target {
    api: "anthropic-messages",
    provider: "p",
    model: "m",
};

fn entry(id: &str, body: impl Into<Body>) -> Entry {
    Entry {
        id: id.to_owned(),
        parent_id: None,
        seq: 1,
        body: body.into(),
        run_id: None,
        created_at: 1,
    }
}

fn says(text: &str) -> Message {
    Message::Assistant(AssistantMessage {
        content: vec![AssistantPart::Text { text: text.to_owned() }],
        ..AssistantMessage::default()
    })
}

fn texts(messages: &[Arc<Message>]) -> Vec<String> {
    messages
        .iter()
        .map(|message| match message.as_ref() {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content
                .iter()
                .map(|part| match part {
                    Part::Text { text } => text.clone(),
                    Part::Image { .. } | Part::File { .. } => "(image)".to_owned(),
                })
                .collect::<Vec<_>>()
                .join("|"),
            Message::Assistant(message) => message.text(),
        })
        .collect()
}

fn dialogue(turns: usize, size: usize) -> Vec<Entry> {
    (0..turns)
        .flat_map(|turn| {
            [
                entry(
                    &format!("u{turn}"),
                    Message::user(format!("q{turn} {}", "x".repeat(size)), 0),
                ),
                entry(&format!("a{turn}"), says(&format!("r{turn} {}", "x".repeat(size)))),
            ]
        })
        .collect()
}

#[test]
fn what_fits_is_sent_whole_and_in_order() {
    let sent = assemble(&dialogue(2, 0), Some(Message::user("now", 9)), TARGET, 10_000);
    assert_eq!(texts(&sent), ["q0 ", "r0 ", "q1 ", "r1 ", "now"]);
}

#[test]
fn a_long_history_starts_at_a_question() {
    // Each message is about 104 tokens.
    let sent = assemble(&dialogue(10, 400), Some(Message::user("now", 9)), TARGET, 550);
    let texts = texts(&sent);
    assert!(texts[0].starts_with("q8"), "{texts:?}");
    assert_eq!(texts.len(), 5);
    let sent = assemble(&dialogue(10, 400), Some(Message::user("now", 9)), TARGET, 400);
    assert!(self::texts(&sent)[0].starts_with("q9"));
}

#[test]
fn the_turn_is_sent_even_when_nothing_else_fits() {
    let sent = assemble(&dialogue(3, 4_000), Some(Message::user("now", 9)), TARGET, 10);
    assert_eq!(texts(&sent), ["now"]);
    let mut history = dialogue(3, 4_000);
    history.push(entry("u", Message::user("stored already", 9)));
    assert_eq!(texts(&assemble(&history, None, TARGET, 1)), ["stored already"]);
}

#[test]
fn a_summary_stands_for_what_came_before() {
    let mut entries = dialogue(3, 0);
    entries.push(entry(
        "c",
        Body::Compaction(Compaction {
            summary: "they spoke".to_owned(),
            first_kept_entry_id: "u2".to_owned(),
            tokens_before: 1,
            details: None,
        }),
    ));
    entries.push(entry("u3", Message::user("more", 0)));
    entries.push(entry("a3", says("sure")));
    let sent = assemble(&entries, Some(Message::user("now", 9)), TARGET, 10_000);
    assert_eq!(
        texts(&sent),
        [
            "[Summary of the conversation so far]\nthey spoke|q2 ",
            "r2 ",
            "more",
            "sure",
            "now"
        ]
    );
}

#[test]
fn a_summary_whose_kept_part_was_not_read_still_leads() {
    let mut entries = vec![entry(
        "c",
        Body::Compaction(Compaction {
            summary: "they spoke".to_owned(),
            first_kept_entry_id: "gone".to_owned(),
            tokens_before: 1,
            details: None,
        }),
    )];
    entries.extend(dialogue(1, 0));
    let sent = assemble(&entries, Some(Message::user("now", 9)), TARGET, 10_000);
    assert!(texts(&sent)[0].contains("they spoke"));
    assert_eq!(sent.len(), 3);
}

#[test]
fn notes_are_sent_and_state_is_not() {
    let entries = vec![
        entry(
            "n",
            Body::CustomMessage(CustomMessage {
                custom_type: "note".to_owned(),
                content: vec![Part::Text {
                    text: "a note".to_owned(),
                }],
                display: false,
                details: None,
            }),
        ),
        entry(
            "s",
            Body::Custom(crate::conversation::entry::Custom {
                custom_type: "state".to_owned(),
                data: json!(1),
            }),
        ),
    ];
    assert_eq!(
        texts(&assemble(&entries, Some(Message::user("now", 9)), TARGET, 100)),
        ["a note|now"]
    );
}

#[test]
fn small_windows_are_refused() {
    assert!(check_window("m", 15_999).is_err());
    assert_eq!(check_window("m", 16_000).unwrap(), Window::Tight);
    assert_eq!(check_window("m", 32_000).unwrap(), Window::Roomy);
}

#[test]
fn the_budget_leaves_room_for_the_rest() {
    let system = [SystemBlock {
        text: "x".repeat(40_000),
        cache: true,
    }];
    let left = budget(200_000, 8_192, fixed(&system, &[]));
    assert!(left > 140_000 && left + 8_192 + 12_000 <= 200_000, "{left}");
    // A system prompt larger than the window still leaves something for the turn.
    let huge = [SystemBlock {
        text: "x".repeat(1_000_000),
        cache: true,
    }];
    assert_eq!(budget(16_000, 64_000, fixed(&huge, &[])), 2_000);
}

/// Prints how long a typical turn takes to assemble; asserts only what it assembles.
#[test]
fn assembling_a_typical_turn() {
    let history = dialogue(40, 600);
    let started = std::time::Instant::now();
    let rounds = 50;
    for _ in 0..rounds {
        let sent = assemble(&history, Some(Message::user("now", 9)), TARGET, 100_000);
        assert_eq!(sent.len(), 81);
    }
    let each = started.elapsed() / rounds;
    assert!(each.as_secs() < 5, "{each:?}");
}
