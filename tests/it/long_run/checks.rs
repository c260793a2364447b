//! What has to hold when it is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{LAST, tag_of};
use crate::support::app::TestApp;
use crate::support::database::Rows;

fn tags_of(text: &str) -> Vec<u64> {
    let parts = text.split("#t").skip(1);
    let digits = parts.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// Nothing is open, dead or on its way.
pub(super) async fn check_rows(rows: &Rows) {
    let odd: Vec<String> = rows
        .column(
            "SELECT DISTINCT state FROM inbox WHERE state <> 'done' AND NOT (state = 'skipped' AND reason LIKE 'aborted%')",
        )
        .await;
    assert!(odd.is_empty(), "messages are {odd:?}");
    let states: Vec<String> = rows
        .column("SELECT state || ': ' || COALESCE(error, '') FROM outbox WHERE state NOT IN ('sent', 'unknown')")
        .await;
    assert!(states.is_empty(), "replies: {states:?}");
    assert_eq!(rows.count("run WHERE status = 'running'").await, 0, "runs");
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) well: usize,
    pub(super) ill: usize,
    pub(super) stopped: usize,
    /// Messages that were stopped before their turn.
    pub(super) dropped: usize,
    pub(super) summaries: usize,
    pub(super) tools: usize,
}

/// Every accepted message is in exactly one user entry, in order, and each of those has exactly one end; but for those that
/// a person stopped before their turn.
pub(super) async fn check_transcripts(rows: &Rows, accepted: &BTreeMap<u64, Vec<u64>>) -> Seen {
    let mut seen = Seen::default();
    let mut entries = BTreeMap::<String, Vec<(String, Value)>>::new();
    for row in rows
        .all("SELECT session_id, kind, body FROM transcript_entry ORDER BY session_id, seq")
        .await
    {
        let session: String = row.try_get("", "session_id").expect("text");
        let kind: String = row.try_get("", "kind").expect("text");
        let body: String = row.try_get("", "body").expect("text");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        entries.entry(session).or_default().push((kind, body));
    }
    // Of one conversation: its transcripts follow each other.
    let mut parts = Vec::new();
    for entries in entries.into_values() {
        let mut tags = Vec::new();
        let mut open: Option<Vec<u64>> = None;
        for (kind, body) in entries {
            if kind != "message" {
                seen.summaries += usize::from(kind == "compaction");
                continue;
            }
            let message = if body["role"].is_string() {
                &body
            } else {
                &body["message"]
            };
            let content = message["content"].to_string();
            match (message["role"].as_str(), message["stopReason"].as_str()) {
                (Some("user"), _) => {
                    assert!(open.is_none(), "no end of {open:?} before {content:.200}");
                    let asked = tags_of(&content);
                    tags.extend(asked.iter().copied().filter(|tag| *tag < LAST));
                    open = Some(asked);
                }
                (Some("assistant"), Some("toolUse")) => assert!(open.is_some(), "calls without a question"),
                (Some("toolResult"), _) => seen.tools += 1,
                (Some("assistant"), Some(stop)) => {
                    let question = open
                        .take()
                        .unwrap_or_else(|| panic!("an end without a question: {content}"));
                    let answer = tags_of(&content);
                    assert!(
                        answer.is_empty() || answer == question,
                        "{answer:?} answers {question:?}"
                    );
                    match stop {
                        "stop" => seen.well += 1,
                        "aborted" => seen.stopped += 1,
                        _ => seen.ill += 1,
                    }
                }
                other => panic!("an entry of {other:?}: {body}"),
            }
        }
        assert!(open.is_none(), "no end of {open:?}");
        if !tags.is_empty() {
            parts.push(tags);
        }
    }
    parts.sort();
    let mut by_chat = BTreeMap::<u64, Vec<u64>>::new();
    let chats: HashMap<u64, u64> = accepted
        .iter()
        .flat_map(|(chat, tags)| tags.iter().map(|tag| (*tag, *chat)))
        .collect();
    for tags in parts {
        let chat = chats.get(&tags[0]).expect("an accepted message");
        by_chat.entry(*chat).or_default().extend(tags);
    }
    let dropped: Vec<String> = rows
        .column("SELECT payload FROM inbox WHERE state = 'skipped' AND reason LIKE 'aborted%'")
        .await;
    let dropped: BTreeSet<u64> = dropped.iter().filter_map(|payload| tag_of(payload)).collect();
    seen.dropped = dropped.len();
    let without = |tags: &BTreeMap<u64, Vec<u64>>| {
        let mut tags = tags.clone();
        tags.values_mut()
            .for_each(|tags| tags.retain(|tag| !dropped.contains(tag)));
        tags
    };
    assert_eq!(without(&by_chat), without(accepted), "lost, doubled, or out of order");
    seen
}

/// What was sent reached the platform once.
pub(super) async fn check_replies(app: &TestApp, rows: &Rows) {
    let mut received = HashMap::<u64, usize>::new();
    let calls = app.platform.calls();
    for call in calls.iter().filter(|call| call.done && call.text.contains("re: #t")) {
        if let Some(tag) = tag_of(&call.text) {
            *received.entry(tag).or_default() += 1;
        }
    }
    let mut told = HashMap::<u64, usize>::new();
    for row in rows.all("SELECT state, plain FROM outbox WHERE kind = 'final'").await {
        let (state, text): (String, String) = (
            row.try_get("", "state").expect("text"),
            row.try_get("", "plain").expect("text"),
        );
        let Some(tag) = tag_of(&text).filter(|_| text.contains("re: #t")) else {
            continue;
        };
        let rows = told.entry(tag).or_default();
        *rows += 1;
        assert_eq!(*rows, 1, "two replies to #t{tag}");
        let times = received.get(&tag).copied().unwrap_or_default();
        let fits = if state == "sent" { times == 1 } else { times <= 2 };
        assert!(
            fits,
            "a reply that is {state} reached the platform {times} times: {text}"
        );
    }
}
