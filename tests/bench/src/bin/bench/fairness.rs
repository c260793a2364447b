//! B7: what one tenant's load does to another.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use claw_bench::platform::{Sender, Target};
use serde_json::{Value, json};

use crate::rows::{Bench, TOKENS};
use crate::table::Goal;

/// Messages a second that all flooding tenants send together: several times what the machine answers.
const FLOOD: u64 = 2000;
/// Chats of each flooding tenant.
const CHATS: u64 = 4;
/// Messages of the quiet tenant, and the pause before each, ms.
const QUIET: u64 = 150;
const PAUSE: u64 = 100;
/// The flood goes on this long before anything is measured, seconds.
const AHEAD: u64 = 5;
/// How long the quiet tenant goes on at most, seconds; and how long its last message may take, as the mock world waits.
const GOES_ON: u64 = 30;
const LAST: u64 = 60;

/// Tenants that share the load, the first of which has nine tenths of it: so many sessions, in which the next thing is
/// said as soon as there was an answer.
const SHARING: usize = 10;
const HEAVY: u64 = 900;
const LIGHT: u64 = 11;
/// How long their answers are counted, seconds.
const COUNTED: u64 = 15;
/// Places to run where these are to be what is short, and the model's thinking time then, ms.
const PLACES: u64 = 16;
const THINKING: u64 = 200;

impl Bench<'_> {
    /// One tenant that says little beside many that say more than can be answered.
    pub(crate) fn quiet_beside_a_flood(&mut self) -> Result<()> {
        let flooders = self.wishes.flooders;
        let (_, flood) = self.product.tenants("f", flooders, "open").context("making tenants")?;
        let (_, mut quiet) = self
            .product
            .tenants("q", 1, "open")
            .context("making the quiet tenant")?;
        // Chats of its own: the mock world knows them by number alone.
        quiet[0].lane = flooders as u64 + 1;
        self.world.pace(0, TOKENS, 0)?;
        let pid = self.product.pid();
        let quiet = json!({"address": self.product.address(), "targets": quiet, "mock": self.world.address});
        let flags = [("turns", QUIET), ("pause-ms", PAUSE), ("for-s", GOES_ON)];
        let alone = self.load.run("webhook-turn", &quiet, pid, &flags)?;
        let plan = self.flood(&flood, &vec![CHATS; flooders]);
        let flags_of_flood = [("rate", FLOOD), ("seconds", AHEAD + GOES_ON + LAST)];
        let flood = self.load.start("flood", &plan, pid, &flags_of_flood)?;
        sleep(Duration::from_secs(AHEAD));
        let before = answers(&self.world.chats()?);
        let started = std::time::Instant::now();
        let beside = self.load.run("webhook-turn", &quiet, pid, &flags);
        let took = started.elapsed().as_secs_f64();
        let after = answers(&self.world.chats()?);
        // It has done its work, and what it left waiting is nobody's business any more.
        drop(flood);
        let answered: u64 = (0..flooders as u64)
            .map(|lane| count(&after, lane) - count(&before, lane))
            .sum();
        let what = |metric: &str| format!("{}: quiet tenant, {metric}", self.database);
        let beside = beside.context("the quiet tenant beside the flood")?;
        for (metric, report) in [("alone", &alone), ("beside the flood", &beside)] {
            self.table.add(
                "B7",
                what(&format!("{metric}, p50")),
                "ms",
                &[report.p50_ms],
                &[],
                Goal::None,
            );
            self.table.add(
                "B7",
                what(&format!("{metric}, p99")),
                "ms",
                &[report.p99_ms],
                &[],
                Goal::None,
            );
        }
        self.table.add(
            "B7",
            what(&format!("p99 beside {flooders} / alone")),
            "times",
            &[beside.p99_ms / alone.p99_ms],
            &[],
            Goal::AtMost(2.0),
        );
        self.table.note(format!(
            "{}: {flooders} tenants sent {FLOOD} messages a second and were answered {:.0} times a second, the quiet one {} \
             times in {took:.0} s; model 0 ms",
            self.database,
            answered as f64 / took,
            beside.done,
        ));
        Ok(())
    }

    /// One tenant has nine tenths of the sessions, nine others the rest, and each wants more than its share of what can be
    /// answered: fair is as many answers to each. What is short is time of the CPU, then places to run.
    pub(crate) fn one_with_most_of_the_load(&mut self) -> Result<()> {
        self.shared_load("j", "CPU short")?;
        self.product.stop();
        let places = PLACES.to_string();
        self.product
            .start_with(&[("CLAWCENTRAL__LIMITS__PROCESS_RUNS", &places)])?;
        self.world.pace(THINKING, TOKENS, 0)?;
        // Tenants of their own: what the others left waiting is answered first, and would not be counted.
        self.shared_load("k", &format!("{PLACES} places to run"))
    }

    fn shared_load(&mut self, tenants: &str, short: &str) -> Result<()> {
        self.product
            .tenants(tenants, SHARING, "open")
            .context("making tenants that share")?;
        let chats = (0..SHARING)
            .map(|number| {
                let (url, token) = (
                    self.product.socket_of(tenants, number),
                    self.product.token_of(tenants, number)?,
                );
                Ok(json!({"url": url, "token": token, "session": "agent:main:share"}))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut sessions = vec![LIGHT; SHARING];
        sessions[0] = HEAVY;
        let plan = json!({"address": self.product.address(), "chats": chats, "chats_of": sessions});
        let flags = [("for-s", AHEAD + COUNTED), ("ahead-s", AHEAD), ("warm", 0)];
        let report = self.load.run("crowd", &plan, self.product.pid(), &flags)?;
        let rates: Vec<f64> = report.each.iter().map(|count| *count as f64 / COUNTED as f64).collect();
        self.table.add(
            "B7",
            format!(
                "{}: one of {SHARING} with 90 % of the load, {short}, Jain",
                self.database
            ),
            "index",
            &[jain(&rates)],
            &[],
            Goal::AtLeast(0.95),
        );
        let others = &rates[1..];
        self.table.note(format!(
            "{}: {short}: the tenant with 90 % of the load had {:.1} answers a second, the others {:.1} to {:.1}",
            self.database,
            rates[0],
            others.iter().copied().fold(f64::INFINITY, f64::min),
            others.iter().copied().fold(0.0, f64::max),
        ));
        Ok(())
    }

    fn flood(&self, targets: &[Target], chats: &[u64]) -> Value {
        json!({"address": self.product.address(), "targets": targets, "chats_of": chats})
    }
}

/// Answers by tenant, known by the lane of its chats.
fn answers(chats: &HashMap<String, u64>) -> HashMap<u64, u64> {
    let mut answers = HashMap::new();
    for (chat, count) in chats {
        if let Some(lane) = Sender::lane_of(chat) {
            *answers.entry(lane).or_default() += count;
        }
    }
    answers
}

fn count(answers: &HashMap<u64, u64>, lane: u64) -> u64 {
    answers.get(&lane).copied().unwrap_or_default()
}

/// Jain's index: 1 when all have the same, 1/n when one has everything.
fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares > 0.0 {
        sum * sum / (rates.len() as f64 * squares)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_of_equals_is_one_and_of_a_glutton_one_in_n() {
        assert!((jain(&[3.0; 10]) - 1.0).abs() < 1e-9);
        assert!((jain(&[5.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }
}
