//! `load flood --plan FILE --rate R --seconds S --conc C`: R webhooks a second, whatever becomes of them, dealt out
//! evenly to the chats of the plan's targets (`chats_of`: how many each has).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use claw_bench::args::Args;
use claw_bench::latency::Report;
use claw_bench::platform::Sender;
use claw_bench::process;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::{Plan, Seen, gather, post};

pub(crate) async fn flood(args: &Args, plan: Plan) -> Result<Report> {
    ensure!(
        plan.chats_of.len() == plan.targets.len(),
        "each target needs a number of chats"
    );
    let (pid, first) = (args.get("pid", 0), args.get("first", 1_u64));
    let (rate, seconds) = (args.get("rate", 1000_u64), args.get("seconds", 10_u64));
    let senders: Arc<Vec<_>> = Arc::new(plan.targets.into_iter().map(Sender::new).collect());
    let slots: Arc<Vec<(usize, u64)>> = Arc::new(mixed(&plan.chats_of));
    ensure!(rate > 0 && !slots.is_empty(), "nothing to send");
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let cpu = process::cpu_seconds(pid);
    let mut loops = JoinSet::new();
    for _ in 0..args.get("conc", 64_u64) {
        let (address, senders, slots, next) = (plan.address.clone(), senders.clone(), slots.clone(), next.clone());
        loops.spawn(async move {
            let mut seen = Seen::default();
            let mut connection = None;
            loop {
                let number = next.fetch_add(1, Relaxed);
                let at = start + Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate);
                if at > start + Duration::from_secs(seconds) || start.elapsed().as_secs() > seconds {
                    return seen;
                }
                sleep_until(at.into()).await;
                let (target, chat) = slots[number as usize % slots.len()];
                let (head, body) = senders[target].request(first + number, chat, "ping");
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

/// All chats of all targets, well mixed and the same each time.
fn mixed(chats_of: &[u64]) -> Vec<(usize, u64)> {
    let mut slots: Vec<_> = chats_of
        .iter()
        .enumerate()
        .flat_map(|(target, chats)| (0..*chats).map(move |chat| (target, chat)))
        .collect();
    slots.sort_by_key(|(target, chat)| (*target as u64 * 1000 + *chat).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    slots
}
