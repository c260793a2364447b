//! Recorded streams, cut at every byte; the many ways tool deltas are keyed; requests as they go out.

use std::sync::Arc;

use claw_actors::ports::compat::{Compat, MaxTokensField, ThinkingFormat};
use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent, SystemBlock, Thinking};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stream::Completion;
use super::{API, ChatCompletions, request, url};
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::tests::{collect, done, failed, files, request as model_request, sse, tool};
use crate::providers::call::{decode, decode_all_ways};
use crate::providers::host::Host;

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
    let delta = |delta: &Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let mut events: Vec<Value> = deltas.iter().map(delta).collect();
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}));
    let mut body = sse(&events);
    body.extend_from_slice(b"data: [DONE]\n\n");
    body
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
    // xAI's thinking stands in the total alone.
    let body = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,\"total_tokens\":20}}\n\ndata: [DONE]\n\n";
    let usage = done(&decode(dialect(), &[body])).usage;
    assert_eq!((usage.input, usage.output), (10, 10));
}

/// Perplexity sends what was said so far beside what is new.
#[test]
fn a_delta_goes_before_the_whole() {
    let chunk = |new: &str, whole: &str| {
        let chunk = json!({"choices": [{"delta": {"content": new}, "message": {"content": whole}}]});
        format!("data: {chunk}\n\n")
    };
    let body = chunk("Hel", "Hel") + &chunk("lo", "Hello") + "data: [DONE]\n\n";
    let events = decode_all_ways(dialect, body.as_bytes());
    assert_eq!(done(&events).text(), "Hello");
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
    request.tools = Arc::new(vec![Arc::new(tool("look"))]);
    request.temperature = Some(0.5);
    Arc::make_mut(&mut request.system).push(SystemBlock {
        text: "Now it is late.".to_owned(),
        cache: false,
    });
    serde_json::to_value(request::body(&request)).unwrap()
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

    // Reasoning goes back with every call, of earlier turns too.
    let deepseek = body("https://api.deepseek.com", "deepseek-reasoner");
    let reasoning: Vec<_> = deepseek["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|message| message.get("reasoning_content"))
        .collect();
    assert_eq!(reasoning, [&json!("hm"), &json!("hm")]);
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
        request.tools = Arc::new(vec![Arc::new(tool("look"))]);
        let body = serde_json::to_value(request::body(&request)).unwrap();
        ["reasoning_effort", "reasoning", "thinking"].map(|field| body.get(field).cloned().unwrap_or_default())
    };
    let none = [Value::Null, Value::Null, Value::Null];
    let (openai, router) = ("https://api.openai.com/v1", "https://openrouter.ai/api/v1");
    assert_eq!(asked(openai, Thinking::High, true)[0], json!("high"));
    assert_eq!(asked(openai, Thinking::Adaptive, true)[0], json!("medium"));
    assert_eq!(asked(openai, Thinking::Off, true), none);
    assert_eq!(asked(openai, Thinking::High, false), none);
    assert_eq!(asked(router, Thinking::Low, true)[1], json!({"effort": "low"}));
    assert_eq!(asked(router, Thinking::Off, true)[1], json!({"effort": "none"}));
    assert_eq!(asked(router, Thinking::Off, false), none);
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
fn a_model_of_openai_that_is_not_to_think_is_told_the_least_it_takes() {
    for (model, effort) in [
        ("gpt-5.1", json!("none")),
        ("gpt-5.4-mini-2026-03-01", json!("none")),
        ("openai/gpt-5.2", json!("none")),
        ("gpt-5", json!("minimal")),
        ("gpt-5-mini-2025-08-07", json!("minimal")),
        ("gpt-5.1-codex-max", json!("low")),
        ("gpt-5.1-codex-mini", json!("medium")),
        ("o3", json!("low")),
        ("o4-mini", json!("low")),
        ("o1-mini", Value::Null),
        ("gpt-5-pro", Value::Null),
        ("gpt-5.1-chat-latest", Value::Null),
        ("gpt-4.1", Value::Null),
        ("mine", Value::Null),
    ] {
        let mut request = model_request("https://api.openai.com/v1", history());
        (request.thinking, request.reasoning) = (Thinking::Off, true);
        request.model = model.to_owned();
        let body = serde_json::to_value(request::body(&request)).unwrap();
        assert_eq!(
            body.get("reasoning_effort").cloned().unwrap_or_default(),
            effort,
            "{model}"
        );
        request.reasoning = false;
        let body = serde_json::to_value(request::body(&request)).unwrap();
        assert!(body.get("reasoning_effort").is_none(), "{model}");
        request.reasoning = true;
        request.compat.efforts.insert("off".to_owned(), "nothing".to_owned());
        let body = serde_json::to_value(request::body(&request)).unwrap();
        assert_eq!(body["reasoning_effort"], "nothing", "the settings know better");
    }
}

#[test]
fn deviations_of_mistral_and_xai() {
    let mut messages = history();
    messages.push(Message::user("and now?", 9));
    let mut request = model_request("https://api.mistral.ai/v1", messages);
    let body = serde_json::to_value(request::body(&request)).unwrap();
    let turns = body["messages"].as_array().unwrap();
    let roles: Vec<_> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert!(roles.windows(2).all(|two| two != ["tool", "user"]), "{roles:?}");

    let mut strict = tool("look");
    strict.parameters = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}).into();
    request.tools = Arc::new(vec![Arc::new(strict)]);
    let mut body = |base: &str| {
        request.endpoint.base_url = base.to_owned();
        serde_json::to_string(&request::body(&request)).unwrap()
    };
    assert!(body("https://api.example.com/v1").contains("minLength"));
    assert!(!body("https://api.x.ai/v1").contains("minLength"));

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
        (
            "https://x.openai.azure.com/openai/deployments/a?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/deployments/a/chat/completions?api-version=2024-10-21",
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
    let body = serde_json::to_value(request::body(&model)).unwrap();
    let pdf =
        json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}});
    let sound = json!({"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}});
    assert_eq!(
        body["messages"][1]["content"],
        json!([pdf, sound, {"type": "text", "text": "[file that cannot be shown here]"}])
    );
}

/// A body for a server of somebody's own with these settings, of a model that thinks.
fn body_with(compat: Compat) -> Value {
    let mut request = model_request("https://api.example.com/v1", history());
    Arc::make_mut(&mut request.messages).push(Arc::new(Message::user("go on", 9)));
    request.tools = Arc::new(vec![Arc::new(tool("look"))]);
    (request.reasoning, request.thinking) = (true, Thinking::High);
    request.compat = compat;
    serde_json::to_value(request::body(&request)).unwrap()
}

#[test]
fn settings_say_how_a_server_differs() {
    let plain = body_with(Compat::default());
    assert_eq!(plain["messages"][0]["role"], "system");
    assert_eq!(plain["reasoning_effort"], "high");
    assert_eq!(plain["tools"][0]["function"].get("strict"), None);
    assert_eq!((plain.get("store"), plain.get("options")), (None, None));
    assert_eq!(
        plain["messages"].as_array().unwrap().last().unwrap()["content"],
        "go on"
    );

    let mut compat = Compat {
        store: Some(true),
        developer_role: Some(true),
        usage_in_streaming: Some(false),
        strict_mode: Some(true),
        max_tokens_field: Some(MaxTokensField::MaxCompletionTokens),
        tool_result_name: Some(true),
        assistant_after_tool_result: Some(true),
        thinking_as_text: Some(true),
        mistral_tool_ids: Some(true),
        ..Compat::default()
    };
    compat.efforts.insert("high".to_owned(), "maximum".to_owned());
    let body = body_with(compat);
    assert_eq!(body["messages"][0]["role"], "developer");
    assert_eq!(
        (&body["store"], &body["reasoning_effort"]),
        (&json!(false), &json!("maximum"))
    );
    assert_eq!((body.get("stream_options"), body.get("max_tokens")), (None, None));
    assert_eq!(body["max_completion_tokens"], 1_000);
    assert_eq!(body["tools"][0]["function"]["strict"], false);
    let turns = body["messages"].as_array().unwrap();
    let results: Vec<_> = turns.iter().filter(|turn| turn["role"] == "tool").collect();
    assert!(results.iter().all(|turn| turn["name"] == "look"), "{results:?}");
    assert_eq!(results[1]["tool_call_id"].as_str().unwrap().len(), 9);
    let roles: Vec<_> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert!(roles.windows(2).all(|two| two != ["tool", "user"]), "{roles:?}");
    let thought = turns
        .iter()
        .find(|turn| turn["content"].as_str().is_some_and(|text| text.starts_with("hm")));
    assert_eq!(thought.unwrap()["role"], "assistant");
}

#[test]
fn settings_say_how_to_ask_for_thinking() {
    let asked = |thinking_format, reasoning_effort| {
        let body = body_with(Compat {
            thinking_format,
            reasoning_effort,
            ..Compat::default()
        });
        let fields = [
            "reasoning_effort",
            "reasoning",
            "thinking",
            "enable_thinking",
            "chat_template_kwargs",
        ];
        let said = fields
            .into_iter()
            .filter_map(|field| Some(format!("{field}={}", body.get(field)?)));
        said.collect::<Vec<_>>().join(" ")
    };
    for (format, expected) in [
        (ThinkingFormat::OpenAi, "reasoning_effort=\"high\""),
        (ThinkingFormat::OpenRouter, "reasoning={\"effort\":\"high\"}"),
        (ThinkingFormat::Zai, "thinking={\"type\":\"enabled\"}"),
        (ThinkingFormat::Qwen, "enable_thinking=true"),
        (
            ThinkingFormat::QwenTemplate,
            "chat_template_kwargs={\"enable_thinking\":true}",
        ),
    ] {
        assert_eq!(asked(Some(format), None), expected);
    }
    assert_eq!(asked(None, Some(false)), "");
    let mut request = model_request("https://api.x.ai/v1", history());
    (request.reasoning, request.thinking) = (true, Thinking::Low);
    request.compat.reasoning_effort = Some(true);
    let body = serde_json::to_value(request::body(&request)).unwrap();
    assert_eq!(body["reasoning_effort"], "low");
}

#[test]
fn ollama_is_told_its_window_behind_the_compatible_address_too() {
    let told = |base: &str, provider: &str, num_ctx| {
        let mut request = model_request(base, Vec::new());
        request.provider = provider.to_owned();
        request.compat.num_ctx = num_ctx;
        serde_json::to_value(request::body(&request)).unwrap()["options"]["num_ctx"].clone()
    };
    assert_eq!(told("http://127.0.0.1:11434/v1", "mine", None), 50_000);
    assert_eq!(told("https://box.example.com/v1", "ollama", None), 50_000);
    assert_eq!(told("https://box.example.com/v1", "ollama", Some(false)), Value::Null);
    assert_eq!(told("https://box.example.com/v1", "vllm", None), Value::Null);
}

#[test]
fn what_a_router_signed_goes_back_to_it_as_it_came() {
    let events = decode_all_ways(dialect, include_bytes!("fixtures/details.sse"));
    let mut message = done(&events).clone();
    assert_eq!(message.stop_reason, StopReason::ToolUse);
    (message.provider, message.model) = ("acme".to_owned(), "anthropic/claude-x".to_owned());
    let mut request = model_request(
        "https://openrouter.ai/api/v1",
        vec![Message::user("where", 1), Message::Assistant(message)],
    );
    request.model = "anthropic/claude-x".to_owned();
    let sent = |request: &_| serde_json::to_value(request::body(request)).unwrap()["messages"][2].clone();
    assert_eq!(
        sent(&request)["reasoning_details"],
        json!([
            {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "text": "The place is missing.",
             "signature": "c2lnbmF0dXJl"},
            {"type": "reasoning.encrypted", "index": 1, "id": "call_1", "format": "anthropic-claude-v1",
             "data": "c2VhbGVk"},
        ])
    );
    // Another model, and another server, do not know what to do with it.
    request.model = "anthropic/claude-y".to_owned();
    assert_eq!(sent(&request).get("reasoning_details"), None);
    request.model = "anthropic/claude-x".to_owned();
    request.endpoint.base_url = "https://api.example.com/v1".to_owned();
    assert_eq!(sent(&request).get("reasoning_details"), None);
}
