//! The event table: every event this server sends, who may see it, and what else a connection needs for it.

use serde_json::json;

use super::messages::{ConnectionInfo, Event};
use super::scopes;
use crate::clock::now_ms;

/// Who may see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every connection after hello, nodes too.
    Everyone,
    /// Operators with this scope.
    Scope(&'static str),
    /// Operators with approvals or admin that can show an approval.
    Approvers,
}

/// What a reader of the event must have asked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    None,
    /// `sessions.subscribe`.
    Sessions,
    /// `sessions.subscribe`, or `sessions.messages.subscribe` of its key.
    SessionOrKey,
    /// `sessions.messages.subscribe` of its key.
    Key,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub audience: Audience,
    pub subscription: Subscription,
    /// May be left out for a slow reader, who then sees a gap.
    pub droppable: bool,
}

const fn row(name: &'static str, audience: Audience) -> Row {
    Row {
        name,
        audience,
        subscription: Subscription::None,
        droppable: false,
    }
}

impl Row {
    const fn after(mut self, subscription: Subscription) -> Self {
        self.subscription = subscription;
        self
    }

    const fn may_drop(mut self) -> Self {
        self.droppable = true;
        self
    }
}

const READ: Audience = Audience::Scope(scopes::READ);
const PAIRING: Audience = Audience::Scope(scopes::PAIRING);

/// All events. Anything that is not listed is sent to nobody.
pub const TABLE: &[Row] = &[
    row("agent", READ),
    row("chat", READ),
    row("chat.side_result", READ),
    row("config.changed", READ),
    row("cron", READ),
    row("device.pair.changed", PAIRING),
    row("device.pair.requested", PAIRING),
    row("device.pair.resolved", PAIRING),
    row("device.pair.setup.completed", PAIRING),
    row("exec.approval.requested", Audience::Approvers),
    row("exec.approval.resolved", Audience::Approvers),
    row("health", READ).may_drop(),
    row("heartbeat", Audience::Everyone).may_drop(),
    row("node.pair.requested", PAIRING),
    row("node.pair.resolved", PAIRING),
    row("node.runnerInventory.changed", READ).may_drop(),
    row("presence", READ).may_drop(),
    row("session.message", READ).after(Subscription::SessionOrKey),
    row("session.operation", READ).after(Subscription::SessionOrKey),
    row("session.tool", READ).after(Subscription::SessionOrKey),
    row("sessions.changed", READ).after(Subscription::Sessions),
    row("shutdown", Audience::Everyone),
    row("skills.changed", READ),
    row("tick", Audience::Everyone).may_drop(),
    row("users.prefs.changed", READ),
    row("voicewake.changed", READ),
    row("voicewake.routing.changed", READ),
];

/// Events for one connection only; they carry no `seq` and are never fanned out.
pub const DIRECT: &[&str] = &[
    "connect.challenge",
    "node.invoke.cancel",
    "node.invoke.input",
    "node.invoke.progress",
    "node.invoke.request",
];

/// Names for `features.events`.
pub fn advertised() -> Vec<&'static str> {
    DIRECT.iter().copied().chain(TABLE.iter().map(|row| row.name)).collect()
}

/// What clients show as the file's name of the configuration; there is no file.
pub const CONFIG_PATH: &str = "openclaw.json";

/// A user's configuration is another now.
pub fn config_changed(hash: &str) -> Event {
    Event::new(
        "config.changed",
        &json!({"path": CONFIG_PATH, "hash": hash, "ts": now_ms()}),
    )
}

pub fn find(name: &str) -> Option<&'static Row> {
    TABLE
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .and_then(|at| TABLE.get(at))
}

/// May this connection see the event at all, subscriptions aside.
pub fn allowed(info: &ConnectionInfo, event: &Event) -> bool {
    let for_device = event.for_device.is_some() && event.for_device == info.device_id;
    let Some(row) = find(event.name) else {
        return false;
    };
    if let Some(only) = &event.only_for
        && !info.device_id.as_ref().is_some_and(|id| only.contains(id))
    {
        return false;
    }
    if info.node {
        // Nodes hear what concerns themselves, and the wake words they listen for.
        return for_device || matches!(row.audience, Audience::Everyone) || event.name.starts_with("voicewake.");
    }
    match row.audience {
        Audience::Everyone => true,
        Audience::Scope(scope) => {
            scopes::holds(&info.scopes, scope) && (!event.tool_stream || has_cap(info, "tool-events"))
        }
        Audience::Approvers => scopes::holds(&info.scopes, scopes::APPROVALS) && shows_approvals(info),
    }
}

/// Is the event meant for this connection alone, so that it carries no `seq`.
pub fn direct(info: &ConnectionInfo, event: &Event) -> bool {
    info.node && (event.for_device.is_some() || event.name.starts_with("voicewake."))
}

/// May the event be left out for a slow reader.
pub fn droppable(event: &Event) -> bool {
    event.droppable || find(event.name).is_some_and(|row| row.droppable)
}

pub fn has_cap(info: &ConnectionInfo, cap: &str) -> bool {
    info.program.caps.iter().any(|have| have == cap)
}

fn shows_approvals(info: &ConnectionInfo) -> bool {
    const CLIENTS: [&str; 4] = [
        "openclaw-control-ui",
        "openclaw-macos",
        "openclaw-ios",
        "openclaw-android",
    ];
    CLIENTS.contains(&info.program.client_id.as_str()) || has_cap(info, "approvals") || has_cap(info, "exec-approvals")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::json;

    use super::*;
    use crate::gateway::testing;

    /// The surface of events; a change shows up here.
    #[test]
    fn the_table() {
        let mut table = String::new();
        for row in TABLE {
            let drop = if row.droppable { "droppable" } else { "kept" };
            writeln!(table, "{} {:?} {:?} {drop}", row.name, row.audience, row.subscription).expect("a string");
        }
        assert_eq!(table, include_str!("events.snapshot"), "events changed:\n{table}");
    }

    #[test]
    fn sorted_so_that_look_up_finds_all() {
        for row in TABLE {
            assert_eq!(find(row.name).map(|found| found.name), Some(row.name));
        }
        assert!(find("no.such").is_none());
    }

    fn check(info: &ConnectionInfo, name: &'static str) -> bool {
        allowed(info, &Event::new(name, &json!({})))
    }

    #[test]
    fn who_sees_what() {
        let reader = testing::operator(&["operator.read"]);
        assert!(check(&reader, "chat") && check(&reader, "tick"));
        assert!(!check(&reader, "device.pair.requested") && !check(&reader, "made.up"));
        let pairer = testing::operator(&["operator.pairing"]);
        assert!(check(&pairer, "node.pair.requested") && !check(&pairer, "chat"));
        let nobody = testing::operator(&[]);
        assert!(check(&nobody, "shutdown") && !check(&nobody, "presence"));
        let node = testing::node("n1");
        assert!(check(&node, "tick") && check(&node, "voicewake.changed"));
        assert!(!check(&node, "chat") && !check(&node, "node.pair.resolved"));
        assert!(allowed(
            &node,
            &Event::new("node.pair.resolved", &json!({})).for_device("n1")
        ));
        assert!(!allowed(
            &node,
            &Event::new("node.pair.resolved", &json!({})).for_device("n2")
        ));
    }

    #[test]
    fn capabilities_gate_tools_and_approvals() {
        let mut admin = testing::operator(&["operator.admin"]);
        let mut tool = Event::new("agent", &json!({}));
        tool.tool_stream = true;
        assert!(!allowed(&admin, &tool));
        assert!(!check(&admin, "exec.approval.requested"));
        admin.program = std::sync::Arc::new(crate::gateway::messages::Program {
            caps: vec!["tool-events".to_owned(), "approvals".to_owned()],
            ..testing::program()
        });
        assert!(allowed(&admin, &tool));
        assert!(check(&admin, "exec.approval.requested"));
        let mut narrow = Event::new("exec.approval.requested", &json!({}));
        narrow.only_for = Some(vec!["phone".to_owned()]);
        assert!(!allowed(&admin, &narrow));
        admin.device_id = Some("phone".to_owned());
        assert!(allowed(&admin, &narrow));
    }
}
