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
use crate::postgres::Postgres;
use crate::product::{Product, Started};
use crate::store::Store;
use crate::table::{Goal, Table};

/// Model pace of the plain rows: eight tokens at once.
pub(crate) const TOKENS: u64 = 8;
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
    pub(crate) store: Store,
    /// Tokens of people of the demo tenant, its owner first.
    pub(crate) tokens: Vec<String>,
    /// Removed at the end.
    _dir: TempDir,
}

/// Rows that share one server and its database.
pub const SHARED: [&str; 9] = ["B1", "B2", "B3", "B4", "B5", "B6", "B9", "B14", "B11"];
/// Rows that begin on an empty database and leave too much behind for others.
pub const OWN: [&str; 4] = ["B7", "B8", "B12", "B13"];

/// A measurement that has everything to itself.
type Work = fn(&mut Bench<'_>) -> Result<()>;

/// Measures all wanted rows on one database. One row's trouble does not cost the others' numbers.
pub fn measure(wishes: &Wishes, database: &str, table: &mut Table) {
    if SHARED.iter().any(|row| wishes.wants(row))
        && let Err(error) = shared(wishes, database, table)
    {
        table.note(format!("{database}: stopped early: {error:#}"));
    }
    let own: [(&str, Work); 5] = [
        ("B7", |bench| bench.quiet_beside_a_flood()),
        ("B7", |bench| bench.one_with_most_of_the_load()),
        ("B8", |bench| bench.first_messages()),
        ("B12", |bench| bench.schedules()),
        ("B13", |bench| bench.overspend()),
    ];
    for (row, work) in own.into_iter().filter(|(row, _)| wishes.wants(row)) {
        let done = Bench::open(wishes, database, table).and_then(|(mut bench, _)| work(&mut bench));
        if let Err(error) = done {
            table.note(format!("{database}: {row} stopped early: {error:#}"));
        }
    }
}

fn shared(wishes: &Wishes, database: &str, table: &mut Table) -> Result<()> {
    let (mut bench, fresh) = Bench::open(wishes, database, table)?;
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
        bench.waiting_sessions()?;
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

pub(crate) fn ms(duration: Duration) -> f64 {
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

impl<'a> Bench<'a> {
    /// Starts everything, the product on an empty database, which is removed again at the end. Gives what the product's
    /// start cost.
    fn open(wishes: &'a Wishes, database: &'a str, table: &'a mut Table) -> Result<(Self, Started)> {
        let dir = tempfile::Builder::new().prefix("claw-bench").tempdir()?;
        let world = World::start(wishes, dir.path())?;
        let floor = Floor::start(wishes, &world, dir.path())?;
        let store = if database == "postgres" {
            Store::Postgres(Postgres::start()?)
        } else {
            Store::Sqlite(dir.path().join("claw.db"))
        };
        let mut product = Product::new(&wishes.clawcentral, dir.path(), &store.url()?, &world.address)?;
        let started = product.start().context("the first start, on an empty database")?;
        let load = Load::new(wishes, dir.path());
        let bench = Self {
            wishes,
            database,
            table,
            world,
            floor,
            load,
            product,
            store,
            tokens: Vec::new(),
            _dir: dir,
        };
        Ok((bench, started))
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

    fn acceptance(&mut self) -> Result<()> {
        let (telegram, slack) = self
            .product
            .tenants("b", self.wishes.tenants, "disabled")
            .context("making tenants")?;
        // The caches of a server that has been up for a while.
        sleep(Duration::from_secs(2));
        let count = 40_000;
        let flags = [("conc", 64), ("n", count), ("chats", 4)];
        let (floor, floor_cpu) = if let Some(postgres) = self.store.postgres() {
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
