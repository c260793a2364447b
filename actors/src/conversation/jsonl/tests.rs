//! A file of OpenClaw's, read and written.

use serde_json::{Value, json};

use super::*;
use crate::ports::message::{AssistantPart, Message, Part};

/// What the original writes: compaction, an abandoned branch, entries of every kind.
const FILE: &str = include_str!("../../../../tests/fixtures/transcript-v3.jsonl");

fn row(entry: &ParsedEntry, seq: i64) -> transcript_entry::Model {
    transcript_entry::Model {
        tenant_id: "t".into(),
        user_id: "u".into(),
        session_id: "s".to_owned(),
        seq,
        id: entry.id.clone(),
        parent_id: entry.parent_id.clone(),
        kind: entry.body.kind().to_owned(),
        body: entry.body.encode().expect("encodes"),
        run_id: None,
        created_at: entry.created_at,
    }
}

fn written(parsed: &Parsed) -> String {
    let head = header(parsed.id.as_deref().unwrap_or("s"), parsed.leaf.as_deref(), 0);
    let lines = (1..)
        .zip(&parsed.entries)
        .filter_map(|(seq, entry)| line(&row(entry, seq)));
    [head].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_written_is_what_was_read() {
    let parsed = parse(FILE).expect("reads");
    assert_eq!(parsed.skipped, 0);
    let again = parse(&written(&parsed)).expect("reads its own");
    let pairs = |parsed: &Parsed| -> Vec<(String, Option<String>, Value, i64)> {
        let entries = parsed.entries.iter();
        let body = |entry: &ParsedEntry| serde_json::from_str(&entry.body.encode().expect("encodes")).expect("JSON");
        entries
            .map(|entry| (entry.id.clone(), entry.parent_id.clone(), body(entry), entry.created_at))
            .collect()
    };
    assert_eq!(pairs(&again), pairs(&parsed));
    assert_eq!((again.leaf, again.id), (parsed.leaf.clone(), parsed.id.clone()));
    // Each line says what the file said, but for spellings that were read as ours.
    let lines: Vec<Value> = written(&parsed)
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let original: Vec<Value> = FILE
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), original.len());
    for (line, original) in lines.iter().zip(&original) {
        for name in [
            "type",
            "id",
            "parentId",
            "timestamp",
            "summary",
            "firstKeptEntryId",
            "tokensBefore",
            "fromId",
            "customType",
            "data",
            "provider",
            "modelId",
            "thinkingLevel",
            "targetId",
            "label",
            "name",
            "display",
        ] {
            assert_eq!(line[name], original[name], "{name} of {original}");
        }
    }
}

#[test]
fn older_spellings_are_read() {
    let file = [
        r#"{"type":"session","version":3,"id":"x","timestamp":"2026-01-01T00:00:00.000Z","cwd":"/"}"#,
        r#"{"type":"message","id":"a","parentId":null,"timestamp":"2026-01-01T00:00:01.000Z","message":{"role":"user","content":"hi"}}"#,
        r#"{"type":"message","id":"b","parentId":"a","timestamp":"2026-01-01T00:00:02.000Z","message":{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"read","input":{"path":"x"}},{"type":"toolUse","id":"c2","name":"half"},{"type":"functionCall","id":"c3","name":"go","args":{}}],"stopReason":"tool_use"}}"#,
        r#"{"type":"message","id":"c","parentId":"b","timestamp":"2026-01-01T00:00:03.000Z","message":{"role":"toolResult","toolCallId":"c1","toolName":"read","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0K"}}],"isError":false,"timestamp":5}}"#,
    ];
    let parsed = parse(&file.join("\n")).expect("reads");
    assert_eq!((parsed.entries.len(), parsed.skipped), (3, 0));
    let message = |at: usize| parsed.entries[at].body.message().expect("a message").clone();
    assert_eq!(message(0), Message::user("hi", 1_767_225_601_000));
    let Message::Assistant(calls) = message(1) else {
        panic!("an assistant's")
    };
    let names: Vec<&str> = calls.tool_calls().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["read", "go"], "a call without input was never finished");
    assert!(matches!(&calls.content[0], AssistantPart::ToolCall(call) if call.arguments == json!({"path": "x"})));
    let Message::ToolResult { content, .. } = message(2) else {
        panic!("a result")
    };
    assert!(matches!(&content[0], Part::Image { data: Some(_), mime_type, .. } if mime_type == "image/png"));
}

#[test]
fn what_is_not_understood_is_left_out_and_its_children_stay() {
    let file = [
        r#"{"type":"session","version":3,"id":"x"}"#,
        r#"{"type":"message","id":"a","parentId":null,"message":{"role":"user","content":"one"}}"#,
        r#"{"type":"brand_new","id":"b","parentId":"a"}"#,
        r#"{"type":"message","id":"c","parentId":"b","message":{"role":"bashExecution","command":"ls"}}"#,
        "not JSON",
        r#"{"type":"message","id":"a","parentId":null,"message":{"role":"user","content":"a second a"}}"#,
        r#"{"type":"message","id":"d","parentId":"c","message":{"role":"user","content":"two"}}"#,
        r#"{"type":"compaction","id":"e","parentId":"d","summary":"s","firstKeptEntryId":"c","tokensBefore":1}"#,
        r#"{"type":"message","id":"f","parentId":"gone","message":{"role":"user","content":"a new root"}}"#,
        r#"{"type":"message","id":"","parentId":"f","message":{"role":"user","content":"no id"}}"#,
    ];
    let parsed = parse(&file.join("\r\n")).expect("reads");
    assert_eq!(parsed.skipped, 5);
    let tree: Vec<(&str, Option<&str>)> = parsed
        .entries
        .iter()
        .map(|entry| (entry.id.as_str(), entry.parent_id.as_deref()))
        .collect();
    assert_eq!(tree, [("a", None), ("d", Some("a")), ("e", Some("d")), ("f", None)]);
    let kept = parsed.entries[2]
        .body
        .compaction()
        .map(|body| body.first_kept_entry_id.as_str());
    assert_eq!(kept, Some("a"));
    assert_eq!(parsed.leaf.as_deref(), Some("f"));
}

#[test]
fn other_files_are_refused() {
    let deep = format!(
        "{{\"type\":\"session\",\"version\":3,\"x\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for (file, why) in [
        ("", "first line"),
        ("{}", "first line"),
        ("{\"type\":\"message\"}", "first line"),
        ("{\"type\":\"session\"}", "version 1"),
        ("{\"type\":\"session\",\"version\":4}", "version 4"),
        (deep.as_str(), "first line"),
    ] {
        let error = parse(file).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
    let many = format!("{{\"type\":\"session\",\"version\":3}}\n{}", "{}\n".repeat(MOST + 1));
    assert!(matches!(parse(&many), Err(Error::TooLarge(_))));
}

#[test]
fn a_hostile_line_is_refused_before_anything_is_made_of_it() {
    const HEAD: &str = "{\"type\":\"session\",\"version\":3}";
    let refused = |file: &str| {
        let error = parse(file).expect_err("is refused");
        assert!(matches!(error, Error::TooLarge(_)), "{error}");
        error.to_string()
    };
    let tiny = "[".to_owned() + &"{},".repeat(LINE_VALUES) + "{}]";
    for file in [tiny.clone(), format!("{HEAD}\n{tiny}")] {
        assert!(refused(&file).contains("200000 JSON values"));
    }
    let some = "[".to_owned() + &"0,".repeat(LINE_VALUES - 2) + "0]";
    let lines = format!("{some}\n").repeat(FILE_VALUES / LINE_VALUES + 1);
    let file = format!("{HEAD}\n{lines}");
    assert!(refused(&file).contains("too many JSON values"));
    let skipped = parse_at_most(&file, usize::MAX).expect("of one's own").skipped;
    assert_eq!(skipped, FILE_VALUES / LINE_VALUES + 1);
    let long = format!("{HEAD}\n\"{}\"", "x".repeat(LONGEST_LINE));
    assert!(refused(&long).contains("24 MiB"));
    // What stands in a string is one value.
    assert_eq!(values(r#"{"a":"x,:{[\",","b":[1,2]}"#), 6);
}

#[test]
fn an_id_that_was_left_out_first_stands_for_its_later_entry() {
    let file = [
        r#"{"type":"session","version":3,"id":"x"}"#,
        r#"{"type":"brand_new","id":"a","parentId":null}"#,
        r#"{"type":"message","id":"a","parentId":null,"message":{"role":"user","content":"one"}}"#,
        r#"{"type":"message","id":"b","parentId":"a","message":{"role":"user","content":"two"}}"#,
    ];
    let parsed = parse(&file.join("\n")).expect("reads");
    let parents: Vec<Option<&str>> = parsed.entries.iter().map(|entry| entry.parent_id.as_deref()).collect();
    assert_eq!(parents, [None, Some("a")]);
}
