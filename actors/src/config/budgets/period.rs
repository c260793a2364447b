//! How long a limit counts before it starts anew. Pure.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::clock::local_time;

/// The span that is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From its first day.
    Month,
    /// For ever.
    Total,
}

/// Epoch milliseconds. `ends_at` is the next one's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub starts_at: i64,
    pub ends_at: Option<i64>,
}

impl Period {
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Total];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The span that `now` is in, where days begin at midnight in `zone`.
    pub fn span(self, zone: Tz, now: i64) -> Span {
        self.bounds(zone, now).unwrap_or(Span {
            starts_at: 0,
            ends_at: None,
        })
    }

    fn bounds(self, zone: Tz, now: i64) -> Option<Span> {
        let today = DateTime::<Utc>::from_timestamp_millis(now)?
            .with_timezone(&zone)
            .date_naive();
        let (first, next) = match self {
            Self::Day => (today, today.checked_add_days(Days::new(1))?),
            Self::Week => {
                let since = u64::from(today.weekday().num_days_from_monday());
                let monday = today.checked_sub_days(Days::new(since))?;
                (monday, monday.checked_add_days(Days::new(7))?)
            }
            Self::Month => {
                let first = today.with_day(1)?;
                (first, first.checked_add_months(Months::new(1))?)
            }
            Self::Total => return None,
        };
        let midnight = |day: NaiveDate| Some(local_time(zone, day, NaiveTime::MIN)?.timestamp_millis());
        Some(Span {
            starts_at: midnight(first)?,
            ends_at: Some(midnight(next)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
    }

    #[test]
    fn spans_begin_at_midnight_where_the_person_is() {
        let berlin = Tz::Europe__Berlin;
        for (period, zone, now, starts, ends) in [
            (
                Period::Day,
                Tz::UTC,
                "2026-11-27T23:59:59Z",
                "2026-11-27T00:00:00Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                Period::Day,
                berlin,
                "2026-11-27T23:30:00Z",
                "2026-11-28T00:00:00+01:00",
                "2026-11-29T00:00:00+01:00",
            ),
            // The clock is put forward on this day, and back on the next one.
            (
                Period::Day,
                berlin,
                "2026-03-29T12:00:00Z",
                "2026-03-29T00:00:00+01:00",
                "2026-03-30T00:00:00+02:00",
            ),
            (
                Period::Day,
                berlin,
                "2026-10-25T12:00:00Z",
                "2026-10-25T00:00:00+02:00",
                "2026-10-26T00:00:00+01:00",
            ),
            (
                Period::Week,
                Tz::UTC,
                "2026-11-29T12:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                Period::Week,
                Tz::UTC,
                "2026-11-30T00:00:00Z",
                "2026-11-30T00:00:00Z",
                "2026-12-07T00:00:00Z",
            ),
            (
                Period::Month,
                berlin,
                "2026-11-30T23:00:00Z",
                "2026-12-01T00:00:00+01:00",
                "2027-01-01T00:00:00+01:00",
            ),
            (
                Period::Month,
                berlin,
                "2026-11-30T22:59:59Z",
                "2026-11-01T00:00:00+01:00",
                "2026-12-01T00:00:00+01:00",
            ),
            (
                Period::Month,
                Tz::UTC,
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            // Summer time skips midnight here.
            (
                Period::Day,
                Tz::America__Asuncion,
                "2023-10-01T12:00:00Z",
                "2023-10-01T01:00:00-03:00",
                "2023-10-02T00:00:00-03:00",
            ),
        ] {
            let span = period.span(zone, at(now));
            assert_eq!(span.starts_at, at(starts), "{period:?} {now}");
            assert_eq!(span.ends_at, Some(at(ends)), "{period:?} {now}");
            // One span ends where the next begins.
            assert_eq!(period.span(zone, at(ends)).starts_at, at(ends), "{period:?} {now}");
        }
        let ever = Period::Total.span(berlin, at("2026-11-27T00:00:00Z"));
        assert_eq!((ever.starts_at, ever.ends_at), (0, None));
        assert_eq!(Period::Day.span(berlin, i64::MAX).ends_at, None);
    }
}
