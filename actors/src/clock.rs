//! Wall-clock time, asked for in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

/// Now, epoch milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// A time of day in the zone. One that summer time skips is the next one that exists.
pub fn local_time(zone: Tz, day: NaiveDate, time: NaiveTime) -> Option<DateTime<Tz>> {
    (0..8).find_map(|half_hours| {
        let wanted = day
            .and_time(time)
            .checked_add_signed(Duration::minutes(30 * half_hours))?;
        match zone.from_local_datetime(&wanted) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
            LocalResult::None => None,
        }
    })
}
