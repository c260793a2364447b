//! B13: many turns at once on what little is left of a budget.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::child::call;
use crate::rows::{Bench, TOKENS};
use crate::table::Goal;

/// Turns at once, and the people they are of.
const TURNS: u64 = 200;
const PEOPLE: usize = 8;
/// The model's thinking time, ms: all of them are under way before the first is answered.
const THINKING: u64 = 500;
/// Longest answer of the mock model, tokens, as the configuration has it.
const LONGEST: u64 = 4096;

impl Bench<'_> {
    pub(crate) fn overspend(&mut self) -> Result<()> {
        self.tokens = self.product.people(PEOPLE).context("making people")?;
        self.world.tell_true_usage(THINKING, TOKENS)?;
        // What one call costs: its whole prompt, and the answer.
        let before = self.world.stat("tokens")?;
        let probe = self.chats(1, true, "probe");
        self.load
            .run("chat", &probe, self.product.pid(), &[("turns", 1), ("warm", 0)])?;
        let one = self.world.stat("tokens")? - before;
        // Room for what one call may cost at most (its prompt with a margin, and the longest answer), and for ten calls.
        for (room, amount) in [("one call", one * 5 / 4 + LONGEST), ("ten calls", one * 10)] {
            self.at_once(room, amount)?;
        }
        Ok(())
    }

    fn at_once(&mut self, room: &str, amount: u64) -> Result<()> {
        let wish = json!({"kind": "tenant", "unit": "tokens", "amount": amount, "period": "total"});
        let made = self.budgets("POST", "", &wish)?;
        let id = made["id"].as_str().context("the budget has no id")?;
        let (calls, told) = (self.world.stat("calls")?, self.world.stat("tokens")?);
        let chats: Vec<_> = self.tokens[1..]
            .iter()
            .map(|token| json!({"url": self.product.socket(), "token": token, "session": format!("agent:main:{id}")}))
            .collect();
        let plan = json!({"address": self.product.address(), "chats": chats});
        let flags = [("sessions", TURNS), ("turns", 1), ("warm", 0)];
        let report = self.load.run("crowd", &plan, self.product.pid(), &flags)?;
        let (calls, told) = (self.world.stat("calls")? - calls, self.world.stat("tokens")? - told);
        let listed = self.budgets("GET", "", &Value::Null)?;
        let shown = listed["budgets"].as_array().into_iter().flatten();
        let shown = shown
            .clone()
            .find(|budget| budget["id"] == id)
            .context("the budget is not listed")?;
        ensure!(
            report.done + report.failed == TURNS,
            "{} turns ended and {} were refused of {TURNS}",
            report.done,
            report.failed
        );
        ensure!(
            shown["spent"] == told && shown["reserved"] == 0,
            "the model counted {told} tokens, on record are {} spent and {} put aside",
            shown["spent"],
            shown["reserved"]
        );
        self.table.add(
            "B13",
            format!("{}: {TURNS} turns at once, room for {room}, overspent", self.database),
            "tokens",
            &[told.saturating_sub(amount) as f64],
            &[],
            Goal::AtMost(0.0),
        );
        self.table.note(format!(
            "{}: a budget of {amount} tokens let {calls} calls through, which took {told}, and that is what is on record",
            self.database
        ));
        self.budgets("DELETE", &format!("/{id}"), &Value::Null).map(|_| ())
    }

    /// A call of the owner's to the budgets.
    fn budgets(&self, verb: &str, rest: &str, body: &Value) -> Result<Value> {
        let address = self.product.address();
        let head = format!(
            "{verb} /api/budgets{rest} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: \
             application/json\r\n",
            self.tokens[0]
        );
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) = call(&address, &head, body.as_bytes()).context("the server does not answer")?;
        ensure!(
            (200..300).contains(&status),
            "{verb} /api/budgets{rest}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}
