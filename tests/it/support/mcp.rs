//! An MCP server scripted by the test, over streamable HTTP: of the revision the test wants, with the faults it orders.
//! It records every message, and what came with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::serving::Serving;
use super::wait::eventually;

/// The smallest PNG there is.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A message as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// `tools/call`, …; `DELETE` and `GET` for what is no message.
    pub(crate) method: String,
    pub(crate) params: Value,
    /// `authorization`, `mcp-session-id`, `mcp-protocol-version`, …: all headers, in small letters.
    pub(crate) headers: HashMap<String, String>,
}

/// What it does with the next message of a method instead of doing it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Status(u16),
    /// Never answers.
    Hang,
    /// The connection breaks in the middle of the answer.
    Cut,
    /// So many bytes of text.
    Huge(usize),
    /// 307 to this address.
    Redirect(String),
}

struct State {
    /// Revision of the protocol; from 2026-07-28 on there is no session.
    revision: Mutex<&'static str>,
    /// Answers come as events.
    streams: Mutex<bool>,
    /// The one `authorization` that is let in.
    credentials: Mutex<Option<String>>,
    tools: Mutex<Vec<Value>>,
    heard: Mutex<Vec<Heard>>,
    faults: Mutex<HashMap<String, VecDeque<Fault>>>,
    sessions: Mutex<HashSet<String>>,
    news: broadcast::Sender<Value>,
}

/// Handle on the fake.
pub(crate) struct McpServer {
    serving: Serving,
    state: Arc<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tool that says of itself that it changes nothing.
pub(crate) fn reads(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description, "annotations": {"readOnlyHint": true},
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
}

/// A tool that may change something.
pub(crate) fn acts(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description,
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
}

impl McpServer {
    /// With `echo`, which reads, and `act`, which may not.
    pub(crate) fn start() -> Self {
        let state = Arc::new(State {
            revision: Mutex::new("2025-11-25"),
            streams: Mutex::new(false),
            credentials: Mutex::new(None),
            tools: Mutex::new(vec![reads("echo", "Says it again."), acts("act", "Does something.")]),
            heard: Mutex::default(),
            faults: Mutex::default(),
            sessions: Mutex::default(),
            news: broadcast::channel(16).0,
        });
        let data = Data::from(state.clone());
        let serving = Serving::start(move |config| {
            config
                .app_data(data.clone())
                .route("/mcp", web::post().to(message))
                .route("/mcp", web::get().to(listen))
                .route("/mcp", web::delete().to(end));
        });
        Self { serving, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.serving.address)
    }

    pub(crate) fn speaks(&self, revision: &'static str, streams: bool) {
        *lock(&self.state.revision) = revision;
        *lock(&self.state.streams) = streams;
    }

    /// Lets in this `authorization` only.
    pub(crate) fn lets_in(&self, credentials: &str) {
        *lock(&self.state.credentials) = Some(credentials.to_owned());
    }

    pub(crate) fn offers(&self, tools: Vec<Value>) {
        *lock(&self.state.tools) = tools;
    }

    /// Tells everybody who listens that the tools are others.
    pub(crate) fn says_tools_changed(&self) {
        let news = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        self.state.news.send(news).expect("somebody listens");
    }

    /// The next message of this method gets into trouble.
    pub(crate) fn fails(&self, method: &str, fault: Fault) {
        lock(&self.state.faults)
            .entry(method.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// Knows no session any more.
    pub(crate) fn forgets_sessions(&self) {
        lock(&self.state.sessions).clear();
    }

    /// All messages of this method so far.
    pub(crate) fn heard(&self, method: &str) -> Vec<Heard> {
        let heard = lock(&self.state.heard);
        heard.iter().filter(|heard| heard.method == method).cloned().collect()
    }

    /// Waits for a message of this method.
    pub(crate) async fn hears(&self, method: &str) -> Heard {
        eventually(&format!("a message {method}"), || async { self.heard(method).pop() }).await
    }
}

fn note(state: &State, request: &HttpRequest, method: &str, params: Value) {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    lock(&state.heard).push(Heard {
        method: method.to_owned(),
        params,
        headers: headers.collect(),
    });
}

async fn message(request: HttpRequest, state: Data<State>, body: Bytes) -> HttpResponse {
    let message: Value = serde_json::from_slice(&body).expect("a message is JSON");
    let method = message["method"].as_str().unwrap_or("answer").to_owned();
    note(&state, &request, &method, message["params"].clone());
    if let Some(wanted) = lock(&state.credentials).clone() {
        let shown = request
            .headers()
            .get("authorization")
            .map(|value| value.as_bytes().to_vec());
        if shown.as_deref() != Some(wanted.as_bytes()) {
            return HttpResponse::Unauthorized()
                .insert_header(("www-authenticate", "Bearer"))
                .finish();
        }
    }
    let fault = lock(&state.faults).get_mut(&method).and_then(VecDeque::pop_front);
    match fault {
        None => {}
        Some(Fault::Status(status)) => {
            return HttpResponse::build(status.try_into().expect("a status")).body("no");
        }
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Cut) => {
            let pieces = [
                Ok(Bytes::from_static(b"{\"jsonrpc\"")),
                Err(std::io::Error::other("cut")),
            ];
            return HttpResponse::Ok()
                .content_type("application/json")
                .streaming(stream::iter(pieces));
        }
        Some(Fault::Redirect(to)) => {
            return HttpResponse::TemporaryRedirect()
                .insert_header(("location", to))
                .finish();
        }
        Some(Fault::Huge(bytes)) => {
            let content = json!([{"type": "text", "text": "x".repeat(bytes)}]);
            return answered(&state, &message["id"], &json!({"content": content}));
        }
    }
    let modern = *lock(&state.revision) >= "2026-07-28";
    let session = request
        .headers()
        .get("mcp-session-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    if method == "initialize" && !modern {
        return initialize(&state, &message["id"]);
    }
    match &session {
        Some(id) if !lock(&state.sessions).contains(id) => return HttpResponse::NotFound().finish(),
        // As the reference SDK refuses what it does not know, a question about revisions too.
        None if !modern => {
            let error =
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "Bad Request: no session"}});
            return HttpResponse::BadRequest().json(error);
        }
        Some(_) | None => {}
    }
    let result = match method.as_str() {
        "server/discover" => json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 1000,
            "cacheScope": "private", "capabilities": {"tools": {"listChanged": true}},
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "1"}}}),
        "tools/list" => {
            let tools = lock(&state.tools).clone();
            if modern {
                json!({"resultType": "complete", "tools": tools, "ttlMs": 60_000, "cacheScope": "private"})
            } else {
                json!({"tools": tools})
            }
        }
        "tools/call" => called(&message["params"]).await,
        _ => return HttpResponse::Accepted().finish(),
    };
    answered(&state, &message["id"], &result)
}

fn initialize(state: &State, id: &Value) -> HttpResponse {
    let mut sessions = lock(&state.sessions);
    let session = format!("s-{}-{}", sessions.len(), lock(&state.heard).len());
    sessions.insert(session.clone());
    let result = json!({"protocolVersion": *lock(&state.revision), "serverInfo": {"name": "scripted", "version": "1"},
        "capabilities": {"tools": {"listChanged": true}}});
    HttpResponse::Ok()
        .insert_header(("mcp-session-id", session))
        .json(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

async fn called(params: &Value) -> Value {
    let text = |text: String| json!({"content": [{"type": "text", "text": text}]});
    match params["name"].as_str().unwrap_or_default() {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Value::Null
        }
        "fail" => json!({"isError": true, "content": [{"type": "text", "text": "it did not work"}]}),
        "picture" => json!({"content": [
            {"type": "text", "text": "a picture"}, {"type": "image", "data": PNG, "mimeType": "image/png"},
            {"type": "image", "data": "bm90IGFuIGltYWdl", "mimeType": "image/png"}]}),
        name => text(format!(
            "{name} says {}",
            params["arguments"]["text"].as_str().unwrap_or("nothing")
        )),
    }
}

fn answered(state: &State, id: &Value, result: &Value) -> HttpResponse {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    if *lock(&state.streams) {
        let events = format!(": hello\n\nevent: message\nid: 1\ndata: {message}\n\n");
        HttpResponse::Ok().content_type("text/event-stream").body(events)
    } else {
        HttpResponse::Ok().json(message)
    }
}

async fn listen(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let news = state.news.subscribe();
    note(&state, &request, "GET", Value::Null);
    if *lock(&state.revision) >= "2026-07-28" {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let news = stream::unfold(news, |mut news| async move {
        let message = news.recv().await.ok()?;
        Some((
            Ok::<_, std::io::Error>(Bytes::from(format!("data: {message}\n\n"))),
            news,
        ))
    });
    let first = stream::iter([Ok(Bytes::from_static(b": open\n\n"))]);
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(first.chain(news))
}

async fn end(request: HttpRequest, state: Data<State>) -> HttpResponse {
    note(&state, &request, "DELETE", Value::Null);
    HttpResponse::NoContent().finish()
}
