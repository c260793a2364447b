//! Loads of many sessions.
//!
//! - `load crowd --plan FILE --sessions N --turns T --spread-ms MS`: N sessions, dealt out to the people of the plan, who
//!   have one connection each; every session says the next thing as soon as it was answered. The first messages are
//!   spread over MS; each session's first turn only warms up, unless `--warm 0` says that it counts. With `--for-s S`
//!   it goes on for S seconds, whatever T says, and with `--ahead-s A` what ends in the first A of them does not count
//! - `load first --plan FILE --mock ADDRESS --words W`: the first message to each session of the plan, one after another;
//!   the clock stops when the model was asked

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use claw_bench::args::Args;
use claw_bench::gateway::Client;
use claw_bench::latency::Report;
use claw_bench::marks::{self, Mark};
use claw_bench::process;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::{Chat, Plan, Seen, gather, post};

/// Messages that one connection has on their way: the server refuses more than twice as many.
const WINDOW: usize = 16;

/// One session's next message, or the one that is being answered.
struct Said {
    session: u64,
    turn: u64,
    at: Instant,
}

/// What all people of a crowd share.
#[derive(Clone, Copy)]
struct Pace {
    turns: u64,
    warm: u64,
    first: u64,
    /// Between the first messages of two sessions.
    gap: Duration,
    /// When it is over, however many turns there were, and from when on turns count.
    until: Option<Duration>,
    ahead: Duration,
}

pub(crate) async fn crowd(args: &Args, plan: Plan) -> Result<Report> {
    ensure!(!plan.chats.is_empty(), "the plan has no chats");
    let (pid, sessions) = (args.get("pid", 0), args.get("sessions", 1000_u64));
    let spread = Duration::from_millis(args.get("spread-ms", 0));
    let warm = args.get("warm", 1);
    let pace = Pace {
        turns: args.get("turns", 2_u64) + warm,
        warm,
        first: args.get("first", 1_u64),
        gap: spread / u32::try_from(sessions).unwrap_or(u32::MAX),
        until: Some(args.get("for-s", 0))
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        ahead: Duration::from_secs(args.get("ahead-s", 0)),
    };
    let people = plan.chats.len();
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..people).map(|_| AtomicU64::new(0)).collect());
    let ready = Arc::new(Barrier::new(people + 1));
    let mut loops = JoinSet::new();
    for (number, chat) in plan.chats.into_iter().enumerate() {
        let (ready, counts) = (ready.clone(), counts.clone());
        let own: Vec<u64> = match plan.chats_of.get(number) {
            Some(count) => (0..*count).collect(),
            None => (number as u64..sessions).step_by(people).collect(),
        };
        loops.spawn(async move {
            let mut seen = Seen::default();
            let client = Client::connect(&chat.url, &chat.token).await;
            ready.wait().await;
            match client {
                Ok(client) => {
                    if let Err(error) = talk(client, &chat, &own, pace, &mut seen).await {
                        seen.fail(error);
                    }
                    if let Some(count) = counts.get(number) {
                        count.store(seen.latencies.count(), Relaxed);
                    }
                }
                Err(error) => seen.fail(error),
            }
            seen
        });
    }
    ready.wait().await;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    let mut report = gather(loops, start, pid, cpu).await;
    report.each = counts.iter().map(|count| count.load(Relaxed)).collect();
    Ok(report)
}

/// One person, who talks in all of their sessions over one connection.
async fn talk(mut client: Client, chat: &Chat, sessions: &[u64], pace: Pace, seen: &mut Seen) -> Result<()> {
    let begun = Instant::now();
    let mut due: VecDeque<Said> = sessions
        .iter()
        .map(|session| Said {
            session: *session,
            turn: 0,
            at: begun + pace.gap * u32::try_from(*session).unwrap_or(u32::MAX),
        })
        .collect();
    let mut open: HashMap<String, Said> = HashMap::new();
    let mut on_their_way = 0;
    let end = begun + pace.until.unwrap_or(Duration::from_secs(86_400));
    loop {
        let next = due.front().map(|said| said.at);
        let frame = tokio::select! {
            frame = client.raw(), if !open.is_empty() => frame.context("the server closed the socket")?,
            () = sleep_until(next.unwrap_or(begun).into()), if next.is_some() && on_their_way < WINDOW => {
                let Some(mut said) = due.pop_front() else { continue };
                let key = format!("c{}-{}-{}", pace.first, said.session, said.turn);
                let session = format!("{}-{}", chat.session, said.session);
                said.at = Instant::now();
                client
                    .send("chat.send", json!({"sessionKey": session, "message": "ping", "idempotencyKey": key}))
                    .await?;
                open.insert(key, said);
                on_their_way += 1;
                continue;
            }
            () = sleep_until(end.into()), if !open.is_empty() => return Ok(()),
            else => return Ok(()),
        };
        let (key, failure) = match heard(&frame)? {
            Heard::Accepted => {
                on_their_way -= 1;
                continue;
            }
            Heard::Ended(key) => (key, None),
            Heard::Failed(key, why) => (key, Some(why)),
            Heard::Other => continue,
        };
        let Some(said) = open.remove(&key) else { continue };
        if let Some(why) = failure {
            seen.fail(why);
        } else if said.turn >= pace.warm && begun.elapsed() >= pace.ahead {
            seen.latencies.record(said.at.elapsed());
        }
        if said.turn + 1 < pace.turns || pace.until.is_some() {
            // Those that have not begun yet keep their place.
            due.push_front(Said {
                turn: said.turn + 1,
                at: Instant::now(),
                ..said
            });
        }
    }
}

/// What a frame is about.
enum Heard {
    /// A message was taken.
    Accepted,
    /// The turn under this key was answered, or was not, and why.
    Ended(String),
    Failed(String, String),
    Other,
}

/// Most frames are about something else and are not even parsed.
fn heard(frame: &str) -> Result<Heard> {
    const SIGNS: [&str; 4] = [
        "\"type\":\"res\"",
        "\"state\":\"final\"",
        "\"state\":\"error\"",
        "\"state\":\"aborted\"",
    ];
    if !SIGNS.iter().any(|sign| frame.contains(sign)) {
        return Ok(Heard::Other);
    }
    let frame: Value = serde_json::from_str(frame)?;
    if frame["type"] == "res" {
        ensure!(frame["ok"] == true, "chat.send was refused: {}", frame["error"]);
        return Ok(Heard::Accepted);
    }
    let payload = &frame["payload"];
    let key = payload["runId"].as_str().unwrap_or_default().to_owned();
    Ok(match (frame["event"].as_str(), payload["state"].as_str()) {
        (Some("chat"), Some("final")) => Heard::Ended(key),
        (Some("chat"), Some("error" | "aborted")) => Heard::Failed(key, payload["errorMessage"].to_string()),
        _ => Heard::Other,
    })
}

pub(crate) async fn first(args: &Args, plan: Plan) -> Result<Report> {
    let (pid, words) = (args.get("pid", 0), args.get("words", 0_u64));
    let mock = args.text("mock", "127.0.0.1:9101");
    let chat = plan.chats.first().context("the plan has no chats")?;
    let mut client = Client::connect(&chat.url, &chat.token).await?;
    for turn in 0..args.get("warm", 3_u64) {
        // Everything is awake but the sessions of the plan.
        client
            .turn("agent:main:awake", &format!("awake{words}-{turn}"), "ping")
            .await?;
    }
    let mut seen = Seen::default();
    let mut to_mock = None;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    for (number, chat) in plan.chats.iter().enumerate() {
        let word = format!("h{words}-{number}");
        let sent = SystemTime::now();
        client.turn(&chat.session, &word, &marks::message(&word)).await?;
        let head = format!("GET /marks?prefix={word} HTTP/1.1\r\nhost: {mock}\r\n");
        let found: HashMap<String, Mark> = serde_json::from_slice(&post(&mut to_mock, &mock, &head, b"").await?)?;
        let mark = found.get(&word).context("the model was not asked")?;
        let asked = UNIX_EPOCH + Duration::from_micros(mark.called_us);
        seen.latencies.record(asked.duration_since(sent).unwrap_or_default());
    }
    let mut report = Report::new(&seen.latencies, start.elapsed());
    report.cpu_s = process::cpu_seconds(pid) - cpu;
    Ok(report)
}
