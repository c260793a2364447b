//! Messages for a run that goes on (`agent-runtime` §5.2): the session's actor offers them, the run takes them between
//! two model calls. An offer is a copy: the message waits in the queue as well, so that one that is not taken is answered
//! by a turn of its own, and is dropped or joined like any other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::item::Item;

/// What the actor and the run of a session share. Locks are held for a moment only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steering(Arc<Mutex<Vec<Offer>>>);

/// A message as the run gets it.
#[derive(Clone, Debug)]
pub(crate) struct Steered {
    pub(crate) item: Item,
    /// It has a turn of its own besides (`steer-backlog`): the run reads it, and does not answer for its row.
    pub(crate) backlog: bool,
}

#[derive(Debug)]
struct Offer {
    steered: Steered,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    /// The run is storing it.
    Taken,
    /// It stands in the run's transcript.
    Stored,
    /// It could not be read. When the run is over its row is looked at again.
    GivenUp,
}

impl Offer {
    fn is(&self, inbox_id: &str) -> bool {
        self.steered.item.inbox_ids.iter().any(|id| id == inbox_id)
    }

    /// Does the run answer for its row.
    fn is_the_runs(&self) -> bool {
        self.state != State::Waits && !self.steered.backlog
    }

    fn is_answered_here(&self) -> bool {
        self.is_the_runs() && self.state != State::GivenUp
    }
}

impl Steering {
    fn offers(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a message that waits in the queue.
    pub(crate) fn offer(&self, item: Item, backlog: bool) {
        self.offers().push(Offer {
            steered: Steered { item, backlog },
            state: State::Waits,
        });
    }

    /// Is there something to read.
    pub(crate) fn waits(&self) -> bool {
        self.offers().iter().any(|offer| offer.state == State::Waits)
    }

    /// Takes what waits, in the order in which it came. It is the run's now.
    pub(crate) fn take(&self) -> Vec<Steered> {
        let mut offers = self.offers();
        let waiting = offers.iter_mut().filter(|offer| offer.state == State::Waits);
        waiting
            .map(|offer| {
                offer.state = State::Taken;
                offer.steered.clone()
            })
            .collect()
    }

    /// A message that was taken could not be read: it gets a turn of its own when the run is over.
    pub(crate) fn give_up(&self, inbox_ids: &[String]) {
        let mut offers = self.offers();
        let taken = offers.iter_mut().filter(|offer| offer.state == State::Taken);
        for offer in taken.filter(|offer| inbox_ids.iter().any(|id| offer.is(id))) {
            offer.state = State::GivenUp;
        }
    }

    /// What was taken is stored.
    pub(crate) fn stored(&self) {
        for offer in self.offers().iter_mut().filter(|offer| offer.state == State::Taken) {
            offer.state = State::Stored;
        }
    }

    /// The message is not for the run any more. `false`: the run answers it already.
    pub(crate) fn withdraw(&self, inbox_id: &str) -> bool {
        let mut offers = self.offers();
        let taken = offers.iter().any(|offer| offer.is(inbox_id) && offer.is_the_runs());
        offers.retain(|offer| !(offer.is(inbox_id) && offer.state == State::Waits));
        !taken
    }

    /// Withdraws what does not wait in the queue any more.
    pub(crate) fn keep(&self, waits: impl Fn(&str) -> bool) {
        self.offers()
            .retain(|offer| offer.state != State::Waits || offer.steered.item.inbox_ids.iter().all(|id| waits(id)));
    }

    /// Inbox rows the run has taken upon itself.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.ids(Offer::is_the_runs)
    }

    /// Those of them that stand in its transcript.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.ids(|offer| offer.is_the_runs() && offer.state == State::Stored)
    }

    fn ids(&self, which: impl Fn(&Offer) -> bool) -> Vec<String> {
        let offers = self.offers();
        let those = offers.iter().filter(|offer| which(offer));
        those.flat_map(|offer| offer.steered.item.inbox_ids.clone()).collect()
    }

    /// Run ids of the clients whose messages the run answers.
    pub(crate) fn run_ids(&self) -> HashSet<String> {
        let offers = self.offers();
        let taken = offers.iter().filter(|offer| offer.is_answered_here());
        taken.flat_map(|offer| offer.steered.item.run_ids().cloned()).collect()
    }

    /// Does the run answer a client's message along with its own.
    pub(crate) fn is_asked(&self) -> bool {
        let offers = self.offers();
        let mut taken = offers.iter().filter(|offer| offer.is_answered_here());
        taken.any(|offer| offer.steered.item.options.requester.is_some())
    }

    /// Who may abort the run because it answers them.
    pub(crate) fn is_asked_by(&self, requester: &str) -> bool {
        let offers = self.offers();
        let mut taken = offers.iter().filter(|offer| offer.is_answered_here());
        taken.any(|offer| offer.steered.item.options.requester.as_deref() == Some(requester))
    }
}

/// May a message join a turn that goes on: a person's words in both, and nothing in either that rules a whole run.
pub(crate) fn takes(running: &Item, item: &Item) -> bool {
    let plain = |item: &Item| {
        let options = &item.options;
        options.scheduled.is_none()
            && options.heartbeat.is_none()
            && !options.relayed
            && !options.background
            && options.client_tools.is_empty()
    };
    let own = &item.options;
    let changes_the_run = own.model.is_some()
        || own.thinking.is_some()
        || own.verbose.is_some()
        || own.reasoning.is_some()
        || own.extra_system_prompt.is_some();
    plain(running) && plain(item) && !changes_the_run && running.queued(None, 0).joins(&item.queued(None, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::intake::{Beat, ClientMessage};

    fn item(id: &str) -> Item {
        let message = ClientMessage {
            message: id.to_owned(),
            requester: Some(format!("by {id}")),
            ..ClientMessage::default()
        };
        Item::from_client(id.to_owned(), format!("run {id}"), 0, true, message)
    }

    #[test]
    fn what_was_taken_is_the_runs() {
        let steering = Steering::default();
        for id in ["a", "b"] {
            steering.offer(item(id), false);
        }
        assert!(steering.withdraw("b") && steering.waits());
        let taken = steering.take();
        assert_eq!(taken.len(), 1);
        assert!(!steering.waits() && steering.take().is_empty());
        assert!(!steering.withdraw("a"), "it is being answered");
        assert_eq!((steering.taken().len(), steering.answered().len()), (1, 0));
        steering.stored();
        assert_eq!(steering.answered(), ["a"]);
        assert!(steering.run_ids().contains("run a") && steering.is_asked_by("by a"));
        assert!(!steering.is_asked_by("by b"));
    }

    #[test]
    fn what_cannot_be_read_is_given_up() {
        let steering = Steering::default();
        for id in ["a", "b"] {
            steering.offer(item(id), false);
        }
        steering.take();
        steering.give_up(&["a".to_owned()]);
        steering.stored();
        assert_eq!((steering.answered(), steering.taken().len()), (vec!["b".to_owned()], 2));
        assert!(!steering.waits() && !steering.run_ids().contains("run a"));
    }

    #[test]
    fn a_backlog_message_stays_the_queues() {
        let steering = Steering::default();
        steering.offer(item("a"), true);
        steering.take();
        steering.stored();
        assert!(steering.taken().is_empty() && steering.run_ids().is_empty());
        assert!(steering.withdraw("a"), "its own turn may still be dropped");
        steering.offer(item("b"), true);
        steering.keep(|id| id != "b");
        assert!(!steering.waits(), "what was dropped is not read either");
    }

    #[test]
    fn only_people_are_heard_in_the_middle() {
        let (run, plain) = (item("run"), item("x"));
        assert!(takes(&run, &plain));
        let mut model = item("x");
        model.options.model = Some("m".to_owned());
        let mut guest = item("x");
        guest.guest = "stranger".to_owned();
        let mut beat = item("x");
        beat.options.heartbeat = Some(Beat::default());
        for other in [&model, &guest, &beat] {
            assert!(!takes(&run, other));
        }
        assert!(!takes(&beat, &plain));
    }
}
