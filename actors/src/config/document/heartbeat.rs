//! `agents.defaults.heartbeat` and `agents.<id>.heartbeat` (`agent-runtime` §18.1): which agents look by themselves, how
//! often, when, and where they say what they found. Off unless `every` is given: each look costs a model call.

use std::time::Duration;

use chrono::{DateTime, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use super::parse::{agent_entries, agent_id, at, number, span, text};

/// Longest answer beside the token that still counts as "nothing to report", characters.
const ACK_MAX_CHARS: usize = 300;
const DAY_MINUTES: u32 = 24 * 60;

/// One agent's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    pub agent_id: String,
    /// Never zero.
    pub every: Duration,
    /// As it was written, for people.
    pub every_text: String,
    pub model: Option<String>,
    /// Of the workspace only `HEARTBEAT.md` goes into the prompt.
    pub light_context: bool,
    /// Each look begins without what was said before.
    pub isolated: bool,
    /// The session that looks; `None` = the agent's main one.
    pub session: Option<String>,
    pub target: HeartbeatTarget,
    pub to: Option<String>,
    pub account_id: Option<String>,
    /// What the agent is asked; `None` = ours.
    pub prompt: Option<String>,
    pub ack_max_chars: usize,
    /// `directPolicy: block`: never into a direct chat.
    pub direct_blocked: bool,
    pub timeout: Option<Duration>,
    pub active: Option<ActiveHours>,
}

/// Where an agent says what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeartbeatTarget {
    /// Nowhere: it stands in the session.
    #[default]
    None,
    /// Where the user wrote last.
    Last,
    Channel(String),
}

impl HeartbeatTarget {
    /// As the document spells it.
    pub fn name(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Last => "last",
            Self::Channel(channel) => channel,
        }
    }
}

/// The part of the day in which an agent looks, minutes of the day. An end before the start is on the next day; both
/// the same is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveHours {
    pub start: u32,
    /// Up to 24:00.
    pub end: u32,
    /// `None` = the user's.
    pub zone: Option<Tz>,
}

impl ActiveHours {
    /// Is `now` (epoch milliseconds) within, by the clock on the wall of that zone.
    pub fn hold(self, user: Tz, now: i64) -> bool {
        let Some(now) = DateTime::<Utc>::from_timestamp_millis(now) else {
            return true;
        };
        let now = now.with_timezone(&self.zone.unwrap_or(user));
        let minute = now.hour() * 60 + now.minute();
        if self.start < self.end {
            (self.start..self.end).contains(&minute)
        } else {
            self.start != self.end && (minute >= self.start || minute < self.end)
        }
    }
}

/// `08:30`, also `24:00`.
pub fn time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= DAY_MINUTES).then_some(time)
}

/// `30m`, `2h`; a bare number is minutes.
pub fn pause(text: &str) -> Option<Duration> {
    span(text, "m")
}

/// The agents that look by themselves. When some have a block of their own, only those do; else the agent that the
/// defaults name, or the default one.
pub(super) fn heartbeats(doc: &Value, default_agent: &str) -> Vec<HeartbeatSettings> {
    let usual = at(doc, "/agents/defaults/heartbeat");
    let mut own: Vec<(String, &Value)> = Vec::new();
    for (id, entry) in agent_entries(doc) {
        let block = at(entry, "/heartbeat");
        if block.is_object() && !own.iter().any(|(known, _)| *known == id) {
            own.push((id, block));
        }
    }
    if own.is_empty() {
        let named = text(at(usual, "/agentId")).map(|id| agent_id(&id));
        let agent = named.unwrap_or_else(|| default_agent.to_owned());
        return heartbeat(agent, usual).into_iter().collect();
    }
    let merged = |block: &Value| {
        let mut fields = usual.as_object().cloned().unwrap_or_else(Map::new);
        fields.extend(block.as_object().cloned().unwrap_or_default());
        Value::Object(fields)
    };
    own.into_iter()
        .filter_map(|(id, block)| heartbeat(id, &merged(block)))
        .collect()
}

fn heartbeat(agent_id: String, block: &Value) -> Option<HeartbeatSettings> {
    let every_text = text(at(block, "/every"))?;
    let every = pause(&every_text).filter(|every| !every.is_zero())?;
    let flag = |pointer| at(block, pointer).as_bool() == Some(true);
    Some(HeartbeatSettings {
        agent_id,
        every,
        every_text,
        model: text(at(block, "/model")),
        light_context: flag("/lightContext"),
        isolated: flag("/isolatedSession"),
        session: text(at(block, "/session")).filter(|session| session != "main"),
        target: match text(at(block, "/target")).map(|target| target.to_lowercase()) {
            None => HeartbeatTarget::None,
            Some(target) if target == "none" => HeartbeatTarget::None,
            Some(target) if target == "last" => HeartbeatTarget::Last,
            Some(channel) => HeartbeatTarget::Channel(channel),
        },
        to: text(at(block, "/to")),
        account_id: text(at(block, "/accountId")),
        prompt: text(at(block, "/prompt")),
        ack_max_chars: number(at(block, "/ackMaxChars"))
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(ACK_MAX_CHARS),
        direct_blocked: text(at(block, "/directPolicy")).as_deref() == Some("block"),
        timeout: number(at(block, "/timeoutSeconds"))
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        active: active(at(block, "/activeHours")),
    })
}

/// Without a readable start and end it is always.
fn active(block: &Value) -> Option<ActiveHours> {
    let time = |pointer| time_of_day(&text(at(block, pointer))?);
    Some(ActiveHours {
        start: time("/start").filter(|start| *start < DAY_MINUTES)?,
        end: time("/end")?,
        zone: text(at(block, "/timezone")).and_then(|zone| zone.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instant(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
    }

    fn hours(start: &str, end: &str, zone: Option<Tz>) -> ActiveHours {
        ActiveHours {
            start: time_of_day(start).expect("a time"),
            end: time_of_day(end).expect("a time"),
            zone,
        }
    }

    #[test]
    fn active_hours_by_the_clock_on_the_wall() {
        let berlin = Tz::Europe__Berlin;
        for (start, end, now, holds) in [
            ("08:00", "22:00", "2026-01-10T07:59:59+01:00", false),
            ("08:00", "22:00", "2026-01-10T08:00:00+01:00", true),
            ("08:00", "22:00", "2026-01-10T21:59:59+01:00", true),
            ("08:00", "22:00", "2026-01-10T22:00:00+01:00", false),
            // over midnight
            ("22:00", "06:00", "2026-01-10T21:59:00+01:00", false),
            ("22:00", "06:00", "2026-01-10T23:30:00+01:00", true),
            ("22:00", "06:00", "2026-01-11T05:59:00+01:00", true),
            ("22:00", "06:00", "2026-01-11T06:00:00+01:00", false),
            ("00:00", "24:00", "2026-01-10T00:00:00+01:00", true),
            ("00:00", "24:00", "2026-01-10T23:59:00+01:00", true),
            ("18:00", "24:00", "2026-01-10T23:59:00+01:00", true),
            ("18:00", "24:00", "2026-01-11T00:00:00+01:00", false),
            // the same: never
            ("09:00", "09:00", "2026-01-10T09:00:00+01:00", false),
            // 02:00 to 03:00 does not exist on this day, and is there twice on that one
            ("02:30", "04:00", "2026-03-29T01:59:00+01:00", false),
            ("02:30", "04:00", "2026-03-29T03:00:00+02:00", true),
            ("02:30", "03:00", "2026-10-25T02:30:00+02:00", true),
            ("02:30", "03:00", "2026-10-25T02:30:00+01:00", true),
            ("03:00", "04:00", "2026-10-25T02:59:00+01:00", false),
        ] {
            let active = hours(start, end, None);
            assert_eq!(active.hold(berlin, instant(now)), holds, "{start} to {end} at {now}");
        }
        let tokyo = hours("08:00", "12:00", Some(Tz::Asia__Tokyo));
        assert!(
            tokyo.hold(berlin, instant("2026-01-10T01:00:00+01:00")),
            "its own zone counts"
        );
        assert!(!tokyo.hold(berlin, instant("2026-01-10T09:00:00+01:00")));
    }

    #[test]
    fn times_and_pauses_are_read() {
        for (text, minutes) in [("00:00", 0), ("8:05", 485), ("24:00", 1440), (" 23:59 ", 1439)] {
            assert_eq!(time_of_day(text), Some(minutes), "{text}");
        }
        for text in ["24:01", "25:00", "12:60", "12", "a:b", "-1:00", "+1:00", "", "1:2:3"] {
            assert_eq!(time_of_day(text), None, "{text}");
        }
        for (text, seconds) in [("30m", 1800), ("1h", 3600), ("90s", 90), ("15", 900), ("0m", 0)] {
            assert_eq!(pause(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!((pause("soon"), pause("")), (None, None));
    }

    #[test]
    fn only_agents_with_a_pause_look_by_themselves() {
        let who = |doc: Value| -> Vec<(String, u64)> {
            heartbeats(&doc, "main")
                .into_iter()
                .map(|beat| (beat.agent_id, beat.every.as_secs()))
                .collect()
        };
        let agents = |defaults: Value, entries: Value| json!({"agents": {"defaults": defaults, "entries": entries}});
        assert!(who(json!({})).is_empty(), "off by default");
        assert!(who(agents(json!({"heartbeat": {"target": "last"}}), json!({}))).is_empty());
        assert!(who(agents(json!({"heartbeat": {"every": "0m"}}), json!({}))).is_empty());
        let half = json!({"heartbeat": {"every": "30m"}});
        assert_eq!(
            who(agents(half.clone(), json!({"a": {}, "b": {}}))),
            [("main".to_owned(), 1800)],
            "the default agent alone"
        );
        let named = json!({"heartbeat": {"every": "30m", "agentId": "B"}});
        assert_eq!(who(agents(named, json!({"b": {}}))), [("b".to_owned(), 1800)]);
        let own = json!({"a": {"heartbeat": {}}, "b": {"heartbeat": {"every": "1h"}}, "c": {},
            "d": {"heartbeat": {"every": "0m"}}});
        assert_eq!(
            who(agents(half, own)),
            [("a".to_owned(), 1800), ("b".to_owned(), 3600)],
            "those with a block of their own, and no others"
        );
    }

    #[test]
    fn a_block_of_ones_own_goes_over_the_defaults() {
        let doc = json!({"agents": {
            "defaults": {"heartbeat": {"every": "30m", "target": "LAST", "ackMaxChars": 10, "prompt": " look ",
                "activeHours": {"start": "08:00", "end": "24:00", "timezone": "user"}}},
            "list": [{"id": "a", "heartbeat": {"target": "telegram", "to": 42, "directPolicy": "block",
                "isolatedSession": true, "session": "main"}}],
        }});
        let [beat] = &heartbeats(&doc, "a")[..] else {
            panic!("one agent looks")
        };
        assert_eq!(beat.target, HeartbeatTarget::Channel("telegram".to_owned()));
        assert_eq!((beat.to.as_deref(), beat.prompt.as_deref()), (Some("42"), Some("look")));
        assert_eq!(
            (beat.ack_max_chars, beat.direct_blocked, beat.isolated),
            (10, true, true)
        );
        assert_eq!((beat.session.clone(), beat.light_context), (None, false));
        assert_eq!(beat.active, Some(hours("08:00", "24:00", None)));
        let odd = json!({"every": "30m", "ackMaxChars": "many", "activeHours": {"start": "24:00", "end": "6"}});
        let beat = heartbeat("a".to_owned(), &odd).expect("looks");
        assert_eq!(
            (beat.ack_max_chars, beat.active, beat.target),
            (300, None, HeartbeatTarget::None)
        );
    }
}
