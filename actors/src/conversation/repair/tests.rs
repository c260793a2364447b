//! Property-style tests: whatever the history, the request is well formed. The generator is deterministic.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::ports::message::ToolCall;

const CLAUDE: Target<'_> = Target {
    api: "anthropic-messages",
    provider: "anthropic",
    model: "m",
};
const GPT: Target<'_> = Target {
    api: "openai-completions",
    provider: "openai",
    model: "m",
};

/// A small linear congruential generator: the same seed gives the same history on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn parts(&mut self) -> Vec<Part> {
        (0..self.roll(3))
            .map(|_| Part::Text {
                text: self
                    .pick(&["hello", "", "  ", "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_X", "日本"])
                    .to_owned(),
            })
            .collect()
    }

    fn id(&mut self) -> String {
        match self.roll(6) {
            0 => String::new(),
            1 => "call|fc with spaces".to_owned(),
            2 => "x".repeat(90),
            _ => format!("c{}", self.roll(4)),
        }
    }

    fn message(&mut self) -> Message {
        match self.roll(5) {
            0 | 1 => Message::User {
                content: self.parts(),
                timestamp: 1,
            },
            2 => Message::ToolResult {
                tool_call_id: self.id(),
                tool_name: "t".to_owned(),
                content: self.parts(),
                details: Some(json!(1)),
                is_error: false,
                timestamp: 2,
            },
            _ => {
                let content = (0..self.roll(4)).map(|_| self.assistant_part()).collect();
                Message::Assistant(AssistantMessage {
                    content,
                    api: self.pick(&["anthropic-messages", "openai-completions"]).to_owned(),
                    provider: self.pick(&["anthropic", "openai"]).to_owned(),
                    model: self.pick(&["m", "n"]).to_owned(),
                    stop_reason: if self.roll(4) == 0 {
                        StopReason::Aborted
                    } else {
                        StopReason::Stop
                    },
                    timestamp: 3,
                    ..AssistantMessage::default()
                })
            }
        }
    }

    fn assistant_part(&mut self) -> AssistantPart {
        match self.roll(4) {
            0 => AssistantPart::Text {
                text: self.pick(&["hi", " ", "ok ANTHROPIC_MAGIC_STRING_X"]).to_owned(),
            },
            1 => AssistantPart::Thinking {
                thinking: "hm".to_owned(),
                thinking_signature: (self.roll(2) == 0).then(|| "sig".to_owned()),
                redacted: self.roll(5) == 0,
            },
            _ => AssistantPart::ToolCall(ToolCall {
                id: self.id(),
                name: "t".to_owned(),
                arguments: match self.roll(4) {
                    0 => Value::Null,
                    1 => json!("{broken"),
                    _ => json!({"q": self.pick(&["a", "ANTHROPIC_MAGIC_STRING_Y"])}),
                },
            }),
        }
    }

    fn history(&mut self) -> Vec<Message> {
        (0..self.roll(14)).map(|_| self.message()).collect()
    }
}

/// Panics unless a strict provider would take these messages.
fn assert_well_formed(messages: &[Message], target: Target<'_>, seed: u64) {
    let strict = Strictness::of_api(target.api);
    let text = serde_json::to_string(messages).unwrap();
    assert!(!text.contains("ANTHROPIC_MAGIC_STRING"), "seed {seed}");
    let asked = messages
        .iter()
        .rposition(|message| matches!(message, Message::User { .. }));
    let mut index = 0;
    while index < messages.len() {
        match &messages[index] {
            Message::User { content, .. } => {
                assert!(!content.is_empty(), "seed {seed}: empty user turn");
                if strict == Strictness::Anthropic && index > 0 {
                    assert!(
                        !matches!(messages[index - 1], Message::User { .. }),
                        "seed {seed}: two user turns"
                    );
                }
                index += 1;
            }
            Message::ToolResult { .. } => panic!("seed {seed}: a result without a call"),
            Message::Assistant(message) => {
                assert!(!message.content.is_empty(), "seed {seed}: empty answer");
                assert!(
                    strict == Strictness::OpenAi || index > 0,
                    "seed {seed}: starts with the model"
                );
                for part in &message.content {
                    if let AssistantPart::Thinking { .. } = part {
                        assert_eq!(
                            (message.api.as_str(), message.provider.as_str(), message.model.as_str()),
                            (target.api, target.provider, target.model),
                            "seed {seed}: foreign thinking"
                        );
                        assert!(strict == Strictness::Anthropic || Some(index) > asked, "seed {seed}");
                    }
                }
                index += 1;
                for call in message.tool_calls() {
                    assert!(call.arguments.is_object(), "seed {seed}");
                    assert!(!call.id.is_empty() && call.id.len() <= 64, "seed {seed}");
                    let Some(Message::ToolResult {
                        tool_call_id, content, ..
                    }) = messages.get(index)
                    else {
                        panic!("seed {seed}: call {} has no result", call.id)
                    };
                    assert_eq!(tool_call_id, &call.id, "seed {seed}");
                    assert!(!content.is_empty(), "seed {seed}");
                    index += 1;
                }
            }
        }
    }
}

/// As plain messages.
fn repair(messages: Vec<Message>, target: Target<'_>) -> Vec<Message> {
    let shared = messages.into_iter().map(Arc::new).collect();
    super::repair(shared, target)
        .into_iter()
        .map(Arc::unwrap_or_clone)
        .collect()
}

#[test]
fn what_is_right_already_is_not_copied() {
    let history = vec![
        Message::user("hi", 1),
        assistant(vec![AssistantPart::Text {
            text: "done".to_owned(),
        }]),
        Message::user("thanks", 2),
    ];
    let history: Vec<_> = history.into_iter().map(Arc::new).collect();
    for target in [CLAUDE, GPT] {
        let repaired = super::repair(history.clone(), target);
        assert_eq!(repaired.len(), history.len());
        assert!(repaired.iter().zip(&history).all(|(is, was)| Arc::ptr_eq(is, was)));
    }
}

#[test]
fn any_history_becomes_a_valid_request_and_stays_one() {
    for seed in 0..4_000 {
        let history = Dice(seed).history();
        for target in [CLAUDE, GPT] {
            let once = repair(history.clone(), target);
            assert_well_formed(&once, target, seed);
            assert_eq!(repair(once.clone(), target), once, "seed {seed}: not idempotent");
        }
    }
}

fn assistant(content: Vec<AssistantPart>) -> Message {
    Message::Assistant(AssistantMessage {
        content,
        api: CLAUDE.api.to_owned(),
        provider: CLAUDE.provider.to_owned(),
        model: CLAUDE.model.to_owned(),
        ..AssistantMessage::default()
    })
}

fn call(id: &str) -> AssistantPart {
    AssistantPart::ToolCall(ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: json!({}),
    })
}

fn result(id: &str, text: &str) -> Message {
    Message::ToolResult {
        tool_call_id: id.to_owned(),
        tool_name: "look".to_owned(),
        content: vec![Part::Text { text: text.to_owned() }],
        details: None,
        is_error: false,
        timestamp: 0,
    }
}

#[test]
fn a_clean_history_is_left_alone() {
    let history = vec![
        Message::user("hi", 1),
        assistant(vec![
            AssistantPart::Thinking {
                thinking: "hm".to_owned(),
                thinking_signature: Some("sig".to_owned()),
                redacted: false,
            },
            call("a"),
            call("b"),
        ]),
        result("a", "1"),
        result("b", "2"),
        assistant(vec![AssistantPart::Text {
            text: "done".to_owned(),
        }]),
        Message::user("thanks", 2),
    ];
    assert_eq!(repair(history.clone(), CLAUDE), history);
}

#[test]
fn thoughts_go_back_to_compatible_servers_while_a_question_is_worked_on() {
    let thought = || AssistantPart::Thinking {
        thinking: "hm".to_owned(),
        thinking_signature: Some("reasoning_content".to_owned()),
        redacted: false,
    };
    let target = Target {
        api: "openai-completions",
        ..CLAUDE
    };
    let of_it = |content| match assistant(content) {
        Message::Assistant(message) => Message::Assistant(AssistantMessage {
            api: target.api.to_owned(),
            ..message
        }),
        other @ (Message::User { .. } | Message::ToolResult { .. }) => other,
    };
    let history = vec![
        Message::user("hi", 1),
        of_it(vec![thought(), call("a")]),
        result("a", "1"),
        Message::user("and now", 2),
        of_it(vec![thought(), call("b")]),
        result("b", "2"),
    ];
    let sent = repair(history.clone(), target);
    assert_eq!(sent[1], of_it(vec![call("a")]));
    assert_eq!(sent[4], history[4]);
}

#[test]
fn results_follow_their_calls_whatever_came_between() {
    let history = vec![
        Message::user("hi", 1),
        assistant(vec![call("a"), call("b")]),
        Message::user("and this", 2),
        result("b", "second"),
        result("zz", "orphan"),
        result("b", "again"),
    ];
    let repaired = repair(history, CLAUDE);
    let shape: Vec<String> = repaired
        .iter()
        .map(|message| match message {
            Message::User { .. } => "user".to_owned(),
            Message::Assistant(_) => "assistant".to_owned(),
            Message::ToolResult {
                tool_call_id, is_error, ..
            } => format!("{tool_call_id}:{is_error}"),
        })
        .collect();
    assert_eq!(shape, ["user", "assistant", "a:true", "b:false", "user"]);
}

#[test]
fn an_id_is_renamed_on_the_call_and_on_its_result() {
    let long = format!("call_{}|fc_1", "y".repeat(80));
    let repaired = repair(
        vec![
            Message::user("hi", 1),
            assistant(vec![call(&long)]),
            result(&long, "kept"),
        ],
        GPT,
    );
    let Message::ToolResult {
        tool_call_id, content, ..
    } = &repaired[2]
    else {
        panic!("{repaired:?}")
    };
    assert!(tool_call_id.len() <= 40 && tool_call_id.starts_with("call_"));
    assert_eq!(
        content,
        &[Part::Text {
            text: "kept".to_owned()
        }]
    );
}
