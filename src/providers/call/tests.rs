//! The driver against a real socket: starts, ends, silence, cuts and failures.

use std::time::Duration;

use claw_actors::crypto::Secret;
use claw_actors::ports::message::{AssistantMessage, Message, Part, StopReason};
use claw_actors::ports::model::{
    Endpoint, ErrorClass, ModelError, ModelEvent, ModelProvider, ModelRequest, StreamLimits, SystemBlock,
};
use claw_actors::ports::tool::{Effect, ToolSpec};
use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::egress::testing::{Ending, FakeServer, Reply};
use crate::egress::{Egress, EgressSettings};
use crate::providers::openai::ChatCompletions;

/// A request towards `base_url` with short limits.
pub(in crate::providers) fn request(base_url: &str, messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        endpoint: Endpoint {
            base_url: base_url.to_owned(),
            api_key: Some(Secret::new("sk-test-0123456789")),
            headers: vec![("x-tenant".to_owned(), Secret::new("acme header"))],
        },
        provider: "acme".to_owned(),
        model: "model-1".to_owned(),
        system: Arc::new(vec![SystemBlock {
            text: "Be brief.".to_owned(),
            cache: true,
        }]),
        messages: Arc::new(messages.into_iter().map(Arc::new).collect()),
        tools: Arc::default(),
        max_tokens: 1_000,
        context_window: 50_000,
        compat: Default::default(),
        reasoning: false,
        thinking: Default::default(),
        fast: false,
        temperature: None,
        cache: Default::default(),
        wide: false,
        service_tier: None,
        cache_key: "session-1".to_owned(),
        limits: StreamLimits {
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(20),
        },
    }
}

/// A tool that takes nothing.
pub(in crate::providers) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: "Does it.".to_owned(),
        summary: "does it".to_owned(),
        parameters: json!({"type": "object", "properties": {}}).into(),
        effect: Effect::ReadOnly,
        owner_only: false,
        timeout: Duration::from_secs(1),
    }
}

/// All events of a call.
pub(in crate::providers) async fn collect(provider: &dyn ModelProvider, request: ModelRequest) -> Vec<ModelEvent> {
    provider.stream(request).collect().await
}

/// The message of a call that went well.
#[track_caller]
pub(in crate::providers) fn done(events: &[ModelEvent]) -> &AssistantMessage {
    match events.last() {
        Some(ModelEvent::Done(message)) => message,
        other => panic!("not done: {other:?}"),
    }
}

/// The failure of a call that went wrong.
#[track_caller]
pub(in crate::providers) fn failed(events: &[ModelEvent]) -> &ModelError {
    let ends = events
        .iter()
        .filter(|event| matches!(event, ModelEvent::Done(_) | ModelEvent::Error(_)))
        .count();
    assert_eq!(ends, 1, "exactly one end: {events:?}");
    match events.last() {
        Some(ModelEvent::Error(error)) => error,
        other => panic!("not failed: {other:?}"),
    }
}

/// A body of server-sent events, ended as some servers do and others do not.
pub(in crate::providers) fn sse(events: &[Value]) -> Vec<u8> {
    let ends = ["\n\n", "\r\n\r\n"];
    let lines = events.iter().zip(ends.into_iter().cycle());
    lines
        .map(|(event, end)| format!("data: {event}{end}"))
        .collect::<String>()
        .into_bytes()
}

fn piece(text: &str) -> Vec<u8> {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n").into_bytes()
}

const STOP: &[u8] = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

async fn ask(server: &FakeServer, limits: StreamLimits) -> Vec<ModelEvent> {
    let mut model = request(&server.url("/v1"), vec![Message::user("hi", 1)]);
    model.limits = limits;
    collect(&ChatCompletions::new(FakeServer::egress()), model).await
}

fn limits(first_byte: u64, idle: u64) -> StreamLimits {
    StreamLimits {
        first_byte: Duration::from_millis(first_byte),
        idle: Duration::from_millis(idle),
    }
}

async fn answer(reply: Reply) -> Vec<ModelEvent> {
    let server = FakeServer::start(move |_| reply.clone()).await;
    ask(&server, limits(10_000, 10_000)).await
}

#[tokio::test]
async fn a_call_from_start_to_done_keeps_its_connection() {
    let server = FakeServer::start(|_| {
        Reply::Stream(
            vec![piece("Hel"), piece("lo"), STOP.to_vec(), DONE.to_vec()],
            Ending::Proper,
        )
    })
    .await;
    let provider = ChatCompletions::new(FakeServer::egress());
    // The connection goes back when the body's end has been read, which may be after the next call began: so not every
    // call finds one, but not every call opens one either.
    let mut calls = 0;
    while calls < 50 && server.connections() == calls {
        let events = collect(&provider, request(&server.url("/v1"), vec![Message::user("hi", 1)])).await;
        assert!(matches!(events[0], ModelEvent::Start));
        assert_eq!(done(&events).text(), "Hello");
        assert_eq!(done(&events).stop_reason, StopReason::Stop);
        calls += 1;
    }
    assert!(
        server.connections() < calls,
        "{calls} calls, each with its own connection"
    );
    let seen = server.seen();
    assert_eq!(seen[0].path, "/v1/chat/completions");
    assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
    assert_eq!(seen[0].header("x-tenant"), Some("acme header"));
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
}

#[tokio::test]
async fn a_hung_server_is_a_timeout() {
    let server = FakeServer::start(|_| Reply::Hang).await;
    let events = ask(&server, limits(100, 10_000)).await;
    assert_eq!(failed(&events).class, ErrorClass::Timeout);
    assert_eq!(events.len(), 1, "nothing had started");

    // Headers alone are no byte of an answer.
    let server = FakeServer::start(|_| Reply::Stream(Vec::new(), Ending::Silence)).await;
    assert_eq!(
        failed(&ask(&server, limits(100, 10_000)).await).class,
        ErrorClass::Timeout
    );

    let server = FakeServer::start(|_| Reply::Stream(vec![piece("Hel")], Ending::Silence)).await;
    let events = ask(&server, limits(10_000, 100)).await;
    assert_eq!(failed(&events).class, ErrorClass::Timeout);
    assert_eq!(failed(&events).partial.text(), "Hel");
}

#[tokio::test]
async fn a_complete_answer_needs_no_terminal_marker() {
    // Silence after the finish reason ends the call as done, not as a timeout.
    let server = FakeServer::start(|_| Reply::Stream(vec![piece("Hi"), STOP.to_vec()], Ending::Silence)).await;
    assert_eq!(done(&ask(&server, limits(10_000, 100)).await).text(), "Hi");
    for ending in [Ending::Proper, Ending::Cut] {
        let events = answer(Reply::Stream(vec![piece("Hi"), STOP.to_vec()], ending)).await;
        assert_eq!(done(&events).text(), "Hi", "{ending:?}");
    }
}

#[tokio::test]
async fn a_cut_stream_is_a_network_failure_with_what_had_come() {
    for ending in [Ending::Proper, Ending::Cut] {
        let events = answer(Reply::Stream(vec![b": ping\n\n".to_vec(), piece("Hel")], ending)).await;
        let error = failed(&events);
        assert_eq!(
            (error.class, error.partial.text().as_str()),
            (ErrorClass::Network, "Hel"),
            "{ending:?}"
        );
        assert_eq!(
            error.message,
            "The connection to the AI provider acme broke before the answer was complete."
        );
    }
    let only_comments = answer(Reply::Stream(vec![b": ping\n\n: ping\n\n".to_vec()], Ending::Proper)).await;
    assert_eq!(failed(&only_comments).class, ErrorClass::Network);
    let nothing = answer(Reply::Stream(Vec::new(), Ending::Proper)).await;
    assert_eq!(failed(&nothing).class, ErrorClass::Network);
    assert_eq!(failed(&answer(Reply::Close).await).class, ErrorClass::Network);
}

#[tokio::test]
async fn garbage_is_named_as_such() {
    for body in [
        "<!doctype html><html>Sign in</html>",
        "{\"hello\":1}",
        "data: <html>\n\n",
        "data: {\"choices\":7}\n\n",
    ] {
        let events = answer(Reply::text(200, body)).await;
        let error = failed(&events);
        assert_eq!(error.class, ErrorClass::Format, "{body}");
        assert!(error.message.contains("not in the expected form"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = json!({
        "id": "c1",
        "choices": [{"message": {"role": "assistant", "content": "All at once"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
    });
    let events = answer(Reply::json(200, &body)).await;
    assert_eq!(done(&events).text(), "All at once");
    assert_eq!(done(&events).usage.output, 3);
    let body = json!({"error": {"message": "prompt is too long"}});
    assert_eq!(
        failed(&answer(Reply::json(200, &body)).await).class,
        ErrorClass::ContextOverflow
    );
}

#[tokio::test]
async fn refused_status_gives_class_detail_and_wait() {
    let body = r#"{"error":{"message":"slow down; key sk-test-0123456789, header acme header","type":"rate_limit"}}"#;
    let events = answer(Reply::Full(
        429,
        vec![("retry-after", "7".to_owned())],
        body.as_bytes().to_vec(),
    ))
    .await;
    let error = failed(&events);
    assert_eq!(events.len(), 1, "an error answer never starts");
    assert_eq!(
        (error.class, error.status, error.retry_after),
        (ErrorClass::RateLimit, Some(429), Some(Duration::from_secs(7)))
    );
    assert_eq!(error.detail, "rate_limit: slow down; key •••, header •••");
    assert!(error.message.contains("7 seconds") && !error.message.contains("slow down"));

    let huge = answer(Reply::text(500, vec![b'x'; 1_000_000])).await;
    assert_eq!(failed(&huge).detail.chars().count(), 1_000);
}

#[tokio::test]
async fn addresses_are_checked() {
    let provider = ChatCompletions::new(Egress::new(EgressSettings::default()));
    for base in [
        "http://127.0.0.1:9/v1",
        "https://10.0.0.1/v1",
        "http://api.example.com/v1",
        "nonsense",
        "",
    ] {
        let events = collect(&provider, request(base, vec![Message::user("hi", 1)])).await;
        let error = failed(&events);
        assert_eq!(error.class, ErrorClass::Format, "{base}");
        assert!(error.message.contains("Settings → AI Providers"), "{}", error.message);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let provider = ChatCompletions::new(FakeServer::egress());
    let events = collect(&provider, request(&format!("http://{address}"), Vec::new())).await;
    assert_eq!(failed(&events).class, ErrorClass::Network);
    assert_eq!(failed(&events).message, "The AI provider acme could not be reached.");
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_call() {
    let server = FakeServer::start(|_| Reply::Stream(vec![piece("Hel")], Ending::Silence)).await;
    let provider = ChatCompletions::new(FakeServer::egress());
    let mut stream = provider.stream(request(&server.url("/v1"), vec![Message::user("hi", 1)]));
    assert!(matches!(stream.next().await, Some(ModelEvent::Start)));
    assert!(matches!(stream.next().await, Some(ModelEvent::TextDelta(_))));
    drop(stream);
    // The server sees the connection close: it reads the end and forgets the socket.
    tokio::time::timeout(Duration::from_secs(20), server.closed(1))
        .await
        .expect("the connection is closed");
}

/// A PDF and a sound with their bytes, and a PDF whose bytes are gone.
pub(in crate::providers) fn files() -> Vec<Part> {
    let file = |mime_type: &str, name: &str, data: Option<&str>| Part::File {
        data: data.map(str::to_owned),
        blob: Some("b1".to_owned()),
        mime_type: mime_type.to_owned(),
        name: name.to_owned(),
        size: 5,
    };
    vec![
        file("application/pdf", "a.pdf", Some("JVBERi0=")),
        file("audio/mpeg", "b.mp3", Some("SUQz")),
        file("application/pdf", "c.pdf", None),
    ]
}
