//! The load generator. Reads a plan (JSON) and prints one JSON line.
//!
//! - `load http --plan FILE --conc C --n N --spread-ms MS`: webhooks in a closed loop, spread over the plan's targets; the C
//!   loops begin spread over MS
//! - `load chat --plan FILE --turns T`: one connection per entry of the plan, `chat.send` until `final`
//! - `load webhook-turn --plan FILE --mock ADDRESS --turns T --pause-ms MS --for-s S`: webhook in, platform call with
//!   the answer out, and MS of silence; none begins after S seconds
//! - `load hold --plan FILE --n N --paired 0|1`: opens N idle gateway clients, with `--paired 1` each a paired device of its
//!   own, and weighs them
//! - `load connect`, `echo`, `fan`, `revoke`: see `sockets.rs`
//! - `load crowd`, `first`: see `crowd.rs`; `load flood`: see `flood.rs`
//!
//! `--pid` names the process whose CPU time and memory are reported; `--first` numbers the first event.

mod crowd;
mod flood;
mod sockets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use claw_bench::args::Args;
use claw_bench::gateway::{Client, Device};
use claw_bench::http::Connection;
use claw_bench::latency::{Latencies, Report};
use claw_bench::platform::{Sender, Target};
use claw_bench::process;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Where the load goes.
#[derive(Deserialize)]
struct Plan {
    /// `127.0.0.1:<port>`.
    address: String,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    chats: Vec<Chat>,
    /// How many chats each target has (`flood`), or how many sessions each person (`crowd`; else all have as many).
    #[serde(default)]
    chats_of: Vec<u64>,
    /// Of `revoke`.
    #[serde(default)]
    revocation: Option<sockets::Revocation>,
}

/// One gateway client and the session it talks in.
#[derive(Clone, Deserialize)]
struct Chat {
    url: String,
    token: String,
    session: String,
}

/// What one of the concurrent loops saw.
#[derive(Default)]
struct Seen {
    latencies: Latencies,
    failed: u64,
    failure: Option<String>,
}

impl Seen {
    fn fail(&mut self, failure: impl std::fmt::Display) {
        self.failed += 1;
        self.failure
            .get_or_insert_with(|| format!("{failure:#}").chars().take(300).collect());
    }
}

/// Adds up the loops and the process's CPU time since `cpu`.
async fn gather(mut loops: JoinSet<Seen>, start: Instant, pid: u32, cpu: f64) -> Report {
    let mut all = Seen::default();
    while let Some(seen) = loops.join_next().await {
        match seen {
            Ok(seen) => {
                all.latencies.absorb(&seen.latencies);
                all.failed += seen.failed;
                all.failure = all.failure.or(seen.failure);
            }
            Err(error) => all.fail(error),
        }
    }
    let mut report = Report::new(&all.latencies, start.elapsed());
    report.failed = all.failed;
    report.failure = all.failure.unwrap_or_default();
    report.cpu_s = process::cpu_seconds(pid) - cpu;
    report.memory_after_kib = process::memory_kib(pid);
    report
}

async fn webhooks(args: &Args, plan: Plan) -> Result<Report> {
    ensure!(!plan.targets.is_empty(), "the plan has no targets");
    let (pid, count, first) = (args.get("pid", 0), args.get("n", 10_000_u64), args.get("first", 1_u64));
    let chats = args.get("chats", 1_u64);
    let senders: Arc<Vec<_>> = Arc::new(plan.targets.into_iter().map(Sender::new).collect());
    let next = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    let mut loops = JoinSet::new();
    let (lanes, spread) = (args.get("conc", 64_u64).min(count), args.get("spread-ms", 0_u64) * 1000);
    for lane in 0..lanes {
        let (address, senders, next) = (plan.address.clone(), senders.clone(), next.clone());
        let begin = start + Duration::from_micros(spread * lane / lanes);
        loops.spawn(async move {
            tokio::time::sleep_until(begin.into()).await;
            let mut seen = Seen::default();
            let mut connection = None;
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return seen;
                }
                let lane = number as usize % senders.len();
                let chat = number / senders.len() as u64 % chats;
                let (head, body) = senders[lane].request(first + number, chat, "ping");
                let sent = Instant::now();
                match post(&mut connection, &address, &head, body.as_bytes()).await {
                    Ok(_) => seen.latencies.record(sent.elapsed()),
                    Err(error) => seen.fail(error),
                }
            }
        });
    }
    Ok(gather(loops, start, pid, cpu).await)
}

/// Posts on the kept connection, opening one when there is none. Any answer but 2xx is an error.
async fn post(kept: &mut Option<Connection>, address: &str, head: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let answer = connection.call(head, body).await?;
    *kept = Some(connection);
    if !(200..300).contains(&answer.status) {
        bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer.body)
}

async fn chat(args: &Args, plan: Plan) -> Result<Report> {
    let (pid, turns, warm) = (args.get("pid", 0), args.get("turns", 20_u64), args.get("warm", 2_u64));
    let ready = Arc::new(Barrier::new(plan.chats.len() + 1));
    let first = args.get("first", 1_u64);
    let mut loops = JoinSet::new();
    for (lane, chat) in plan.chats.into_iter().enumerate() {
        let ready = ready.clone();
        loops.spawn(async move {
            let mut seen = Seen::default();
            let mut client = match Client::connect(&chat.url, &chat.token).await {
                Ok(client) => Some(client),
                Err(error) => {
                    seen.fail(error);
                    None
                }
            };
            for turn in 0..warm {
                if let Some(kept) = &mut client
                    && let Err(error) = kept
                        .turn(&chat.session, &format!("w{first}-{lane}-{turn}"), "ping")
                        .await
                {
                    seen.fail(error);
                    client = None;
                }
            }
            ready.wait().await;
            for turn in 0..turns {
                let Some(kept) = &mut client else { return seen };
                match kept
                    .turn(&chat.session, &format!("t{first}-{lane}-{turn}"), "ping")
                    .await
                {
                    Ok(turn) => seen.latencies.record(turn.ended),
                    Err(error) => {
                        seen.fail(error);
                        client = None;
                    }
                }
            }
            seen
        });
    }
    ready.wait().await;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    Ok(gather(loops, start, pid, cpu).await)
}

/// A webhook in; the clock stops when the platform gets the answer.
async fn webhook_turn(args: &Args, plan: Plan) -> Result<Report> {
    let (pid, turns, warm, first) = (
        args.get("pid", 0),
        args.get("turns", 20_u64),
        args.get("warm", 2_u64),
        args.get("first", 1_u64),
    );
    let pause = Duration::from_millis(args.get("pause-ms", 0));
    let end = Instant::now() + Duration::from_secs(args.get("for-s", 300));
    let mock = args.text("mock", "127.0.0.1:9101");
    let ready = Arc::new(Barrier::new(plan.targets.len() + 1));
    let mut loops = JoinSet::new();
    for (lane, target) in plan.targets.into_iter().enumerate() {
        let (ready, mock, address) = (ready.clone(), mock.clone(), plan.address.clone());
        loops.spawn(async move {
            let mut seen = Seen::default();
            let sender = Sender::new(target);
            let (mut to_us, mut to_mock) = (None, None);
            let mut answered = 0;
            for turn in 0..warm + turns {
                if turn == warm {
                    ready.wait().await;
                }
                tokio::time::sleep(pause).await;
                if turn > warm && Instant::now() > end {
                    return seen;
                }
                let event = first + lane as u64 * 100_000 + turn;
                let took = one_webhook_turn(&sender, event, &address, &mock, &mut to_us, &mut to_mock, &mut answered);
                match took.await {
                    Ok(took) if turn >= warm => seen.latencies.record(took),
                    Ok(_) => {}
                    Err(error) => {
                        seen.fail(error);
                        if turn < warm {
                            ready.wait().await;
                        }
                        return seen;
                    }
                }
            }
            seen
        });
    }
    ready.wait().await;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    Ok(gather(loops, start, pid, cpu).await)
}

async fn one_webhook_turn(
    sender: &Sender,
    event: u64,
    address: &str,
    mock: &str,
    to_us: &mut Option<Connection>,
    to_mock: &mut Option<Connection>,
    answered: &mut u64,
) -> Result<Duration> {
    let chat = sender.chat(0);
    if *answered == 0 {
        // Answers of an earlier measurement of the same chat.
        let body = known_answers(to_mock, mock, &chat).await?;
        *answered = body;
    }
    let (head, body) = sender.request(event, 0, "ping");
    let sent = SystemTime::now();
    post(to_us, address, &head, body.as_bytes())
        .await
        .context("the webhook was not accepted")?;
    let head = format!("GET /answers?chat={chat}&after={answered} HTTP/1.1\r\nhost: {mock}\r\n");
    let body = post(to_mock, mock, &head, b"")
        .await
        .context("no answer reached the platform")?;
    let answer: Value = serde_json::from_slice(&body)?;
    *answered = answer["count"].as_u64().unwrap_or_default();
    let at = UNIX_EPOCH + Duration::from_micros(answer["at_us"].as_u64().unwrap_or_default());
    Ok(at.duration_since(sent).unwrap_or_default())
}

async fn known_answers(to_mock: &mut Option<Connection>, mock: &str, chat: &str) -> Result<u64> {
    let head = format!("GET /answered?chat={chat} HTTP/1.1\r\nhost: {mock}\r\n");
    let body = post(to_mock, mock, &head, b"").await?;
    let known: Value = serde_json::from_slice(&body)?;
    Ok(known["count"].as_u64().unwrap_or_default())
}

async fn hold(args: &Args, plan: Plan) -> Result<Report> {
    ensure!(!plan.chats.is_empty(), "the plan has no chats");
    let (pid, count) = (args.get("pid", 0), args.get("n", 1000_usize));
    let first = args.get("first", 1_u64);
    let devices = args.get("paired", 0_u8) == 1;
    if devices {
        sockets::pair_all(&plan.chats, first, count as u64).await?;
    }
    let before = process::memory_kib(pid);
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    let mut seen = Seen::default();
    let chats = &plan.chats;
    let mut opening = futures::stream::iter(0..count)
        .map(|number| async move {
            let chat = &chats[number % chats.len()];
            let begun = Instant::now();
            let client = if devices {
                let device = Device::of(first + number as u64);
                let signed = Client::signed(&chat.url, &chat.token, &device, false).await;
                signed
                    .and_then(|client| client.map_err(|error| anyhow::anyhow!("a paired device was refused: {error}")))
            } else {
                Client::connect(&chat.url, &chat.token).await
            };
            (client, begun.elapsed())
        })
        .buffer_unordered(args.get("conc", 16));
    let mut idle = JoinSet::new();
    while let Some((client, took)) = opening.next().await {
        match client {
            Ok(client) => {
                seen.latencies.record(took);
                idle.spawn(client.idle());
            }
            Err(error) => seen.fail(error),
        }
    }
    let wall = start.elapsed();
    let cpu = process::cpu_seconds(pid) - cpu;
    // What the handshakes left behind is given back within moments; weigh what stays.
    tokio::time::sleep(Duration::from_secs(args.get("hold-s", 3))).await;
    let mut report = Report::new(&seen.latencies, wall);
    report.failed = seen.failed;
    report.failure = seen.failure.unwrap_or_default();
    report.cpu_s = cpu;
    report.memory_before_kib = before;
    report.memory_after_kib = process::memory_kib(pid);
    Ok(report)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let file = args.text("plan", "plan.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read the plan {file}"))?;
    let plan: Plan = serde_json::from_str(&text).context("the plan is not what it should be")?;
    let work = async {
        match args.words.first().map(String::as_str) {
            Some("http") => webhooks(&args, plan).await,
            Some("chat") => chat(&args, plan).await,
            Some("webhook-turn") => webhook_turn(&args, plan).await,
            Some("hold") => hold(&args, plan).await,
            Some("connect") => sockets::connect(&args, plan).await,
            Some("echo") => sockets::echo(&args, plan).await,
            Some("fan") => sockets::fan(&args, plan).await,
            Some("revoke") => sockets::revoke(plan).await,
            Some("crowd") => crowd::crowd(&args, plan).await,
            Some("first") => crowd::first(&args, plan).await,
            Some("flood") => flood::flood(&args, plan).await,
            other => bail!("{other:?} is no load: see the top of load/main.rs"),
        }
    };
    let limit = Duration::from_secs(args.get("limit-s", 300));
    let report = tokio::time::timeout(limit, work)
        .await
        .context("the load did not end in time")??;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
