//! Small things of a turn, one at a time: `cargo bench --workspace --bench micro`.
//!
//! - a token estimate of 1 KiB of text
//! - the context of a call put together from 10, 100 and 10,000 turns; what does not fit the window is left out
//! - a place to run handed on, when 1, 1,000 and 100,000 tenants wait for one. The waiting task's wake-up is in it
//!
//! Each number is the median of the rounds, the slowest in brackets, nanoseconds for each operation.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_actors::conversation::entry::Entry;
use claw_actors::conversation::repair::Target;
use claw_actors::conversation::tokens;
use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message};
use claw_actors::services::Limits;
use claw_actors::session::context;
use claw_actors::supervisor::lanes::Lanes;
use claw_entities::TenantId;
use sea_orm::DbBackend;
use tokio::task::JoinSet;

/// Rounds of each measurement, and how long one is at least.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(20);
/// What history and turn may take of a window of 128,000 tokens.
const BUDGET: u64 = 90_000;
const TARGET: Target<'_> = Target {
    api: "openai-completions",
    provider: "mock",
    model: "mock-1",
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let latin = "It stays mild, with light wind from the north-west. ".repeat(20);
    let kana = "天気は穏やかで、北西の風が弱く吹くでしょう。".repeat(16);
    measure("token estimate, 1 KiB of English", 1, |_| {
        tokens::text(black_box(&latin))
    })?;
    measure("token estimate, 1 KiB of Japanese", 1, |_| {
        tokens::text(black_box(&kana))
    })?;
    for turns in [10, 100, 10_000] {
        let entries = history(turns);
        measure(&format!("context of {turns} turns, for each turn"), turns, |_| {
            context::assemble(black_box(&entries), Some(Message::user("ping", 0)), TARGET, BUDGET)
        })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for tenants in [1, 1_000, 100_000] {
        let what = format!("a place handed on, {tenants} tenants wait");
        let rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let repeats = 1_000_usize.div_ceil(tenants);
                let took: Duration = (0..repeats).map(|_| runtime.block_on(handed_on(tenants))).sum();
                nanos(took) / count(repeats * tenants)
            })
            .collect();
        report(&what, rounds)?;
    }
    Ok(())
}

/// A conversation of short messages, oldest first.
fn history(turns: usize) -> Vec<Arc<Entry>> {
    let asked = "How is the weather in Lisbon this week, and is it worth taking an umbrella along on Thursday evening?";
    let said = "It stays mild, between 14 and 19 degrees. Rain is likely on Thursday from about six in the evening.";
    let messages = (0..turns).flat_map(|_| {
        let answer = AssistantMessage {
            content: vec![AssistantPart::Text { text: said.to_owned() }],
            ..AssistantMessage::default()
        };
        [Message::user(asked, 0), Message::Assistant(answer)]
    });
    messages
        .zip(1_i64..)
        .map(|(message, seq)| {
            Arc::new(Entry {
                id: format!("e{seq}"),
                parent_id: (seq > 1).then(|| format!("e{}", seq - 1)),
                seq,
                body: message.into(),
                run_id: None,
                created_at: 0,
            })
        })
        .collect()
}

/// The time in which one place goes through the hands of as many tenants, who all wait for it.
async fn handed_on(tenants: usize) -> Duration {
    let limits = Limits {
        process_runs: 1,
        ..Limits::default()
    };
    let lanes = Lanes::new(&limits, DbBackend::Sqlite);
    let first = lanes.user(&TenantId::from("first")).acquire("", 1).await;
    let mut waiting = JoinSet::new();
    for number in 0..tenants {
        let user = lanes.user(&TenantId::from(format!("t{number}").as_str()));
        waiting.spawn(async move { user.acquire("", 1).await.is_some() });
    }
    // Each of them stands in the queue now.
    tokio::task::yield_now().await;
    let begun = Instant::now();
    drop(first);
    while waiting.join_next().await.is_some() {}
    begun.elapsed()
}

/// Runs `work` again and again; one run of it is `operations` operations.
fn measure<T>(what: &str, operations: usize, mut work: impl FnMut(usize) -> T) -> Result<(), Failure> {
    let rounds = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let mut runs = 0;
            while begun.elapsed() < ROUND {
                black_box(work(runs));
                runs += 1;
            }
            nanos(begun.elapsed()) / count(runs * operations)
        })
        .collect();
    report(what, rounds)
}

fn report(what: &str, mut rounds: Vec<f64>) -> Result<(), Failure> {
    rounds.sort_by(f64::total_cmp);
    let median = rounds.get(rounds.len() / 2).ok_or("nothing was measured")?;
    let slowest = rounds.last().ok_or("nothing was measured")?;
    writeln!(stdout(), "| {what:<44} | {median:>9.0} ({slowest:.0}) ns |")?;
    Ok(())
}

fn nanos(took: Duration) -> f64 {
    took.as_secs_f64() * 1e9
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(number: usize) -> f64 {
    number as f64
}
