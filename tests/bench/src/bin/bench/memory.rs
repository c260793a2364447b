//! B1 and B2: what a start costs, and what lies idle in memory.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use claw_bench::latency::Report;
use claw_bench::process;
use serde_json::json;

use crate::floor::Floor;
use crate::original::Original;
use crate::rows::{Bench, TOKENS, ms};
use crate::table::Goal;

/// Most idle clients of the original: it takes tens of milliseconds for each.
const ORIGINALS_CLIENTS: u64 = 400;
/// Longest time that many clients may take to be paired and to come in, seconds.
const HOLD_LIMIT: u64 = 900;

impl Bench<'_> {
    pub(crate) fn start_and_memory(&mut self) -> Result<()> {
        let (mut wall, mut cpu, mut floor_wall, mut idle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.wishes.repeats {
            self.product.stop();
            let started = self.product.start()?;
            wall.push(ms(started.wall));
            cpu.push(started.cpu_s * 1000.0);
            let begun = Instant::now();
            let scratch = tempfile::tempdir()?;
            let floor = Floor::start(self.wishes, &self.world, scratch.path())?;
            floor_wall.push(ms(begun.elapsed()));
            drop(floor);
            sleep(Duration::from_secs(2));
            idle.push(process::memory_kib(self.product.pid()) as f64 / 1024.0);
        }
        let database = self.database;
        self.table.add(
            "B1",
            format!("{database}: CPU until ready, existing database"),
            "ms",
            &cpu,
            &[],
            Goal::None,
        );
        self.table.add(
            "B1",
            format!("{database}: start to ready, existing database"),
            "ms",
            &wall,
            &floor_wall,
            Goal::AtMost(200.0),
        );
        let floor_idle = process::memory_kib(self.floor.process.pid()) as f64 / 1024.0;
        let (original_idle, original_client) = self.originals_memory()?;
        self.table.beside(
            "B2",
            format!("{database}: process, idle (PSS)"),
            "MiB",
            &idle,
            &[floor_idle],
            &original_idle,
            Goal::AtMost(40.0),
        );
        let chats: Vec<_> = self
            .tokens
            .iter()
            .map(|token| json!({"url": self.product.socket(), "token": token, "session": "main"}))
            .collect();
        let plan = json!({"address": self.product.address(), "chats": chats});
        let floor_url = format!("ws://{}/wsa", self.floor.address);
        let floor_plan =
            json!({"address": self.floor.address, "chats": [{"url": floor_url, "token": "", "session": ""}]});
        let clients = self.wishes.clients as u64;
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..self.wishes.repeats {
            // A fresh process each time: a second round would find the first one's memory free and look better.
            self.product.stop();
            self.product.start()?;
            let flags = [
                ("n", clients),
                ("paired", u64::from(self.wishes.paired)),
                ("limit-s", HOLD_LIMIT),
            ];
            ours.push(per_client(&self.load.run("hold", &plan, self.product.pid(), &flags)?));
            let scratch = tempfile::tempdir()?;
            let fresh = Floor::start(self.wishes, &self.world, scratch.path())?;
            let mut floor_plan = floor_plan.clone();
            floor_plan["chats"][0]["url"] = json!(format!("ws://{}/wsa", fresh.address));
            floor.push(per_client(&self.load.run(
                "hold",
                &floor_plan,
                fresh.process.pid(),
                &[("n", clients), ("limit-s", HOLD_LIMIT)],
            )?));
        }
        let kind = if self.wishes.paired { "paired" } else { "WebSocket" };
        self.table.beside(
            "B2",
            format!("{database}: each of {clients} idle {kind} clients"),
            "KiB",
            &ours,
            &floor,
            &original_client,
            Goal::AtMost(24.0),
        );
        Ok(())
    }

    /// The original's idle process, MiB, and each of its idle clients, KiB; nothing if it was not asked for.
    fn originals_memory(&mut self) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut idle, mut client) = (Vec::new(), Vec::new());
        let Some(package) = &self.wishes.original else {
            return Ok((idle, client));
        };
        let clients = (self.wishes.clients as u64).min(ORIGINALS_CLIENTS);
        for _ in 0..self.wishes.repeats {
            let original = Original::start(package, &self.world.address)?;
            idle.push(process::memory_kib(original.pid()) as f64 / 1024.0);
            let flags = [("n", clients), ("conc", 8)];
            client.push(per_client(&self.load.run(
                "hold",
                &original.plan(),
                original.pid(),
                &flags,
            )?));
        }
        self.table.note(format!(
            "{}: the original's client is one of {clients}, by token, without a device",
            self.database
        ));
        Ok((idle, client))
    }

    /// Memory that sessions leave behind when they have gone to sleep, their clients gone too.
    pub(crate) fn sleeping_sessions(&mut self) -> Result<()> {
        // Few at a time: each client hears of all of its user's sessions.
        const AT_ONCE: usize = 16;
        const SESSIONS: usize = 25 * AT_ONCE;
        self.world.pace(0, TOKENS, 0)?;
        let mut each = Vec::new();
        for repeat in 0..self.wishes.repeats {
            self.product.stop();
            self.product
                .start_with(&[("CLAWCENTRAL__LIMITS__SESSION_IDLE_SECS", "1")])?;
            let pid = self.product.pid();
            let mut weighed = Vec::new();
            // The first round warms everything up that is there once.
            for round in 0..3 {
                for part in 0..SESSIONS / AT_ONCE {
                    let plan = self.chats(AT_ONCE, false, &format!("asleep-{repeat}-{round}-{part}"));
                    self.load.run("chat", &plan, pid, &[("turns", 1)])?;
                }
                sleep(Duration::from_secs(4));
                weighed.push(process::memory_kib(pid) as f64);
            }
            each.push((weighed[2] - weighed[1]).max(0.0) / SESSIONS as f64);
        }
        self.product.stop();
        self.product.start()?;
        self.table.add(
            "B2",
            format!("{}: each of {SESSIONS} sleeping sessions", self.database),
            "KiB",
            &each,
            &[],
            Goal::AtMost(0.1),
        );
        Ok(())
    }
}

fn per_client(report: &Report) -> f64 {
    report.memory_after_kib.saturating_sub(report.memory_before_kib) as f64 / report.done as f64
}
