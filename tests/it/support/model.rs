//! A scripted model behind the OpenAI Chat Completions wire format.
//!
//! What it does stands in the newest user message, in brackets: `[gate]` (each chunk waits for the test),
//! `[slow:MS]` (pause before each chunk), `[tool:NAME]` (calls a tool first; [`calls_tool`] orders it with arguments;
//! `[rounds:N]` so often, each time but the first after a permit where there is a `[gate]`),
//! `[thinks:A|B]` is thought in these pieces before anything is said,
//! `[words:TEXT]` is said before a tool is called, `[pieces:A|B]` answers with these pieces;
//! `[garbage]`, `[cut]`, `[hang]`, `[say:TEXT]` (answers exactly that; [`says`] orders a text with brackets of its own),
//! `[status:CODE]`, `[die]` (kills the server under test). Without an order it answers at once. An answer is
//! `re:` and the words of the message that start with `#`, so a test knows which question it answers.
//!
//! `[key:NAME:CODE]` and `[model:ID:CODE]` are statuses for requests with that key or for that model; the code `402` comes
//! with words about credit, `cut` is a stream that ends in the middle of its first, unseen word, `seen` one that ends
//! after words were sent, when the test says so, `limit` a refusal of a prompt that is too long, `gate` waits for the test and then gives 500.
//! `[after:ID:CODE]` is the same for that model once it has a tool's answer.
//!
//! A request to summarise a conversation is answered as [`Model::summarises`] says, whatever stands in it. A prompt that
//! is too large is refused, or counted as larger than the window, as the test says.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::serving::Serving;
use super::wait::eventually;

type Piece = Result<Bytes, std::io::Error>;

/// What it does when it is asked to summarise.
#[derive(Clone)]
pub(crate) enum Summary {
    Says(String),
    /// Says this, and is cut for its length.
    IsCut(String),
    Status(u16),
    Hangs,
    /// Kills the server under test.
    Dies,
}

/// Prompts of more bytes than this get this answer.
#[derive(Clone)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// How prompts are counted.
#[derive(Clone, Copy, Default)]
struct Counting {
    /// A token for each four bytes, instead of a dozen for everything.
    real: bool,
    /// Prompts of more bytes than the first have the second's tokens.
    more: Option<(usize, usize)>,
}

impl Counting {
    fn tokens(self, bytes: usize) -> usize {
        match self.more {
            Some((most, tokens)) if bytes > most => tokens,
            _ if self.real => bytes / 4,
            _ => 12,
        }
    }
}

struct State {
    /// Bodies of all requests, in order of arrival.
    calls: Mutex<Vec<Value>>,
    /// Their keys.
    keys: Mutex<Vec<String>>,
    /// Chunks that a `[gate]` answer may still send.
    gate: Semaphore,
    /// Answers being streamed.
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// Process that `[die]` kills; 0 = nobody.
    victim: AtomicU32,
    summary: Mutex<Summary>,
    limit: Mutex<Option<Limit>>,
    counting: Mutex<Counting>,
    /// Bodies of all requests for vectors, and the status they get instead of an answer.
    embedded: Mutex<Vec<Value>>,
    embeds: Mutex<Option<u16>>,
    /// Forms of all requests to write down a sound.
    heard: Mutex<Vec<String>>,
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
            keys: Mutex::default(),
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            victim: AtomicU32::new(0),
            summary: Mutex::new(Summary::Says("a summary".to_owned())),
            limit: Mutex::default(),
            counting: Mutex::default(),
            embedded: Mutex::default(),
            embeds: Mutex::default(),
            heard: Mutex::default(),
        });
        let data = Data::from(state.clone());
        let serving = Serving::start(move |config| {
            config
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 << 20))
                .route("/v1/chat/completions", web::post().to(complete))
                .route("/v1/embeddings", web::post().to(embed))
                .route("/v1/audio/speech", web::post().to(speak))
                .route("/v1/audio/transcriptions", web::post().to(hear))
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

    /// `key model` of all requests so far.
    pub(crate) fn used(&self) -> Vec<String> {
        let calls = self.calls();
        let keys = locked(&self.state.keys);
        let used = keys.iter().zip(&calls);
        used.map(|(key, call)| format!("{key} {}", call["model"].as_str().unwrap_or_default()))
            .collect()
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

    /// How it answers when it is asked to summarise from now on.
    pub(crate) fn summarises(&self, summary: Summary) {
        *locked(&self.state.summary) = summary;
    }

    /// What it refuses from now on; summaries never.
    pub(crate) fn refuses(&self, limit: Option<Limit>) {
        *locked(&self.state.limit) = limit;
    }

    /// Counts prompts by their size from now on.
    pub(crate) fn counts_tokens(&self) {
        locked(&self.state.counting).real = true;
    }

    /// Says that prompts of more than `bytes` have this many tokens, and answers them all the same.
    pub(crate) fn counts_more(&self, bytes: usize, tokens: usize) {
        locked(&self.state.counting).more = Some((bytes, tokens));
    }

    /// All texts it was asked to make vectors of so far, in order.
    pub(crate) fn embedded(&self) -> Vec<String> {
        let calls = locked(&self.state.embedded).clone();
        let texts = calls.iter().filter_map(|call| call["input"].as_array()).flatten();
        texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Answers requests for vectors with this status from now on.
    pub(crate) fn embeds(&self, status: Option<u16>) {
        *locked(&self.state.embeds) = status;
    }

    /// All sounds it was asked to write down so far, with what stood beside them.
    pub(crate) fn heard(&self) -> Vec<String> {
        locked(&self.state.heard).clone()
    }

    /// Whom `[die]` kills.
    pub(crate) fn aim(&self, pid: u32) {
        self.state.victim.store(pid, Ordering::SeqCst);
    }
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is it a request to summarise a conversation.
pub(crate) fn is_summary(call: &Value) -> bool {
    call["messages"][0]["content"]
        .to_string()
        .contains("You summarise a conversation")
}

/// All messages of a request but the system prompt, as JSON.
pub(crate) fn prompt(call: &Value) -> String {
    let messages = call["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    json!(messages.get(1..).unwrap_or_default()).to_string()
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
    if let Some(text) = order(question, "say") {
        return text.to_owned();
    }
    if let Some(text) = order(question, "text") {
        return decoded(text);
    }
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

/// The order to answer exactly this, whatever stands in it.
pub(crate) fn says(text: &str) -> String {
    format!("[text:{}]", URL_SAFE_NO_PAD.encode(text))
}

/// The order to call a tool with arguments.
pub(crate) fn calls_tool(tool: &str, arguments: &Value) -> String {
    format!("[tool:{tool}] [with:{}]", URL_SAFE_NO_PAD.encode(arguments.to_string()))
}

fn decoded(text: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("the test encoded it");
    String::from_utf8(bytes).expect("JSON is text")
}

/// How often the tool is called.
fn rounds(question: &str) -> usize {
    order(question, "rounds")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
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

/// Groups of words that mean the same here. Everything else means nothing in particular.
const MEANINGS: [&[&str]; 3] = [
    &["car", "automobile", "vehicle"],
    &["dinner", "pasta", "supper"],
    &["cat", "kitten", "miso"],
];

/// A vector with a dimension for each group, and one for the rest.
pub(crate) fn vector(text: &str) -> Vec<f32> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .collect();
    let mut vector = vec![0.0; MEANINGS.len()];
    for (number, group) in vector.iter_mut().zip(MEANINGS) {
        *number = if words.iter().any(|word| group.contains(&word.as_str())) {
            1.0
        } else {
            0.0
        };
    }
    let rest = if vector.iter().all(|number| *number == 0.0) {
        1.0
    } else {
        0.1
    };
    vector.push(rest);
    vector
}

async fn embed(body: Bytes, state: Data<State>) -> HttpResponse {
    let call: Value = serde_json::from_slice(&body).expect("the product sends JSON");
    let texts = call["input"].as_array().cloned().expect("a list of texts");
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text.as_str().expect("texts"))}))
        .collect();
    locked(&state.embedded).push(call);
    if let Some(status) = *locked(&state.embeds) {
        let status = actix_web::http::StatusCode::from_u16(status).expect("the test orders a real status");
        return HttpResponse::build(status).json(json!({"error": {"message": "ordered by the test"}}));
    }
    HttpResponse::Ok().json(
        json!({"object": "list", "data": data, "usage": {"prompt_tokens": texts.len(), "total_tokens": texts.len()}}),
    )
}

/// A sound that says what it is. A text with the word `gate` waits for the test.
async fn speak(body: Bytes, state: Data<State>) -> HttpResponse {
    let call: Value = serde_json::from_slice(&body).expect("the product sends JSON");
    let of = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
    if of("input").contains("gate") {
        state.gate.acquire().await.expect("the gate is never closed").forget();
    }
    let sound = format!("OggS {} {} {}", of("response_format"), of("voice"), of("input"));
    HttpResponse::Ok().content_type("audio/ogg").body(sound)
}

/// What follows `says` in the sound, which has the length that it says; a sound that says `[status:CODE]` gets that instead, and
/// `[hang]` no answer.
async fn hear(body: Bytes, state: Data<State>) -> HttpResponse {
    let form = String::from_utf8_lossy(&body).into_owned();
    locked(&state.heard).push(form.clone());
    let said = form.split_once(" says ").map_or("", |(_, rest)| rest);
    let said = said.split("\r\n").next().unwrap_or_default();
    if said.contains("[gate]") {
        state.gate.acquire().await.expect("nobody closes it").forget();
    }
    if said.contains("[hang]") {
        std::future::pending::<()>().await;
    }
    if let Some(status) = order(said, "status").and_then(|code| code.parse().ok()) {
        let status = actix_web::http::StatusCode::from_u16(status).expect("the test orders a real status");
        return HttpResponse::build(status).json(json!({"error": {"message": "ordered by the test"}}));
    }
    HttpResponse::Ok().json(json!({"text": said, "usage": {"type": "duration", "seconds": 7}}))
}

async fn models() -> HttpResponse {
    HttpResponse::Ok().json(json!({"object": "list", "data": [{"id": "mock-1", "object": "model"}]}))
}

/// What is ordered for this key or model.
fn ordered(question: &str, key: &str, model: &str, answered_tool: bool) -> Option<String> {
    let of = |name: String| order(question, &name).map(str::to_owned);
    let after = of(format!("after:{model}")).filter(|_| answered_tool);
    after
        .or_else(|| of(format!("key:{key}")))
        .or_else(|| of(format!("model:{model}")))
}

async fn complete(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let authorization = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let key = authorization
        .unwrap_or_default()
        .trim_start_matches("Bearer ")
        .to_owned();
    let call: Value = serde_json::from_slice(&body).expect("the product sends JSON");
    let question = question(&call);
    let messages = call["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let answered = messages.iter().rev().take_while(|message| message["role"] != "user");
    let rounds_done = answered.filter(|message| message["role"] == "tool").count();
    let (bytes, summary) = (prompt(&call).len(), is_summary(&call));
    let ordered = ordered(
        &question,
        &key,
        call["model"].as_str().unwrap_or_default(),
        rounds_done > 0,
    );
    {
        // Both lists grow together.
        let mut keys = locked(&state.keys);
        state.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        keys.push(key);
    }
    let running = Running::start(&state);
    if summary {
        return summarise(&state).await;
    }
    if let Some(limit) = locked(&state.limit).clone().filter(|limit| bytes > limit.bytes) {
        let status = actix_web::http::StatusCode::from_u16(limit.status).expect("the test orders a real status");
        return HttpResponse::build(status).json(limit.body);
    }
    let tokens = locked(&state.counting).tokens(bytes);
    if question.contains("[die]") {
        kill(state.victim.load(Ordering::SeqCst));
        return HttpResponse::ServiceUnavailable().finish();
    }
    match ordered.as_deref() {
        None => {}
        Some("cut") => return broken("NO_"),
        Some("seen") => {
            let words = chunk(&json!({"role": "assistant", "content": "half an ans "}), None);
            let broken = async move {
                state.gate.acquire().await.expect("the gate is never closed").forget();
                Err(std::io::Error::other("cut by order of the test"))
            };
            let pieces = stream::once(async { Ok::<_, std::io::Error>(words) }).chain(stream::once(broken));
            return HttpResponse::Ok()
                .content_type("text/event-stream")
                .streaming(pieces.boxed_local());
        }
        Some("limit") => {
            let error = json!({"message": "maximum context length is 10 tokens", "code": "context_length_exceeded"});
            return HttpResponse::BadRequest().json(json!({"error": error}));
        }
        Some("gate") => {
            state.gate.acquire().await.expect("the gate is never closed").forget();
            return HttpResponse::InternalServerError().json(json!({"error": {"message": "ordered by the test"}}));
        }
        Some(code) => {
            let code = code.parse().expect("the test orders a number");
            let status = actix_web::http::StatusCode::from_u16(code).expect("the test orders a real status");
            let message = if code == 402 {
                "Insufficient credits"
            } else {
                "ordered by the test"
            };
            return HttpResponse::build(status).json(json!({"error": {"message": message, "type": "test"}}));
        }
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
        return broken("half an ans");
    } else if let Some(tool) = order(&question, "tool").filter(|_| rounds_done < rounds(&question)) {
        if rounds_done > 0 && question.contains("[gate]") {
            state.gate.acquire().await.expect("the gate is never closed").forget();
        }
        let arguments = order(&question, "with").map_or_else(|| "{}".to_owned(), decoded);
        let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
            "function": {"name": tool, "arguments": arguments}}]});
        let words = order(&question, "words").filter(|_| rounds_done == 0);
        let words = words.into_iter().flat_map(|words| words.split_inclusive(' '));
        let said: Vec<Piece> = words.map(|word| Ok(chunk(&json!({"content": word}), None))).collect();
        let end = [
            Ok(chunk(&call, None)),
            Ok(chunk(&json!({}), Some("tool_calls"))),
            Ok(done(tokens)),
        ];
        stream::iter(said.into_iter().chain(end)).boxed()
    } else {
        let pause = order(&question, "slow").and_then(|text| text.parse().ok()).unwrap_or(0);
        let gated = question.contains("[gate]");
        let text = answer(&question);
        let pieces: Vec<&str> = match order(&question, "pieces") {
            Some(pieces) => pieces.split('|').collect(),
            None => text.split_inclusive(' ').collect(),
        };
        let thoughts = order(&question, "thinks")
            .into_iter()
            .flat_map(|thoughts| thoughts.split('|'));
        let mut words: Vec<_> = thoughts
            .map(|thought| chunk(&json!({"reasoning_content": thought}), None))
            .chain(pieces.into_iter().map(|word| chunk(&json!({"content": word}), None)))
            .collect();
        words.push(chunk(&json!({}), Some("stop")));
        words.push(done(tokens));
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

/// A stream that ends in the middle, after these words.
fn broken(words: &str) -> HttpResponse {
    let pieces: [Piece; 2] = [
        Ok(chunk(&json!({"role": "assistant", "content": words}), None)),
        Err(std::io::Error::other("cut by order of the test")),
    ];
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(stream::iter(pieces))
}

fn chunk(delta: &Value, finish: Option<&str>) -> Bytes {
    let frame = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "mock-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    // `␀` stands for U+0000, which no order may hold.
    let frame = frame.to_string().replace('␀', "\\u0000");
    Bytes::from(format!("data: {frame}\n\n"))
}

async fn summarise(state: &Data<State>) -> HttpResponse {
    let summary = locked(&state.summary).clone();
    match summary {
        Summary::Says(ref text) | Summary::IsCut(ref text) => {
            let cut = matches!(summary, Summary::IsCut(_));
            let frames = [
                chunk(&json!({"content": text}), None),
                chunk(&json!({}), Some(if cut { "length" } else { "stop" })),
                done(12),
            ];
            HttpResponse::Ok()
                .content_type("text/event-stream")
                .body(frames.concat())
        }
        Summary::Status(code) => {
            let status = actix_web::http::StatusCode::from_u16(code).expect("the test orders a real status");
            HttpResponse::build(status).json(json!({"error": {"message": "ordered by the test", "type": "test"}}))
        }
        Summary::Hangs => std::future::pending().await,
        Summary::Dies => {
            kill(state.victim.load(Ordering::SeqCst));
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

fn done(tokens: usize) -> Bytes {
    let usage = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "mock-1", "choices": [],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3}});
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
