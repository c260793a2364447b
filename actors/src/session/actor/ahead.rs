//! What has its turn before the queue: what a crash cut off, and what has its place between turns.

use std::collections::VecDeque;

use actix::Context;

use super::SessionActor;
use super::compacting::CompactRequest;
use crate::ports::message::Part;
use crate::session::choice::Chosen;
use crate::session::closing::{self, Why};
use crate::session::edit::EditRequest;
use crate::session::item::Item;
use crate::session::overheard::Overheard;
use crate::session::run::Outcome;
use crate::session::turn::Turn;

/// What has its turn before the queue.
pub(super) enum Ahead {
    Resume(Item),
    Close(Item, Why),
    /// A turn that a crash cut off and somebody stopped before it went on, for this reason.
    Stop(Item, &'static str),
    Reset {
        item: Item,
        rest: String,
        model: Option<Chosen>,
    },
    Inject(Item),
    Edit(EditRequest),
    Compact(CompactRequest),
}

impl Ahead {
    /// Rows it looks after.
    pub(super) fn inbox_ids(&self) -> &[String] {
        match self {
            Self::Resume(item)
            | Self::Close(item, _)
            | Self::Stop(item, _)
            | Self::Reset { item, .. }
            | Self::Inject(item) => &item.inbox_ids,
            Self::Compact(request) => request.inbox_ids(),
            Self::Edit(_) => &[],
        }
    }

    /// Has its place between turns: what a crash cut off is finished first.
    pub(super) fn between_turns(&self) -> bool {
        match self {
            Self::Resume(_) | Self::Close(..) | Self::Stop(..) => false,
            Self::Reset { .. } | Self::Inject(_) | Self::Edit(_) | Self::Compact(_) => true,
        }
    }
}

impl SessionActor {
    /// Takes out those that are `meant`; the others keep their order.
    pub(super) fn take_ahead(&mut self, meant: impl Fn(&Ahead) -> bool) -> VecDeque<Ahead> {
        let (taken, others) = std::mem::take(&mut self.ahead).into_iter().partition(meant);
        self.ahead = others;
        taken
    }

    pub(super) fn start_ahead(&mut self, context: &mut Context<Self>, ahead: Ahead) {
        match ahead {
            Ahead::Resume(item) => self.start(context, resumed(item)),
            Ahead::Stop(item, reason) => {
                let (directory, emitter) = (self.home.directory.clone(), self.emitter_for(&item));
                let turn = resumed(item.clone());
                self.occupy(context, Some(item), move |authority| async move {
                    let ended = closing::stopped(directory.services(), &authority, &turn, reason).await?;
                    if let Some((mut emitter, _)) = emitter {
                        emitter.aborted(reason).await;
                    }
                    Ok(Outcome::Ended(ended))
                });
            }
            Ahead::Close(item, why) => {
                let directory = self.home.directory.clone();
                let again = item.clone();
                self.occupy(context, Some(again), move |authority| async move {
                    closing::close(&directory, &authority, item, why)
                        .await
                        .map(Outcome::Ended)
                });
            }
            Ahead::Reset { item, rest, model } => self.start_reset(context, item, rest, model),
            Ahead::Inject(item) => self.start_injection(context, item),
            Ahead::Edit(request) => self.start_edit(context, request),
            Ahead::Compact(request) => self.start_compaction(context, request),
        }
    }
}

/// The turn of one item that goes on, or has to end.
fn resumed(item: Item) -> Turn {
    let run_id = item.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let prompt = vec![Part::Text {
        text: item.prompt.clone(),
    }];
    Turn {
        run_id,
        items: vec![item],
        prompt,
        overheard: Overheard::default(),
        steered: Vec::new(),
    }
}
