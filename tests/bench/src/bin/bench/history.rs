//! B8: the first message to a session that sleeps and has a long past.

use anyhow::{Context, Result, ensure};
use claw_bench::latency::Report;
use serde_json::{Value, json};

use crate::product::OWNER;
use crate::rows::{Bench, TOKENS, pick};
use crate::store::numbers;
use crate::table::Goal;

/// Turns that each session has had.
const TURNS: usize = 10_000;
/// Turns that its last compaction kept: few, and about as many as one keeps by default.
const KEPT: [usize; 2] = [50, 250];
/// What people and model said in each turn.
const ASKED: &str =
    "How is the weather in Lisbon this week, and is it worth taking an umbrella along on Thursday evening?";
const SAID: &str = "It stays mild, between 14 and 19 degrees, with light wind from the north-west. Rain is likely on \
    Thursday from about six in the evening, two or three millimetres in all, so an umbrella is a good idea then.";

impl Bench<'_> {
    pub(crate) fn first_messages(&mut self) -> Result<()> {
        let sessions = self.wishes.histories;
        self.tokens = self.product.people(0).context("making people")?;
        self.product.stop();
        for kept in KEPT {
            self.remember(kept, sessions).context("writing the histories")?;
        }
        self.world.pace(0, TOKENS, 0)?;
        let mut of_kept: Vec<Vec<Report>> = KEPT.iter().map(|_| Vec::new()).collect();
        let mut words = 0;
        for _ in 0..self.wishes.repeats {
            for (kept, reports) in KEPT.into_iter().zip(&mut of_kept) {
                // Whoever has just been started has no session in memory.
                self.product.stop();
                self.product.start()?;
                words += 1;
                let mut plan = self.chats(sessions, false, &name(kept));
                plan["mock"] = json!(self.world.address);
                reports.push(self.load.run("first", &plan, self.product.pid(), &[("words", words)])?);
                self.check(words, kept)?;
            }
        }
        for (kept, reports) in KEPT.into_iter().zip(&of_kept) {
            let what = |metric: &str| {
                format!(
                    "{}: wake, {TURNS} turns, {kept} kept, to model request, {metric}",
                    self.database
                )
            };
            self.table.add(
                "B8",
                what("p50"),
                "ms",
                &pick(reports, |report| report.p50_ms),
                &[],
                Goal::AtMost(5.0),
            );
            self.table.add(
                "B8",
                what("p99"),
                "ms",
                &pick(reports, |report| report.p99_ms),
                &[],
                Goal::AtMost(15.0),
            );
        }
        let [few, many] = KEPT;
        let each: Vec<f64> = of_kept[0]
            .iter()
            .zip(&of_kept[1])
            .map(|(of_few, of_many)| (of_many.cpu_us() - of_few.cpu_us()) / (many - few) as f64)
            .collect();
        self.table.add(
            "B8",
            format!("{}: wake, CPU of each kept turn", self.database),
            "us",
            &each,
            &[],
            Goal::AtMost(20.0),
        );
        self.table.note(format!(
            "{}: p99 of {sessions} sessions is the slowest of them; a kept turn is {} bytes of text",
            self.database,
            ASKED.len() + SAID.len()
        ));
        Ok(())
    }

    /// Did the model get what was kept, each time the first message came?
    fn check(&self, words: u64, kept: usize) -> Result<()> {
        let marks = self.world.marks(&format!("h{words}-"))?;
        let least = marks.values().map(|mark| mark.messages).min().unwrap_or_default();
        ensure!(
            least >= 2 * kept as u64,
            "a prompt had {least} messages where {kept} turns were kept"
        );
        Ok(())
    }

    /// Sessions of the owner's as they are after that many turns and a compaction at the end of them.
    fn remember(&self, kept: usize, sessions: usize) -> Result<()> {
        let (name, json) = (name(kept), |value: &Value| self.store.json(&quoted(value)));
        let now = now_ms();
        let last = 2 * TURNS;
        let entry = json(&json!({"compactionCount": 1}));
        let nothing = json(&Value::Null);
        self.store.run(&format!(
            "INSERT INTO session (tenant_id, user_id, key, session_id, agent_id, entry, destination, leaf_id, next_seq, \
                created_at, updated_at) \
             {} SELECT u.tenant_id, u.id, 'agent:main:{name}-' || i, '{name}-' || i, 'main', {entry}, {nothing}, \
                'e{}', {}, {now}, {now} FROM n, \"user\" u WHERE u.email = '{OWNER}'",
            numbers(sessions),
            last + 1,
            last + 2
        ))?;
        let asked =
            json!({"message": {"role": "user", "content": [{"type": "text", "text": ASKED}], "timestamp": now}});
        let said = json!({"message": {
            "role": "assistant", "content": [{"type": "text", "text": SAID}], "api": "openai-completions",
            "provider": "mock", "model": "mock-1", "stopReason": "stop", "timestamp": now,
            "usage": {"input": 100, "output": 8, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 108,
                "cost": {"input": 0.0, "output": 0.0, "cacheRead": 0.0, "cacheWrite": 0.0, "total": 0.0}},
        }});
        let compaction = json!({
            "summary": "They talked about the weather.", "firstKeptEntryId": format!("e{}", last - 2 * kept + 1),
            "tokensBefore": 100_000,
        });
        for session in 0..sessions {
            self.store.run(&format!(
                "INSERT INTO transcript_entry (tenant_id, user_id, session_id, seq, id, parent_id, kind, body, created_at) \
                 {} SELECT u.tenant_id, u.id, '{name}-{session}', i + 1, 'e' || (i + 1), \
                    CASE WHEN i > 0 THEN 'e' || i END, CASE WHEN i = {last} THEN 'compaction' ELSE 'message' END, \
                    CASE WHEN i = {last} THEN {} WHEN i % 2 = 0 THEN {} ELSE {} END, {now} \
                 FROM n, \"user\" u WHERE u.email = '{OWNER}'",
                numbers(last + 1),
                quoted(&compaction),
                quoted(&asked),
                quoted(&said)
            ))?;
        }
        // As a database that has held them for a while.
        self.store.run("ANALYZE")
    }
}

fn name(kept: usize) -> String {
    format!("kept{kept}")
}

/// JSON as a text of SQL.
pub(crate) fn quoted(value: &Value) -> String {
    format!("'{}'", value.to_string().replace('\'', "''"))
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}
