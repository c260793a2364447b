//! Which commands of a node may be called at all: by its platform, and by what its user set (`gateway.nodes`).
//!
//! Pure. It stands beside the approval of what a node declares, which a person gives: a command needs both. The platforms'
//! defaults are those of OpenClaw 2026.9.6 (`docs/nodes/command-policy.md` of the package); a command that no platform
//! lists (a plug-in's, say) needs the approval alone.

use crate::config::document::NodeCommands;

/// What allows a command that is not allowed by itself.
pub(crate) const ALLOW: &str = "gateway.nodes.allowCommands";
/// What forbids one that is.
pub(crate) const DENY: &str = "gateway.nodes.denyCommands";

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Allowed,
    /// The user must have allowed it by name.
    NeedsAllowing,
    /// The user has forbidden it.
    Denied,
}

impl Ruling {
    /// Why not, for people. `None`: it is allowed.
    pub(crate) fn reason(self) -> Option<String> {
        match self {
            Self::Allowed => None,
            Self::NeedsAllowing => Some(format!("it is off until {ALLOW} names it")),
            Self::Denied => Some(format!("{DENY} names it")),
        }
    }

    /// The setting that decides. `None`: it is allowed.
    pub(crate) fn setting(self) -> Option<&'static str> {
        match self {
            Self::Allowed => None,
            Self::NeedsAllowing => Some(ALLOW),
            Self::Denied => Some(DENY),
        }
    }
}

/// What a phone's or a desk's owner would not expect a server to do: each needs to be allowed by name, on any platform.
const DANGEROUS: [&str; 10] = [
    "calendar.add",
    "camera.clip",
    "camera.ptz.control",
    "camera.snap",
    "contacts.add",
    "health.summary",
    "reminders.add",
    "screen.record",
    "sms.search",
    "sms.send",
];

/// Files of the machine. Not even put up for approval before they are allowed by name.
const FILES: [&str; 3] = ["file.", "dir.", "workspace."];

/// What a node runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Ios,
    Watch,
    Android,
    Mac,
    Windows,
    Linux,
    Unknown,
}

impl Platform {
    /// `platform` as the paired device said; without one its family speaks.
    fn of(platform: &str, family: &str) -> Self {
        let said = match platform.trim() {
            "" => family,
            said => said,
        };
        let said = said.trim().to_ascii_lowercase();
        let starts = |names: &[&str]| names.iter().any(|name| said.starts_with(name));
        if starts(&["watchos", "apple watch"]) {
            Self::Watch
        } else if starts(&["ios", "ipados", "iphone", "ipad"]) {
            Self::Ios
        } else if starts(&["android"]) {
            Self::Android
        } else if starts(&["macos", "darwin", "mac"]) {
            Self::Mac
        } else if starts(&["windows", "win32"]) {
            Self::Windows
        } else if starts(&["linux"]) {
            Self::Linux
        } else {
            Self::Unknown
        }
    }

    /// Is a command that some platforms list on this one's list. `None`: no platform lists it.
    fn lists(self, command: &str) -> Option<bool> {
        use Platform::{Android, Ios, Linux, Mac, Unknown, Watch, Windows};
        let on: &[Self] = match command {
            "camera.list" | "location.get" => &[Ios, Android, Mac, Windows, Unknown],
            "device.info" | "device.status" => &[Ios, Watch, Android, Mac, Windows],
            "device.apps" => &[Android, Mac],
            "calendar.events" | "contacts.search" | "motion.activity" | "motion.pedometer" | "photos.latest"
            | "reminders.list" => &[Ios, Android, Mac],
            "callLog.search"
            | "device.health"
            | "device.permissions"
            | "mobile.ui.act"
            | "mobile.ui.observe"
            | "notifications.actions"
            | "notifications.list" => &[Android],
            "camera.ptz.status" => &[Mac],
            "computer.act" | "desktop.stream" | "screen.snapshot" => &[Mac, Windows, Linux],
            _ => return None,
        };
        Some(on.contains(&self))
    }
}

/// May this command be called on a node of this platform.
pub(crate) fn rule(set: &NodeCommands, (platform, family): (&str, &str), command: &str) -> Ruling {
    let names = |list: &[String]| list.iter().any(|name| name == command);
    if names(&set.deny) {
        Ruling::Denied
    } else if names(&set.allow) || by_itself((platform, family), command) {
        Ruling::Allowed
    } else {
        Ruling::NeedsAllowing
    }
}

/// May a node of this platform put this command up for approval. What is dangerous may be approved before it is allowed,
/// and what was approved is not lost while it is denied.
pub(crate) fn declarable(set: &NodeCommands, platform: (&str, &str), command: &str) -> bool {
    set.allow.iter().any(|name| name == command) || DANGEROUS.contains(&command) || by_itself(platform, command)
}

/// Does the command reach the files of the machine.
pub(crate) fn is_of_files(command: &str) -> bool {
    FILES.iter().any(|start| command.starts_with(start))
}

fn by_itself((platform, family): (&str, &str), command: &str) -> bool {
    !DANGEROUS.contains(&command)
        && !is_of_files(command)
        && Platform::of(platform, family).lists(command).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(allow: &[&str], deny: &[&str]) -> NodeCommands {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeCommands {
            allow: list(allow),
            deny: list(deny),
        }
    }

    #[test]
    fn what_is_sensitive_needs_its_name_and_what_is_denied_stays_so() {
        let usual = set(&[], &[]);
        let chosen = set(
            &["camera.snap", "file.fetch", "camera.clip"],
            &["camera.clip", "system.notify"],
        );
        for command in DANGEROUS
            .into_iter()
            .chain(["file.fetch", "dir.list", "workspace.memory"])
        {
            for platform in ["ios", "android", "macos", "linux", "win32", ""] {
                assert_eq!(
                    rule(&usual, (platform, ""), command),
                    Ruling::NeedsAllowing,
                    "{command}"
                );
            }
        }
        for (command, expected) in [
            ("camera.snap", Ruling::Allowed),
            ("file.fetch", Ruling::Allowed),
            ("camera.clip", Ruling::Denied),
            ("system.notify", Ruling::Denied),
            ("screen.record", Ruling::NeedsAllowing),
            // Names are whole and exact.
            ("camera.snapshot", Ruling::Allowed),
            ("file.fetch2", Ruling::NeedsAllowing),
            ("system.run", Ruling::Allowed),
            ("canvas.present", Ruling::Allowed),
        ] {
            assert_eq!(rule(&chosen, ("ios", "iPhone"), command), expected, "{command}");
        }
    }

    #[test]
    fn platforms_have_their_own_defaults() {
        let usual = set(&[], &[]);
        for (platform, family, command, allowed) in [
            ("ios 26.1", "iPhone", "location.get", true),
            ("iPadOS", "", "photos.latest", true),
            ("", "Android", "notifications.list", true),
            ("ios", "", "notifications.list", false),
            ("android", "", "callLog.search", true),
            ("darwin", "Mac", "callLog.search", false),
            ("darwin", "Mac", "camera.ptz.status", true),
            ("linux", "Linux", "location.get", false),
            ("linux", "", "computer.act", true),
            ("win32", "", "screen.snapshot", true),
            ("ios", "", "screen.snapshot", false),
            ("watchos 11", "Apple Watch", "device.info", true),
            ("watchos", "", "location.get", false),
            ("plan9", "", "camera.list", true),
            ("plan9", "", "device.info", false),
            ("plan9", "", "system.notify", true),
        ] {
            let ruling = rule(&usual, (platform, family), command);
            assert_eq!(ruling == Ruling::Allowed, allowed, "{platform} {command}");
            assert_eq!(
                declarable(&usual, (platform, family), command),
                allowed,
                "{platform} {command}"
            );
        }
    }

    #[test]
    fn what_may_be_put_up_for_approval() {
        let chosen = set(&["file.fetch"], &["system.run", "camera.snap"]);
        for (command, expected) in [
            ("camera.snap", true),
            ("system.run", true),
            ("file.fetch", true),
            ("file.write", false),
            ("dir.list", false),
        ] {
            assert_eq!(declarable(&chosen, ("linux", ""), command), expected, "{command}");
        }
    }

    #[test]
    fn who_is_refused_learns_the_setting() {
        assert_eq!(Ruling::Allowed.reason(), None);
        assert!(
            Ruling::NeedsAllowing
                .reason()
                .is_some_and(|why| why.contains("gateway.nodes.allowCommands"))
        );
        assert!(
            Ruling::Denied
                .reason()
                .is_some_and(|why| why.contains("gateway.nodes.denyCommands"))
        );
    }
}
