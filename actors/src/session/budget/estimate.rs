//! What a call may cost at most, and what it did cost, in both units. Pure.

use crate::config::budgets::Unit;
use crate::conversation::tokens;
use crate::ports::message::Usage;
use crate::ports::model::ModelRequest;
use crate::session::context;

/// An answer that has less room is not begun, tokens: it would be cut off in its first sentences.
const LEAST_ANSWER: u32 = 1_024;

/// What a call asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Epoch milliseconds.
    pub(super) now: i64,
    /// Tokens of the prompt, estimated.
    pub(super) input: u64,
    /// Tokens of the answer: as many as there may be, and the fewest with which it is worth beginning.
    pub(super) most: u64,
    pub(super) least: u64,
    /// USD per million tokens; `None`: not known.
    pub(super) prices: Option<[f64; 4]>,
    pub(super) model: String,
    /// Money does not count where the price is not known; else such a call is refused.
    pub(super) free_without_price: bool,
    /// Limits in this unit alone.
    pub(super) only: Option<Unit>,
}

impl Ask {
    /// The call with an answer of so many tokens, in the unit.
    pub(super) fn cost(&self, unit: Unit, output: u64) -> i64 {
        match unit {
            Unit::Tokens => whole(self.input.saturating_add(output)),
            Unit::Money => money(self.input, self.dearest_input()).saturating_add(money(output, self.output_price())),
        }
    }

    /// Tokens of the answer that `room` in the unit leaves, `None` when it does not hold the prompt.
    pub(super) fn affordable(&self, unit: Unit, room: i64) -> Option<u64> {
        let left = room.checked_sub(self.cost(unit, 0)).filter(|left| *left >= 0)?;
        let left = left.unsigned_abs();
        let tokens = match unit {
            Unit::Tokens => left,
            Unit::Money if self.output_price() <= 0.0 => self.most,
            Unit::Money => floor(float(left) / self.output_price()),
        };
        Some(tokens.min(self.most))
    }

    /// Part of a prompt may be new to the provider's cache, which some charge more for.
    fn dearest_input(&self) -> f64 {
        let [input, _, read, write] = self.prices.unwrap_or_default();
        input.max(read).max(write)
    }

    fn output_price(&self) -> f64 {
        self.prices.unwrap_or_default()[1]
    }
}

/// What a call used, in both units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    tokens: i64,
    money: i64,
}

impl Used {
    pub(super) fn of(usage: &Usage, prices: [f64; 4]) -> Self {
        let [input, output, read, write] = prices;
        let sum = float(usage.input) * input
            + float(usage.output) * output
            + float(usage.cache_read) * read
            + float(usage.cache_write) * write;
        Self {
            tokens: whole(usage.prompt_tokens().saturating_add(usage.output)),
            money: whole(ceiling(sum)),
        }
    }

    pub(super) const fn in_unit(self, unit: Unit) -> i64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
        }
    }
}

/// Tokens of a prompt, with the estimate's margin.
pub(super) fn prompt(request: &ModelRequest) -> u64 {
    let history: u64 = request.messages.iter().map(|message| tokens::message(message)).sum();
    tokens::with_margin(context::fixed(&request.system, &request.tools) + history)
}

/// The shortest answer that is worth a call.
pub(super) fn least_answer(most: u32) -> u64 {
    u64::from(most.min(LEAST_ANSWER))
}

/// Dollars for a million tokens are millionths of a dollar for one. Rounded up.
fn money(tokens: u64, price: f64) -> i64 {
    whole(ceiling(float(tokens) * price))
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "amounts stay below 2^53, see the largest budget"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as casts saturate, and a sum of prices is not negative"
)]
fn ceiling(amount: f64) -> u64 {
    // What was computed from decimal prices is off by a little: half of a thousandth counts for nothing.
    (amount - 0.000_5).ceil().max(0.0) as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as casts saturate, and neither part of the division is negative"
)]
fn floor(amount: f64) -> u64 {
    amount.floor().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prices: [f64; 4]) -> Ask {
        Ask {
            now: 0,
            input: 1_000,
            most: 4_000,
            least: 1_024,
            prices: Some(prices),
            model: "mock/mock-1".to_owned(),
            free_without_price: false,
            only: None,
        }
    }

    #[test]
    fn a_call_is_counted_at_its_dearest_before_and_as_it_was_after() {
        let ask = ask([3.0, 15.0, 0.3, 3.75]);
        assert_eq!(ask.cost(Unit::Tokens, 4_000), 5_000);
        assert_eq!(ask.cost(Unit::Money, 4_000), 3_750 + 60_000);
        let usage = Usage {
            input: 100,
            output: 10,
            cache_read: 1_000,
            cache_write: 200,
            ..Usage::default()
        };
        let used = Used::of(&usage, [3.0, 15.0, 0.3, 3.75]);
        assert_eq!(used.in_unit(Unit::Tokens), 1_310);
        assert_eq!(used.in_unit(Unit::Money), 300 + 150 + 300 + 750);
        assert_eq!(Used::of(&Usage::default(), [3.0; 4]), Used::default());
        // The smallest call costs something.
        let small = Usage {
            input: 1,
            ..Usage::default()
        };
        assert_eq!(Used::of(&small, [0.02, 0.0, 0.0, 0.0]).in_unit(Unit::Money), 1);
    }

    #[test]
    fn an_answer_is_as_long_as_there_is_room() {
        let ask = ask([1.0, 10.0, 0.0, 0.0]);
        for (unit, room, tokens) in [
            (Unit::Tokens, 999, None),
            (Unit::Tokens, 1_000, Some(0)),
            (Unit::Tokens, 1_500, Some(500)),
            (Unit::Tokens, i64::MAX, Some(4_000)),
            (Unit::Tokens, -1, None),
            (Unit::Tokens, i64::MIN, None),
            (Unit::Money, 999, None),
            (Unit::Money, 1_009, Some(0)),
            (Unit::Money, 1_010, Some(1)),
            (Unit::Money, 1_000_000, Some(4_000)),
        ] {
            assert_eq!(ask.affordable(unit, room), tokens, "{unit:?} {room}");
        }
        let free = super::tests::ask([0.0; 4]);
        assert_eq!(free.affordable(Unit::Money, 0), Some(4_000));
        assert_eq!(free.cost(Unit::Money, 4_000), 0);
    }
}
