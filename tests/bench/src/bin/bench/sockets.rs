//! The rows about gateway sockets: signed connects, fan-out, revocation.

use anyhow::Result;
use claw_bench::latency::Report;
use serde_json::{Value, json};

use crate::original::Original;
use crate::rows::{Bench, pick};
use crate::table::Goal;

/// Sockets that echo beside the fan-out.
const ECHOES: usize = 100;

impl Bench<'_> {
    pub(crate) fn signed_connects(&mut self) -> Result<()> {
        // Sixteen people: each new socket of somebody is told to the others of theirs.
        let plan = self.chats(16.min(self.wishes.sessions), true, "connect");
        for (what, known) in [("known device to hello-ok", 1), ("new device until told to wait", 0)] {
            let flags = [("n", 3000), ("conc", 16), ("known", known)];
            let reports = self.repeat("connect", &plan, self.product.pid(), &flags)?;
            let original = if known == 1 {
                self.originals_connects()?
            } else {
                Vec::new()
            };
            let what = |metric: &str| format!("{}: {what}, {metric}", self.database);
            self.table.beside(
                "B3",
                what("signed connects"),
                "/core s",
                &pick(&reports, Report::per_core),
                &[],
                &pick(&original, Report::per_core),
                Goal::AtLeast(3000.0),
            );
            self.table.beside(
                "B3",
                what("p99"),
                "ms",
                &pick(&reports, |report| report.p99_ms),
                &[],
                &pick(&original, |report| report.p99_ms),
                Goal::None,
            );
        }
        Ok(())
    }

    /// Signed connects of known devices at the original, with as many lanes and fewer of them; none if it was not asked
    /// for.
    fn originals_connects(&mut self) -> Result<Vec<Report>> {
        let Some(package) = &self.wishes.original else {
            return Ok(Vec::new());
        };
        let original = Original::start(package, &self.world.address)?;
        let flags = [("n", 300), ("conc", 16), ("known", 1)];
        self.repeat("connect", &original.plan(), original.pid(), &flags)
    }

    pub(crate) fn fan_out(&mut self) -> Result<()> {
        // Two hundred deltas at once, so that there is something to fan out.
        self.world.pace(0, 200, 0)?;
        let plan = self.chats(1, false, "fan");
        let mut flags = vec![("turns", 20), ("operators", 100), ("nodes", 10)];
        let even = self.repeat("fan", &plan, self.product.pid(), &flags)?;
        flags.push(("slow", 10));
        let mixed = self.repeat("fan", &plan, self.product.pid(), &flags)?;
        self.world.pace(0, super::rows::TOKENS, 0)?;
        let size = even[0].bytes / even[0].frames.max(1);
        let url = format!("ws://{}/ws", self.floor.address);
        let echoes: Vec<Value> = (0..ECHOES)
            .map(|_| json!({"url": url, "token": "", "session": ""}))
            .collect();
        let plan = json!({"address": self.floor.address, "chats": echoes});
        let floor = self.repeat("echo", &plan, self.floor.process.pid(), &[("n", 2000), ("size", size)])?;
        let echo = pick(&floor, Report::frames_per_core);
        for (what, reports) in [
            ("100 operators, 10 nodes", &even),
            ("90 operators, 10 slow ones, 10 nodes", &mixed),
        ] {
            let what = |metric: &str| format!("{}: {what}, {metric}", self.database);
            let frames = pick(reports, Report::frames_per_core);
            self.table
                .add("B9", what("frames"), "/core s", &frames, &echo, Goal::OfFloor(0.3));
            self.table.add(
                "B9",
                what("p99 of a turn"),
                "ms",
                &pick(reports, |report| report.p99_ms),
                &[],
                Goal::None,
            );
        }
        self.table.note(format!(
            "{}: fan-out frames had {size} bytes on average; the floor is a raw echo of as many, window 16, {ECHOES} sockets",
            self.database
        ));
        Ok(())
    }

    pub(crate) fn revocation(&mut self) -> Result<()> {
        let owner = json!([{"url": self.product.socket(), "token": self.tokens[0], "session": ""}]);
        let member = json!([{"url": self.product.socket(), "token": self.tokens[1], "session": ""}]);
        let user = |verb| ["user", verb, "--tenant", "demo", "--user", "user0@bench.local"].to_vec();
        let tenant = |verb| ["tenant", verb, "demo"].to_vec();
        for (what, chats, change) in [
            ("device removed (RPC)", &owner, None),
            ("token revoked (REST)", &owner, None),
            (
                "user disabled (command)",
                &member,
                Some((user("disable"), user("enable"))),
            ),
            (
                "tenant suspended (command)",
                &member,
                Some((tenant("suspend"), tenant("resume"))),
            ),
        ] {
            // The time of a command counts from its start: it is a process of its own.
            let revocation = match &change {
                None if what.starts_with("device") => json!({"kind": "device"}),
                None => json!({"kind": "token"}),
                Some((command, _)) => json!({"kind": "command", "line": self.product.line(command)}),
            };
            let plan = json!({"address": self.product.address(), "chats": chats, "revocation": revocation});
            let mut reports = Vec::new();
            for _ in 0..self.wishes.repeats {
                reports.push(self.load.run("revoke", &plan, 0, &[])?);
                if let Some((_, back)) = &change {
                    self.product.cli(back)?;
                    // Until the server has noticed: it looks every 300 ms.
                    std::thread::sleep(std::time::Duration::from_millis(1500));
                }
            }
            self.table.add(
                "B14",
                format!("{}: {what} to the last frame of the last socket", self.database),
                "ms",
                &pick(&reports, |report| report.max_ms),
                &[],
                Goal::AtMost(1000.0),
            );
        }
        Ok(())
    }
}
