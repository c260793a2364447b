//! Recorded streams, cut at every byte; requests as they go out; what ends a message and how.

use std::sync::Arc;

use claw_actors::crypto::Secret;
use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent, SystemBlock, Thinking};
use serde_json::{Value, json};

use super::stream::Messages;
use super::{API, Anthropic, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::tests::{collect, done, failed, files, request as model_request, tool};
use crate::providers::call::{decode, decode_all_ways};

fn dialect() -> Messages {
    Messages::new("anthropic", "claude-test", 1)
}

#[test]
fn recorded_text() {
    let events = decode_all_ways(dialect, include_bytes!("fixtures/text.sse"));
    insta::assert_debug_snapshot!("text", events);
    assert_eq!(done(&events).usage.prompt_tokens(), 2_112);
}

#[test]
fn recorded_tools_and_thinking() {
    insta::assert_debug_snapshot!("tools", decode_all_ways(dialect, include_bytes!("fixtures/tools.sse")));
}

#[test]
fn recorded_error_in_the_stream() {
    let events = decode_all_ways(dialect, include_bytes!("fixtures/overloaded.sse"));
    let error = failed(&events);
    assert_eq!(error.class, ErrorClass::Overloaded);
    assert_eq!(error.partial.text(), "Once");
    assert_eq!(error.partial.tool_calls().count(), 0, "an unfinished call is not kept");
}

fn ended_by(reason: &str) -> Vec<ModelEvent> {
    let body = format!(
        "data: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\"}}}}\n\n\
         data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"x\"}}}}\n\n\
         data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}}}}\n\n\
         data: {{\"type\":\"message_stop\"}}\n\n"
    );
    decode(dialect(), &[body.as_bytes()])
}

#[test]
fn stop_reasons() {
    for (reason, expected) in [
        ("end_turn", StopReason::Stop),
        ("stop_sequence", StopReason::Stop),
        ("pause_turn", StopReason::Stop),
        ("max_tokens", StopReason::Length),
        ("something_new", StopReason::Stop),
        ("", StopReason::Stop),
    ] {
        let events = ended_by(reason);
        assert_eq!(done(&events).stop_reason, expected, "{reason}");
        assert_eq!(done(&events).text(), "x");
    }
    for (reason, expected) in [
        ("refusal", ErrorClass::Refusal),
        ("sensitive", ErrorClass::Refusal),
        ("model_context_window_exceeded", ErrorClass::ContextOverflow),
    ] {
        assert_eq!(failed(&ended_by(reason)).class, expected, "{reason}");
    }
}

#[test]
fn a_stream_without_message_stop_is_cut() {
    let whole = include_bytes!("fixtures/text.sse");
    let end = whole
        .windows(19)
        .position(|window| window == b"event: message_stop")
        .unwrap();
    let events = decode(dialect(), &[&whole[..end]]);
    assert_eq!(failed(&events).class, ErrorClass::Network);
    assert_eq!(failed(&events).partial.text(), "Grüße, Welt 👋");
}

#[test]
fn broken_arguments_are_kept_for_the_loop_to_refuse() {
    for (json, expected) in [
        ("", json!({})),
        (" ", json!({})),
        ("null", json!({})),
        (r#"{\"a\":1}"#, json!({"a": 1})),
        (r#"{\"a\":"#, json!("{\"a\":")),
    ] {
        let body = format!(
            "data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{{}}}}}}\n\n\
             data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":\"{json}\"}}}}\n\n\
             data: {{\"type\":\"message_stop\"}}\n\n"
        );
        let events = decode(dialect(), &[body.as_bytes()]);
        let call = done(&events).tool_calls().next().unwrap();
        assert_eq!(call.arguments, expected, "{json}");
        assert_eq!(done(&events).stop_reason, StopReason::ToolUse);
    }
}

fn history() -> Vec<Message> {
    let assistant = |model: &str, content| {
        Message::Assistant(AssistantMessage {
            content,
            api: API.to_owned(),
            provider: "acme".to_owned(),
            model: model.to_owned(),
            ..AssistantMessage::default()
        })
    };
    let thinking = |signature: Option<&str>, redacted| AssistantPart::Thinking {
        thinking: if redacted { "" } else { "hm" }.to_owned(),
        thinking_signature: signature.map(str::to_owned),
        redacted,
    };
    let text = |text: &str| AssistantPart::Text { text: text.to_owned() };
    let call = |id: &str, arguments| {
        AssistantPart::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "look".to_owned(),
            arguments,
        })
    };
    let result = |id: &str, content, is_error| Message::ToolResult {
        tool_call_id: id.to_owned(),
        tool_name: "look".to_owned(),
        content,
        details: Some(json!({"secret": true})),
        is_error,
        timestamp: 3,
    };
    let image = |data: Option<&str>| Part::Image {
        data: data.map(str::to_owned),
        blob: None,
        mime_type: "image/png".to_owned(),
    };
    vec![
        Message::user("first", 1),
        Message::user("second", 1),
        assistant("model-0", vec![thinking(Some("old"), false), text("earlier model")]),
        Message::User {
            content: vec![Part::Text { text: " ".to_owned() }, image(Some("aGk=")), image(None)],
            timestamp: 2,
        },
        assistant(
            "model-1",
            vec![
                thinking(Some("sig"), false),
                thinking(Some("opaque"), true),
                thinking(None, false),
                text(""),
                call("toolu_1", json!({"a": 1})),
                call("call_9|fc_1", json!("{broken")),
            ],
        ),
        result(
            "toolu_1",
            vec![
                Part::Text {
                    text: "found".to_owned(),
                },
                image(Some("aGk=")),
            ],
            false,
        ),
        result("call_9|fc_1", vec![], true),
        Message::user("and now?", 4),
    ]
}

#[test]
fn body_of_a_full_request() {
    let mut model = model_request("", history());
    model.tools = Arc::new(vec![Arc::new(tool("look")), Arc::new(tool("listen"))]);
    model.temperature = Some(0.5);
    Arc::make_mut(&mut model.system).push(SystemBlock {
        text: "Now it is late.".to_owned(),
        cache: false,
    });
    let body = serde_json::to_value(request::body(&model)).unwrap();
    insta::assert_json_snapshot!("body", body);
}

#[test]
fn without_a_system_prompt_the_tools_are_the_breakpoint() {
    let mut model = model_request("", vec![Message::user("hi", 1)]);
    Arc::make_mut(&mut model.system).clear();
    model.tools = Arc::new(vec![Arc::new(tool("look")), Arc::new(tool("listen"))]);
    let body = serde_json::to_value(request::body(&model)).unwrap();
    assert_eq!(body.pointer("/tools/1/cache_control/type"), Some(&json!("ephemeral")));
    assert_eq!(body.pointer("/tools/0/cache_control"), None);
    assert_eq!(body.get("system"), None);
    assert_eq!(
        body.pointer("/messages/0/content/0/cache_control/type"),
        Some(&json!("ephemeral"))
    );
}

#[test]
fn thinking_has_a_budget_below_the_answers_or_a_level() {
    let asked = |name: &str, level, max_tokens| {
        let mut model = model_request("", vec![Message::user("hi", 1)]);
        (model.model, model.thinking, model.max_tokens) = (name.to_owned(), level, max_tokens);
        (model.reasoning, model.temperature) = (true, Some(0.5));
        serde_json::to_value(request::body(&model)).unwrap()
    };
    let body = asked("claude-sonnet-4-5", Thinking::High, 64_000);
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 16_384}));
    assert_eq!(body.get("temperature"), None);
    assert_eq!(
        asked("claude-sonnet-4-5", Thinking::High, 4_096)["thinking"]["budget_tokens"],
        json!(3_072)
    );
    let small = asked("claude-sonnet-4-5", Thinking::High, 1_500);
    assert_eq!((small.get("thinking"), &small["temperature"]), (None, &json!(0.5)));
    let newer = asked("claude-opus-4-6", Thinking::Medium, 64_000);
    assert_eq!(newer["thinking"], json!({"type": "adaptive"}));
    assert_eq!(newer["output_config"], json!({"effort": "medium"}));
    assert_eq!(
        asked("claude-opus-4-6", Thinking::Adaptive, 64_000).get("output_config"),
        None
    );
    assert_eq!(asked("claude-opus-4-6", Thinking::Off, 64_000).get("thinking"), None);
    // Which Claude it is, wherever it is served.
    for (model, adapts, takes_temperature) in [
        ("claude-opus-4-6", true, true),
        ("claude-opus-4-7", true, false),
        ("anthropic/claude-4.7-opus", true, false),
        ("us.anthropic.claude-sonnet-4-6-20260101-v1:0", true, true),
        ("claude-haiku-5", true, false),
        ("claude-mythos-preview", true, false),
        ("anthropic.claude-sonnet-4-20250514-v1:0", false, true),
        ("claude-opus-4-20250514", false, true),
        ("claude-3-7-sonnet-latest", false, true),
        ("MiniMax-M2.5", false, true),
    ] {
        let kind = if adapts { "adaptive" } else { "enabled" };
        assert_eq!(
            asked(model, Thinking::Medium, 64_000)["thinking"]["type"],
            kind,
            "{model}"
        );
        let warm = asked(model, Thinking::Off, 64_000);
        assert_eq!(warm.get("temperature").is_some(), takes_temperature, "{model}");
    }
}

#[test]
fn a_tool_loop_that_another_model_began_is_ended_without_thinking() {
    let asked = |model_of_the_loop: &str| {
        let mut model = model_request("", history());
        let mut messages = history();
        messages.truncate(messages.len() - 1);
        for message in &mut messages {
            if let Message::Assistant(message) = message
                && message.model == "model-1"
            {
                message.model = model_of_the_loop.to_owned();
            }
        }
        model.messages = Arc::new(messages.into_iter().map(Arc::new).collect());
        (model.reasoning, model.thinking, model.max_tokens) = (true, Thinking::Low, 64_000);
        serde_json::to_value(request::body(&model))
            .unwrap()
            .get("thinking")
            .is_some()
    };
    assert!(asked("model-1"));
    assert!(!asked("another"));
}

#[test]
fn urls() {
    for base in [
        "https://a.example",
        "https://a.example/",
        "https://a.example/v1",
        "https://a.example/v1/",
        "https://a.example/v1/messages",
    ] {
        assert_eq!(url(base), "https://a.example/v1/messages", "{base}");
    }
    assert_eq!(
        url("https://a.example/anthropic"),
        "https://a.example/anthropic/v1/messages"
    );
}

#[tokio::test]
async fn over_http() {
    let server = FakeServer::start(|_| {
        Reply::Stream(
            include_bytes!("fixtures/text.sse")
                .chunks(7)
                .map(<[u8]>::to_vec)
                .collect(),
            Ending::Proper,
        )
    })
    .await;
    let provider = Anthropic::new(FakeServer::egress());
    let events = collect(&provider, model_request(&server.url(""), vec![Message::user("hi", 1)])).await;
    assert!(matches!(events[0], ModelEvent::Start));
    assert_eq!(done(&events).text(), "Grüße, Welt 👋");
    assert_eq!(done(&events).provider, "acme");

    let mut oauth = model_request(&server.url("/v1"), vec![Message::user("hi", 1)]);
    oauth.endpoint.api_key = Some(Secret::new("sk-ant-oat01-x"));
    done(&collect(&provider, oauth).await);

    let seen = server.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("POST", "/v1/messages")
    );
    assert_eq!(seen[0].header("x-api-key"), Some("sk-test-0123456789"));
    assert_eq!(seen[0].header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].json()["stream"], Value::Bool(true));
    assert_eq!(seen[1].path, "/v1/messages");
    assert_eq!(seen[1].header("authorization"), Some("Bearer sk-ant-oat01-x"));
    assert_eq!(seen[1].header("x-api-key"), None);
}

#[tokio::test]
async fn what_needs_a_header_is_asked_for_by_it() {
    let server = FakeServer::start(|_| {
        let chunks = include_bytes!("fixtures/text.sse").chunks(64).map(<[u8]>::to_vec);
        Reply::Stream(chunks.collect(), Ending::Proper)
    })
    .await;
    let provider = Anthropic::new(FakeServer::egress());
    let plain = || {
        let mut request = model_request(&server.url(""), vec![Message::user("hi", 1)]);
        request.max_tokens = 8_000;
        request.provider = "anthropic".to_owned();
        request
    };
    let thinks = |model: &str| {
        let mut request = plain();
        request.model = model.to_owned();
        (request.reasoning, request.thinking) = (true, Thinking::Low);
        request.tools = Arc::new(vec![Arc::new(tool("look"))]);
        request
    };
    let mut without_tools = thinks("claude-sonnet-4-5");
    without_tools.tools = Arc::default();
    let mut wide = thinks("claude-sonnet-4-5");
    wide.wide = true;
    let mut more = plain();
    more.wide = true;
    let own = ("Anthropic-Beta".to_owned(), Secret::new("files-api-2025-04-14"));
    more.endpoint.headers.push(own);
    let mut elsewhere = thinks("claude-sonnet-4-5");
    elsewhere.provider = "acme".to_owned();
    let mut subscription = thinks("claude-sonnet-4-5");
    subscription.endpoint.api_key = Some(Secret::new("sk-ant-oat01-x"));
    let cases = [
        (plain(), None),
        (without_tools, None),
        (elsewhere, None),
        (thinks("claude-opus-4-6"), None),
        (thinks("claude-sonnet-4-5"), Some("interleaved-thinking-2025-05-14")),
        (wide, Some("interleaved-thinking-2025-05-14,context-1m-2025-08-07")),
        (more, Some("context-1m-2025-08-07,files-api-2025-04-14")),
        (subscription, Some("oauth-2025-04-20,interleaved-thinking-2025-05-14")),
    ];
    for (at, (request, betas)) in cases.into_iter().enumerate() {
        done(&collect(&provider, request).await);
        assert_eq!(server.seen()[at].header("anthropic-beta"), betas, "{at}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_stream() {
    let body = json!({"id": "m", "type": "message", "content": [{"type": "text", "text": "At once"},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}],
        "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}});
    let server = FakeServer::start(move |_| Reply::json(200, &body)).await;
    let provider = Anthropic::new(FakeServer::egress());
    let events = collect(&provider, model_request(&server.url(""), vec![Message::user("hi", 1)])).await;
    let message = done(&events);
    assert_eq!((message.text().as_str(), message.usage.output), ("At once", 2));
    assert_eq!(message.tool_calls().next().unwrap().arguments, json!({"a": 1}));
}

#[test]
fn pdfs_go_as_documents_and_other_files_as_a_note() {
    let content = files();
    let model = model_request("http://x", vec![Message::User { content, timestamp: 1 }]);
    let body = serde_json::to_value(request::body(&model)).unwrap();
    let content = &body["messages"][0]["content"];
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    assert_eq!(
        content[0],
        json!({"type": "document", "source": source, "title": "a.pdf"})
    );
    assert_eq!(
        (&content[1]["text"], &content[2]["text"]),
        (
            &json!("[file that cannot be shown here]"),
            &json!("[file that cannot be shown here]")
        )
    );
}
