//! `tools.loopDetection`: when calls that go round in circles are stopped (`agent-runtime` §12.4).

use serde_json::Value;

use super::parse::{at, number};

/// Calls nobody can have looked back at beyond.
const LONGEST: u64 = 200;

/// How calls of one run are watched. Counts are calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSettings {
    pub enabled: bool,
    /// So many calls are looked back at.
    pub history: usize,
    /// From so many like calls on the model is told.
    pub warning: usize,
    /// From so many on that gave nothing new, the call is not made; more than `warning`.
    pub critical: usize,
    /// So many calls in which next to nothing happened stop whatever is called next; more than `critical`.
    pub breaker: usize,
    /// Tells of calls that are repeated with the same arguments.
    pub repeats: bool,
    /// Stops calls that give nothing new.
    pub no_progress: bool,
    /// Sees two calls that take turns.
    pub ping_pong: bool,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self::parse(&[&Value::Null])
    }
}

impl LoopSettings {
    /// The first of these sections that says something counts.
    pub(super) fn parse(sections: &[&Value]) -> Self {
        let flag = |pointer: &str| {
            let said = sections.iter().find_map(|section| at(section, pointer).as_bool());
            said.unwrap_or(true)
        };
        let count = |pointer: &str, usual: u64, least: u64| {
            let said = sections.iter().find_map(|section| number(at(section, pointer)));
            said.unwrap_or(usual).clamp(least, LONGEST.max(least))
        };
        let whole = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let warning = count("/warningThreshold", 10, 1);
        let critical = count("/criticalThreshold", 20, warning + 1);
        let breaker = count("/globalCircuitBreakerThreshold", 30, critical + 1);
        Self {
            enabled: flag("/enabled"),
            // What is not remembered is not counted.
            history: whole(count("/historySize", 30, 1).max(breaker)),
            warning: whole(warning),
            critical: whole(critical),
            breaker: whole(breaker),
            repeats: flag("/detectors/genericRepeat"),
            no_progress: flag("/detectors/knownPollNoProgress"),
            ping_pong: flag("/detectors/pingPong"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thresholds_stay_in_their_order() {
        let counts = |settings: LoopSettings| [settings.history, settings.warning, settings.critical, settings.breaker];
        assert_eq!(counts(LoopSettings::default()), [30, 10, 20, 30]);
        let set = json!({"historySize": 9000, "warningThreshold": 50, "criticalThreshold": 3});
        assert_eq!(counts(LoopSettings::parse(&[&set])), [200, 50, 51, 52]);
        let short = json!({"historySize": 5, "criticalThreshold": 40});
        assert_eq!(counts(LoopSettings::parse(&[&short])), [41, 10, 40, 41]);
    }

    #[test]
    fn an_agents_own_words_come_before_those_for_all() {
        let all = json!({"enabled": false, "warningThreshold": 4, "detectors": {"pingPong": false}});
        let own = json!({"enabled": true, "detectors": {"genericRepeat": false}});
        let settings = LoopSettings::parse(&[&own, &all]);
        assert!(settings.enabled && settings.no_progress && !settings.repeats && !settings.ping_pong);
        assert_eq!(settings.warning, 4);
    }
}
