//! What is read, what is asked, and what is checked.

use serde_json::json;

use super::*;
use crate::ports::message::{AssistantMessage, ToolCall};

fn says(text: &str) -> Message {
    Message::Assistant(AssistantMessage {
        content: vec![AssistantPart::Text { text: text.to_owned() }],
        ..AssistantMessage::default()
    })
}

fn result(text: &str, is_error: bool) -> Message {
    Message::ToolResult {
        tool_call_id: "c".to_owned(),
        tool_name: "web_fetch".to_owned(),
        content: vec![Part::Text { text: text.to_owned() }],
        details: Some(json!({"secret": "details are never read"})),
        is_error,
        timestamp: 0,
    }
}

fn asked<'a>(settings: &'a CompactionSettings, chunk: &'a str) -> Asked<'a> {
    Asked {
        settings,
        so_far: None,
        chunk,
        instructions: None,
        wrong: None,
    }
}

#[test]
fn messages_are_written_out_without_details_and_thoughts() {
    let call = Message::Assistant(AssistantMessage {
        content: vec![
            AssistantPart::Thinking {
                thinking: "hm".to_owned(),
                thinking_signature: None,
                redacted: false,
            },
            AssistantPart::ToolCall(ToolCall {
                id: "c".to_owned(),
                name: "web_fetch".to_owned(),
                arguments: json!({"url": "https://a.test"}),
            }),
        ],
        ..AssistantMessage::default()
    });
    assert_eq!(written(&Message::user("hi", 0)), "[Person]\nhi");
    assert_eq!(
        written(&call),
        "[Assistant]\n(calls web_fetch with {\"url\":\"https://a.test\"})"
    );
    let long = written(&result(&"y".repeat(9_000), true));
    assert!(
        long.starts_with("[Result of web_fetch, failed]\nyyy") && long.len() < 2_200,
        "{}",
        long.len()
    );
    assert!(!long.contains("details"));
}

#[test]
fn chunks_hold_everything_once_and_the_oldest_go_first() {
    let messages: Vec<Message> = (0..20)
        .map(|n| Message::user(format!("m{n} {}", "x".repeat(400)), 0))
        .collect();
    let all = chunks(&messages, 350, 100);
    assert_eq!((all.left_out, all.texts.len()), (0, 7));
    let joined = all.texts.join("\n\n");
    for n in 0..20 {
        assert_eq!(joined.matches(&format!("m{n} ")).count(), 1);
    }
    assert!(all.texts.iter().all(|text| tokens::text(text) <= 350));
    let some = chunks(&messages, 350, 2);
    assert_eq!((some.texts.len(), some.left_out), (2, 15));
    assert!(some.texts[1].contains("m19 ") && !some.texts[0].contains("m14 "));
    // A message larger than a chunk is cut, in any script.
    let huge = chunks(&[Message::user("日".repeat(5_000), 0)], 350, 10);
    assert_eq!(huge.texts.len(), 1);
    assert!(tokens::text(&huge.texts[0]) <= 380, "{}", tokens::text(&huge.texts[0]));
    assert!(chunks(&[], 350, 10).texts.is_empty());
}

#[test]
fn a_prompt_updates_what_is_there_and_says_what_to_mind() {
    let settings = CompactionSettings {
        instructions: Some("be kind".to_owned()),
        ..CompactionSettings::default()
    };
    let first = prompt(&asked(&settings, "CHUNK"));
    assert!(first.contains("<conversation>\nCHUNK\n</conversation>") && first.contains("be kind"));
    assert!(!first.contains("summary-so-far") && first.contains("exactly as they were written"));
    let again = prompt(&Asked {
        so_far: Some("BEFORE"),
        instructions: Some("names"),
        wrong: Some("it lacks."),
        ..asked(&settings, "CHUNK")
    });
    for part in [
        "<summary-so-far>\nBEFORE\n",
        "Update the summary",
        "Also mind: names",
        "it lacks.",
    ] {
        assert!(again.contains(part), "{part}");
    }
    let off = CompactionSettings {
        identifiers: Identifiers::Off,
        ..CompactionSettings::default()
    };
    assert!(!prompt(&asked(&off, "c")).contains("exactly as they were"));
}

#[test]
fn a_summary_is_checked_for_headings_and_identifiers() {
    let good = "## Goal\nx\n## Decisions\n## Constraints and rules\n## Open to-dos\n## Pending requests\n\
                ## Exact identifiers\nINV-20931";
    let ids = ["INV-20931".to_owned()];
    assert_eq!(complaint(good, &ids), None);
    let lacks = complaint("all went well, decisions were made", &ids).expect("is not good");
    assert!(lacks.contains("Decisions") && lacks.contains("Open to-dos"), "{lacks}");
    let lost = complaint(good, &["ORD-77123".to_owned()]).expect("is not good");
    assert!(lost.contains("ORD-77123"));
}

#[test]
fn identifiers_are_what_cannot_be_guessed() {
    let messages = [
        Message::user(
            "Order INV-20931 for ada@example.com, see https://a.test/x?y=1 and /srv/data/file.txt.",
            0,
        ),
        result("not-this-1234567", false),
        says("Your number is +436601234567, thanks for everything."),
    ];
    let found = identifiers(&messages);
    for wanted in [
        "INV-20931",
        "ada@example.com",
        "https://a.test/x?y=1",
        "/srv/data/file.txt",
        "436601234567",
    ] {
        assert!(found.iter().any(|one| one == wanted), "{wanted}: {found:?}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
    let many: Vec<Message> = (0..40).map(|n| Message::user(format!("ID-{n:06}"), 0)).collect();
    let found = identifiers(&many);
    assert_eq!((found.len(), found[0].as_str()), (12, "ID-000039"));
}

#[test]
fn what_must_not_get_lost_is_added() {
    let messages = [
        Message::user("order INV-20931", 0),
        result(&format!("could not connect {}", "x".repeat(500)), true),
    ];
    let safeguard = CompactionSettings {
        mode: CompactionMode::Safeguard,
        ..CompactionSettings::default()
    };
    let done = completed("S".to_owned(), &messages, &safeguard, None, true);
    assert!(
        done.contains("INV-20931") && done.contains("- web_fetch: could not connect"),
        "{done}"
    );
    assert!(done.contains("Still older messages"));
    assert!(done.len() < 600);
    let question = Message::user("please do it all", 0);
    let done = completed(
        "S".to_owned(),
        &messages,
        &CompactionSettings::default(),
        Some(&question),
        false,
    );
    assert_eq!(done, "S\n\n## The request being worked on\nplease do it all");
}

#[test]
fn sections_of_the_instructions_are_said_again() {
    let file = |content: &str| WorkspaceFile {
        path: "AGENTS.md".to_owned(),
        content: content.to_owned(),
        size: 0,
        version: 0,
        updated_at: 0,
    };
    let titles = ["Session Startup", "Red Lines"].map(str::to_owned);
    let files = [file(
        "# A\nintro\n## red lines\nNever lie.\n### Deep\nReally.\n## Other\nno\n",
    )];
    let said = rules(&files, &titles).expect("is there");
    assert!(said.contains("Never lie.\n### Deep\nReally.") && !said.contains("no\n") && !said.contains("intro"));
    assert_eq!(rules(&[file("## Other\nx")], &titles), None);
    assert_eq!(rules(&[], &titles), None);
    let last = [file("## Red Lines\nto the end")];
    assert!(rules(&last, &titles).is_some_and(|said| said.ends_with("to the end")));
    assert!(
        rules(&[file(&format!("## Red Lines\n{}", "x".repeat(9_000)))], &titles).is_some_and(|said| said.len() < 3_200)
    );
}
