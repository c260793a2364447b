//! Recorded streams, cut at every byte; what servers leave out; requests as they go out.

use std::sync::Arc;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{CacheRetention, ErrorClass, ModelEvent, Thinking};
use claw_actors::ports::tool::ToolSpec;
use serde_json::{Value, json};

use super::stream::Response;
use super::{API, Responses, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::tests::{collect, done, failed, files, request as model_request, sse, tool};
use crate::providers::call::{decode, decode_all_ways};

fn dialect() -> Response {
    Response::new(API, "openai", "gpt-test", 1)
}

#[test]
fn recorded_text_and_reasoning() {
    let events = decode_all_ways(dialect, include_bytes!("fixtures/text.sse"));
    insta::assert_debug_snapshot!("text", events);
}

#[test]
fn recorded_tools() {
    insta::assert_debug_snapshot!("tools", decode_all_ways(dialect, include_bytes!("fixtures/tools.sse")));
}

#[test]
fn without_deltas_the_items_say_it_all() {
    let item = json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": "At once"}]});
    let call = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "look", "arguments": "{\"a\":1}"});
    for events in [
        vec![
            json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
            json!({"type": "response.output_item.done", "output_index": 1, "item": call}),
            json!({"type": "response.completed", "response": {"status": "completed"}}),
        ],
        vec![json!({"type": "response.completed", "response": {"status": "completed", "output": [item, call]}})],
    ] {
        let events = decode_all_ways(dialect, &sse(&events));
        let message = done(&events);
        assert_eq!(
            (message.text().as_str(), message.stop_reason),
            ("At once", StopReason::ToolUse)
        );
        assert_eq!(message.tool_calls().next().map(|call| call.id.as_str()), Some("c|fc"));
    }
    // Deltas of items that nobody announced, without a place.
    let events = decode_all_ways(
        dialect,
        &sse(&[
            json!({"type": "response.output_text.delta", "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "delta": "lo"}),
            json!({"type": "response.done", "response": {}}),
        ]),
    );
    assert_eq!(done(&events).text(), "Hello");
}

#[test]
fn ends_and_failures() {
    let text = json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "delta": "Hel"});
    let end = |kind: &str, response: Value| sse(&[text.clone(), json!({"type": kind, "response": response})]);
    let cut = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    let events = decode_all_ways(dialect, &end("response.incomplete", cut));
    assert_eq!(done(&events).stop_reason, StopReason::Length);
    for (body, class) in [
        (
            end(
                "response.incomplete",
                json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}),
            ),
            ErrorClass::Refusal,
        ),
        (
            end(
                "response.failed",
                json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}}),
            ),
            ErrorClass::RateLimit,
        ),
        (
            end(
                "response.failed",
                json!({"status": "failed", "error": {"code": "server_error", "message": "An error occurred"}}),
            ),
            ErrorClass::Timeout,
        ),
        (
            sse(&[
                json!({"type": "error", "code": "context_length_exceeded", "message": "Your input exceeds the context window of this model."}),
            ]),
            ErrorClass::ContextOverflow,
        ),
        (
            sse(&[json!({"type": "error", "error": {"code": "insufficient_quota", "message": "x"}})]),
            ErrorClass::Billing,
        ),
        (sse(std::slice::from_ref(&text)), ErrorClass::Network),
        (b"data: nonsense\n\n".to_vec(), ErrorClass::Format),
    ] {
        let events = decode_all_ways(dialect, &body);
        let error = failed(&events);
        assert_eq!(error.class, class, "{}", String::from_utf8_lossy(&body));
    }
    let partial = decode(dialect(), &[&sse(&[text])]);
    assert_eq!(failed(&partial).partial.text(), "Hel");
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        description: format!("{name} at it"),
        parameters: json!({"type": "object", "properties": {"a": {"type": "integer"}}}).into(),
        ..tool(name)
    }
}

fn history() -> Vec<Message> {
    let thinking = |signature: &str| AssistantPart::Thinking {
        thinking: "hm".to_owned(),
        thinking_signature: Some(signature.to_owned()),
        redacted: false,
    };
    let call = |id: &str, arguments| {
        AssistantPart::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "look".to_owned(),
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
    let result = |id: &str, content| Message::ToolResult {
        tool_call_id: id.to_owned(),
        tool_name: "look".to_owned(),
        content,
        details: None,
        is_error: false,
        timestamp: 3,
    };
    let item = r#"{"type":"reasoning","id":"rs_1","encrypted_content":"g","summary":[]}"#;
    vec![
        Message::User {
            content: vec![Part::Text { text: "see".to_owned() }, image(Some("aGk=")), image(None)],
            timestamp: 1,
        },
        assistant("model-0", vec![thinking(item), call("call_0|fc_0", json!({}))]),
        result("call_0|fc_0", vec![]),
        assistant(
            "model-1",
            vec![
                thinking(item),
                AssistantPart::Text { text: "so".to_owned() },
                call("call_1|fc_1", json!({"a": 1})),
            ],
        ),
        result(
            "call_1|fc_1",
            vec![
                Part::Text {
                    text: "found".to_owned(),
                },
                image(Some("aGk=")),
            ],
        ),
        assistant(
            "model-1",
            vec![
                thinking(item),
                AssistantPart::Text {
                    text: "done".to_owned(),
                },
            ],
        ),
        Message::user("and now?", 4),
    ]
}

#[test]
fn body_of_a_full_request() {
    let mut model = model_request("", history());
    model.tools = Arc::new(vec![Arc::new(spec("look"))]);
    model.temperature = Some(0.5);
    model.reasoning = true;
    model.thinking = Thinking::Medium;
    insta::assert_json_snapshot!("body", serde_json::to_value(request::body(&model, API)).unwrap());
    model.thinking = Thinking::Off;
    for (name, effort) in [("gpt-5.1", json!({"effort": "none"})), ("mine", Value::Null)] {
        model.model = name.to_owned();
        let body = serde_json::to_value(request::body(&model, API)).unwrap();
        assert_eq!(body["reasoning"], effort, "{name}");
    }
    model.reasoning = false;
    let body = serde_json::to_value(request::body(&model, API)).unwrap();
    assert_eq!((&body["reasoning"], &body["include"]), (&Value::Null, &Value::Null));
    assert_eq!(body["temperature"], json!(0.5));
}

#[test]
fn a_prompt_is_kept_for_a_day_where_openai_does_that() {
    let kept = |base: &str, model: &str, cache| {
        let mut request = model_request(base, history());
        (request.model, request.cache) = (model.to_owned(), cache);
        let body = serde_json::to_value(request::body(&request, API)).unwrap();
        body.get("prompt_cache_retention").cloned()
    };
    let (own, long) = ("https://api.openai.com/v1", CacheRetention::Long);
    for (model, day) in [
        ("gpt-5.1", true),
        ("gpt-5.1-codex-max", true),
        ("gpt-5.5", true),
        ("gpt-5", true),
        ("gpt-5-2025-08-07", true),
        ("gpt-4.1-2025-04-14", true),
        ("gpt-5.6", false),
        ("gpt-5-nano", false),
        ("o3", false),
    ] {
        assert_eq!(kept(own, model, long), day.then(|| json!("24h")), "{model}");
    }
    assert_eq!(kept(own, "gpt-5.1", CacheRetention::Short), None);
    assert_eq!(kept("https://acme.openai.azure.com/openai/v1", "gpt-5.1", long), None);
}

#[test]
fn urls() {
    for (base, azure, expected) in [
        ("https://api.openai.com", false, "https://api.openai.com/v1/responses"),
        (
            "https://api.openai.com/v1/",
            false,
            "https://api.openai.com/v1/responses",
        ),
        (
            "https://x.example/v1/responses",
            false,
            "https://x.example/v1/responses",
        ),
        (
            "https://a.openai.azure.com",
            true,
            "https://a.openai.azure.com/openai/v1/responses",
        ),
        (
            "https://a.openai.azure.com/openai/v1/",
            true,
            "https://a.openai.azure.com/openai/v1/responses",
        ),
        (
            "https://a.openai.azure.com/openai?api-version=2025-04-01-preview",
            true,
            "https://a.openai.azure.com/openai/responses?api-version=2025-04-01-preview",
        ),
    ] {
        assert_eq!(url(base, azure), expected, "{base}");
    }
}

#[tokio::test]
async fn over_http() {
    let server = FakeServer::start(|_| {
        let pieces = include_bytes!("fixtures/text.sse").chunks(7);
        Reply::Stream(pieces.map(<[u8]>::to_vec).collect(), Ending::Proper)
    })
    .await;
    let hi = || model_request(&server.url("/v1"), vec![Message::user("hi", 1)]);
    let events = collect(&Responses::new(FakeServer::egress()), hi()).await;
    assert!(matches!(events[0], ModelEvent::Start));
    assert_eq!(done(&events).text(), "Grüße, Welt 👋");
    let azure = collect(&Responses::azure(FakeServer::egress()), hi()).await;
    assert_eq!(done(&azure).api, "azure-openai-responses");
    let seen = server.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("POST", "/v1/responses")
    );
    assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
    assert_eq!(seen[1].header("api-key"), Some("sk-test-0123456789"));
    assert_eq!(seen[1].header("authorization"), None);
    assert_eq!(seen[0].json()["store"], json!(false));
}

#[tokio::test]
async fn a_server_that_does_not_stream() {
    let body = json!({"id": "r", "object": "response", "status": "completed", "error": null, "output": [
        {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "At once"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2}});
    let server = FakeServer::start(move |_| Reply::json(200, &body)).await;
    let provider = Responses::new(FakeServer::egress());
    let events = collect(&provider, model_request(&server.url(""), vec![Message::user("hi", 1)])).await;
    assert_eq!(
        (done(&events).text().as_str(), done(&events).usage.output),
        ("At once", 2)
    );
}

#[test]
fn pdfs_go_as_files_and_other_files_as_a_note() {
    let content = files();
    let model = model_request("http://x", vec![Message::User { content, timestamp: 1 }]);
    let body = serde_json::to_value(request::body(&model, API)).unwrap();
    let note = json!({"type": "input_text", "text": "[file that cannot be shown here]"});
    let pdf = json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="});
    assert_eq!(body["input"][0]["content"], json!([pdf, note, note]));
}
