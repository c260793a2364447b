//! Recorded streams, cut at every byte; the many ways tool deltas are keyed; requests as they go out.

use std::sync::Arc;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent, SystemBlock, Thinking};
use claw_actors::ports::tool::{Effect, ToolSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::host::Host;
use super::stream::Completion;
use super::{API, ChatCompletions, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::tests::{collect, done, failed, files, request as model_request};
use crate::providers::call::{decode, decode_all_ways};

fn dialect() -> Completion {
    Completion::with_seed("openai", "gpt-test", 1, Uuid::nil())
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

/// A stream of these deltas with this end.
fn stream(deltas: &[Value], finish_reason: Value) -> Vec<u8> {
    let mut body = String::new();
    for delta in deltas {
        body.push_str(&format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": delta}]})
        ));
    }
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]});
    body.push_str(&format!("data: {end}\n\ndata: [DONE]\n\n"));
    body.into_bytes()
}

fn calls(deltas: &[Value]) -> Vec<(String, String, Value)> {
    let deltas: Vec<Value> = deltas.iter().map(|delta| json!({"tool_calls": [delta]})).collect();
    let events = decode_all_ways(dialect, &stream(&deltas, json!("stop")));
    let message = done(&events);
    assert_eq!(message.stop_reason, StopReason::ToolUse);
    let starts = events
        .iter()
        .filter(|event| matches!(event, ModelEvent::ToolCallStart { .. }))
        .count();
    assert_eq!(starts, message.tool_calls().count(), "each call is announced once");
    message
        .tool_calls()
        .map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone()))
        .collect()
}

/// What is nested too deeply to be parsed is left to the loop, which refuses the call.
#[test]
fn arguments_nested_ten_thousand_deep_are_no_json() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let call = json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": deep}});
    let body = stream(&[json!({"tool_calls": [call]})], json!("tool_calls"));
    let events = decode(dialect(), &[body.as_slice()]);
    let arguments: Vec<Value> = done(&events).tool_calls().map(|call| call.arguments.clone()).collect();
    assert_eq!(arguments, [Value::String(deep)]);
}

#[test]
fn tool_deltas_in_every_key() {
    let expected = vec![
        ("a".to_owned(), "f".to_owned(), json!({"x": 1})),
        ("b".to_owned(), "g".to_owned(), json!({"y": 2})),
    ];
    // By index, interleaved.
    assert_eq!(
        calls(&[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
            json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\""}}),
            json!({"index": 0, "function": {"arguments": ":1}"}}),
            json!({"index": 1, "function": {"arguments": ":2}"}}),
        ]),
        expected
    );
    // Index, with id and name repeated in every delta, or empty.
    assert_eq!(
        calls(&[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ":1}"}}),
            json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\""}}),
            json!({"index": 1, "id": "", "function": {"name": "", "arguments": ":2}"}}),
        ]),
        expected
    );
    // By id alone.
    assert_eq!(
        calls(&[
            json!({"id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
            json!({"id": "b", "function": {"name": "g", "arguments": "{\"y\":2}"}}),
            json!({"id": "a", "function": {"arguments": ":1}"}}),
        ]),
        expected
    );
    // Without any key after the first.
    assert_eq!(
        calls(&[
            json!({"id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
            json!({"function": {"arguments": ":1}"}}),
            json!({"id": "b", "function": {"name": "g", "arguments": "{\"y\":"}}),
            json!({"function": {"arguments": "2}"}}),
        ]),
        expected
    );
    // Whole calls, all with index 0; arguments as an object.
    assert_eq!(
        calls(&[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":1}"}}),
            json!({"index": 0, "id": "b", "function": {"name": "g", "arguments": {"y": 2}}}),
        ]),
        expected
    );
    // Encoded twice, and none at all.
    assert_eq!(
        calls(&[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "\"{\\\"x\\\":1}\""}}),
            json!({"index": 1, "id": "c", "function": {"name": "h"}}),
        ])[..],
        [expected[0].clone(), ("c".to_owned(), "h".to_owned(), json!({}))]
    );
    // No ids: ours are distinct.
    let found = calls(&[
        json!({"function": {"name": "f", "arguments": "{\"x\":1}"}}),
        json!({"function": {"name": "f", "arguments": "{\"x\":2}"}}),
    ]);
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].0, found[1].0);
    assert_eq!((&found[0].2, &found[1].2), (&json!({"x": 1}), &json!({"x": 2})));
    // Broken JSON is kept for the loop to refuse.
    assert_eq!(
        calls(&[json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}})])[0].2,
        json!("{\"x\"")
    );
}

#[test]
fn finish_reasons() {
    let text = json!({"content": "x"});
    for (reason, expected) in [
        (json!("stop"), StopReason::Stop),
        (json!("length"), StopReason::Length),
        (json!("max_tokens"), StopReason::Length),
        (json!(""), StopReason::Stop),
        (json!(null), StopReason::Stop),
        (json!("something_new"), StopReason::Stop),
        (json!("tool_calls"), StopReason::Stop),
    ] {
        let events = decode(dialect(), &[&stream(std::slice::from_ref(&text), reason.clone())]);
        assert_eq!(done(&events).stop_reason, expected, "{reason}");
    }
    for (reason, expected) in [("content_filter", ErrorClass::Refusal), ("error", ErrorClass::Unknown)] {
        let events = decode(dialect(), &[&stream(std::slice::from_ref(&text), json!(reason))]);
        assert_eq!(failed(&events).class, expected, "{reason}");
    }
}

#[test]
fn errors_in_the_stream_keep_what_had_come() {
    for (error, class) in [
        (
            json!({"error": {"code": 429, "message": "busy"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}),
            ErrorClass::RateLimit,
        ),
        (
            json!({"error": {"message": "maximum context length is 5 tokens"}}),
            ErrorClass::ContextOverflow,
        ),
        (json!({"error": "Overloaded"}), ErrorClass::Overloaded),
    ] {
        let mut body = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n".to_vec();
        body.extend_from_slice(format!("data: {error}\n\n").as_bytes());
        let events = decode_all_ways(dialect, &body);
        assert_eq!(failed(&events).class, class, "{error}");
        assert_eq!(failed(&events).partial.text(), "Hel");
    }
}

#[test]
fn usage_in_the_choice_and_odd_numbers() {
    let body = b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":10.0,\"completion_tokens\":\"2\",\"prompt_tokens_details\":null}}]}\n\n";
    let usage = done(&decode_all_ways(dialect, body)).usage;
    assert_eq!(
        (usage.input, usage.output, usage.cache_read, usage.total_tokens),
        (10, 2, 0, 12)
    );
    // More cached than prompt must not wrap.
    let body = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":5,\"cache_write_tokens\":5}}}\n\ndata: [DONE]\n\n";
    let usage = done(&decode(dialect(), &[body])).usage;
    assert_eq!((usage.input, usage.cache_read, usage.cache_write), (0, 1, 0));
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: "Does it.".to_owned(),
        summary: "does it".to_owned(),
        parameters: json!({"type": "object", "properties": {}}).into(),
        effect: Effect::ReadOnly,
        owner_only: false,
        timeout: std::time::Duration::from_secs(1),
    }
}

fn history() -> Vec<Message> {
    let assistant = |content| {
        Message::Assistant(AssistantMessage {
            content,
            api: API.to_owned(),
            provider: "acme".to_owned(),
            model: "model-1".to_owned(),
            ..AssistantMessage::default()
        })
    };
    let thinking = || AssistantPart::Thinking {
        thinking: "hm".to_owned(),
        thinking_signature: None,
        redacted: false,
    };
    let call = |id: &str, arguments| {
        AssistantPart::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "look".to_owned(),
            arguments,
        })
    };
    let image = || Part::Image {
        data: Some("aGk=".to_owned()),
        blob: None,
        mime_type: "image/png".to_owned(),
    };
    let result = |id: &str, content| Message::ToolResult {
        tool_call_id: id.to_owned(),
        tool_name: "look".to_owned(),
        content,
        details: Some(json!({"secret": true})),
        is_error: false,
        timestamp: 3,
    };
    vec![
        Message::user("first", 1),
        assistant(vec![thinking(), call("old", json!({}))]),
        result("old", vec![]),
        assistant(vec![thinking()]),
        Message::User {
            content: vec![Part::Text { text: "see".to_owned() }, image()],
            timestamp: 2,
        },
        assistant(vec![
            thinking(),
            AssistantPart::Text {
                text: "Looking.".to_owned(),
            },
            call("call_1", json!({"a": 1})),
            call("call_9|fc_1", json!("{broken")),
        ]),
        result(
            "call_1",
            vec![
                Part::Text {
                    text: "found".to_owned(),
                },
                image(),
            ],
        ),
        result("call_9|fc_1", vec![image()]),
    ]
}

fn body(base_url: &str, model: &str) -> Value {
    let mut request = model_request(base_url, history());
    request.model = model.to_owned();
    request.tools = Arc::new(vec![Arc::new(spec("look"))]);
    request.temperature = Some(0.5);
    Arc::make_mut(&mut request.system).push(SystemBlock {
        text: "Now it is late.".to_owned(),
        cache: false,
    });
    serde_json::to_value(request::body(&request, Host::of(base_url))).unwrap()
}

#[test]
fn body_of_a_full_request() {
    insta::assert_json_snapshot!("body", body("https://api.example.com/v1", "model-1"));
}

#[test]
fn hosts_get_what_they_take() {
    let openai = body("https://api.openai.com/v1", "gpt-4.1");
    assert_eq!(openai["max_completion_tokens"], json!(1_000));
    assert_eq!(openai.get("max_tokens"), None);
    assert_eq!(openai["store"], json!(false));
    assert_eq!(openai["prompt_cache_key"], json!("session-1"));
    assert_eq!(openai["temperature"], json!(0.5));
    assert_eq!(body("https://api.openai.com/v1", "gpt-5-mini").get("temperature"), None);

    let other = body("https://api.example.com/v1", "gpt-5-mini");
    assert_eq!(other["max_tokens"], json!(1_000));
    assert_eq!(other.get("max_completion_tokens"), None);
    assert_eq!((other.get("store"), other.get("prompt_cache_key")), (None, None));
    assert_eq!(other["temperature"], json!(0.5));

    let router = body("https://openrouter.ai/api/v1", "anthropic/claude-x");
    assert_eq!(
        router.pointer("/messages/0/content/0/cache_control/type"),
        Some(&json!("ephemeral"))
    );
    assert_eq!(router.pointer("/messages/0/content/1/cache_control"), None);
    let marked = router.to_string().matches("ephemeral").count();
    assert_eq!(marked, 2, "system prompt and last message");
    assert!(
        !body("https://openrouter.ai/api/v1", "google/x")
            .to_string()
            .contains("ephemeral")
    );

    // Reasoning goes back inside the loop that is going on, not before it.
    let deepseek = body("https://api.deepseek.com", "deepseek-reasoner");
    let reasoning: Vec<_> = deepseek["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|message| message.get("reasoning_content"))
        .collect();
    assert_eq!(reasoning, [&json!("hm")]);
    assert!(!other.to_string().contains("reasoning_content"));

    let mistral = body("https://api.mistral.ai/v1", "mistral-large");
    let id = mistral
        .pointer("/messages/2/tool_calls/0/id")
        .unwrap()
        .as_str()
        .unwrap();
    assert_eq!(id.len(), 9);
    assert_eq!(mistral.pointer("/messages/3/tool_call_id").unwrap(), id);
}

#[test]
fn thinking_is_said_in_the_words_of_the_host() {
    let asked = |base_url: &str, level, reasoning| {
        let mut request = model_request(base_url, history());
        (request.thinking, request.reasoning) = (level, reasoning);
        let body = serde_json::to_value(request::body(&request, Host::of(base_url))).unwrap();
        ["reasoning_effort", "reasoning", "thinking"].map(|field| body.get(field).cloned().unwrap_or_default())
    };
    let none = [Value::Null, Value::Null, Value::Null];
    let (openai, router) = ("https://api.openai.com/v1", "https://openrouter.ai/api/v1");
    assert_eq!(asked(openai, Thinking::High, true)[0], json!("high"));
    assert_eq!(asked(openai, Thinking::Adaptive, true)[0], json!("medium"));
    assert_eq!(asked(openai, Thinking::Off, true), none);
    assert_eq!(asked(openai, Thinking::High, false), none);
    assert_eq!(asked(router, Thinking::Low, true)[1], json!({"effort": "low"}));
    let zai = "https://api.z.ai/api/paas/v4";
    assert_eq!(asked(zai, Thinking::Minimal, true)[2], json!({"type": "enabled"}));
    assert_eq!(asked(zai, Thinking::Off, true)[2], json!({"type": "disabled"}));
    for base in [
        "https://api.x.ai/v1",
        "https://api.deepseek.com",
        "https://api.mistral.ai/v1",
    ] {
        assert_eq!(asked(base, Thinking::High, true), none, "{base}");
    }
}

#[test]
fn deviations_of_mistral_and_xai() {
    let mut messages = history();
    messages.push(Message::user("and now?", 9));
    let mut request = model_request("https://api.mistral.ai/v1", messages);
    let body = serde_json::to_value(request::body(&request, Host::Mistral)).unwrap();
    let turns = body["messages"].as_array().unwrap();
    let roles: Vec<_> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert!(roles.windows(2).all(|two| two != ["tool", "user"]), "{roles:?}");

    let mut strict = spec("look");
    strict.parameters = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}).into();
    request.tools = Arc::new(vec![Arc::new(strict)]);
    let body = |host| serde_json::to_value(request::body(&request, host)).unwrap().to_string();
    assert!(body(Host::Other).contains("minLength") && !body(Host::Xai).contains("minLength"));

    let call = json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f",
        "arguments": "{\"x\":\"a &lt; b &amp;amp;\"}"}}]});
    let escaped = || dialect().unescaping(true);
    let events = decode_all_ways(escaped, &stream(&[call], json!("tool_calls")));
    let arguments = &done(&events).tool_calls().next().unwrap().arguments;
    assert_eq!(arguments, &json!({"x": "a < b &amp;"}));
}

#[test]
fn urls() {
    for (base, expected) in [
        ("https://a.example/v1", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
        ("https://a.example", "https://a.example/chat/completions"),
        (
            "https://a.example/v1/chat/completions",
            "https://a.example/v1/chat/completions",
        ),
        ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        (
            "https://api.openai.com/v1",
            "https://api.openai.com/v1/chat/completions",
        ),
    ] {
        assert_eq!(url(base, Host::of(base)), expected, "{base}");
    }
}

#[tokio::test]
async fn over_http_in_small_pieces() {
    let server = FakeServer::start(|_| {
        Reply::Stream(
            include_bytes!("fixtures/tools.sse")
                .chunks(5)
                .map(<[u8]>::to_vec)
                .collect(),
            Ending::Proper,
        )
    })
    .await;
    let mut model = model_request(&server.url("/v1"), vec![Message::user("hi", 1)]);
    model.endpoint.api_key = None;
    let events = collect(&ChatCompletions::new(FakeServer::egress()), model).await;
    assert!(matches!(events[0], ModelEvent::Start));
    assert_eq!(done(&events).tool_calls().count(), 2);
    assert_eq!(done(&events).usage.cache_read, 5);
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), None, "no key, no header");
    assert_eq!(seen[0].json()["stream_options"], json!({"include_usage": true}));
}

#[test]
fn files_and_sounds_go_as_they_are() {
    let content = files();
    let model = model_request("http://x", vec![Message::User { content, timestamp: 1 }]);
    let body = serde_json::to_value(request::body(&model, Host::OpenAi)).unwrap();
    let pdf =
        json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}});
    let sound = json!({"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}});
    assert_eq!(
        body["messages"][1]["content"],
        json!([pdf, sound, {"type": "text", "text": "[file that cannot be shown here]"}])
    );
}
