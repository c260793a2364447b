//! A session's queue (`agent-runtime` §5): what waits, what is joined, what is dropped, and what runs next. Pure: no
//! clock, no actor, no database.
//!
//! Invariant: a turn leaves by [`Queue::next`] only when none is out, and comes back by [`Queue::ended`] or
//! [`Queue::put_back`].

mod settings;
mod turn;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use settings::{Settings, drop_name, mode_name, parse_drop, parse_mode};
pub use turn::{Folded, Item, Route, Turn, Wish};

use self::turn::Kin;
use crate::config::document::{DropPolicy, QueueMode};

/// How long a message id is remembered, milliseconds.
const SEEN_MS: i64 = 5 * 60 * 1000;
const SEEN_IDS: usize = 10_000;
/// A steady stream of messages postpones a drain no longer than this many debounce times.
const MOST_DEBOUNCES: i64 = 5;

const FULL: &str = "the queue was full";

/// One session's queue.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
    waiting: VecDeque<Held>,
    /// Inbox ids of the turn that is out.
    running: Vec<String>,
    /// A turn that is to run again, before everything else.
    again: Option<Turn>,
    /// Items that had to make room: their beginnings go into the next turn of their kind, which answers for their rows too.
    folded: VecDeque<Folded>,
    last_pushed: i64,
    /// Items of the current drain that run one by one because they could not be joined.
    one_by_one: usize,
    seen: VecDeque<(i64, u64)>,
}

#[derive(Debug)]
struct Held {
    item: Item,
    pushed_at: i64,
    /// Came when nothing ran and nothing waited, or interrupts: not debounced, not collected.
    at_once: bool,
}

/// What happened to a pushed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub outcome: Outcome,
    /// Items that had to go, the pushed one perhaps among them: mark their rows skipped.
    pub dropped: Vec<Dropped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits; call [`Queue::next`].
    Queued,
    /// It waits at the front: abort the running turn, then call [`Queue::next`].
    Interrupt,
    /// This very inbox row is here already. Nothing to do.
    Known,
    /// Another row with the same message; it is in `dropped`.
    Duplicate,
    /// The queue is full and keeps what it has; it is in `dropped`.
    Rejected,
}

/// An item that will not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub inbox_id: String,
    pub reason: &'static str,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Run(Turn),
    /// Ask again at this time (epoch milliseconds), or after the next push.
    WaitUntil(i64),
    /// A turn is out.
    Running,
    Empty,
}

impl Queue {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            running: Vec::new(),
            again: None,
            folded: VecDeque::new(),
            last_pushed: 0,
            one_by_one: 0,
            seen: VecDeque::new(),
        }
    }

    /// Changed settings hold for what is decided from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many items wait; the running turn is not counted.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.again.as_ref().map_or(0, |turn| turn.items.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.folded.is_empty()
    }

    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Is this inbox row waiting or running here.
    pub fn knows(&self, inbox_id: &str) -> bool {
        self.running.iter().any(|id| id == inbox_id)
            || self.waiting.iter().any(|held| held.item.inbox_id == inbox_id)
            || self
                .again
                .as_ref()
                .is_some_and(|turn| turn.inbox_ids().any(|id| id == inbox_id))
            || self.folded.iter().any(|folded| folded.inbox_id == inbox_id)
    }

    /// Waits this inbox row here for a turn of its own or a shared one.
    pub fn waits(&self, inbox_id: &str) -> bool {
        self.waiting.iter().any(|held| held.item.inbox_id == inbox_id)
    }

    /// Adds an item. `now` in epoch milliseconds.
    pub fn push(&mut self, item: Item, now: i64) -> Pushed {
        let one = |outcome, item: Item, reason| Pushed {
            outcome,
            dropped: vec![Dropped {
                inbox_id: item.inbox_id,
                reason,
            }],
        };
        if self.knows(&item.inbox_id) {
            return Pushed {
                outcome: Outcome::Known,
                dropped: Vec::new(),
            };
        }
        if self.is_duplicate(&item, now) {
            return one(Outcome::Duplicate, item, "duplicate");
        }
        let cap = item.wish.cap.unwrap_or(self.settings.cap).max(1);
        let drop = item.wish.drop.unwrap_or(self.settings.drop);
        let full = !item.kept && self.droppable() >= cap;
        if full && drop == DropPolicy::New {
            return one(Outcome::Rejected, item, FULL);
        }
        let dropped = if full { self.make_room(cap, drop) } else { Vec::new() };
        self.remember(&item, now);
        self.last_pushed = now;
        let interrupts = self.mode(&item) == QueueMode::Interrupt && (self.is_running() || !self.waiting.is_empty());
        if interrupts {
            let behind = self
                .waiting
                .iter()
                .take_while(|held| held.at_once && self.mode(&held.item) == QueueMode::Interrupt)
                .count();
            let held = Held {
                item,
                pushed_at: now,
                at_once: true,
            };
            self.waiting.insert(behind, held);
        } else {
            let at_once = !self.is_running() && self.again.is_none() && self.waiting.is_empty();
            self.waiting.push_back(Held {
                item,
                pushed_at: now,
                at_once,
            });
        }
        Pushed {
            outcome: if interrupts && self.is_running() {
                Outcome::Interrupt
            } else {
                Outcome::Queued
            },
            dropped,
        }
    }

    /// Takes the next turn out, or says when to ask again.
    pub fn next(&mut self, now: i64) -> Next {
        if self.is_running() {
            return Next::Running;
        }
        if let Some(turn) = self.again.take() {
            return self.start(turn);
        }
        if self.waiting.is_empty() {
            self.one_by_one = 0;
        }
        if self.waiting.front().is_some_and(|front| front.at_once) {
            return self.next_at_once(now);
        }
        if let Some(turn) = self.left_over() {
            return self.start(turn);
        }
        let Some(front) = self.waiting.front() else {
            return Next::Empty;
        };
        let ready_at = self.ready_at(front, now);
        if self.one_by_one == 0 && now < ready_at {
            return Next::WaitUntil(ready_at);
        }
        let count = self.drain_size();
        self.take(count, true)
    }

    /// The turn that was out is over, whatever came of it.
    pub fn ended(&mut self) {
        self.running.clear();
    }

    /// The turn that was out is to run again, before anything else. Also how recovery hands in a turn that was
    /// joined before the process died.
    pub fn put_back(&mut self, turn: Turn) {
        self.running.clear();
        self.again = Some(turn);
    }

    /// Forgets everything that waits (`/stop`, a reset). Gives it back so that its rows can be marked.
    pub fn clear(&mut self, reason: &'static str) -> Vec<Dropped> {
        self.one_by_one = 0;
        let again = self.again.take().unwrap_or_default();
        let folded = again.folded.into_iter().chain(self.folded.drain(..));
        let items = again
            .items
            .into_iter()
            .chain(self.waiting.drain(..).map(|held| held.item));
        folded
            .map(|folded| folded.inbox_id)
            .chain(items.map(|item| item.inbox_id))
            .map(|inbox_id| Dropped { inbox_id, reason })
            .collect()
    }

    /// Takes one waiting item out. `false` when it does not wait here.
    pub fn remove(&mut self, inbox_id: &str) -> bool {
        let before = self.waiting.len() + self.folded.len();
        self.waiting.retain(|held| held.item.inbox_id != inbox_id);
        self.folded.retain(|folded| folded.inbox_id != inbox_id);
        self.one_by_one = self.one_by_one.min(self.waiting.len());
        self.waiting.len() + self.folded.len() < before
    }

    fn mode(&self, item: &Item) -> QueueMode {
        item.mode.unwrap_or(self.settings.mode)
    }

    /// After a quiet time, but not for ever; a client is not made to wait for more that does not come.
    fn ready_at(&self, front: &Held, now: i64) -> i64 {
        if front.item.kept {
            return now;
        }
        let newest = self.waiting.back().and_then(|held| held.item.wish.debounce_ms);
        let debounce = newest.unwrap_or(self.settings.debounce_ms);
        let longest = debounce.saturating_mul(MOST_DEBOUNCES);
        let patience = front.pushed_at.saturating_add(longest);
        let ready_at = self.last_pushed.saturating_add(debounce).min(patience);
        within(ready_at, longest, now)
    }

    fn droppable(&self) -> usize {
        self.waiting.iter().filter(|held| !held.item.kept).count()
    }

    /// Messages of one person in quick succession are one message when the settings say so; interrupts run together.
    fn next_at_once(&mut self, now: i64) -> Next {
        let Some(front) = self.waiting.front() else {
            return Next::Empty;
        };
        let first = &front.item;
        if first.settle_ms > 0 {
            let joined = self
                .waiting
                .iter()
                .take_while(|held| {
                    held.item.settle_ms > 0 && held.item.joins(first) && held.item.sender_id == first.sender_id
                })
                .count();
            let quiet_at = self.waiting.get(joined - 1).map_or(now, |last| {
                let (received_at, settle_ms) = (last.item.received_at, last.item.settle_ms);
                within(received_at.saturating_add(settle_ms), settle_ms, now)
            });
            if joined == self.waiting.len() && now < quiet_at {
                return Next::WaitUntil(quiet_at);
            }
            return self.take(joined, false);
        }
        if self.mode(first) == QueueMode::Interrupt {
            let joined = self
                .waiting
                .iter()
                .take_while(|held| {
                    held.at_once && self.mode(&held.item) == QueueMode::Interrupt && held.item.joins(first)
                })
                .count();
            return self.take(joined, true);
        }
        self.take(1, true)
    }

    /// How many items the next held turn has: all of them, or one.
    fn drain_size(&mut self) -> usize {
        if self.one_by_one > 0 {
            self.one_by_one -= 1;
            return 1;
        }
        let Some(front) = self.waiting.front() else { return 0 };
        match self.mode(&front.item) {
            // What a run could not take any more is a follow-up.
            QueueMode::Followup | QueueMode::Steer | QueueMode::SteerBacklog | QueueMode::Interrupt => {
                let rest = self.waiting.iter().skip(1);
                1 + rest.take_while(|held| held.item.is_album_of(&front.item)).count()
            }
            QueueMode::Collect => {
                let all = self
                    .waiting
                    .iter()
                    .all(|held| held.item.joins(&front.item) && self.mode(&held.item) == QueueMode::Collect);
                if all {
                    self.waiting.len()
                } else {
                    self.one_by_one = self.waiting.len() - 1;
                    1
                }
            }
        }
    }

    fn take(&mut self, count: usize, listed: bool) -> Next {
        let items: Vec<Item> = self.waiting.drain(..count).map(|held| held.item).collect();
        let folded = items.first().map(|item| self.unfold(item.kin())).unwrap_or_default();
        let turn = Turn { items, listed, folded };
        self.start(turn)
    }

    /// A turn of what made room and has nothing of its kind left to go with: it was here before what waits.
    fn left_over(&mut self) -> Option<Turn> {
        let goes_with = |folded: &&Folded| self.waiting.iter().any(|held| held.item.kin() == folded.kin());
        let first = self.folded.iter().find(|folded| !goes_with(folded))?.clone();
        Some(Turn {
            folded: self.unfold(first.kin()),
            listed: true,
            ..Turn::default()
        })
    }

    /// Takes out what made room and is of this kind. The rest stays for turns of its own: nobody's words run with
    /// another's rights.
    fn unfold(&mut self, kin: Kin<'_>) -> Vec<Folded> {
        let (out, rest): (Vec<_>, Vec<_>) = self.folded.drain(..).partition(|folded| folded.kin() == kin);
        self.folded = rest.into();
        out
    }

    fn start(&mut self, turn: Turn) -> Next {
        self.running = turn.inbox_ids().map(str::to_owned).collect();
        Next::Run(turn)
    }

    /// Removes the oldest items so that one more fits. Gives those that are gone for good.
    fn make_room(&mut self, cap: usize, drop: DropPolicy) -> Vec<Dropped> {
        let mut gone = Vec::new();
        while self.droppable() >= cap {
            let Some(at) = self.waiting.iter().position(|held| !held.item.kept) else {
                break;
            };
            let Some(Held { item, .. }) = self.waiting.remove(at) else {
                break;
            };
            if drop != DropPolicy::Summarize {
                gone.push(item.inbox_id);
                continue;
            }
            self.folded.push_back(Folded::of(item));
            // The oldest lines fall off; the turn answers for their rows all the same.
            if let Some(at) = self.folded.len().checked_sub(self.settings.cap + 1) {
                self.folded[at].line = String::new();
            }
        }
        gone.into_iter()
            .map(|inbox_id| Dropped { inbox_id, reason: FULL })
            .collect()
    }

    /// The same message on the same route; where messages have no id, the same text waiting already.
    fn is_duplicate(&mut self, item: &Item, now: i64) -> bool {
        while self.seen.front().is_some_and(|(at, _)| now - at >= SEEN_MS) {
            self.seen.pop_front();
        }
        match fingerprint(item) {
            Some(print) => self.seen.iter().any(|(_, seen)| *seen == print),
            None => self.waiting.iter().any(|held| {
                held.item.message_id.is_none() && held.item.route == item.route && held.item.text == item.text
            }),
        }
    }

    fn remember(&mut self, item: &Item, now: i64) {
        if let Some(print) = fingerprint(item) {
            if self.seen.len() == SEEN_IDS {
                self.seen.pop_front();
            }
            self.seen.push_back((now, print));
        }
    }
}

/// A time that is further away than any wait was set by a clock that went back since: it has come.
fn within(at: i64, longest: i64, now: i64) -> i64 {
    if at.saturating_sub(now) > longest { now } else { at }
}

fn fingerprint(item: &Item) -> Option<u64> {
    let id = item.message_id.as_ref()?;
    let mut hasher = DefaultHasher::new();
    (&item.route, id).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests;
