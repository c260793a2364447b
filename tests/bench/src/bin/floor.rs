//! The floor: the least an actix-web server can do for what the product does, so that ratios mean something.
//!
//! - `GET /plain` answers `ok`
//! - `POST /hook` checks an HMAC and parses the JSON
//! - `POST /durable` is `/hook` plus a committed row (SQLite WAL, `synchronous=FULL`, group commit) before the answer
//! - `POST /turn` is `/durable`, a streamed model call with a 40 KB prompt, and a committed reply before the answer
//! - `GET /ws` and `GET /wsa` echo over a WebSocket, without and with an actor per connection
//!
//! `--port`, `--workers`, `--db <file>` (for the last two POSTs), `--model <address>`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use actix::{Actor, StreamHandler};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use claw_bench::args::Args;
use claw_bench::sign;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Rows of one transaction at most.
const GROUP: usize = 256;
/// Rows that may wait for the writer.
const WAITING: usize = 65_536;
/// Calls of the model at the same time, a worker.
const MODEL_CALLS: usize = 20_000;
/// Size of the system prompt of a turn, bytes.
const PROMPT: usize = 40_000;

struct Row {
    text: String,
    committed: oneshot::Sender<()>,
}

struct State {
    key: ring::hmac::Key,
    writer: Option<SyncSender<Row>>,
    model: String,
    turns: AtomicU64,
}

/// Commits what waits, in groups, for as long as somebody can send.
fn write_rows(path: &str, rows: &Receiver<Row>) -> rusqlite::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        // A leftover of an earlier run; usually there is none.
        let _ = std::fs::remove_file(format!("{path}{suffix}"));
    }
    let mut connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         CREATE TABLE event (id INTEGER PRIMARY KEY, event_key TEXT NOT NULL UNIQUE, body TEXT NOT NULL);",
    )?;
    let mut number = 0_u64;
    let mut group = Vec::with_capacity(GROUP);
    while let Ok(first) = rows.recv() {
        group.push(first);
        group.extend(rows.try_iter().take(GROUP - 1));
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO event (event_key, body) VALUES (?1, ?2)")?;
            for row in &group {
                number += 1;
                insert.execute((format!("update:{number}"), &row.text))?;
            }
        }
        transaction.commit()?;
        for row in group.drain(..) {
            // The caller may have hung up; its row is stored all the same.
            let _ = row.committed.send(());
        }
    }
    Ok(())
}

impl State {
    fn proven(&self, request: &HttpRequest, body: &[u8]) -> bool {
        let signature = request
            .headers()
            .get(sign::FLOOR_HEADER)
            .and_then(|value| value.to_str().ok());
        signature.is_some_and(|signature| sign::verify(&self.key, signature, body))
            && serde_json::from_slice::<Value>(body).is_ok()
    }

    async fn store(&self, text: String) -> bool {
        let Some(writer) = &self.writer else { return false };
        let (committed, wait) = oneshot::channel();
        writer.try_send(Row { text, committed }).is_ok() && wait.await.is_ok()
    }
}

async fn plain() -> &'static str {
    "ok"
}

async fn hook(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    if !state.proven(&request, &body) {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok().body("ok")
}

async fn durable(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    if !state.proven(&request, &body) {
        return HttpResponse::Unauthorized().finish();
    }
    if !state.store(String::from_utf8_lossy(&body).into_owned()).await {
        return HttpResponse::ServiceUnavailable().finish();
    }
    HttpResponse::Ok().body("ok")
}

async fn turn(request: HttpRequest, body: Bytes, state: Data<State>, client: Data<awc::Client>) -> HttpResponse {
    if !state.proven(&request, &body) {
        return HttpResponse::Unauthorized().finish();
    }
    if !state.store(String::from_utf8_lossy(&body).into_owned()).await {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let number = state.turns.fetch_add(1, Ordering::Relaxed);
    let prompt = json!({"model": "mock", "stream": true, "messages": [
        {"role": "system", "content": "s".repeat(PROMPT)},
        {"role": "user", "content": format!("ping {number}")},
    ]});
    let url = format!("http://{}/v1/chat/completions", state.model);
    let Ok(mut answer) = client.post(url).send_json(&prompt).await else {
        return HttpResponse::BadGateway().finish();
    };
    let mut reply = String::new();
    let mut pending = Vec::new();
    while let Some(Ok(bytes)) = answer.next().await {
        pending.extend_from_slice(&bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            if let Some(data) = pending[..end].strip_prefix(b"data: ")
                && let Ok(event) = serde_json::from_slice::<Value>(data)
            {
                reply.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
            }
            pending.drain(..=end);
        }
    }
    if !state.store(reply.clone()).await {
        return HttpResponse::ServiceUnavailable().finish();
    }
    HttpResponse::Ok().body(reply)
}

async fn echo(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut stream) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let sent = match message {
                actix_ws::Message::Text(text) => session.text(text).await,
                actix_ws::Message::Ping(bytes) => session.pong(&bytes).await,
                actix_ws::Message::Close(_) => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                break;
            }
        }
    });
    Ok(response)
}

struct Echo;

impl Actor for Echo {
    type Context = WebsocketContext<Self>;
}

impl StreamHandler<Result<Message, ProtocolError>> for Echo {
    fn handle(&mut self, message: Result<Message, ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => context.text(text),
            Ok(Message::Ping(bytes)) => context.pong(&bytes),
            Ok(Message::Close(reason)) => context.close(reason),
            _ => {}
        }
    }
}

async fn echo_actor(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    actix_web_actors::ws::start(Echo, &request, body)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let path = args.text("db", "");
    let writer = (!path.is_empty()).then(|| {
        let (sender, rows) = sync_channel(WAITING);
        std::thread::spawn(move || write_rows(&path, &rows).expect("the floor's database works"));
        sender
    });
    let state = Data::new(State {
        key: sign::key(sign::FLOOR_SECRET),
        writer,
        model: args.text("model", "127.0.0.1:9101"),
        turns: AtomicU64::new(0),
    });
    HttpServer::new(move || {
        let connector = awc::Connector::new().limit(MODEL_CALLS);
        let client = awc::Client::builder().connector(connector).disable_redirects().finish();
        App::new()
            .app_data(state.clone())
            .app_data(Data::new(client))
            .route("/plain", web::get().to(plain))
            .route("/hook", web::post().to(hook))
            .route("/durable", web::post().to(durable))
            .route("/turn", web::post().to(turn))
            .route("/ws", web::get().to(echo))
            .route("/wsa", web::get().to(echo_actor))
    })
    .workers(args.get("workers", 2))
    .max_connections(60_000)
    .backlog(8192)
    .bind(("127.0.0.1", args.get("port", 9201_u16)))?
    .run()
    .await
}
