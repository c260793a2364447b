//! B12: very many scheduled jobs, and a crash when some of them are due.
//!
//! The clock is the real one: a known part of the jobs is due within the measurement, the rest a day later.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use claw_bench::latency::{Latencies, Report};
use claw_bench::marks::{self, Mark};
use serde_json::json;

use crate::history::{now_ms, quoted};
use crate::rows::{Bench, TOKENS, ms};
use crate::store::numbers;
use crate::table::Goal;

/// Jobs of each user.
const EACH: usize = 100;
/// Most jobs that are due one after another, and how many of them in a second.
const MOST_SPREAD: usize = 1000;
const A_SECOND: u64 = 50;
/// Longest wait for what is due, beyond what its turns take at this rate a second.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOWEST: u64 = 100;
/// The time that a statement about all jobs may take before the tick it plans.
const AHEAD_MS: u64 = 5000;
/// How long after the tick the process is killed.
const KILL_MS: u64 = 150;
const DAY_MS: u64 = 24 * 3600 * 1000;

impl Bench<'_> {
    pub(crate) fn schedules(&mut self) -> Result<()> {
        let (all, at_once) = (self.wishes.schedules, self.wishes.due);
        self.product.people(1).context("making people")?;
        self.product.stop();
        self.plan_jobs(all).context("writing the jobs")?;
        self.world.pace(0, TOKENS, 0)?;
        let started = self.product.start().context("the start with all jobs")?;
        self.table.add(
            "B12",
            format!("{}: start to ready with {all} schedules", self.database),
            "ms",
            &[ms(started.wall)],
            &[],
            Goal::None,
        );
        self.one_after_another(at_once.min(MOST_SPREAD))?;
        self.crash_at_the_tick(at_once)
    }

    /// Jobs that are due some a second.
    fn one_after_another(&mut self, jobs: usize) -> Result<()> {
        let begin = now_ms() + AHEAD_MS;
        let gap = 1000 / A_SECOND;
        self.move_jobs(jobs, &format!("{begin} + {gap} * {NUMBER}"))?;
        let planned = Duration::from_millis(AHEAD_MS + gap * jobs as u64);
        let marks = self.delivered(&HashMap::new(), jobs, planned)?;
        let mut jitter = Latencies::default();
        let (mut early, mut missed) = (0, 0);
        for job in 0..jobs {
            let due_us = (begin + gap * job as u64) * 1000;
            match marks.get(&word(job)) {
                Some(mark) if mark.calls > 0 && mark.called_us < due_us => early += 1,
                Some(mark) if mark.calls > 0 => jitter.record(Duration::from_micros(mark.called_us - due_us)),
                _ => missed += 1,
            }
        }
        ensure!(early == 0, "{early} jobs asked the model before they were due");
        let report = Report::new(&jitter, planned);
        let what = |metric: &str| {
            format!(
                "{}: {jobs} of {} jobs due, {A_SECOND}/s, to model request, {metric}",
                self.database, self.wishes.schedules
            )
        };
        self.table
            .add("B12", what("p50"), "ms", &[report.p50_ms], &[], Goal::None);
        self.table
            .add("B12", what("p99"), "ms", &[report.p99_ms], &[], Goal::AtMost(250.0));
        let what = |metric: &str| format!("{}: {jobs} jobs due, {A_SECOND}/s, {metric}", self.database);
        self.table.add(
            "B12",
            what("missed"),
            "jobs",
            &[f64::from(missed)],
            &[],
            Goal::AtMost(0.0),
        );
        let doubled = doubled(&HashMap::new(), &marks);
        self.table.add(
            "B12",
            what("doubled"),
            "jobs",
            &[doubled as f64],
            &[],
            Goal::AtMost(0.0),
        );
        Ok(())
    }

    /// All due at the same moment, and the process is killed then.
    fn crash_at_the_tick(&mut self, jobs: usize) -> Result<()> {
        let (mut missed, mut twice, mut late, mut again, mut repeats) = (Vec::new(), Vec::new(), Vec::new(), 0, 0);
        for _ in 0..self.wishes.repeats {
            self.settled()?;
            let before = self.world.marks("j")?;
            let tick = now_ms() + AHEAD_MS;
            self.move_jobs(jobs, &tick.to_string())?;
            let wait = (tick + KILL_MS)
                .checked_sub(now_ms())
                .context("moving the jobs took longer than was planned")?;
            sleep(Duration::from_millis(wait));
            self.product.kill();
            self.product.start().context("the start after kill -9")?;
            let after = self.delivered(&before, jobs, Duration::ZERO)?;
            let came = (0..jobs)
                .filter(|job| posts(&after, *job) > posts(&before, *job))
                .count();
            missed.push((jobs - came) as f64);
            twice.push(doubled(&before, &after) as f64);
            let last = after.values().map(|mark| mark.posted_us).max().unwrap_or_default();
            late.push((last / 1000).saturating_sub(tick) as f64 / 1000.0);
            let calls = sum(&after, |mark| mark.calls) - sum(&before, |mark| mark.calls);
            again += calls.saturating_sub(came as u64);
            let excess = |marks: &HashMap<String, Mark>| sum(marks, |mark| mark.posts) - sum(marks, |mark| mark.keys);
            repeats += excess(&after) - excess(&before);
        }
        let what = |metric: &str| format!("{}: {jobs} jobs at one tick, kill -9 at it, {metric}", self.database);
        self.table
            .add("B12", what("missed"), "jobs", &missed, &[], Goal::AtMost(0.0));
        self.table
            .add("B12", what("doubled"), "jobs", &twice, &[], Goal::AtMost(0.0));
        self.table
            .add("B12", what("last delivered"), "s", &late, &[], Goal::None);
        self.table.note(format!(
            "{}: killed {KILL_MS} ms after the tick, {} times: {again} turns had to be run again, {repeats} results were posted \
             again under the same idempotency key",
            self.database, self.wishes.repeats
        ));
        Ok(())
    }

    /// Waits until each of the first `jobs` has posted once more than `before`, `planned` and some patience at most. Gives
    /// all marks.
    fn delivered(
        &self,
        before: &HashMap<String, Mark>,
        jobs: usize,
        planned: Duration,
    ) -> Result<HashMap<String, Mark>> {
        let end = Instant::now() + planned + PATIENCE + Duration::from_secs(jobs as u64 / SLOWEST);
        loop {
            sleep(Duration::from_secs(1));
            let now = self.world.marks("j")?;
            if (0..jobs).all(|job| posts(&now, job) > posts(before, job)) {
                // What comes twice comes now.
                sleep(Duration::from_secs(3));
                return self.world.marks("j");
            }
            if Instant::now() > end {
                return Ok(now);
            }
        }
    }

    /// Waits until no run of a job is open any more.
    fn settled(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let open = self
                .store
                .count("SELECT count(*) FROM cron_job WHERE running_at IS NOT NULL")?;
            if open == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{open} jobs are still on record as running");
            sleep(Duration::from_millis(500));
        }
    }

    /// Gives the first `jobs` a next time, an expression of SQL, while the server runs.
    fn move_jobs(&self, jobs: usize, to: &str) -> Result<()> {
        self.store.run(&format!(
            "UPDATE cron_job SET next_run_at = {to}, epoch = epoch + 1 WHERE running_at IS NULL AND {NUMBER} < {jobs}"
        ))
    }

    /// Users like the one there is, and their jobs, due in a day. Each posts what came of it to the mock world.
    fn plan_jobs(&self, jobs: usize) -> Result<()> {
        let (users, now) = (jobs.div_ceil(EACH), now_ms());
        let template = "u.email = 'user0@bench.local'";
        self.store.run(&format!(
            "INSERT INTO \"user\" (tenant_id, id, email, name, role, status, time_zone, created_at) \
             {} SELECT u.tenant_id, 'cron' || i, 'cron' || i || '@bench.local', 'cron' || i, u.role, u.status, \
                u.time_zone, u.created_at FROM n, \"user\" u WHERE {template}",
            numbers(users)
        ))?;
        self.store.run(&format!(
            "INSERT INTO user_config (tenant_id, user_id, doc, revision, updated_at) \
             {} SELECT u.tenant_id, 'cron' || i, c.doc, c.revision, c.updated_at FROM n, \"user\" u \
                JOIN user_config c ON c.tenant_id = u.tenant_id AND c.user_id = u.id WHERE {template}",
            numbers(users)
        ))?;
        let definition = json!({
            "name": "bench",
            // The anchor is a minute old, so that after a firing the next one is a day off.
            "schedule": {"kind": "every", "everyMs": DAY_MS, "anchorMs": now - 60_000},
            "sessionTarget": "isolated", "wakeMode": "now",
            "payload": {"kind": "agentTurn", "message": marks::message("#WORD#")},
            "delivery": {"mode": "webhook", "to": format!("http://{}/posted/#WORD#", self.world.address)},
        });
        let definition = self
            .store
            .json(&format!("replace({}, '#WORD#', 'j' || i || '-')", quoted(&definition)));
        let state = self.store.json("'{}'");
        self.store.run(&format!(
            "INSERT INTO cron_job (tenant_id, user_id, id, definition, enabled, next_run_at, state, epoch, created_at, \
                updated_at) \
             {} SELECT u.tenant_id, 'cron' || (i % {users}), 'job-' || i, {definition}, TRUE, {now} + {DAY_MS} + i, \
                {state}, 1, {now}, {now} FROM n, \"user\" u WHERE {template}",
            numbers(jobs)
        ))?;
        // As a database that has held them for a while.
        self.store.run("ANALYZE")
    }
}

/// A job's number, an expression of SQL.
const NUMBER: &str = "CAST(substr(id, 5) AS integer)";

/// What the mock world knows a job by. The last letter keeps one number from being the beginning of another.
fn word(job: usize) -> String {
    format!("j{job}-")
}

fn posts(marks: &HashMap<String, Mark>, job: usize) -> u64 {
    marks.get(&word(job)).map_or(0, |mark| mark.posts)
}

/// Results that were posted for one time of a job under more than one idempotency key.
fn doubled(before: &HashMap<String, Mark>, after: &HashMap<String, Mark>) -> u64 {
    after
        .iter()
        .map(|(word, mark)| {
            let new = mark.keys - before.get(word).map_or(0, |mark| mark.keys);
            new.saturating_sub(1)
        })
        .sum()
}

fn sum(marks: &HashMap<String, Mark>, number: impl Fn(&Mark) -> u64) -> u64 {
    marks.values().map(number).sum()
}
