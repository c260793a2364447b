//! When a session starts over by itself (`agent-runtime` §6.4). Asked only when the next turn of a person arrives.

use chrono::{DateTime, Days, NaiveTime, Utc};
use chrono_tz::Tz;
use claw_entities::SessionKey;

use super::key::{self, ChatType};
use crate::clock::local_time;
use crate::config::document::{ResetRule, SessionSettings};

/// The rule for this session and a message that came by `channel`. A channel's own rule overrides a type's, and that the
/// general one. A group's session is its channel's, whoever writes into it from elsewhere.
pub fn rule(settings: &SessionSettings, session: &SessionKey, channel: &str) -> ResetRule {
    let general = ResetRule {
        at_hour: settings.reset_at_hour,
        idle: settings.reset_idle,
    };
    let Some(parsed) = key::parse(session.as_str()) else {
        return general;
    };
    let of_group = parsed.channel.filter(|_| parsed.chat_type() != ChatType::Direct);
    let by_channel = settings.reset_by_channel.get(of_group.unwrap_or(channel));
    let by_type = settings.reset_by_type.get(match parsed.chat_type() {
        ChatType::Direct => "direct",
        ChatType::Group => "group",
        ChatType::Thread => "thread",
    });
    by_channel.or(by_type).copied().unwrap_or(general)
}

/// Is a session that was last used at `updated_at` over by now (both epoch milliseconds).
pub fn is_stale(rule: ResetRule, zone: Tz, updated_at: i64, now: i64) -> bool {
    let idle = rule.idle.is_some_and(|idle| {
        let idle = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX).max(60_000);
        now > updated_at.saturating_add(idle)
    });
    idle || rule
        .at_hour
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
        let boundary = local_time(zone, day, time)?;
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
        let daily = ResetRule {
            at_hour: Some(4),
            idle: None,
        };
        let berlin = zone("Europe/Berlin");
        for (used, now, stale) in [
            ("2026-01-10T03:59:00+01:00", "2026-01-10T04:00:00+01:00", true),
            ("2026-01-10T04:00:00+01:00", "2026-01-11T03:59:00+01:00", false),
            ("2026-01-10T12:00:00+01:00", "2026-01-11T04:00:01+01:00", true),
            ("2026-01-09T12:00:00+01:00", "2026-01-10T01:00:00+01:00", false),
            // 02:00 to 03:00 does not exist on this day
            ("2026-03-28T12:00:00+01:00", "2026-03-29T12:00:00+02:00", true),
            // The hour after the night the clocks go forward, and back.
            ("2026-03-28T12:00:00+01:00", "2026-03-29T03:59:59+02:00", false),
            ("2026-03-28T12:00:00+01:00", "2026-03-29T04:00:00+02:00", true),
            ("2026-03-29T04:00:00+02:00", "2026-03-30T03:59:59+02:00", false),
            ("2026-10-24T12:00:00+02:00", "2026-10-25T03:59:59+01:00", false),
            ("2026-10-24T12:00:00+02:00", "2026-10-25T04:00:00+01:00", true),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", false),
        ] {
            assert_eq!(is_stale(daily, berlin, at(used), at(now)), stale, "{used} {now}");
        }
        let skipped = last_boundary(2, berlin, at("2026-03-29T12:00:00+02:00")).unwrap();
        assert_eq!(skipped, at("2026-03-29T03:00:00+02:00"));
    }

    #[test]
    fn idle_and_never() {
        let idle = ResetRule {
            at_hour: None,
            idle: Some(std::time::Duration::from_secs(3_600)),
        };
        assert!(!is_stale(idle, Tz::UTC, 0, 3_600_000));
        assert!(is_stale(idle, Tz::UTC, 0, 3_600_001));
        assert!(!is_stale(ResetRule::default(), Tz::UTC, 0, i64::MAX / 2));
    }

    #[test]
    fn a_channel_rules_over_a_type_and_a_type_over_the_rest() {
        let at = |hour| ResetRule {
            at_hour: Some(hour),
            idle: None,
        };
        let settings = SessionSettings {
            reset_at_hour: Some(4),
            reset_by_type: [("group".to_owned(), at(5))].into(),
            reset_by_channel: [
                ("slack".to_owned(), ResetRule::default()),
                ("webchat".to_owned(), at(6)),
            ]
            .into(),
            ..SessionSettings::default()
        };
        for (session, channel, expected) in [
            ("agent:main:main", "telegram", at(4)),
            ("agent:main:main", "slack", ResetRule::default()),
            ("agent:main:main", "webchat", at(6)),
            ("agent:main:direct:ada", "slack", ResetRule::default()),
            ("agent:main:telegram:direct:7", "telegram", at(4)),
            ("agent:main:telegram:group:-7", "telegram", at(5)),
            ("agent:main:slack:channel:c1", "slack", ResetRule::default()),
            ("agent:main:slack:channel:c1", "webchat", ResetRule::default()),
        ] {
            let found = rule(&settings, &SessionKey::from(session), channel);
            assert_eq!(found, expected, "{session} by {channel}");
        }
    }
}
