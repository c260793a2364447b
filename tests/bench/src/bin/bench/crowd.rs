//! B6: many sessions at once.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use claw_bench::latency::Report;
use claw_bench::process;
use serde_json::{Value, json};

use crate::rows::{Bench, TOKENS, pick};
use crate::table::Goal;

/// Sessions that wait when the answer must not come late.
const SOME: usize = 1000;
/// How long the model thinks while they wait, ms.
const WAIT: u64 = 2000;
/// How long it thinks when all of the largest crowd are to wait at the same time, ms: as many begin a second as the machine can
/// take.
const LONG_WAIT: u64 = 30_000;
/// Longest time a crowd may take, seconds.
const LIMIT: u64 = 280;

impl Bench<'_> {
    pub(crate) fn many_sessions(&mut self) -> Result<()> {
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

    /// Sessions that wait for a slow model; those of the largest crowd all at the same time.
    pub(crate) fn waiting_sessions(&mut self) -> Result<()> {
        let most = self.wishes.waiting;
        if most < SOME {
            return Ok(());
        }
        // By default a process takes 4,096 runs at once.
        let runs = (2 * most).to_string();
        self.product.stop();
        self.product
            .start_with(&[("CLAWCENTRAL__LIMITS__PROCESS_RUNS", &runs)])?;
        self.some_wait()?;
        if most > SOME {
            self.too_many_wait(most as u64)?;
            self.all_wait(most as u64)?;
        }
        self.product.stop();
        self.product.start()?;
        self.world.pace(0, TOKENS, 0)
    }

    /// All people, one connection each, who share the sessions of a crowd.
    fn people(&self, name: &str) -> Value {
        let chats: Vec<_> = self.tokens[1..]
            .iter()
            .map(|token| json!({"url": self.product.socket(), "token": token, "session": format!("agent:main:{name}")}))
            .collect();
        json!({"address": self.product.address(), "chats": chats})
    }

    fn some_wait(&mut self) -> Result<()> {
        const TURNS: u64 = 4;
        self.world.pace(WAIT, TOKENS, 0)?;
        let sessions = SOME as u64;
        let floor_flags = [("conc", sessions), ("n", sessions * TURNS), ("spread-ms", WAIT)];
        let floor = self.repeat(
            "http",
            &self.floor.plan("/turn"),
            self.floor.process.pid(),
            &floor_flags,
        )?;
        let flags = [("sessions", sessions), ("turns", TURNS), ("spread-ms", WAIT)];
        let ours = self.repeat("crowd", &self.people("some"), self.product.pid(), &flags)?;
        let what = |metric: &str| format!("{}: {sessions} sessions wait, model {WAIT} ms, {metric}", self.database);
        self.table.add(
            "B6",
            what("CPU a turn"),
            "ms",
            &pick(&ours, |report| report.cpu_us() / 1000.0),
            &pick(&floor, |report| report.cpu_us() / 1000.0),
            Goal::None,
        );
        self.table.add(
            "B6",
            what("turns"),
            "/s",
            &pick(&ours, Report::rate),
            &pick(&floor, Report::rate),
            Goal::None,
        );
        for (metric, goal, number) in [
            ("p50 added", Goal::None, (|report| report.p50_ms) as fn(&Report) -> f64),
            ("p99 added", Goal::AtMost(100.0), |report| report.p99_ms),
        ] {
            self.table.add(
                "B6",
                what(metric),
                "ms",
                &pick(&ours, |report| number(report) - WAIT as f64),
                &pick(&floor, |report| number(report) - WAIT as f64),
                goal,
            );
        }
        Ok(())
    }

    /// More than the machine can answer: how many turns a second it comes to.
    fn too_many_wait(&mut self, sessions: u64) -> Result<()> {
        self.world.pace(WAIT, TOKENS, 0)?;
        let floor_flags = [("conc", sessions), ("n", 2 * sessions), ("spread-ms", WAIT)];
        let floor_plan = self.floor.plan("/turn");
        let floor = self
            .load
            .run("http", &floor_plan, self.floor.process.pid(), &floor_flags)?;
        let flags = [
            ("sessions", sessions),
            ("turns", 1),
            ("warm", 0),
            ("spread-ms", WAIT),
            ("limit-s", LIMIT),
        ];
        let ours = self
            .load
            .run("crowd", &self.people("many"), self.product.pid(), &flags)?;
        self.table.add(
            "B6",
            format!(
                "{}: {sessions} sessions, model {WAIT} ms, saturated, turns",
                self.database
            ),
            "/s",
            &[ours.rate()],
            &[floor.rate()],
            Goal::OfFloor(0.25),
        );
        Ok(())
    }

    fn all_wait(&mut self, sessions: u64) -> Result<()> {
        self.world.pace(LONG_WAIT, TOKENS, 0)?;
        let pid = self.product.pid();
        self.world.most_running()?;
        let before = process::memory_kib(pid);
        let flags = [
            ("sessions", sessions),
            ("turns", 1),
            ("warm", 0),
            ("spread-ms", LONG_WAIT * 9 / 10),
            ("limit-s", LIMIT),
        ];
        let mut crowd = self.load.start("crowd", &self.people("all"), pid, &flags)?;
        let mut most = before;
        while !crowd.has_ended() {
            most = most.max(process::memory_kib(pid));
            sleep(Duration::from_millis(500));
        }
        let ours = crowd.end()?;
        let waited = self.world.most_running()?;
        let what = |metric: &str| {
            format!(
                "{}: {sessions} sessions wait, model {} s, {metric}",
                self.database,
                LONG_WAIT / 1000
            )
        };
        let added = ours.p99_ms - LONG_WAIT as f64;
        self.table.add("B6", what("p99 added"), "ms", &[added], &[], Goal::None);
        let each = most.saturating_sub(before) as f64 / waited.max(1) as f64;
        self.table
            .add("B6", what("memory each"), "KiB", &[each], &[], Goal::None);
        self.table.note(format!(
            "{}: of {sessions} sessions {waited} waited for the model at the same time; {} people with a connection each",
            self.database,
            self.tokens.len() - 1
        ));
        Ok(())
    }
}
