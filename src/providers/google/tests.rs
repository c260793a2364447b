//! Recorded streams, cut at every byte; what ends a stream; requests as they go out.

use std::sync::Arc;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent, Thinking};
use claw_actors::ports::tool::{Effect, ToolSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stream::Generation;
use super::{API, Gemini, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::decode_all_ways;
use crate::providers::call::tests::{collect, done, failed, files, request as model_request, sse};

fn dialect() -> Generation {
    Generation::with_seed("google", "gemini-test", 1, Uuid::nil())
}

#[test]
fn recorded_text_and_thoughts() {
    let events = decode_all_ways(dialect, include_bytes!("fixtures/text.sse"));
    insta::assert_debug_snapshot!("text", events);
}

#[test]
fn recorded_tools() {
    insta::assert_debug_snapshot!("tools", decode_all_ways(dialect, include_bytes!("fixtures/tools.sse")));
}

#[test]
fn ends_and_failures() {
    let text = json!({"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]});
    let end = |reason: &str| sse(&[text.clone(), json!({"candidates": [{"finishReason": reason}]})]);
    assert_eq!(
        done(&decode_all_ways(dialect, &end("MAX_TOKENS"))).stop_reason,
        StopReason::Length
    );
    assert_eq!(
        done(&decode_all_ways(dialect, &end("SOMETHING_NEW"))).stop_reason,
        StopReason::Stop
    );
    for (body, class) in [
        (end("SAFETY"), ErrorClass::Refusal),
        (end("RECITATION"), ErrorClass::Refusal),
        (end("MALFORMED_FUNCTION_CALL"), ErrorClass::Network),
        (end("OTHER"), ErrorClass::Unknown),
        (sse(std::slice::from_ref(&text)), ErrorClass::Network),
        (
            sse(&[json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})]),
            ErrorClass::Refusal,
        ),
        (
            sse(&[json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}})]),
            ErrorClass::Overloaded,
        ),
        (
            b"[{\"error\": {\"code\": 400, \"status\": \"INVALID_ARGUMENT\", \"message\": \"The input token count (9) exceeds the maximum number of tokens allowed (8).\"}}]".to_vec(),
            ErrorClass::ContextOverflow,
        ),
    ] {
        let events = decode_all_ways(dialect, &body);
        assert_eq!(failed(&events).class, class, "{}", String::from_utf8_lossy(&body));
    }
}

fn history() -> Vec<Message> {
    let thinking = |signature: &str| AssistantPart::Thinking {
        thinking: String::new(),
        thinking_signature: Some(signature.to_owned()),
        redacted: false,
    };
    let call = |name: &str, arguments| {
        AssistantPart::ToolCall(ToolCall {
            id: format!("id-{name}"),
            name: name.to_owned(),
            arguments,
        })
    };
    let assistant = |model: &str, content| {
        Message::Assistant(AssistantMessage {
            content,
            api: API.to_owned(),
            provider: "acme".to_owned(),
            model: model.to_owned(),
            ..AssistantMessage::default()
        })
    };
    let image = |data: Option<&str>| Part::Image {
        data: data.map(str::to_owned),
        blob: None,
        mime_type: "image/png".to_owned(),
    };
    let result = |name: &str, content, is_error| Message::ToolResult {
        tool_call_id: format!("id-{name}"),
        tool_name: name.to_owned(),
        content,
        details: None,
        is_error,
        timestamp: 3,
    };
    vec![
        Message::User {
            content: vec![Part::Text { text: "see".to_owned() }, image(Some("aGk=")), image(None)],
            timestamp: 1,
        },
        assistant("another", vec![thinking("foreign"), call("look", json!("{broken"))]),
        result("look", vec![], true),
        assistant(
            "gemini-3-pro",
            vec![
                AssistantPart::Text { text: "so".to_owned() },
                thinking("sig"),
                call("look", json!({"a": 1})),
                call("listen", json!({})),
            ],
        ),
        result(
            "look",
            vec![
                Part::Text {
                    text: "found".to_owned(),
                },
                image(Some("aGk=")),
            ],
            false,
        ),
        result(
            "listen",
            vec![Part::Text {
                text: "heard".to_owned(),
            }],
            false,
        ),
        Message::user("and now?", 4),
    ]
}

#[test]
fn body_of_a_full_request() {
    let mut model = model_request("", history());
    model.model = "gemini-3-pro".to_owned();
    model.tools = Arc::new(vec![
        Arc::new(ToolSpec {
            name: "look".to_owned(),
            description: "look at it".to_owned(),
            parameters: json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": ["integer", "null"]}}}).into(),
            summary: "does it".to_owned(),
            effect: Effect::ReadOnly,
            owner_only: false,
            timeout: std::time::Duration::from_secs(1),
        }),
        Arc::new(ToolSpec {
            name: "listen".to_owned(),
            description: "listen to it".to_owned(),
            parameters: json!({"type": "object", "properties": {}}).into(),
            summary: "does it".to_owned(),
            effect: Effect::ReadOnly,
            owner_only: false,
            timeout: std::time::Duration::from_secs(1),
        }),
    ]);
    model.reasoning = true;
    model.thinking = Thinking::Medium;
    insta::assert_json_snapshot!("body", serde_json::to_value(request::body(&model)).unwrap());
}

#[test]
fn thinking_by_generation() {
    let config = |name: &str, level, reasoning| {
        let mut model = model_request("", vec![Message::user("hi", 1)]);
        (model.model, model.thinking, model.reasoning) = (name.to_owned(), level, reasoning);
        serde_json::to_value(request::body(&model)).unwrap()["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(
        config("gemini-2.5-flash", Thinking::Off, true),
        json!({"includeThoughts": false, "thinkingBudget": 0})
    );
    assert_eq!(
        config("gemini-2.5-pro", Thinking::Off, true)["thinkingBudget"],
        json!(128)
    );
    assert_eq!(
        config("gemini-2.5-pro", Thinking::Adaptive, true)["thinkingBudget"],
        json!(-1)
    );
    assert_eq!(
        config("gemini-3-pro", Thinking::High, true),
        json!({"includeThoughts": true, "thinkingLevel": "high"})
    );
    assert_eq!(config("gemini-1.5-pro", Thinking::High, false), Value::Null);
}

#[test]
fn urls() {
    for (base, model, expected) in [
        (
            "https://generativelanguage.googleapis.com",
            "gemini-x",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
        ),
        (
            "https://x.example/v1beta/",
            "models/a",
            "https://x.example/v1beta/models/a:streamGenerateContent?alt=sse",
        ),
        (
            "https://x.example/v1",
            "../a?b#c",
            "https://x.example/v1/models/..%2Fa%3Fb%23c:streamGenerateContent?alt=sse",
        ),
    ] {
        assert_eq!(url(base, model, "streamGenerateContent?alt=sse"), expected);
    }
}

#[tokio::test]
async fn over_http() {
    let server = FakeServer::start(|_| {
        let pieces = include_bytes!("fixtures/text.sse").chunks(7);
        Reply::Stream(pieces.map(<[u8]>::to_vec).collect(), Ending::Proper)
    })
    .await;
    let provider = Gemini::new(FakeServer::egress());
    let events = collect(
        &provider,
        model_request(&server.url("/v1beta"), vec![Message::user("hi", 1)]),
    )
    .await;
    assert!(matches!(events[0], ModelEvent::Start));
    assert_eq!(done(&events).text(), "Grüße, Welt 👋");
    let seen = server.seen();
    assert!(
        seen[0].path.starts_with("/v1beta/models/model-1:streamGenerateContent"),
        "{}",
        seen[0].path
    );
    assert_eq!(seen[0].header("x-goog-api-key"), Some("sk-test-0123456789"));
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn limits_that_pass_are_no_want_of_credit() {
    let body = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 17.2s.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]}});
    let server = FakeServer::start(move |_| Reply::json(429, &body)).await;
    let provider = Gemini::new(FakeServer::egress());
    let events = collect(&provider, model_request(&server.url(""), vec![Message::user("hi", 1)])).await;
    let error = failed(&events);
    assert_eq!(error.class, ErrorClass::RateLimit);
    assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(17));
}

#[test]
fn files_go_inline() {
    let content = files();
    let model = model_request("http://x", vec![Message::User { content, timestamp: 1 }]);
    let body = serde_json::to_value(request::body(&model)).unwrap();
    let inline = |kind: &str, data: &str| json!({"inlineData": {"mimeType": kind, "data": data}});
    let expected = [
        inline("application/pdf", "JVBERi0="),
        inline("audio/mp3", "SUQz"),
        json!({"text": "[file that cannot be shown here]"}),
    ];
    assert_eq!(body["contents"][0]["parts"], json!(expected));
}
