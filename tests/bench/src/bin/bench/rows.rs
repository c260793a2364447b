//! The rows: what is driven, how often, and what the numbers must reach.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use claw_bench::latency::Report;
use claw_bench::platform::Sender;
use claw_bench::process;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Wishes;
use crate::child::status_of;
use crate::floor::{Floor, Load, World};
use crate::original::Original;
use crate::postgres::Postgres;
use crate::product::Product;
use crate::table::{Goal, Table};

/// Model pace of the plain rows: eight tokens at once.
pub(crate) const TOKENS: u64 = 8;
/// Most idle clients of the original: it takes tens of milliseconds for each.
const ORIGINALS_CLIENTS: u64 = 400;
/// Longest time that many clients may take to be paired and to come in, seconds.
const HOLD_LIMIT: u64 = 900;
/// The thinking time of the slow model, ms.
const SLOW: u64 = 750;

/// Everything one database's rows need.
pub(crate) struct Bench<'a> {
    pub(crate) wishes: &'a Wishes,
    pub(crate) database: &'a str,
    pub(crate) table: &'a mut Table,
    pub(crate) world: World,
    pub(crate) floor: Floor,
    pub(crate) load: Load,
    pub(crate) product: Product,
    pub(crate) postgres: Option<Postgres>,
    /// Tokens of people of the demo tenant, its owner first.
    pub(crate) tokens: Vec<String>,
    /// Removed at the end.
    _dir: TempDir,
}

/// Measures all wanted rows on one database.
pub fn measure(wishes: &Wishes, database: &str, table: &mut Table) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("claw-bench").tempdir()?;
    let world = World::start(wishes, dir.path())?;
    let floor = Floor::start(wishes, &world, dir.path())?;
    let (postgres, url) = if database == "postgres" {
        let postgres = Postgres::start()?;
        let url = postgres.create("claw")?;
        (Some(postgres), url)
    } else {
        (None, format!("sqlite://{}/claw.db?mode=rwc", dir.path().display()))
    };
    let mut product = Product::new(&wishes.clawcentral, dir.path(), &url, &world.address)?;
    let fresh = product.start().context("the first start, on an empty database")?;
    let load = Load::new(wishes, dir.path());
    let mut bench = Bench {
        wishes,
        database,
        table,
        world,
        floor,
        load,
        product,
        postgres,
        tokens: Vec::new(),
        _dir: dir,
    };
    bench.table.add(
        "B1",
        format!("{database}: first start on an empty database"),
        "ms",
        &[ms(fresh.wall)],
        &[],
        Goal::None,
    );
    bench.tokens = bench.product.people(wishes.sessions).context("making people")?;
    if wishes.wants("B1") || wishes.wants("B2") {
        bench.start_and_memory()?;
        bench.sleeping_sessions()?;
    }
    if wishes.wants("B3") {
        bench.signed_connects()?;
    }
    if wishes.wants("B4") {
        bench.acceptance()?;
    }
    if wishes.wants("B5") {
        bench.turn_overhead()?;
    }
    if wishes.wants("B6") {
        bench.many_sessions()?;
    }
    if wishes.wants("B9") {
        bench.fan_out()?;
    }
    if wishes.wants("B14") {
        bench.revocation()?;
    }
    if wishes.wants("B11") {
        bench.recovery()?;
    }
    bench.describe();
    bench.product.stop();
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Picks one number of each report.
pub(crate) fn pick(reports: &[Report], number: impl Fn(&Report) -> f64) -> Vec<f64> {
    reports.iter().map(number).collect()
}

/// Waits until the process hardly uses the CPU any more, at most half a minute.
fn settle(pid: u32) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut before = process::cpu_seconds(pid);
    while Instant::now() < end {
        sleep(Duration::from_millis(400));
        let now = process::cpu_seconds(pid);
        if now - before < 0.02 {
            return;
        }
        before = now;
    }
}

impl Bench<'_> {
    pub(crate) fn repeat(&mut self, mode: &str, plan: &Value, pid: u32, flags: &[(&str, u64)]) -> Result<Vec<Report>> {
        (0..self.wishes.repeats)
            .map(|_| self.load.run(mode, plan, pid, flags))
            .collect()
    }

    fn describe(&mut self) {
        let (ours, floor) = (self.product.pid(), self.floor.process.pid());
        self.table.note(format!(
            "{}: clawcentral {} threads on CPUs {} | floor {} worker(s), {} threads on CPUs {} | no pinning, load generator and model on the same CPUs",
            self.database,
            process::threads(ours),
            process::allowed_cpus(ours),
            self.wishes.floor_workers,
            process::threads(floor),
            process::allowed_cpus(floor),
        ));
    }

    fn start_and_memory(&mut self) -> Result<()> {
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
    fn sleeping_sessions(&mut self) -> Result<()> {
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

    fn acceptance(&mut self) -> Result<()> {
        let (telegram, slack) = self
            .product
            .tenants("b", self.wishes.tenants, "disabled")
            .context("making tenants")?;
        // The caches of a server that has been up for a while.
        sleep(Duration::from_secs(2));
        let count = 40_000;
        let flags = [("conc", 64), ("n", count), ("chats", 4)];
        let (floor, floor_cpu) = if let Some(postgres) = &self.postgres {
            let rates = (0..self.wishes.repeats)
                .map(|_| postgres.floor(8, 5))
                .collect::<Result<Vec<_>>>()?;
            (rates, Vec::new())
        } else {
            let plan = self.floor.plan("/durable");
            let reports = self.repeat("http", &plan, self.floor.process.pid(), &flags)?;
            (pick(&reports, Report::rate), pick(&reports, Report::cpu_us))
        };
        for (name, targets) in [("Telegram", telegram), ("Slack", slack)] {
            let plan = json!({"address": self.product.address(), "targets": targets});
            let pid = self.product.pid();
            let (mut reports, mut whole) = (Vec::new(), Vec::new());
            for _ in 0..self.wishes.repeats {
                let before = process::cpu_seconds(pid);
                reports.push(self.load.run("http", &plan, pid, &flags)?);
                settle(pid);
                whole.push((process::cpu_seconds(pid) - before) * 1e6 / count as f64);
            }
            let database = self.database;
            let tenants = self.wishes.tenants;
            self.table.add(
                "B4",
                format!("{database}: {name}, CPU each while accepting"),
                "us",
                &pick(&reports, Report::cpu_us),
                &floor_cpu,
                Goal::AtMost(60.0),
            );
            self.table.add(
                "B4",
                format!("{database}: {name}, CPU each until gated and settled"),
                "us",
                &whole,
                &[],
                Goal::None,
            );
            self.table.add(
                "B4",
                format!("{database}: {name} accepted durably, {tenants} tenants, 64 conn."),
                "/s",
                &pick(&reports, Report::rate),
                &floor,
                Goal::OfFloor(0.6),
            );
            self.table.add(
                "B4",
                format!("{database}: {name}, p99"),
                "ms",
                &pick(&reports, |report| report.p99_ms),
                &[],
                Goal::None,
            );
        }
        Ok(())
    }

    /// Gateway clients: `sessions` of the owner's, or one session each of as many people.
    pub(crate) fn chats(&self, sessions: usize, spread: bool, name: &str) -> Value {
        let chats: Vec<_> = (0..sessions)
            .map(|number| {
                let token = if spread {
                    &self.tokens[1 + number % (self.tokens.len() - 1)]
                } else {
                    &self.tokens[0]
                };
                json!({"url": self.product.socket(), "token": token, "session": format!("agent:main:{name}-{number}")})
            })
            .collect();
        json!({"address": self.product.address(), "chats": chats})
    }

    fn turn_overhead(&mut self) -> Result<()> {
        let (_, slack) = self
            .product
            .tenants("s", 1, "open")
            .context("making a tenant that answers")?;
        let slack = json!({"address": self.product.address(), "targets": slack, "mock": self.world.address});
        let chat = self.chats(1, false, "overhead");
        let floor_plan = self.floor.plan("/turn");
        for (wait, turns) in [(0, 200), (SLOW, 8)] {
            self.world.pace(wait, TOKENS, 0)?;
            let (pid, floor_pid) = (self.product.pid(), self.floor.process.pid());
            let floor = self.repeat("http", &floor_plan, floor_pid, &[("conc", 1), ("n", turns)])?;
            let chats = self.repeat("chat", &chat, pid, &[("turns", turns)])?;
            let slacks = self.repeat("webhook-turn", &slack, pid, &[("turns", turns)])?;
            let over = |number: f64| number - wait as f64;
            for (name, reports) in [("chat.send", chats), ("Slack", slacks)] {
                let what = |metric: &str| format!("{}: {name}, model {wait} ms, {metric}", self.database);
                let cpu_goal = if wait == 0 { Goal::AtMost(1.5) } else { Goal::None };
                self.table.add(
                    "B5",
                    what("CPU a turn"),
                    "ms",
                    &pick(&reports, |report| report.cpu_us() / 1000.0),
                    &pick(&floor, |report| report.cpu_us() / 1000.0),
                    cpu_goal,
                );
                self.table.add(
                    "B5",
                    what("p50 added"),
                    "ms",
                    &pick(&reports, |report| over(report.p50_ms)),
                    &pick(&floor, |report| over(report.p50_ms)),
                    Goal::AtMostOr(5.0, 2.0),
                );
                self.table.add(
                    "B5",
                    what("p99 added"),
                    "ms",
                    &pick(&reports, |report| over(report.p99_ms)),
                    &pick(&floor, |report| over(report.p99_ms)),
                    Goal::AtMost(15.0),
                );
            }
        }
        self.world.pace(0, TOKENS, 0)
    }

    fn many_sessions(&mut self) -> Result<()> {
        self.world.pace(0, TOKENS, 0)?;
        let floor_plan = self.floor.plan("/turn");
        for sessions in [1, 16, 64]
            .into_iter()
            .filter(|sessions| *sessions <= self.wishes.sessions)
        {
            let turns = if sessions == 1 { 200 } else { 1600 / sessions as u64 };
            let floor_flags = [("conc", sessions as u64), ("n", turns * sessions as u64)];
            let floor = self.repeat("http", &floor_plan, self.floor.process.pid(), &floor_flags)?;
            for (name, spread) in [("one owner", false), ("spread over users", true)] {
                let plan = self.chats(sessions, spread, if spread { "many" } else { "own" });
                let reports = self.repeat("chat", &plan, self.product.pid(), &[("turns", turns)])?;
                let what = |metric: &str| format!("{}: {sessions} session(s), {name}, {metric}", self.database);
                self.table.add(
                    "B6",
                    what("CPU a turn"),
                    "ms",
                    &pick(&reports, |report| report.cpu_us() / 1000.0),
                    &pick(&floor, |report| report.cpu_us() / 1000.0),
                    Goal::None,
                );
                let goal = if sessions == 1 { Goal::None } else { Goal::OfFloor(0.25) };
                self.table.add(
                    "B6",
                    what("turns"),
                    "/s",
                    &pick(&reports, Report::rate),
                    &pick(&floor, Report::rate),
                    goal,
                );
                self.table.add(
                    "B6",
                    what("p99"),
                    "ms",
                    &pick(&reports, |report| report.p99_ms),
                    &pick(&floor, |report| report.p99_ms),
                    Goal::None,
                );
            }
        }
        Ok(())
    }

    /// Kills the server under load and takes the time until it accepts again.
    fn recovery(&mut self) -> Result<()> {
        let (telegram, _) = self
            .product
            .tenants("r", 1, "open")
            .context("making a tenant to recover")?;
        let sender = Sender::new(telegram[0].clone());
        self.world.pace(20, TOKENS, 5)?;
        let mut ready = Vec::new();
        let mut serving = Vec::new();
        for round in 0..self.wishes.repeats as u64 {
            let first = 900_000_000 + round * 1000;
            let address = self.product.address();
            for event in 0..20 {
                let (head, body) = sender.request(first + event, event % 4, "ping");
                let status = status_of(&address, &head, body.as_bytes());
                anyhow::ensure!(status == Some(200), "before the kill a webhook got {status:?}");
            }
            self.product.kill();
            let begun = Instant::now();
            let started = self.product.start().context("the start after kill -9")?;
            ready.push(ms(started.wall));
            let (head, body) = sender.request(first + 100, 0, "ping");
            let mut accepted = false;
            while !accepted && begun.elapsed() < Duration::from_secs(20) {
                accepted = status_of(&address, &head, body.as_bytes()) == Some(200);
            }
            anyhow::ensure!(accepted, "no webhook was accepted within 20 s of the restart");
            serving.push(ms(begun.elapsed()));
        }
        self.table.add(
            "B11",
            format!("{}: ready after kill -9 under load", self.database),
            "ms",
            &ready,
            &[],
            Goal::None,
        );
        self.table.add(
            "B11",
            format!("{}: serving again (webhook accepted) after kill -9", self.database),
            "ms",
            &serving,
            &[],
            Goal::AtMost(1000.0),
        );
        self.world.pace(0, TOKENS, 0)
    }
}

fn per_client(report: &Report) -> f64 {
    report.memory_after_kib.saturating_sub(report.memory_before_kib) as f64 / report.done as f64
}
