//! `session.maintenance`: when sessions that nobody uses go away (`agent-runtime` §6.7).

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, span, text};

const MONTH: Duration = Duration::from_secs(30 * 86_400);
const ENTRIES: usize = 500;

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceSettings {
    /// `mode`: `enforce` deletes, `warn` only says what it would delete.
    pub enforce: bool,
    /// Sessions unused for longer go.
    pub prune_after: Duration,
    /// Of more sessions than these the ones that were used longest ago go.
    pub max_entries: usize,
    /// How long the transcripts that a reset left behind stay; `None` = for good.
    pub archive: Option<Duration>,
}

impl Default for MaintenanceSettings {
    fn default() -> Self {
        Self {
            enforce: false,
            prune_after: MONTH,
            max_entries: ENTRIES,
            archive: Some(MONTH),
        }
    }
}

impl MaintenanceSettings {
    pub(super) fn parse(section: &Value) -> Self {
        let usual = Self::default();
        let time = |pointer| text(at(section, pointer)).and_then(|text| span(&text, "d"));
        let prune_after = time("/pruneAfter")
            .or_else(|| time("/pruneDays"))
            .filter(|time| !time.is_zero())
            .unwrap_or(usual.prune_after);
        Self {
            enforce: text(at(section, "/mode")).as_deref() == Some("enforce"),
            prune_after,
            max_entries: number(at(section, "/maxEntries"))
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0)
                .unwrap_or(usual.max_entries),
            archive: if *at(section, "/resetArchiveRetention") == Value::Bool(false) {
                None
            } else {
                Some(time("/resetArchiveRetention").unwrap_or(prune_after))
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_deleted_unless_it_is_said() {
        assert_eq!(MaintenanceSettings::parse(&json!(null)), MaintenanceSettings::default());
        let read = MaintenanceSettings::parse(&json!({
            "mode": "enforce", "pruneAfter": "7d", "maxEntries": 9, "resetArchiveRetention": "12h"}));
        let day = Duration::from_secs(86_400);
        assert!(read.enforce);
        assert_eq!(
            (read.prune_after, read.max_entries, read.archive),
            (7 * day, 9, Some(day / 2))
        );
        let odd =
            MaintenanceSettings::parse(&json!({"pruneAfter": 0, "maxEntries": 0, "resetArchiveRetention": false}));
        assert_eq!((odd.prune_after, odd.max_entries, odd.archive), (MONTH, ENTRIES, None));
        assert_eq!(
            MaintenanceSettings::parse(&json!({"pruneAfter": "2d"})).archive,
            Some(2 * day)
        );
    }
}
