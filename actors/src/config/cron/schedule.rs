//! When a job is due. Pure: the time is always handed in. Rules of `agent-runtime` §17.2.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::crypto::token;

/// Jobs at the full hour are spread over this time, unless they say otherwise.
pub const DEFAULT_STAGGER_MS: i64 = 5 * 60 * 1000;
/// Largest time the protocol knows, epoch milliseconds (JavaScript's largest date).
pub const LATEST_MS: i64 = 8_640_000_000_000_000;
/// How long a one-shot job may wait, milliseconds: as the original, ten years.
const LONGEST_WAIT_MS: i64 = 10 * 366 * 24 * 3600 * 1000;
/// A one-shot time may be this old when it is set, milliseconds: it is due at once.
const JUST_PAST_MS: i64 = 60_000;
/// Firings looked at to find the shortest pause of an expression.
const LOOKED_AT: usize = 64;
/// Longest expression, bytes.
const LONGEST_EXPRESSION: usize = 200;

/// When a job runs, as the wire spells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Schedule {
    /// Once, at an RFC 3339 time.
    At { at: String },
    /// At `anchor_ms + k × every_ms`, so that it does not drift.
    Every {
        every_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor_ms: Option<i64>,
    },
    /// By a cron expression of five or six fields in a time zone.
    Cron {
        expr: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tz: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stagger_ms: Option<i64>,
    },
}

impl Schedule {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::At { .. } => "at",
            Self::Every { .. } => "every",
            Self::Cron { .. } => "cron",
        }
    }

    pub const fn is_once(&self) -> bool {
        matches!(self, Self::At { .. })
    }

    /// Fills in what is not said: the anchor (`now`), the time zone (`zone`), the stagger; times become RFC 3339.
    /// The error says what is wrong with it.
    pub fn settled(self, now: i64, zone: Tz) -> Result<Self, String> {
        Ok(match self {
            Self::At { at } => Self::At {
                at: spell(read_time(&at).ok_or("schedule.at must be an ISO 8601 time or epoch milliseconds")?),
            },
            Self::Every { every_ms, anchor_ms } => Self::Every {
                every_ms,
                anchor_ms: Some(anchor_ms.unwrap_or(now)),
            },
            Self::Cron { expr, tz, stagger_ms } => {
                let tz = tz.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
                let expr = expr.split_whitespace().collect::<Vec<_>>().join(" ");
                Self::Cron {
                    stagger_ms: stagger_ms.or_else(|| at_full_hour(&expr).then_some(DEFAULT_STAGGER_MS)),
                    expr,
                    tz: Some(tz.unwrap_or_else(|| zone.name().to_owned())),
                }
            }
        })
    }

    /// Is it far enough ahead, if it is a time and no interval: `ahead` is in milliseconds.
    pub fn check_ahead(&self, now: i64, ahead: i64) -> Result<(), String> {
        match self {
            Self::At { at } if ahead > 0 && read_time(at).is_some_and(|at| at < now + ahead) => Err(format!(
                "nobody said anything since the agent woke by itself: schedule.at must be {} s ahead or more",
                ahead / 1000
            )),
            Self::At { .. } | Self::Every { .. } | Self::Cron { .. } => Ok(()),
        }
    }

    /// Is it one that can be kept. `shortest` is the shortest pause between two firings, milliseconds. The error says
    /// what is wrong with it.
    pub fn check(&self, now: i64, shortest: i64) -> Result<(), String> {
        match self {
            Self::At { at } => {
                let at = read_time(at).ok_or("schedule.at must be an ISO 8601 time or epoch milliseconds")?;
                if at < now - JUST_PAST_MS {
                    return Err(format!(
                        "schedule.at is in the past: {} (now is {})",
                        spell(at),
                        spell(now)
                    ));
                }
                if at > now + LONGEST_WAIT_MS {
                    return Err("schedule.at is more than ten years away".to_owned());
                }
            }
            Self::Every { every_ms, anchor_ms } => {
                if *every_ms < 1 || *every_ms > LATEST_MS {
                    return Err("schedule.everyMs must be a positive number of milliseconds".to_owned());
                }
                if *every_ms < shortest {
                    return Err(too_often(shortest));
                }
                if anchor_ms.is_some_and(|anchor| !(0..=LATEST_MS).contains(&anchor)) {
                    return Err("schedule.anchorMs must be epoch milliseconds".to_owned());
                }
            }
            Self::Cron { stagger_ms, .. } => {
                if stagger_ms.is_some_and(|stagger| !(0..=LATEST_MS).contains(&stagger)) {
                    return Err("schedule.staggerMs must not be negative".to_owned());
                }
                let (cron, zone) = self.compiled()?;
                let mut last = next_of(&cron, zone, now)?;
                for _ in 0..LOOKED_AT {
                    // An expression with a last year ends some time.
                    let Ok(next) = next_of(&cron, zone, last) else { break };
                    if next - last < shortest {
                        return Err(too_often(shortest));
                    }
                    last = next;
                }
            }
        }
        Ok(())
    }

    /// The first time it is due, for a job that is new or was changed at `now`. A one-shot that is just past is due
    /// at once.
    pub fn first(&self, job_id: &str, now: i64) -> Result<Option<i64>, String> {
        match self {
            Self::At { at } => Ok(read_time(at)),
            Self::Every { .. } | Self::Cron { .. } => self.next(job_id, now),
        }
    }

    /// The first time after `now` it is due; `None` when there is none.
    pub fn next(&self, job_id: &str, now: i64) -> Result<Option<i64>, String> {
        match self {
            Self::At { at } => Ok(read_time(at).filter(|at| *at > now)),
            Self::Every { every_ms, anchor_ms } => {
                let (every, anchor) = ((*every_ms).max(1), anchor_ms.unwrap_or(0));
                if now < anchor {
                    return Ok(Some(anchor));
                }
                let passed = (now - anchor) / every;
                let next = passed
                    .checked_add(1)
                    .and_then(|count| count.checked_mul(every))
                    .and_then(|after| after.checked_add(anchor));
                Ok(next.filter(|next| *next <= LATEST_MS))
            }
            Self::Cron { stagger_ms, .. } => {
                let (cron, zone) = self.compiled()?;
                let offset = offset(job_id, stagger_ms.unwrap_or(0));
                Ok(Some(next_of(&cron, zone, now - offset)? + offset))
            }
        }
    }

    fn compiled(&self) -> Result<(Cron, Tz), String> {
        let Self::Cron { expr, tz, .. } = self else {
            return Err("the schedule is no cron expression".to_owned());
        };
        let fields = expr.split_whitespace().count();
        if !(5..=6).contains(&fields) || expr.len() > LONGEST_EXPRESSION {
            return Err("schedule.expr must have five or six fields".to_owned());
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(expr)
            .map_err(|error| format!("schedule.expr is not a cron expression: {error}"))?;
        let name = tz.as_deref().unwrap_or("UTC");
        let zone = name
            .parse()
            .map_err(|_| format!("schedule.tz is not a known time zone: {name}"))?;
        Ok((cron, zone))
    }
}

fn too_often(shortest: i64) -> String {
    format!(
        "the schedule fires too often: {} s is the shortest interval",
        shortest / 1000
    )
}

/// The first firing after `after`.
fn next_of(cron: &Cron, zone: Tz, after: i64) -> Result<i64, String> {
    // Whole seconds: an expression knows nothing smaller.
    let start = DateTime::<Utc>::from_timestamp(after.div_euclid(1000), 0)
        .ok_or("the time is out of range")?
        .with_timezone(&zone);
    let next = cron
        .find_next_occurrence(&start, false)
        .map_err(|error| format!("schedule.expr never fires: {error}"))?;
    Ok(next.timestamp_millis())
}

/// Minute 0 of every hour, or of every so many hours.
fn at_full_hour(expr: &str) -> bool {
    let fields: Vec<&str> = expr.split_whitespace().collect();
    match fields[..] {
        [minute, hour, _, _, _] => minute == "0" && hour.contains('*'),
        [second, minute, hour, _, _, _] => second == "0" && minute == "0" && hour.contains('*'),
        _ => false,
    }
}

/// The job's own place within the stagger: always the same, different from job to job.
fn offset(job_id: &str, stagger_ms: i64) -> i64 {
    if stagger_ms <= 1 {
        return 0;
    }
    let hash = token::hash(job_id);
    let number = hash.get(..8).and_then(|digits| i64::from_str_radix(digits, 16).ok());
    number.unwrap_or(0) % stagger_ms
}

/// Epoch milliseconds of an RFC 3339 time, a time without offset (UTC), a date, or digits.
pub fn read_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() >= 9 {
        return text.parse().ok().filter(|at| *at <= LATEST_MS);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Some(at.and_utc().timestamp_millis());
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// RFC 3339 in UTC with milliseconds.
pub fn spell(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at)
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        read_time(text).unwrap()
    }

    fn cron(expr: &str, tz: &str) -> Schedule {
        Schedule::Cron {
            expr: expr.to_owned(),
            tz: Some(tz.to_owned()),
            stagger_ms: Some(0),
        }
    }

    /// The firings after `from`, as they stand on the wall.
    fn firings(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut now = at(from);
        let Schedule::Cron { tz: Some(tz), .. } = schedule else {
            panic!("a cron schedule with a zone");
        };
        let zone: Tz = tz.parse().unwrap();
        (0..count)
            .map(|_| {
                let next = schedule.next("job", now).unwrap().unwrap();
                assert!(next > now, "{schedule:?} does not move on");
                now = next;
                let there = DateTime::<Utc>::from_timestamp_millis(next)
                    .unwrap()
                    .with_timezone(&zone);
                there.format("%m-%d %H:%M:%S %z").to_string()
            })
            .collect()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = 1_767_268_800_000;
        for text in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.000Z",
            "2026-01-01T13:00:00+01:00",
            "2026-01-01T12:00:00",
            "2026-01-01 12:00",
            " 2026-01-01T12:00 ",
            "1767268800000",
        ] {
            assert_eq!(read_time(text), Some(noon), "{text}");
        }
        assert_eq!(read_time("2026-01-01"), Some(noon - 12 * 3_600_000));
        for text in ["", "tomorrow", "2026-13-01T00:00:00Z", "12", "99999999999999999999"] {
            assert_eq!(read_time(text), None, "{text}");
        }
        assert_eq!(spell(noon), "2026-01-01T12:00:00.000Z");
    }

    #[test]
    fn every_counts_from_its_anchor() {
        let every = |anchor_ms| Schedule::Every {
            every_ms: 1000,
            anchor_ms: Some(anchor_ms),
        };
        for (anchor, now, next) in [
            (0, 0, 1000),
            (0, 999, 1000),
            (0, 1000, 2000),
            (300, 1299, 1300),
            (5000, 100, 5000),
        ] {
            assert_eq!(every(anchor).next("job", now), Ok(Some(next)), "{anchor} {now}");
        }
        assert_eq!(every(0).next("job", i64::MAX / 2), Ok(None));
        let largest = Schedule::Every {
            every_ms: LATEST_MS,
            anchor_ms: Some(LATEST_MS),
        };
        assert_eq!(largest.next("job", LATEST_MS), Ok(None));
    }

    #[test]
    fn a_one_shot_is_due_once() {
        let once = Schedule::At {
            at: "2026-01-01T12:00:00Z".to_owned(),
        };
        let due = at("2026-01-01T12:00:00Z");
        assert_eq!(once.first("job", due + 5), Ok(Some(due)));
        assert_eq!(once.next("job", due - 1), Ok(Some(due)));
        assert_eq!(once.next("job", due), Ok(None));
        assert!(once.check(due + 60_000, 0).is_ok());
        assert!(once.check(due + 60_001, 0).unwrap_err().contains("in the past"));
        assert!(once.check(due - LONGEST_WAIT_MS - 1, 0).is_err());
    }

    #[test]
    fn summer_time_skips_nothing_and_doubles_nothing() {
        let york = "America/New_York";
        // 02:30 does not exist on 8 March; 01:30 is there twice on 1 November.
        assert_eq!(
            firings(&cron("30 2 * * *", york), "2026-03-07T12:00:00Z", 2),
            ["03-08 03:00:00 -0400", "03-09 02:30:00 -0400"]
        );
        assert_eq!(
            firings(&cron("30 1 * * *", york), "2026-10-31T12:00:00Z", 2),
            ["11-01 01:30:00 -0400", "11-02 01:30:00 -0500"]
        );
        assert_eq!(
            firings(&cron("*/30 * * * *", york), "2026-11-01T04:45:00Z", 5),
            [
                "11-01 01:00:00 -0400",
                "11-01 01:30:00 -0400",
                "11-01 01:00:00 -0500",
                "11-01 01:30:00 -0500",
                "11-01 02:00:00 -0500",
            ]
        );
        assert_eq!(
            firings(&cron("0 9 * * 1", "Asia/Kolkata"), "2026-06-01T00:00:00Z", 2),
            ["06-01 09:00:00 +0530", "06-08 09:00:00 +0530"]
        );
    }

    #[test]
    fn days_of_month_and_week_are_either_or() {
        // 13 March 2026 is a Friday, and so is the 20th.
        assert_eq!(
            firings(&cron("0 0 13 * 5", "UTC"), "2026-03-12T00:00:00Z", 3),
            ["03-13 00:00:00 +0000", "03-20 00:00:00 +0000", "03-27 00:00:00 +0000"]
        );
        assert_eq!(
            firings(&cron("0 0 13 * +5", "UTC"), "2026-03-14T00:00:00Z", 1),
            ["11-13 00:00:00 +0000"]
        );
        assert_eq!(
            firings(&cron("15 30 8 1 * *", "UTC"), "2026-03-14T00:00:00Z", 1),
            ["04-01 08:30:15 +0000"]
        );
    }

    #[test]
    fn zones_with_odd_rules_always_move_on() {
        for zone in [
            "Asia/Beirut",
            "America/Santiago",
            "Africa/Cairo",
            "Australia/Lord_Howe",
            "Pacific/Apia",
        ] {
            firings(&cron("17 */5 * * *", zone), "2025-01-01T00:00:00Z", 400);
        }
    }

    #[test]
    fn full_hours_are_spread_by_job() {
        let settled = |expr: &str, stagger_ms| {
            let given = Schedule::Cron {
                expr: expr.to_owned(),
                tz: None,
                stagger_ms,
            };
            given.settled(0, Tz::Europe__Paris).unwrap()
        };
        for (expr, stagger) in [
            ("0 * * * *", Some(DEFAULT_STAGGER_MS)),
            ("0  */2 * * 1", Some(DEFAULT_STAGGER_MS)),
            ("0 0 * * * *", Some(DEFAULT_STAGGER_MS)),
            ("0 9 * * *", None),
            ("5 * * * *", None),
        ] {
            let Schedule::Cron { tz, stagger_ms, .. } = settled(expr, None) else {
                panic!("a cron schedule");
            };
            assert_eq!((tz.as_deref(), stagger_ms), (Some("Europe/Paris"), stagger), "{expr}");
        }
        let hourly = settled("0 * * * *", None);
        let hour = 3_600_000;
        let offsets: Vec<i64> = ["a", "b", "c"]
            .iter()
            .map(|job| hourly.next(job, 10 * hour + DEFAULT_STAGGER_MS).unwrap().unwrap() - 11 * hour)
            .collect();
        assert!(
            offsets.iter().all(|offset| (0..DEFAULT_STAGGER_MS).contains(offset)),
            "{offsets:?}"
        );
        assert!(offsets[0] != offsets[1] && offsets[1] != offsets[2], "{offsets:?}");
        let first = hourly.next("a", 10 * hour).unwrap().unwrap();
        assert_eq!(hourly.next("a", first).unwrap(), Some(first + hour), "the place stays");
        assert_eq!(settled("0 * * * *", Some(0)).next("a", 10 * hour), Ok(Some(11 * hour)));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let now = at("2026-01-01T00:00:00Z");
        let minute = 60_000;
        for (schedule, complaint) in [
            (cron("* * * *", "UTC"), "five or six fields"),
            (cron("61 * * * *", "UTC"), "not a cron expression"),
            (cron("0 9 * * *", "Mars/Olympus"), "time zone"),
            (cron("0 0 31 2 *", "UTC"), "never fires"),
            (cron("*/10 * * * * *", "UTC"), "too often"),
            (cron("0 0 0 1 1 * 2030", "UTC"), "five or six fields"),
            (
                Schedule::Every {
                    every_ms: 59_999,
                    anchor_ms: None,
                },
                "too often",
            ),
            (
                Schedule::Every {
                    every_ms: 0,
                    anchor_ms: None,
                },
                "positive",
            ),
            (
                Schedule::Every {
                    every_ms: minute,
                    anchor_ms: Some(-1),
                },
                "anchorMs",
            ),
            (Schedule::At { at: "soon".to_owned() }, "ISO 8601"),
        ] {
            let error = schedule.check(now, minute).unwrap_err();
            assert!(error.contains(complaint), "{schedule:?}: {error}");
        }
        for schedule in [
            cron("* * * * *", "UTC"),
            Schedule::Every {
                every_ms: minute,
                anchor_ms: None,
            },
        ] {
            assert_eq!(schedule.check(now, minute), Ok(()));
        }
    }
}
