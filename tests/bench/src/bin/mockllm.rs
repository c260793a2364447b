//! The outside world of a bench: an OpenAI-compatible model and the Telegram and Slack APIs, on one port.
//!
//! The model answers after a fixed time to the first token with a fixed number of tokens at a fixed gap; the last
//! token is ` done.`. `POST /control?ttft=&tokens=&gap=` changes that, `GET /stats` counts. It says that every prompt has 100
//! tokens, or with `&true=1` a fourth of its bytes. A platform call that
//! carries ` done.` counts as the answer of its chat: `GET /answers?chat=&after=` waits for the next one and tells
//! when it came (`at_us`, Unix microseconds). `GET /chats` gives how many answers each chat has had. `GET /secrets` gives
//! the webhook secrets that bots registered.
//!
//! A prompt whose last message from a person holds `mark:<word>` is remembered by that word, and so is what is posted to
//! `/posted/<word>`: `GET /marks?prefix=` tells how often and when each came, as `claw_bench::marks` has it.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::web::{self, Bytes, Data, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use claw_bench::args::Args;
use claw_bench::marks::{self, Mark};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

/// Longest wait of `/answers`.
const WAIT: Duration = Duration::from_secs(60);
const FINAL_WORD: &str = " done.";

#[derive(Default)]
struct World {
    ttft_ms: AtomicU64,
    tokens: AtomicU64,
    gap_ms: AtomicU64,
    true_usage: AtomicBool,
    calls: AtomicU64,
    prompt_bytes: AtomicU64,
    /// As usage says.
    told_tokens: AtomicU64,
    running: AtomicU64,
    most_running: AtomicU64,
    posts: AtomicU64,
    answers: Mutex<HashMap<String, Answers>>,
    secrets: Mutex<HashMap<String, String>>,
    /// Where bots have their updates sent, by token.
    hooks: Mutex<HashMap<String, String>>,
    marks: Mutex<HashMap<String, Marked>>,
    answered: Notify,
}

#[derive(Clone, Copy, Default)]
struct Answers {
    count: u64,
    at_us: u64,
}

/// What came under one word.
#[derive(Default)]
struct Marked {
    mark: Mark,
    /// Idempotency keys of what was posted.
    keys: HashSet<String>,
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn complete(world: Data<World>, body: Bytes) -> HttpResponse {
    let at_us = now_us();
    let number = world.calls.fetch_add(1, Relaxed);
    world.prompt_bytes.fetch_add(body.len() as u64, Relaxed);
    let running = world.running.fetch_add(1, Relaxed) + 1;
    world.most_running.fetch_max(running, Relaxed);
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(word) = marks::of_prompt(&asked) {
        let mut marks = lock(&world.marks);
        let mark = &mut marks.entry(word.to_owned()).or_default().mark;
        mark.calls += 1;
        if mark.calls == 1 {
            mark.called_us = at_us;
            mark.messages = asked["messages"].as_array().map_or(0, Vec::len) as u64;
        }
    }
    let id = format!("chatcmpl-{number}");
    let (ttft, tokens, gap) = (
        world.ttft_ms.load(Relaxed),
        world.tokens.load(Relaxed).max(2),
        world.gap_ms.load(Relaxed),
    );
    let prompt = if world.true_usage.load(Relaxed) {
        body.len() as u64 / 4
    } else {
        100
    };
    world.told_tokens.fetch_add(prompt + tokens, Relaxed);
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens});
    if asked["stream"] != true {
        sleep(Duration::from_millis(ttft + gap * (tokens - 1))).await;
        world.running.fetch_sub(1, Relaxed);
        let text: String = (0..tokens).map(|index| word(index, tokens)).collect();
        return HttpResponse::Ok().json(json!({
            "id": id, "object": "chat.completion", "created": 1, "model": asked["model"], "usage": usage,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        }));
    }
    let frames = stream::unfold(0_u64, move |index| {
        let (world, id, model, usage) = (world.clone(), id.clone(), asked["model"].clone(), usage.clone());
        async move {
            let pause = if index == 0 { ttft } else { gap };
            if index < tokens && pause > 0 {
                sleep(Duration::from_millis(pause)).await;
            }
            let frame = |delta: Value, finish: Option<&str>| {
                json!({"id": id, "object": "chat.completion.chunk", "created": 1, "model": model,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
            };
            let text = if index < tokens {
                let delta = if index == 0 {
                    json!({"role": "assistant", "content": word(0, tokens)})
                } else {
                    json!({"content": word(index, tokens)})
                };
                format!("data: {}\n\n", frame(delta, None))
            } else if index == tokens {
                let mut last = frame(json!({}), Some("stop"));
                last["usage"] = usage;
                format!("data: {last}\n\n")
            } else if index == tokens + 1 {
                world.running.fetch_sub(1, Relaxed);
                "data: [DONE]\n\n".to_owned()
            } else {
                return None;
            };
            Some((Ok::<_, Infallible>(Bytes::from(text)), index + 1))
        }
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(frames)
}

fn word(index: u64, tokens: u64) -> &'static str {
    match index {
        0 => "pong",
        _ if index + 1 == tokens => FINAL_WORD,
        _ => " ok",
    }
}

async fn models() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({"object": "list", "data": [{"id": "mock-1", "object": "model", "owned_by": "bench"}]}))
}

async fn stats(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "calls": world.calls.load(Relaxed), "tokens": world.told_tokens.load(Relaxed), "promptBytes": world.prompt_bytes.load(Relaxed),
        "running": world.running.load(Relaxed), "mostRunning": world.most_running.swap(0, Relaxed),
        "posts": world.posts.load(Relaxed),
    }))
}

#[derive(Deserialize)]
struct Control {
    ttft: u64,
    tokens: u64,
    gap: u64,
    #[serde(default, rename = "true")]
    truth: u8,
}

async fn control(world: Data<World>, wish: Query<Control>) -> HttpResponse {
    world.ttft_ms.store(wish.ttft, Relaxed);
    world.tokens.store(wish.tokens, Relaxed);
    world.gap_ms.store(wish.gap, Relaxed);
    world.true_usage.store(wish.truth == 1, Relaxed);
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
struct Awaited {
    chat: String,
    after: u64,
}

#[derive(Deserialize)]
struct Asked {
    chat: String,
}

/// Answers of a chat so far, at once.
async fn answered(world: Data<World>, asked: Query<Asked>) -> HttpResponse {
    let known = lock(&world.answers).get(&asked.chat).copied().unwrap_or_default();
    HttpResponse::Ok().json(json!({"count": known.count}))
}

async fn answers(world: Data<World>, awaited: Query<Awaited>) -> HttpResponse {
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let answered = world.answered.notified();
        let known = lock(&world.answers).get(&awaited.chat).copied().unwrap_or_default();
        if known.count > awaited.after {
            return HttpResponse::Ok().json(json!({"count": known.count, "at_us": known.at_us}));
        }
        if tokio::time::timeout_at(deadline, answered).await.is_err() {
            return HttpResponse::RequestTimeout().finish();
        }
    }
}

/// Answers of all chats so far.
async fn chats(world: Data<World>) -> HttpResponse {
    let counts: HashMap<String, u64> = lock(&world.answers)
        .iter()
        .map(|(chat, answers)| (chat.clone(), answers.count))
        .collect();
    HttpResponse::Ok().json(counts)
}

/// Where a job posts its results.
async fn posted(world: Data<World>, word: web::Path<String>, request: HttpRequest) -> HttpResponse {
    let at_us = now_us();
    let key = request
        .headers()
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default();
    let mut marks = lock(&world.marks);
    let marked = marks.entry(word.into_inner()).or_default();
    marked.mark.posts += 1;
    marked.mark.posted_us = at_us;
    marked.keys.insert(key.to_owned());
    marked.mark.keys = marked.keys.len() as u64;
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
struct Prefix {
    prefix: String,
}

async fn marked(world: Data<World>, wanted: Query<Prefix>) -> HttpResponse {
    let marks = lock(&world.marks);
    let found: HashMap<&str, &Mark> = marks
        .iter()
        .filter(|(word, _)| word.starts_with(&wanted.prefix))
        .map(|(word, marked)| (word.as_str(), &marked.mark))
        .collect();
    HttpResponse::Ok().json(found)
}

/// The token in a Bot API path: `/bot<token>/<method>`.
fn bot_of(request: &HttpRequest) -> &str {
    let token = request.path().rsplit('/').nth(1).unwrap_or_default();
    token.trim_start_matches("bot")
}

async fn secrets(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(&*lock(&world.secrets))
}

/// Any other path is a platform's method, named by the last part of the path.
async fn platform(request: HttpRequest, body: Bytes, world: Data<World>) -> HttpResponse {
    let at_us = now_us();
    let number = world.posts.fetch_add(1, Relaxed) + 1;
    let fields = fields(&body);
    let field = |name: &str| match &fields[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let method = request.path().rsplit('/').next().unwrap_or_default();
    let chat = if method.contains('.') {
        field("channel")
    } else {
        field("chat_id")
    };
    let text = [field("text"), field("markdown_text")].concat();
    if text.contains(FINAL_WORD.trim()) {
        let mut answers = lock(&world.answers);
        let known = answers.entry(chat.clone()).or_default();
        known.count += 1;
        known.at_us = at_us;
        drop(answers);
        world.answered.notify_waiters();
    }
    let slack = |extra: Value| {
        let mut answer = json!({"ok": true});
        if let (Value::Object(answer), Value::Object(extra)) = (&mut answer, extra) {
            answer.extend(extra);
        }
        HttpResponse::Ok().json(answer)
    };
    let telegram = |result: Value| HttpResponse::Ok().json(json!({"ok": true, "result": result}));
    match method {
        "auth.test" => slack(json!({
            "url": "https://bench.slack.com/", "team": "Bench", "user": "bench_bot",
            "team_id": "T0BENCH", "user_id": "U0BOT", "bot_id": "B0BOT",
        })),
        "chat.postMessage" | "chat.update" => slack(json!({"channel": chat, "ts": format!("1800000000.{number:06}")})),
        _ if method.contains('.') => slack(json!({})),
        "getMe" => telegram(
            json!({"id": bot_of(&request).split(':').next().and_then(|id| id.parse::<i64>().ok()), "is_bot": true, "first_name": "Bench", "username": "bench_bot",
            "can_join_groups": true, "can_read_all_group_messages": true, "supports_inline_queries": false}),
        ),
        "setWebhook" => {
            let bot = bot_of(&request).to_owned();
            lock(&world.hooks).insert(bot.clone(), field("url"));
            lock(&world.secrets).insert(bot, field("secret_token"));
            telegram(json!(true))
        }
        "getWebhookInfo" => telegram(
            json!({"url": lock(&world.hooks).get(bot_of(&request)), "has_custom_certificate": false, "pending_update_count": 0}),
        ),
        "sendMessage" | "editMessageText" => telegram(json!({
            "message_id": number, "date": 1, "chat": {"id": chat.parse::<i64>().unwrap_or_default(), "type": "private"}, "text": text,
        })),
        _ => telegram(json!(true)),
    }
}

/// A JSON object or a form, as JSON.
fn fields(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let form: HashMap<String, String> = Query::from_query(&String::from_utf8_lossy(body))
            .map(Query::into_inner)
            .unwrap_or_default();
        json!(form)
    })
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let world = Data::new(World::default());
    world.ttft_ms.store(args.get("ttft-ms", 0), Relaxed);
    world.tokens.store(args.get("tokens", 8), Relaxed);
    world.gap_ms.store(args.get("gap-ms", 0), Relaxed);
    HttpServer::new(move || {
        App::new()
            .app_data(world.clone())
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/v1/chat/completions", web::post().to(complete))
            .route("/v1/models", web::get().to(models))
            .route("/stats", web::get().to(stats))
            .route("/control", web::post().to(control))
            .route("/answers", web::get().to(answers))
            .route("/answered", web::get().to(answered))
            .route("/secrets", web::get().to(secrets))
            .route("/chats", web::get().to(chats))
            .route("/marks", web::get().to(marked))
            .route("/posted/{word}", web::post().to(posted))
            .default_service(web::to(platform))
    })
    .workers(args.get("workers", 1))
    .max_connections(20_000)
    .backlog(8192)
    .bind(("127.0.0.1", args.get("port", 9101_u16)))?
    .run()
    .await
}
