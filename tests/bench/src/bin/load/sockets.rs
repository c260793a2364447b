//! Loads that are about gateway sockets.
//!
//! - `load connect --plan FILE --n N --conc C --known 0|1`: signed connects; known devices until hello-ok, new ones
//!   until they are told to wait for approval
//! - `load echo --plan FILE --n N --size BYTES`: frames to the floor's socket and back, sixteen on their way
//! - `load fan --plan FILE --turns T --operators N --slow S --nodes M`: turns of one chat, heard by all of a user's sockets
//! - `load revoke --plan FILE`: how long busy sockets go on after a revocation

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use claw_bench::args::Args;
use claw_bench::gateway::{Client, Device};
use claw_bench::http::Connection;
use claw_bench::latency::{Latencies, Report};
use claw_bench::process;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::{Chat, Plan, Seen, gather};

/// What a CLI of a user may ask for that approves devices.
const APPROVER: [&str; 4] = ["operator.admin", "operator.pairing", "operator.read", "operator.write"];
/// Frames on their way in an echo.
const WINDOW: u64 = 16;

/// Brings a device in: it asks, and its own user says yes.
async fn pair(chat: &Chat, device: &Device, node: bool) -> Result<Client> {
    let refused = match Client::signed(&chat.url, &chat.token, device, node).await? {
        Ok(client) => return Ok(client),
        Err(refused) => refused,
    };
    let mut approver = Client::operator(&chat.url, &chat.token, &APPROVER).await?;
    let request = json!({"requestId": refused["details"]["requestId"]});
    approver.request("device.pair.approve", request).await?;
    approver.leave().await;
    let paired = Client::signed(&chat.url, &chat.token, device, node).await?;
    paired.map_err(|error| anyhow::anyhow!("an approved device was refused: {error}"))
}

/// Brings devices `first` to `first + count` in, dealt out to the people of the plan in turn.
pub(crate) async fn pair_all(chats: &[Chat], first: u64, count: u64) -> Result<()> {
    /// People at work at the same time.
    const AT_ONCE: usize = 8;
    let people = futures::stream::iter(chats.iter().enumerate().map(|(person, chat)| async move {
        let mut approver = Client::operator(&chat.url, &chat.token, &APPROVER).await?;
        for number in (person as u64..count).step_by(chats.len()) {
            let device = Device::of(first + number);
            if let Err(refused) = Client::signed(&chat.url, &chat.token, &device, false).await? {
                let request = json!({"requestId": refused["details"]["requestId"]});
                approver.request("device.pair.approve", request).await?;
            }
        }
        approver.leave().await;
        anyhow::Ok(())
    }));
    people.buffer_unordered(AT_ONCE).try_collect::<()>().await
}

pub(crate) async fn connect(args: &Args, plan: Plan) -> Result<Report> {
    ensure!(!plan.chats.is_empty(), "the plan has no chats");
    let (pid, count) = (args.get("pid", 0), args.get("n", 2000_u64));
    let (known, first) = (args.get("known", 1_u8) == 1, args.get("first", 1_u64));
    let lanes = args.get("conc", 16_u64);
    let next = Arc::new(AtomicU64::new(0));
    let ready = Arc::new(Barrier::new(lanes as usize + 1));
    let mut loops = JoinSet::new();
    for lane in 0..lanes {
        let chat = plan.chats[lane as usize % plan.chats.len()].clone();
        let (next, ready) = (next.clone(), ready.clone());
        loops.spawn(async move {
            let mut seen = Seen::default();
            let own = Device::of(first + lane);
            if known {
                match pair(&chat, &own, false).await {
                    Ok(client) => client.leave().await,
                    Err(error) => seen.fail(error),
                }
            }
            ready.wait().await;
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return seen;
                }
                let fresh = (!known).then(|| Device::of(first + 1_000 + number));
                let device = fresh.as_ref().unwrap_or(&own);
                let begun = Instant::now();
                match (Client::signed(&chat.url, &chat.token, device, false).await, known) {
                    (Ok(Ok(client)), true) => {
                        seen.latencies.record(begun.elapsed());
                        client.leave().await;
                    }
                    (Ok(Err(error)), false) if error["details"]["code"] == "PAIRING_REQUIRED" => {
                        seen.latencies.record(begun.elapsed());
                    }
                    (Ok(Ok(_)), false) => seen.fail("a new device was let in"),
                    (Ok(Err(error)), _) => seen.fail(error),
                    (Err(error), _) => seen.fail(error),
                }
            }
        });
    }
    ready.wait().await;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    Ok(gather(loops, start, pid, cpu).await)
}

pub(crate) async fn echo(args: &Args, plan: Plan) -> Result<Report> {
    let (pid, count, size) = (
        args.get("pid", 0),
        args.get("n", 5_000_u64),
        args.get("size", 512_usize),
    );
    let text = "x".repeat(size);
    let mut loops = JoinSet::new();
    let ready = Arc::new(Barrier::new(plan.chats.len() + 1));
    for chat in plan.chats {
        let (text, ready) = (text.clone(), ready.clone());
        loops.spawn(async move {
            let mut seen = Seen::default();
            let client = Client::connect(&chat.url, "").await;
            ready.wait().await;
            if let Err(error) = echo_one(client, &text, count, &mut seen).await {
                seen.fail(error);
            }
            seen
        });
    }
    ready.wait().await;
    let (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
    let mut report = gather(loops, start, pid, cpu).await;
    report.frames = report.done;
    report.bytes = report.done * size as u64;
    Ok(report)
}

async fn echo_one(client: Result<Client>, text: &str, count: u64, seen: &mut Seen) -> Result<()> {
    let mut client = client?;
    let (mut sent, mut got) = (0, 0);
    while got < count {
        while sent < count && sent - got < WINDOW {
            client.say(text.to_owned()).await?;
            sent += 1;
        }
        client.flush().await?;
        let begun = Instant::now();
        client.raw().await.context("the floor closed")?;
        seen.latencies.record(begun.elapsed());
        got += 1;
    }
    Ok(())
}

/// What one reader of a fan-out heard in a turn.
struct Heard {
    frames: u64,
    bytes: u64,
    last: Instant,
}

pub(crate) async fn fan(args: &Args, plan: Plan) -> Result<Report> {
    let (pid, turns) = (args.get("pid", 0), args.get("turns", 20_u64));
    let (operators, slow) = (args.get("operators", 100_u64), args.get("slow", 0_u64));
    let (nodes, first) = (args.get("nodes", 10_u64), args.get("first", 1_u64));
    let chat = plan.chats.first().context("the plan has no chats")?;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    let mut kept = Vec::new();
    for number in 0..operators {
        let mut client = Client::connect(&chat.url, &chat.token).await?;
        if number < slow {
            // Says nothing and reads nothing: what it is sent waits in the kernel, then in the server.
            kept.push(client);
            continue;
        }
        let tell = tell.clone();
        readers.spawn(async move {
            let (mut frames, mut bytes) = (0, 0);
            while let Some(text) = client.raw().await {
                frames += 1;
                bytes += text.len() as u64;
                if text.contains("\"state\":\"final\"") {
                    let last = Instant::now();
                    if tell.send(Heard { frames, bytes, last }).is_err() {
                        return;
                    }
                    (frames, bytes) = (0, 0);
                }
            }
        });
    }
    for number in 0..nodes {
        let node = pair(chat, &Device::of(7_000_000 + number), true).await?;
        readers.spawn(node.idle());
    }
    let mut sender = Client::connect(&chat.url, &chat.token).await?;
    let fast = operators - slow;
    let mut report = Report::default();
    let mut latencies = Latencies::default();
    let (mut start, mut cpu) = (Instant::now(), 0.0);
    for turn in 0..=turns {
        // The first one warms up.
        if turn == 1 {
            (start, cpu) = (Instant::now(), process::cpu_seconds(pid));
        }
        let begun = Instant::now();
        sender.turn(&chat.session, &format!("f{first}-{turn}"), "ping").await?;
        for _ in 0..fast {
            let one = tokio::time::timeout(Duration::from_secs(60), heard.recv()).await;
            let one: Heard = one
                .context("a reader did not hear the end")?
                .context("the readers are gone")?;
            if turn > 0 {
                report.frames += one.frames;
                report.bytes += one.bytes;
                latencies.record(one.last.duration_since(begun));
            }
        }
    }
    let wall = start.elapsed();
    let counted = (report.frames, report.bytes);
    report = Report::new(&latencies, wall);
    (report.frames, report.bytes) = counted;
    report.cpu_s = process::cpu_seconds(pid) - cpu;
    report.memory_after_kib = process::memory_kib(pid);
    drop(kept);
    Ok(report)
}

/// What is revoked, and how.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(crate) enum Revocation {
    /// `device.pair.remove` of the sockets' device.
    Device,
    /// `DELETE /api/tokens/{id}` of the sockets' token.
    Token,
    /// A command.
    Command { line: Vec<String> },
}

/// Sockets that are open when the revocation comes.
const SOCKETS: u64 = 20;
/// How often each of them calls.
const CALLS_EVERY: Duration = Duration::from_millis(5);

/// `p50_ms` and `max_ms`: from the revocation to the last frame of each socket.
pub(crate) async fn revoke(plan: Plan) -> Result<Report> {
    let mut chat = plan.chats.first().context("the plan has no chats")?.clone();
    let kind = plan.revocation.context("the plan has no revocation")?;
    let mut web = Connection::open(&plan.address).await?;
    let host = plan.address.clone();
    let head = |verb: &str, path: &str, token: &str| {
        format!(
            "{verb} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        )
    };
    let owner = chat.token.clone();
    let mut token_id = String::new();
    if matches!(kind, Revocation::Token) {
        let made = web
            .call(&head("POST", "/api/tokens", &owner), br#"{"name":"bench"}"#)
            .await?;
        let made: Value = serde_json::from_slice(&made.body).context("no token was made")?;
        token_id = made["id"].as_str().context("the token has no id")?.to_owned();
        chat.token = made["token"].as_str().context("the token has no text")?.to_owned();
    }
    let device = Device::of(8_000_000);
    let mut approver = Client::operator(&chat.url, &owner, &APPROVER).await?;
    let mut sockets = JoinSet::new();
    for _ in 0..if matches!(kind, Revocation::Device) { 1 } else { SOCKETS } {
        let mut client = match kind {
            Revocation::Device => pair(&chat, &device, false).await?,
            Revocation::Token | Revocation::Command { .. } => Client::connect(&chat.url, &chat.token).await?,
        };
        sockets.spawn(async move {
            let mut last = Instant::now();
            let mut pause = tokio::time::interval(CALLS_EVERY);
            loop {
                tokio::select! {
                    _ = pause.tick() => {
                        // A closed socket shows when reading.
                        let _ = client.send("health", json!({})).await;
                    }
                    frame = client.raw() => match frame {
                        Some(_) => last = Instant::now(),
                        None => return last,
                    },
                }
            }
        });
    }
    // They are at work.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    match kind {
        Revocation::Device => {
            approver
                .request("device.pair.remove", json!({"deviceId": device.id}))
                .await?;
        }
        Revocation::Token => {
            let path = format!("/api/tokens/{token_id}");
            let answer = web.call(&head("DELETE", &path, &owner), b"").await?;
            ensure!(answer.status == 204, "the token was not revoked: {}", answer.status);
        }
        Revocation::Command { line } => {
            let (program, rest) = line.split_first().context("an empty command")?;
            // What it prints is not our report.
            let output = tokio::process::Command::new(program).args(rest).output().await?;
            ensure!(output.status.success(), "{program}: {}", output.status);
        }
    }
    let mut latencies = Latencies::default();
    while let Some(last) = tokio::time::timeout(Duration::from_secs(20), sockets.join_next())
        .await
        .context("a revoked socket stays open")?
    {
        latencies.record(last?.saturating_duration_since(begun));
    }
    if latencies.count() == 0 {
        bail!("no socket was open");
    }
    Ok(Report::new(&latencies, begun.elapsed()))
}
