//! The live connections of one user: a plain struct that the user actor owns. Decides who gets what; knows no socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::Recipient;
use actix::dev::SendError;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::beacon::Beacon;
use super::events;
use super::listening::Listening;
use super::messages::{ConnectionInfo, Event, StateVersion, ToConnection};
use super::scopes;
use crate::supervisor::directory::Attached;

/// Connections of one user on this process, with the recipient kept for each.
#[derive(Default)]
pub struct Connections {
    live: HashMap<Arc<str>, Member>,
    version: StateVersion,
    listening: Arc<Listening>,
    telling: Telling,
}

/// What the connections were told of who is there.
#[derive(Default)]
struct Telling {
    /// When, last.
    last: Option<Instant>,
    /// Something changed since.
    due: bool,
    /// Somebody comes back to tell it.
    planned: bool,
}

struct Member {
    info: Arc<ConnectionInfo>,
    to: Recipient<ToConnection>,
    /// Events it did not get because it was behind; it takes them into its numbers.
    missed: Arc<AtomicU64>,
    /// Its hello showed presence as of this version.
    greeted: u64,
    /// What the program said of itself since (`system-event`).
    said: Option<Box<Beacon>>,
}

/// Entries in a `presence` event and in hello.
const PRESENCE_SHOWN: usize = 50;
/// Shortest time between two `presence` events: those who come and go in a burst are told in one.
const PRESENCE_PAUSE: Duration = Duration::from_millis(100);

impl Member {
    /// Leaves an event out.
    fn misses(&self, event: &Event) {
        metrics::counter!("claw_gateway_events_dropped_total").increment(1);
        if !events::direct(&self.info, event) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a fan-out did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FanOut {
    sent: usize,
    /// Connections that were gone or too slow and were forgotten.
    dropped: usize,
}

/// Is the newer connection the older one come back. A node is one process; a device may run several operator programs
/// at once (a terminal and the command line share an identity), which only their instance tells apart.
fn takes_the_place_of(newer: &ConnectionInfo, older: &ConnectionInfo) -> bool {
    let same_device = newer.device_id.is_some() && newer.device_id == older.device_id;
    let same_program = newer.node || (newer.instance_id.is_some() && newer.instance_id == older.instance_id);
    same_device && newer.node == older.node && same_program
}

impl Connections {
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn listening(&self) -> &Arc<Listening> {
        &self.listening
    }

    /// Adds a connection, closes the one it takes the place of, and tells the others.
    pub fn attach(&mut self, info: Arc<ConnectionInfo>, to: Recipient<ToConnection>) -> Attached {
        let replaced: Vec<Arc<str>> = self
            .live
            .values()
            .filter(|member| takes_the_place_of(&info, &member.info))
            .map(|member| member.info.conn_id.clone())
            .collect();
        for conn_id in replaced {
            self.close(&conn_id, 1008, "replaced by a newer connection of this device");
        }
        self.version.presence += 1;
        let reads = info.has_scope(scopes::READ);
        let missed = Arc::<AtomicU64>::default();
        let member = Member {
            info,
            to,
            missed: Arc::clone(&missed),
            greeted: self.version.presence,
            said: None,
        };
        self.live.insert(member.info.conn_id.clone(), member);
        self.announce();
        Attached {
            presence: if reads { self.newest(PRESENCE_SHOWN) } else { Vec::new() },
            state_version: self.version,
            listening: Arc::clone(&self.listening),
            missed,
        }
    }

    /// Forgets a connection. Gives its description if it was known; the others are told then.
    pub fn detach(&mut self, conn_id: &str) -> Option<Arc<ConnectionInfo>> {
        let member = self.live.remove(conn_id)?;
        self.version.presence += 1;
        self.announce();
        Some(member.info)
    }

    /// Sends an event to every connection that may see it. One that is gone or cannot keep up is forgotten, which the
    /// others are told when `plan_to_tell` says.
    pub fn fan_out(&mut self, event: &Event) {
        if !self.live.is_empty() {
            self.deliver(&Arc::new(event.clone()));
        }
    }

    /// How many connections beside `except` may see this event.
    pub fn audience(&self, event: &Event, except: &str) -> usize {
        let others = self.live.values().filter(|member| &*member.info.conn_id != except);
        others.filter(|member| events::allowed(&member.info, event)).count()
    }

    fn deliver(&mut self, event: &Arc<Event>) -> FanOut {
        self.deliver_to(event, |_| true)
    }

    fn deliver_to(&mut self, event: &Arc<Event>, to: impl Fn(&Member) -> bool) -> FanOut {
        let mut done = FanOut::default();
        let mut lost = Vec::new();
        for (conn_id, member) in &self.live {
            if !to(member) || !events::allowed(&member.info, event) {
                continue;
            }
            match member.to.try_send(ToConnection::Event(Arc::clone(event))) {
                Ok(()) => done.sent += 1,
                // It numbers what it did not get: the client sees the gap and refetches.
                Err(SendError::Full(_)) if events::droppable(event) => member.misses(event),
                Err(SendError::Closed(_)) => lost.push((conn_id.clone(), None)),
                Err(SendError::Full(_)) => lost.push((conn_id.clone(), Some("slow consumer"))),
            }
        }
        done.dropped = lost.len();
        for (conn_id, reason) in lost {
            match reason {
                Some(reason) => self.close(&conn_id, 1008, reason),
                None => {
                    self.live.remove(&conn_id);
                    self.version.presence += 1;
                    self.telling.due = true;
                }
            }
        }
        done
    }

    /// Raises the health version and gives the pair for the `health` event.
    pub fn health_changed(&mut self) -> StateVersion {
        self.version.health += 1;
        self.version
    }

    pub fn state_version(&self) -> StateVersion {
        self.version
    }

    /// Keeps what a program says of itself, and tells the others: the one it names by instance or device, else the
    /// caller.
    pub fn describe(&mut self, caller: &str, beacon: Beacon) {
        let named = |member: &Member| {
            let is = |said: &Option<String>, known: &Option<String>| said.is_some() && said == known;
            is(&beacon.instance_id, &member.info.instance_id) || is(&beacon.device_id, &member.info.device_id)
        };
        // Several programs of one device: the caller itself goes first.
        let own = self.live.get(caller).is_some_and(named);
        let other = self.live.values().find(|member| named(member));
        let conn_id = match other.filter(|_| !own) {
            Some(member) => Arc::clone(&member.info.conn_id),
            None => Arc::from(caller),
        };
        if let Some(member) = self.live.get_mut(&conn_id) {
            member.said = Some(Box::new(beacon));
            self.version.presence += 1;
            self.announce();
        }
    }

    /// Tells the connections who is there, at once or soon after they were told last. Crowds are not told: they can ask
    /// with `system-presence`.
    fn announce(&mut self) {
        self.telling.due = true;
        if self.telling.pause().is_zero() {
            self.tell();
        }
    }

    /// How long until [`Connections::tell`] has to be called, if it has to and nobody plans to.
    pub(crate) fn plan_to_tell(&mut self) -> Option<Duration> {
        let unplanned = self.telling.due && !std::mem::replace(&mut self.telling.planned, self.telling.due);
        unplanned.then(|| self.telling.pause())
    }

    /// Tells what was not told yet. Who read it in its hello is not told again.
    pub(crate) fn tell(&mut self) {
        self.telling.planned = false;
        let due = std::mem::take(&mut self.telling.due);
        let version = self.version.presence;
        let somebody = self.live.values().any(|member| member.greeted < version);
        if !due || !somebody || self.live.len() > PRESENCE_SHOWN {
            return;
        }
        self.telling.last = Some(Instant::now());
        let mut event = Event::new("presence", &json!({"presence": self.newest(PRESENCE_SHOWN)})).droppable();
        event.state_version = Some(self.version);
        self.deliver_to(&Arc::new(event), |member| member.greeted < version);
    }

    fn newest(&self, most: usize) -> Vec<Value> {
        let mut entries = self.presence();
        let surplus = entries.len().saturating_sub(most);
        entries.drain(..surplus);
        entries
    }

    /// Presence entries, oldest connection first.
    pub fn presence(&self) -> Vec<Value> {
        let mut members: Vec<_> = self.live.values().collect();
        members.sort_by(|left, right| {
            let (left, right) = (&left.info, &right.info);
            (left.connected_at, &left.conn_id).cmp(&(right.connected_at, &right.conn_id))
        });
        let entries = members.into_iter();
        entries
            .map(|member| presence_entry(&member.info, member.said.as_deref()))
            .collect()
    }

    /// The connections of nodes.
    pub fn nodes(&self) -> Vec<Arc<ConnectionInfo>> {
        self.live
            .values()
            .filter(|member| member.info.node)
            .map(|member| Arc::clone(&member.info))
            .collect()
    }

    /// The connection of a node, to call it.
    pub fn node(&self, node_id: &str) -> Option<&Recipient<ToConnection>> {
        self.live
            .values()
            .find(|member| member.info.node && member.info.device_id.as_deref() == Some(node_id))
            .map(|member| &member.to)
    }

    /// Closes the sockets of a device, in one role or in both, but for the connection `except`. Gives how many. The
    /// others are told when `plan_to_tell` says.
    pub fn close_device(
        &mut self,
        device_id: &str,
        role: Option<&str>,
        except: Option<&str>,
        code: u16,
        reason: &str,
    ) -> usize {
        let found: Vec<Arc<str>> = self
            .live
            .values()
            .filter(|member| member.info.device_id.as_deref() == Some(device_id))
            .filter(|member| role.is_none_or(|role| role == member.info.role()))
            .filter(|member| except.is_none_or(|except| *member.info.conn_id != *except))
            .map(|member| member.info.conn_id.clone())
            .collect();
        for conn_id in &found {
            self.close(conn_id, code, reason);
        }
        found.len()
    }

    /// Closes every socket, e.g. when the user moves to another replica.
    pub fn close_all(&mut self, code: u16, reason: &str) {
        let all: Vec<Arc<str>> = self.live.keys().cloned().collect();
        for conn_id in all {
            self.close(&conn_id, code, reason);
        }
    }

    fn close(&mut self, conn_id: &str, code: u16, reason: &str) {
        let Some(member) = self.live.remove(conn_id) else {
            return;
        };
        self.version.presence += 1;
        self.telling.due = true;
        let note = ToConnection::Close {
            code,
            reason: reason.to_owned(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the last note to a connection that is forgotten here: one per connection, even when its mailbox is full"
        )]
        member.to.do_send(note);
    }
}

impl Telling {
    /// How long to wait before they are told again.
    fn pause(&self) -> Duration {
        let since = self.last.map_or(PRESENCE_PAUSE, |last| last.elapsed());
        PRESENCE_PAUSE.saturating_sub(since)
    }
}

/// A connection as `system-presence` and the `presence` event show it. No address: presence is for people.
fn presence_entry(info: &ConnectionInfo, said: Option<&Beacon>) -> Value {
    let role = if info.node { "node" } else { "operator" };
    let name = info.display_name.as_deref().unwrap_or(&info.program.client_id);
    let mut entry = json!({
        "host": name,
        "version": info.program.client_version,
        "platform": info.program.platform,
        "mode": info.program.client_mode,
        "reason": "connect",
        "text": format!("{name} ({role}) {}", info.program.client_version),
        "ts": info.connected_at,
        "onlineSince": info.connected_at,
        "clientId": info.program.client_id,
        "roles": [role],
        "scopes": info.scopes[..],
    });
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            entry[key] = json!(value);
        }
    };
    add("deviceFamily", Some(&info.program.device_family));
    add("deviceId", info.device_id.as_deref());
    add("instanceId", info.instance_id.as_deref());
    if let Some(said) = said {
        said.put_onto(&mut entry);
    }
    entry
}

#[cfg(test)]
mod tests;
