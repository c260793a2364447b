//! The adapter against a scripted service.

use claw_actors::crypto::Secret;
use claw_actors::ports::message::{AssistantPart, Message, StopReason};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde_json::json;

use super::frames::framed;
use super::*;
use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::providers::call::decode_all_ways;
use crate::providers::call::tests::{collect, done, failed, files, request as model_request};

/// Frames of an answer with a thought, words and a call.
fn answer() -> Vec<u8> {
    let events = [
        ("messageStart", json!({"role": "assistant"})),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "sig"}}}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 1, "delta": {"text": "Zürich "}, "p": "abcdefgh"}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 1, "delta": {"text": "it is."}}),
        ),
        ("contentBlockStop", json!({"contentBlockIndex": 1})),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "{\"a\":"}}}),
        ),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "1}"}}}),
        ),
        ("messageStop", json!({"stopReason": "tool_use"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 7, "outputTokens": 5, "cacheReadInputTokens": 3}, "metrics": {}}),
        ),
    ];
    events
        .iter()
        .flat_map(|(name, payload)| framed("event", name, &payload.to_string()))
        .collect()
}

#[test]
fn an_answer_is_the_same_however_it_is_cut() {
    let events = decode_all_ways(|| stream::Conversation::new("aws", "model", 1), &answer());
    let message = done(&events);
    assert_eq!(
        (message.text().as_str(), message.stop_reason),
        ("Zürich it is.", StopReason::ToolUse)
    );
    assert_eq!(
        (message.usage.input, message.usage.output, message.usage.total_tokens),
        (7, 5, 15)
    );
    let call = message.tool_calls().next().expect("a call");
    assert_eq!(
        (call.id.as_str(), call.name.as_str(), &call.arguments),
        ("tooluse_1", "look", &json!({"a": 1}))
    );
    assert!(
        matches!(&message.content[0], AssistantPart::Thinking { thinking, thinking_signature: Some(signature), .. }
        if thinking == "hm" && signature == "sig")
    );
}

#[tokio::test]
async fn requests_are_signed_with_a_pair_and_carry_a_key_of_bedrocks_own() {
    for (key, proof) in [
        (
            "AKIAIOSFODNN7EXAMPLE:secret",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/",
        ),
        ("bedrock-key", "Bearer bedrock-key"),
    ] {
        let server = FakeServer::start(|_| Reply::Stream(vec![answer()], Ending::Proper)).await;
        let mut request = model_request(&server.url(""), vec![Message::user("hi", 1)]);
        request.model = "anthropic.claude-x:0".to_owned();
        request.endpoint.api_key = Some(Secret::new(key));
        for (name, value) in [("Authorization", "Bearer forged"), ("x-tenant", "acme")] {
            request.endpoint.headers.push((name.to_owned(), Secret::new(value)));
        }
        let events = collect(&Bedrock::new(FakeServer::egress()), request).await;
        assert!(matches!(events.first(), Some(ModelEvent::Start)));
        done(&events);
        let seen = server.seen();
        assert_eq!(seen[0].path, "/model/anthropic.claude-x%3A0/converse-stream");
        assert!(seen[0].header("authorization").expect("a proof").starts_with(proof));
        assert_eq!(seen[0].header("x-tenant"), Some("acme"));
        let body = seen[0].json();
        assert_eq!(body["messages"][0]["content"][0], json!({"text": "hi"}));
        assert_eq!(
            body["messages"][0]["content"][1],
            json!({"cachePoint": {"type": "default"}})
        );
        assert_eq!(body["system"][0], json!({"text": "Be brief."}));
    }
}

#[tokio::test]
async fn exceptions_and_cuts_have_classes() {
    let exception = |name: &str| framed("exception", name, r#"{"message": "no"}"#);
    let mut half = answer();
    half.truncate(half.len() / 2);
    for (body, ending, class) in [
        (exception("throttlingException"), Ending::Proper, ErrorClass::RateLimit),
        (exception("modelTimeoutException"), Ending::Proper, ErrorClass::Timeout),
        (exception("validationException"), Ending::Proper, ErrorClass::Format),
        (
            b"<html>no stream of AWS</html>".to_vec(),
            Ending::Proper,
            ErrorClass::Format,
        ),
        (half, Ending::Proper, ErrorClass::Network),
    ] {
        let server = FakeServer::start(move |_| Reply::Stream(vec![body.clone()], ending)).await;
        let request = model_request(&server.url(""), vec![Message::user("hi", 1)]);
        let events = collect(&Bedrock::new(FakeServer::egress()), request).await;
        assert_eq!(failed(&events).class, class, "{events:?}");
    }
}

#[test]
fn regions() {
    for (url, expected) in [
        ("https://bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"),
        (
            "https://vpce-1.bedrock-runtime.us-west-2.vpce.amazonaws.com",
            "us-west-2",
        ),
        (
            "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
        ),
        ("http://127.0.0.1:9000", "us-east-1"),
    ] {
        assert_eq!(region(&Url::parse(url).expect("a URL")), expected, "{url}");
    }
}

#[test]
fn a_document_never_goes_without_words() {
    let content = files();
    let model = model_request("http://x", vec![Message::User { content, timestamp: 1 }]);
    let body = request::body(&model);
    let content = &body["messages"][0]["content"];
    let document = json!({"format": "pdf", "name": "document b1", "source": {"bytes": "JVBERi0="}});
    assert_eq!(content[0]["document"], document);
    assert_eq!(
        (&content[1]["text"], &content[2]["text"]),
        (
            &json!("[file that cannot be shown here]"),
            &json!("[file that cannot be shown here]")
        )
    );
    let model = model_request(
        "http://x",
        vec![Message::User {
            content: files().into_iter().take(1).collect(),
            timestamp: 1,
        }],
    );
    let body = request::body(&model);
    assert!(body["messages"][0]["content"][0]["text"].is_string());
}
