//! What the rows of a session were put in by, so that a turn stands below the webhook or the call it answers.

use std::collections::HashMap;

use claw_entities::{Scope, SessionKey};
use tracing::Span;
use tracing::field::Empty;

use super::MOST_KNOWN;
use crate::session::turn::Turn;
use crate::supervisor::messages::Waking;
use crate::trace::Shown;

/// Spans of rows whose turn has not begun. Lost with the actor: a turn without one stands by itself.
#[derive(Default)]
pub(super) struct Traces {
    by_row: HashMap<String, Span>,
    /// Of who woke the session last without naming a row.
    last: Option<Span>,
}

impl Traces {
    pub(super) fn take_in(&mut self, waking: Waking) {
        if waking.trace.is_disabled() {
            return;
        }
        match waking.row {
            Some(row) if self.by_row.len() < MOST_KNOWN => {
                self.by_row.insert(row, waking.trace);
            }
            Some(_) => {}
            None => self.last = Some(waking.trace),
        }
    }

    /// Nothing waits any more.
    pub(super) fn forget(&mut self) {
        self.by_row.clear();
        self.last = None;
    }

    /// The span of a turn: below that of its last message; those of the others are named beside it.
    pub(super) fn turn(&mut self, scope: &Scope, key: &SessionKey, turn: &Turn) -> Span {
        let mut causes: Vec<Span> = Vec::new();
        if !self.by_row.is_empty() {
            let rows = turn.items.iter().flat_map(|item| &item.inbox_ids);
            causes.extend(rows.filter_map(|row| self.by_row.remove(row)));
        }
        let parent = causes.pop().or_else(|| self.last.take());
        let span = tracing::info_span!(
            parent: parent.as_ref().and_then(Span::id),
            "session.turn",
            tenant.id = %scope.tenant(),
            user.id = %scope.user(),
            session.key = %Shown(key.as_str()),
            run.id = %Shown(&turn.run_id),
            queued_ms = Empty,
        );
        for cause in &causes {
            span.follows_from(cause);
        }
        span
    }
}
