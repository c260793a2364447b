//! When a session starts over by itself (`agent-runtime` §6.4). Asked only when the next turn of a person arrives.

use chrono::{DateTime, Days, Duration, LocalResult, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::config::document::SessionSettings;

/// Is a session that was last used at `updated_at` over by now (both epoch milliseconds).
pub fn is_stale(settings: &SessionSettings, zone: Tz, updated_at: i64, now: i64) -> bool {
    let idle = settings.reset_idle.is_some_and(|idle| {
        let idle = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX).max(60_000);
        now > updated_at.saturating_add(idle)
    });
    idle || settings
        .reset_at_hour
        .and_then(|hour| last_boundary(hour, zone, now))
        .is_some_and(|boundary| updated_at < boundary)
}

/// The most recent `hour` o'clock in `zone`, at or before `now`. An hour that summer time skips is the next one that
/// exists.
fn last_boundary(hour: u32, zone: Tz, now: i64) -> Option<i64> {
    let now = DateTime::<Utc>::from_timestamp_millis(now)?.with_timezone(&zone);
    let time = NaiveTime::from_hms_opt(hour.min(23), 0, 0)?;
    [0, 1].into_iter().find_map(|days_ago| {
        let day = now.date_naive().checked_sub_days(Days::new(days_ago))?;
        let boundary = (0..8).find_map(|half_hours| {
            match zone.from_local_datetime(&(day.and_time(time) + Duration::minutes(30 * half_hours))) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
                LocalResult::None => None,
            }
        })?;
        (boundary <= now).then(|| boundary.timestamp_millis())
    })
}

/// The zone of this name; UTC when there is none.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn a_day_ends_at_the_hour_in_the_persons_zone() {
        let daily = SessionSettings {
            reset_at_hour: Some(4),
            ..SessionSettings::default()
        };
        let berlin = zone("Europe/Berlin");
        for (used, now, stale) in [
            ("2026-01-10T03:59:00+01:00", "2026-01-10T04:00:00+01:00", true),
            ("2026-01-10T04:00:00+01:00", "2026-01-11T03:59:00+01:00", false),
            ("2026-01-10T12:00:00+01:00", "2026-01-11T04:00:01+01:00", true),
            ("2026-01-09T12:00:00+01:00", "2026-01-10T01:00:00+01:00", false),
            // 02:00 to 03:00 does not exist on this day
            ("2026-03-28T12:00:00+01:00", "2026-03-29T12:00:00+02:00", true),
        ] {
            assert_eq!(is_stale(&daily, berlin, at(used), at(now)), stale, "{used} {now}");
        }
        let skipped = last_boundary(2, berlin, at("2026-03-29T12:00:00+02:00")).unwrap();
        assert_eq!(skipped, at("2026-03-29T03:00:00+02:00"));
    }

    #[test]
    fn idle_and_never() {
        let idle = SessionSettings {
            reset_idle: Some(std::time::Duration::from_secs(3_600)),
            ..SessionSettings::default()
        };
        assert!(!is_stale(&idle, Tz::UTC, 0, 3_600_000));
        assert!(is_stale(&idle, Tz::UTC, 0, 3_600_001));
        assert!(!is_stale(&SessionSettings::default(), Tz::UTC, 0, i64::MAX / 2));
    }
}
