//! Calls that go round in circles (`agent-runtime` §12.4): the model is told first, then the call is not made.

use std::collections::VecDeque;

use ring::digest;
use serde_json::Value;

use crate::config::audit::canonical;
use crate::config::document::LoopSettings;

/// Different calls and results that many calls without news have at most.
const CIRCLE: usize = 3;

type Mark = [u8; 32];

/// The calls of one run.
#[derive(Debug, Default)]
pub(super) struct Loops {
    calls: VecDeque<Made>,
    count: u64,
}

#[derive(Debug)]
struct Made {
    number: u64,
    call: Mark,
    /// `None` while it goes on, which is no news either.
    result: Option<Mark>,
}

/// What is to be done about a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Make it, and tell the model this.
    Warn(String),
    /// Do not make it, and tell the model why.
    Block(String),
}

impl Loops {
    /// Judges a call that is about to be made. The number is for [`Loops::ended`].
    pub(super) fn judge(&mut self, rules: &LoopSettings, tool: &str, arguments: &Value) -> (u64, Verdict) {
        let call = mark_of_call(tool, arguments);
        let verdict = self.verdict(rules, tool, &call);
        self.count += 1;
        // What is not made gives what it gave before: trying again is no way out.
        let result = match verdict {
            Verdict::Block(_) => self.newest_result(&call),
            Verdict::Go | Verdict::Warn(_) => None,
        };
        self.calls.push_back(Made {
            number: self.count,
            call,
            result,
        });
        while self.calls.len() > rules.history {
            self.calls.pop_front();
        }
        (self.count, verdict)
    }

    /// Remembers what a call gave.
    pub(super) fn ended(&mut self, number: u64, result: &str) {
        if let Some(made) = self.calls.iter_mut().find(|made| made.number == number) {
            made.result = Some(mark(result));
        }
    }

    fn verdict(&self, rules: &LoopSettings, tool: &str, call: &Mark) -> Verdict {
        let seen = |looked_for: bool, count: usize| if looked_for { count } else { 0 };
        let stuck = seen(rules.no_progress, self.without_news(call));
        let swinging = seen(rules.ping_pong, self.ping_pong(call));
        let circles = self.circling(rules.breaker);
        if stuck >= rules.critical || swinging >= rules.critical || circles {
            let least = if circles { rules.breaker } else { rules.critical };
            return Verdict::Block(format!(
                "The call was not made: {tool} was called {} times and gave nothing new. Stop repeating it: try another \
                 way, or tell the user what you have so far.",
                stuck.max(swinging).max(least)
            ));
        }
        let same = self.calls.iter().filter(|made| made.call == *call).count();
        let repeats = seen(rules.repeats, same);
        if repeats >= rules.warning || swinging >= rules.warning {
            return Verdict::Warn(format!(
                "You have called {tool} {} times with the same arguments in this turn. If that is no progress, stop and \
                 tell the user.",
                repeats.max(swinging) + 1
            ));
        }
        Verdict::Go
    }

    fn newest_result(&self, call: &Mark) -> Option<Mark> {
        let mut same = self.calls.iter().rev().filter(|made| made.call == *call);
        same.find_map(|made| made.result)
    }

    /// The newest like calls that all gave the same.
    fn without_news(&self, call: &Mark) -> usize {
        let mut same = self.calls.iter().rev().filter(|made| made.call == *call).peekable();
        let newest = self.newest_result(call);
        let mut count = 0;
        while same
            .next_if(|made| made.result.is_none() || made.result == newest)
            .is_some()
        {
            count += 1;
        }
        count
    }

    /// The newest calls that swing between this one and one other, each always giving the same.
    fn ping_pong(&self, call: &Mark) -> usize {
        let Some(other) = self.calls.back().map(|made| made.call).filter(|other| other != call) else {
            return 0;
        };
        let (mut results, mut count) = ([None, None], 0);
        for (at, made) in self.calls.iter().rev().enumerate() {
            let (expected, side) = if at.is_multiple_of(2) { (&other, 0) } else { (call, 1) };
            let Some(known) = results.get_mut(side) else { break };
            if made.call != *expected || (known.is_some() && made.result != *known) {
                break;
            }
            *known = made.result;
            count += 1;
        }
        count
    }

    /// Do the newest calls, so many, hold next to nothing.
    fn circling(&self, newest: usize) -> bool {
        if self.calls.len() < newest {
            return false;
        }
        let mut seen: Vec<(&Mark, &Option<Mark>)> = Vec::new();
        for made in self.calls.iter().rev().take(newest) {
            let this = (&made.call, &made.result);
            if !seen.contains(&this) {
                seen.push(this);
            }
            if seen.len() > CIRCLE {
                return false;
            }
        }
        true
    }
}

fn mark(text: &str) -> Mark {
    let mut bytes = Mark::default();
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    for (to, from) in bytes.iter_mut().zip(sum.as_ref()) {
        *to = *from;
    }
    bytes
}

/// The order of the arguments does not matter.
fn mark_of_call(tool: &str, arguments: &Value) -> Mark {
    let mut text = format!("{tool}\n");
    canonical(arguments, &mut text);
    mark(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn make(loops: &mut Loops, tool: &str, arguments: &Value, result: &str) -> Verdict {
        make_by(&LoopSettings::default(), loops, tool, arguments, result)
    }

    fn make_by(rules: &LoopSettings, loops: &mut Loops, tool: &str, arguments: &Value, result: &str) -> Verdict {
        let (number, verdict) = loops.judge(rules, tool, arguments);
        // As the toolbox does: what was not made has no result.
        if !matches!(verdict, Verdict::Block(_)) {
            loops.ended(number, result);
        }
        verdict
    }

    #[test]
    fn the_same_call_without_news_is_warned_about_then_stopped() {
        let mut loops = Loops::default();
        for round in 1..=25 {
            // The order of the keys is no difference.
            let arguments = if round % 2 == 0 {
                json!({"a": 1, "b": 2})
            } else {
                json!({"b": 2, "a": 1})
            };
            let verdict = make(&mut loops, "read", &arguments, "same");
            match round {
                1..=10 => assert_eq!(verdict, Verdict::Go, "{round}"),
                11..=20 => assert!(matches!(verdict, Verdict::Warn(_)), "{round}"),
                _ => assert!(matches!(verdict, Verdict::Block(_)), "{round}"),
            }
        }
        assert_eq!(
            make(&mut loops, "read", &json!({"a": 3}), "x"),
            Verdict::Go,
            "another call goes on"
        );
    }

    #[test]
    fn news_is_progress() {
        let mut loops = Loops::default();
        for round in 1..=60 {
            let verdict = make(&mut loops, "poll", &json!({}), &round.to_string());
            assert!(!matches!(verdict, Verdict::Block(_)), "{round}");
        }
    }

    #[test]
    fn one_batch_of_many_like_calls_is_stopped_before_they_answer() {
        let mut loops = Loops::default();
        let verdicts: Vec<_> = (0..30)
            .map(|_| loops.judge(&LoopSettings::default(), "send", &json!({})).1)
            .collect();
        let blocked = verdicts
            .iter()
            .filter(|verdict| matches!(verdict, Verdict::Block(_)))
            .count();
        assert_eq!(blocked, 10);
    }

    #[test]
    fn two_calls_that_take_turns_are_a_circle_too() {
        let mut loops = Loops::default();
        let mut last = Verdict::Go;
        for round in 0..24 {
            let tool = if round % 2 == 0 { "read" } else { "write" };
            last = make(&mut loops, tool, &json!({}), tool);
        }
        assert!(matches!(last, Verdict::Block(_)), "{last:?}");
        let mut loops = Loops::default();
        for round in 0..40 {
            let tool = ["a", "b", "c"][round % 3];
            last = make(&mut loops, tool, &json!({}), tool);
        }
        assert!(matches!(last, Verdict::Block(_)), "a circle of three: {last:?}");
    }

    #[test]
    fn the_thresholds_are_those_of_the_settings() {
        let rules = LoopSettings {
            warning: 2,
            critical: 4,
            breaker: 6,
            ..LoopSettings::default()
        };
        let kinds = |rules: &LoopSettings| {
            let mut loops = Loops::default();
            let judged = (1..=7).map(|_| match make_by(rules, &mut loops, "read", &json!({}), "same") {
                Verdict::Go => 'g',
                Verdict::Warn(_) => 'w',
                Verdict::Block(_) => 'b',
            });
            judged.collect::<String>()
        };
        assert_eq!(kinds(&rules), "ggwwbbb");
        let silent = LoopSettings {
            repeats: false,
            ..rules
        };
        assert_eq!(kinds(&silent), "ggggbbb");
        // What is left is the breaker, which always counts.
        let only_breaker = LoopSettings {
            no_progress: false,
            ..silent
        };
        assert_eq!(kinds(&only_breaker), "ggggggb");
        let short = LoopSettings { history: 3, ..rules };
        assert_eq!(
            kinds(&short),
            "ggwwwww",
            "a history that is shorter than a threshold never reaches it"
        );
    }
}
