//! A recorded answer, cut at every byte; requests as they go out; the way over HTTP.

use std::sync::Arc;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent, ModelRequest, Thinking};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stream::Chat;
use super::{API, Ollama, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::decode_all_ways;
use crate::providers::call::tests::{collect, done, failed, request as model_request, tool};

const TOOLS: &[u8] = include_bytes!("fixtures/tools.ndjson");

fn dialect() -> Chat {
    Chat::with_seed("ollama", "qwen3", 1, Uuid::nil())
}

#[test]
fn a_recorded_answer_is_the_same_however_it_is_cut() {
    let events = decode_all_ways(dialect, TOOLS);
    let message = done(&events);
    assert_eq!(
        (message.text().as_str(), message.stop_reason),
        ("Grüße, Welt 👋", StopReason::ToolUse)
    );
    assert!(matches!(&message.content[0], AssistantPart::Thinking { thinking, .. } if thinking == "Der Ort fehlt."));
    let calls: Vec<_> = message.tool_calls().collect();
    assert_eq!(
        (&calls[0].arguments, &calls[1].arguments),
        (&json!({"at": "Zürich"}), &json!({}))
    );
    assert_ne!(calls[0].id, calls[1].id);
    assert_eq!(
        (message.usage.input, message.usage.output, message.usage.total_tokens),
        (26, 12, 38)
    );
}

#[test]
fn ends_and_failures() {
    let said = json!({"message": {"content": "Hel"}, "done": false});
    let lines = |last: &Value| format!("{said}\r\n\n{last}").into_bytes();
    let full = json!({"message": {"content": "lo"}, "done": true, "done_reason": "length"});
    let events = decode_all_ways(dialect, &lines(&full));
    assert_eq!(
        (done(&events).text().as_str(), done(&events).stop_reason),
        ("Hello", StopReason::Length)
    );
    for (last, class) in [
        (json!({"error": "model 'x' not found"}), ErrorClass::ModelNotFound),
        (
            json!({"message": {"content": "lo"}, "done": false}),
            ErrorClass::Network,
        ),
    ] {
        let events = decode_all_ways(dialect, &lines(&last));
        assert_eq!(failed(&events).class, class, "{last}");
        assert!(failed(&events).partial.text().starts_with("Hel"));
    }
    for other in [b"<html>Sign in</html>\n".as_slice(), b"Ollama is running"] {
        let events = decode_all_ways(dialect, other);
        assert_eq!(failed(&events).class, ErrorClass::Format);
    }
}

#[test]
fn body_of_a_full_request() {
    let image = || Part::Image {
        data: Some("aGk=".to_owned()),
        blob: None,
        mime_type: "image/png".to_owned(),
    };
    let call = AssistantPart::ToolCall(ToolCall {
        id: "c1".to_owned(),
        name: "look".to_owned(),
        arguments: json!({"at": 1}),
    });
    let messages = vec![
        Message::User {
            content: vec![Part::Text { text: "see".to_owned() }, image()],
            timestamp: 1,
        },
        Message::Assistant(AssistantMessage {
            content: vec![
                AssistantPart::Text {
                    text: "Looking.".to_owned(),
                },
                call,
            ],
            ..AssistantMessage::default()
        }),
        Message::ToolResult {
            tool_call_id: "c1".to_owned(),
            tool_name: "look".to_owned(),
            content: Vec::new(),
            details: None,
            is_error: false,
            timestamp: 2,
        },
    ];
    let mut model = model_request("http://127.0.0.1:11434", messages);
    model.tools = Arc::new(vec![Arc::new(tool("look"))]);
    (model.reasoning, model.thinking) = (true, Thinking::High);
    let body = |model: &ModelRequest| serde_json::to_value(request::body(model)).unwrap();
    assert_eq!(
        body(&model),
        json!({
            "model": "model-1", "stream": true, "think": true,
            "options": {"num_ctx": 50_000, "num_predict": 1_000},
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "see", "images": ["aGk="]},
                {"role": "assistant", "content": "Looking.",
                 "tool_calls": [{"function": {"name": "look", "arguments": {"at": 1}}}]},
                {"role": "tool", "content": "(no output)", "tool_name": "look"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "description": "Does it.",
                "parameters": {"type": "object", "properties": {}}}}],
        })
    );
    model.model = "gpt-oss:20b".to_owned();
    assert_eq!(body(&model)["think"], json!("high"));
    model.reasoning = false;
    assert_eq!(body(&model).get("think"), None);
}

#[test]
fn urls() {
    for base in [
        "http://h:1",
        "http://h:1/",
        "http://h:1/v1",
        "http://h:1/api",
        "http://h:1/api/chat",
    ] {
        assert_eq!(url(base), "http://h:1/api/chat", "{base}");
    }
}

#[tokio::test]
async fn over_http_in_small_pieces() {
    let server =
        FakeServer::start(|_| Reply::Stream(TOOLS.chunks(7).map(<[u8]>::to_vec).collect(), Ending::Proper)).await;
    let model = model_request(&server.url("/v1"), vec![Message::user("hi", 1)]);
    let events = collect(&Ollama::new(FakeServer::egress()), model).await;
    assert!(matches!(events[0], ModelEvent::Start));
    assert_eq!(
        (done(&events).api.as_str(), done(&events).tool_calls().count()),
        (API, 2)
    );
    let seen = server.seen();
    assert_eq!(seen[0].path, "/api/chat");
    assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
}
