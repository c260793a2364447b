//! A scripted model behind the OpenAI Chat Completions wire format.
//!
//! What it does stands in the newest user message, in brackets: `[gate]` (each chunk waits for the test),
//! `[slow:MS]` (pause before each chunk), `[tool:NAME]` (calls a tool first; [`calls_tool`] orders it with arguments),
//! `[garbage]`, `[cut]`, `[hang]`,
//! `[status:CODE]`, `[die]` (kills the server under test). Without an order it answers at once. An answer is
//! `re:` and the words of the message that start with `#`, so a test knows which question it answers.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::serving::Serving;
use super::wait::eventually;

type Piece = Result<Bytes, std::io::Error>;

struct State {
    /// Bodies of all requests, in order of arrival.
    calls: Mutex<Vec<Value>>,
    /// Chunks that a `[gate]` answer may still send.
    gate: Semaphore,
    /// Answers being streamed.
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// Process that `[die]` kills; 0 = nobody.
    victim: AtomicU32,
}

/// Handle on the fake.
pub(crate) struct Model {
    serving: Serving,
    state: Arc<State>,
}

impl Model {
    pub(crate) fn start() -> Self {
        let state = Arc::new(State {
            calls: Mutex::default(),
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            victim: AtomicU32::new(0),
        });
        let data = Data::from(state.clone());
        let serving = Serving::start(move |config| {
            config
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 << 20))
                .route("/v1/chat/completions", web::post().to(complete))
                .route("/v1/models", web::get().to(models));
        });
        Self { serving, state }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.serving.address)
    }

    /// Bodies of all requests so far.
    pub(crate) fn calls(&self) -> Vec<Value> {
        self.state.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a request whose newest user message holds `part`.
    pub(crate) async fn asked(&self, part: &str) -> Value {
        eventually(&format!("the model was asked {part:?}"), || async {
            self.calls().into_iter().find(|call| question(call).contains(part))
        })
        .await
    }

    /// Lets `[gate]` answers send this many more chunks.
    pub(crate) fn release(&self, chunks: usize) {
        self.state.gate.add_permits(chunks);
    }

    /// Answers being streamed right now.
    pub(crate) fn running(&self) -> usize {
        self.state.running.load(Ordering::SeqCst)
    }

    /// Most answers streamed at the same time.
    pub(crate) fn most_running(&self) -> usize {
        self.state.most_running.load(Ordering::SeqCst)
    }

    /// Whom `[die]` kills.
    pub(crate) fn aim(&self, pid: u32) {
        self.state.victim.store(pid, Ordering::SeqCst);
    }
}

/// Text of the newest user message of a request. What the original gateway adds behind it is none.
pub(crate) fn question(call: &Value) -> String {
    let messages = call["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().rev().filter(|message| message["role"] == "user");
    said.map(|message| match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    })
    .find(|text| !text.starts_with("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>"))
    .unwrap_or_default()
}

/// What the model answers to `question`.
pub(crate) fn answer(question: &str) -> String {
    let tags: Vec<_> = question
        .split_whitespace()
        .filter(|word| word.starts_with('#'))
        .collect();
    format!("re: {} end", tags.join(" "))
}

/// The text after `[name:` up to `]`.
fn order<'a>(question: &'a str, name: &str) -> Option<&'a str> {
    let start = question.rfind(&format!("[{name}:"))? + name.len() + 2;
    question[start..].split(']').next()
}

/// The order to call a tool with arguments.
pub(crate) fn calls_tool(tool: &str, arguments: &Value) -> String {
    format!("[tool:{tool}] [with:{}]", URL_SAFE_NO_PAD.encode(arguments.to_string()))
}

fn decoded(text: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("the test encoded it");
    String::from_utf8(bytes).expect("JSON is text")
}

struct Running(Data<State>);

impl Running {
    fn start(state: &Data<State>) -> Self {
        let now = state.running.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_running.fetch_max(now, Ordering::SeqCst);
        Self(state.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn models() -> HttpResponse {
    HttpResponse::Ok().json(json!({"object": "list", "data": [{"id": "mock-1", "object": "model"}]}))
}

async fn complete(body: Bytes, state: Data<State>) -> HttpResponse {
    let call: Value = serde_json::from_slice(&body).expect("the product sends JSON");
    let question = question(&call);
    let answered_tool = call["messages"]
        .as_array()
        .and_then(|all| all.last())
        .is_some_and(|last| last["role"] == "tool");
    state.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    let running = Running::start(&state);
    if question.contains("[die]") {
        kill(state.victim.load(Ordering::SeqCst));
        return HttpResponse::ServiceUnavailable().finish();
    }
    if question.contains("[hang]") {
        std::future::pending::<()>().await;
    }
    if let Some(status) = order(&question, "status").and_then(|code| code.parse().ok()) {
        let status = actix_web::http::StatusCode::from_u16(status).expect("the test orders a real status");
        return HttpResponse::build(status)
            .json(json!({"error": {"message": "ordered by the test", "type": "test", "code": null}}));
    }
    let pieces: BoxStream<'static, Piece> = if question.contains("[garbage]") {
        stream::iter([Ok(Bytes::from_static(
            b"data: {\"choices\": [{\xff\xfe\n\ndata: nonsense\n\n",
        ))])
        .boxed()
    } else if question.contains("[cut]") {
        let broken = std::io::Error::other("cut by order of the test");
        stream::iter([
            Ok(chunk(&json!({"role": "assistant", "content": "half an ans"}), None)),
            Err(broken),
        ])
        .boxed()
    } else if let Some(tool) = order(&question, "tool").filter(|_| !answered_tool) {
        let arguments = order(&question, "with").map_or_else(|| "{}".to_owned(), decoded);
        let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
            "function": {"name": tool, "arguments": arguments}}]});
        stream::iter([
            Ok(chunk(&call, None)),
            Ok(chunk(&json!({}), Some("tool_calls"))),
            Ok(done()),
        ])
        .boxed()
    } else {
        let pause = order(&question, "slow").and_then(|text| text.parse().ok()).unwrap_or(0);
        let gated = question.contains("[gate]");
        let text = answer(&question);
        let mut words: Vec<_> = text
            .split_inclusive(' ')
            .map(|word| chunk(&json!({"content": word}), None))
            .collect();
        words.push(chunk(&json!({}), Some("stop")));
        words.push(done());
        let state = state.clone();
        stream::iter(words)
            .then(move |word| {
                let state = state.clone();
                async move {
                    if pause > 0 {
                        sleep(Duration::from_millis(pause)).await;
                    }
                    if gated {
                        state.gate.acquire().await.expect("the gate is never closed").forget();
                    }
                    Ok(word)
                }
            })
            .boxed()
    };
    // The guard lives as long as the stream: a client that hangs up ends it.
    let pieces = pieces.map(move |piece| {
        let _ = &running;
        piece
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(pieces)
}

fn chunk(delta: &Value, finish: Option<&str>) -> Bytes {
    let frame = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "mock-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    Bytes::from(format!("data: {frame}\n\n"))
}

fn done() -> Bytes {
    let usage = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "mock-1", "choices": [],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}});
    Bytes::from(format!("data: {usage}\n\ndata: [DONE]\n\n"))
}

/// SIGKILL by process id.
pub(crate) fn kill(pid: u32) {
    assert!(pid > 1, "the test named nobody to kill");
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "kill -KILL {pid} failed");
}
