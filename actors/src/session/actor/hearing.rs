//! Words that rule the session (`/stop`, `/approve`) are heard however many messages wait: what is not read yet is looked
//! through for them.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use claw_entities::first_id_at;
use tokio_util::sync::CancellationToken;

use super::SessionActor;
use crate::clock::now_ms;
use crate::session::admission::{self, Admitted};

/// What is stored may become visible this much later than it was numbered, milliseconds.
const LATE_MS: i64 = 5_000;

/// How far the rows that are not read yet were looked through.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    busy: bool,
    again: bool,
    /// Everything before was looked at, epoch milliseconds.
    upto: i64,
}

impl Hearing {
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }
}

impl SessionActor {
    /// Looks through what is not read yet for words that rule the session.
    pub(super) fn hear(&mut self, context: &mut Context<Self>) {
        // One reader at a time: what both found would be done twice.
        if self.hearing.busy || self.loading {
            self.hearing.again = true;
            return;
        }
        self.hearing.busy = true;
        let began = now_ms();
        let since = first_id_at(self.hearing.upto.saturating_sub(LATE_MS));
        let directory = self.home.directory.clone();
        let (scope, session, known) = (self.home.scope.clone(), self.home.key.clone(), self.known.clone());
        let (io, live) = (self.home.directory.services().io.clone(), self.live_snapshot());
        let task = io.spawn(async move {
            let slot = directory.lanes().slot(scope.tenant(), &CancellationToken::new());
            slot.go_on().await;
            admission::ruling(&directory, &scope, &session, &known, &live, &since, &slot).await
        });
        context.spawn(task.into_actor(self).map(move |heard, this, context| {
            this.hearing.busy = false;
            match heard {
                Ok(Ok(heard)) => {
                    this.hearing.upto = began;
                    let heeds = !this.draining && !this.is_edited();
                    for one in heard {
                        if let Admitted::Command { item, command } = one
                            && heeds
                        {
                            this.command(context, item, command);
                        }
                    }
                }
                Ok(Err(error)) => tracing::warn!(error = ?error, "what waits was not looked through"),
                Err(panic) => {
                    tracing::error!(tenant.id = %this.home.scope.tenant(), panic = %panic, "looking through what waits panicked");
                }
            }
            if std::mem::take(&mut this.hearing.again) {
                this.hear(context);
            }
            if !this.hearing.busy && std::mem::take(&mut this.load_again) {
                this.load(context);
                if !this.reads_on() {
                    this.end_clearing(context);
                    this.end_moving(context, true);
                }
            }
            this.pump(context);
        }));
    }
}
