//! When an agent does not look, and why (`agent-runtime` §18.2). Pure.

/// Why a beat was left out, in the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// Switched off: by the user, or with the user or the tenant.
    Disabled,
    /// Nobody has been there for a week: looking would only cost.
    Inactive,
    QuietHours,
    /// Its session is busy; it is tried again soon.
    RequestsInFlight,
    /// `HEARTBEAT.md` asks for nothing.
    EmptyHeartbeatFile,
    /// Nothing it could find would be shown anywhere.
    AlertsDisabled,
    NoTarget,
    DmBlocked,
    /// The one before was a moment ago.
    NotDue,
}

impl Skip {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Inactive => "inactive",
            Self::QuietHours => "quiet-hours",
            Self::RequestsInFlight => "requests-in-flight",
            Self::EmptyHeartbeatFile => "empty-heartbeat-file",
            Self::AlertsDisabled => "alerts-disabled",
            Self::NoTarget => "no-target",
            Self::DmBlocked => "dm-blocked",
            Self::NotDue => "not-due",
        }
    }

    /// Is it worth telling: not what repeats itself while nothing changes.
    pub(super) const fn is_told(self) -> bool {
        match self {
            Self::Disabled | Self::RequestsInFlight | Self::NotDue => false,
            Self::Inactive
            | Self::QuietHours
            | Self::EmptyHeartbeatFile
            | Self::AlertsDisabled
            | Self::NoTarget
            | Self::DmBlocked => true,
        }
    }
}

/// What is known when a beat is due.
#[expect(clippy::struct_excessive_bools, reason = "facts, each asked once and in order")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) disabled: bool,
    pub(super) inactive: bool,
    pub(super) quiet_hours: bool,
    pub(super) busy: bool,
    pub(super) empty_file: bool,
    /// System events wait for the session.
    pub(super) events: bool,
    pub(super) alerts_disabled: bool,
    pub(super) no_target: bool,
    pub(super) dm_blocked: bool,
    pub(super) too_soon: bool,
    /// Somebody asked for this beat (`wake`): it need not be time, and there is something to look at.
    pub(super) woken: bool,
}

impl Facts {
    /// The first reason to leave the beat out.
    pub(super) fn skip(self) -> Option<Skip> {
        let by_itself = !self.woken;
        [
            (self.disabled, Skip::Disabled),
            (self.inactive && by_itself, Skip::Inactive),
            // Whoever wakes the agent at night means it.
            (self.quiet_hours && by_itself, Skip::QuietHours),
            (self.busy, Skip::RequestsInFlight),
            (self.empty_file && by_itself && !self.events, Skip::EmptyHeartbeatFile),
            (self.alerts_disabled, Skip::AlertsDisabled),
            (self.no_target, Skip::NoTarget),
            (self.dm_blocked, Skip::DmBlocked),
            (self.too_soon && by_itself, Skip::NotDue),
        ]
        .into_iter()
        .find_map(|(holds, skip)| holds.then_some(skip))
    }
}

/// Does the file ask for nothing: only blank lines, headings, comments and empty list items.
pub(super) fn is_empty_file(content: &str) -> bool {
    let mut text = String::with_capacity(content.len());
    let mut rest = content;
    while let Some((before, comment)) = rest.split_once("<!--") {
        text.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.lines().all(|line| {
        let line = line.trim();
        let heading = line.trim_start_matches('#');
        if heading.len() < line.len() && (heading.is_empty() || heading.starts_with(char::is_whitespace)) {
            return true;
        }
        let item = line.strip_prefix(['-', '*', '+']).unwrap_or(line).trim_start();
        let item = ["[ ]", "[x]", "[X]"]
            .iter()
            .find_map(|ticked| item.strip_prefix(ticked))
            .unwrap_or(item);
        item.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Facts = Facts {
        disabled: true,
        inactive: true,
        quiet_hours: true,
        busy: true,
        empty_file: true,
        events: false,
        alerts_disabled: true,
        no_target: true,
        dm_blocked: true,
        too_soon: true,
        woken: false,
    };

    #[test]
    fn reasons_are_asked_in_order() {
        let mut facts = ALL;
        let mut found = Vec::new();
        while let Some(skip) = facts.skip() {
            found.push(skip.name());
            match skip {
                Skip::Disabled => facts.disabled = false,
                Skip::Inactive => facts.inactive = false,
                Skip::QuietHours => facts.quiet_hours = false,
                Skip::RequestsInFlight => facts.busy = false,
                Skip::EmptyHeartbeatFile => facts.empty_file = false,
                Skip::AlertsDisabled => facts.alerts_disabled = false,
                Skip::NoTarget => facts.no_target = false,
                Skip::DmBlocked => facts.dm_blocked = false,
                Skip::NotDue => facts.too_soon = false,
            }
        }
        assert_eq!(
            found,
            [
                "disabled",
                "inactive",
                "quiet-hours",
                "requests-in-flight",
                "empty-heartbeat-file",
                "alerts-disabled",
                "no-target",
                "dm-blocked",
                "not-due",
            ]
        );
        assert_eq!(Facts::default().skip(), None);
    }

    #[test]
    fn whoever_is_woken_looks_whatever_the_time_and_the_file() {
        let woken = Facts {
            disabled: false,
            busy: false,
            alerts_disabled: false,
            no_target: false,
            dm_blocked: false,
            woken: true,
            ..ALL
        };
        assert_eq!(woken.skip(), None);
        for (facts, skip) in [
            (
                Facts {
                    disabled: true,
                    ..woken
                },
                Skip::Disabled,
            ),
            (Facts { busy: true, ..woken }, Skip::RequestsInFlight),
            (
                Facts {
                    no_target: true,
                    ..woken
                },
                Skip::NoTarget,
            ),
        ] {
            assert_eq!(facts.skip(), Some(skip));
        }
        let events = Facts {
            empty_file: true,
            events: true,
            ..Facts::default()
        };
        assert_eq!(events.skip(), None, "there is something to look at");
    }

    #[test]
    fn a_file_without_a_task_asks_for_nothing() {
        for empty in [
            "",
            " \n\t\n",
            "# Heartbeat\n\n## Later\n###\n",
            "- \n* [ ]\n+ [x]  \n-",
            "# H\n\n<!-- what to do:\n- one task -->\n",
            "<!-- never closed\n- task",
            include_str!("../../config/templates/HEARTBEAT.md"),
        ] {
            assert!(is_empty_file(empty), "{empty:?}");
        }
        for full in [
            "look",
            "# H\n- water the plants",
            "- [ ] call",
            "#tag",
            "<!-- a --> b",
            "1.",
        ] {
            assert!(!is_empty_file(full), "{full:?}");
        }
    }
}
