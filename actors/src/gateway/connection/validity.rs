//! Whether the credential behind a live connection is still good: asked every second, and soon after any change.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::watch;

use super::NodeConnection;
use super::live::Live;
use crate::config::identity::{Credential, Identity};
use crate::error::Result;
use crate::gateway::GatewayState;
use crate::gateway::messages::GATEWAY_AUTH_CHANGED;

/// Shortest time between two looks that changes cause: many changes in a row are few looks.
const BETWEEN: Duration = Duration::from_millis(300);

/// Where the look at the credential stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Idle,
    Running,
    /// Something changed while it ran: what it finds may be old.
    RunningAndAgain,
}

impl NodeConnection {
    /// Looks soon after configuration changed: a revocation does not wait for the heartbeat.
    pub(super) fn watch(&mut self, mut changes: watch::Receiver<u64>, ctx: &mut Context<Self>) {
        let spread = self.spread();
        let changed = async move {
            tokio::time::sleep(BETWEEN).await;
            changes.changed().await.ok()?;
            tokio::time::sleep(spread).await;
            changes.borrow_and_update();
            Some(changes)
        };
        ctx.spawn(changed.into_actor(self).map(|changes, this, ctx| {
            if let Some(changes) = changes.filter(|_| this.live().is_some()) {
                this.recheck(ctx);
                this.watch(changes, ctx);
            }
        }));
    }

    /// Up to 200 ms, for each connection the same: those of a process do not all ask at the same moment.
    fn spread(&self) -> Duration {
        Duration::from_millis(self.conn_id.bytes().map(u64::from).sum::<u64>() * 37 % 200)
    }

    pub(super) fn recheck(&mut self, ctx: &mut Context<Self>) {
        let state = self.state.clone();
        let Some(live) = self.live() else {
            return;
        };
        if live.look != Look::Idle {
            live.look = Look::RunningAndAgain;
            return;
        }
        let Some(stands_on) = live.stands_on() else {
            // Its own call rotates the token just now; the next second asks again.
            return;
        };
        live.look = Look::Running;
        let (identity, device) = (Arc::clone(&live.identity), stands_on.clone());
        let check = async move { still_valid(&state, &identity, device).await };
        ctx.spawn(check.into_actor(self).map(move |valid, this, ctx| {
            let Some(live) = this.live() else {
                return;
            };
            let again = std::mem::take(&mut live.look) == Look::RunningAndAgain;
            // When the database is away nobody is thrown out; the next second asks again.
            let current = live.stands_on() == Some(stands_on);
            if matches!(valid, Ok(false)) && current {
                this.close(GATEWAY_AUTH_CHANGED.0, GATEWAY_AUTH_CHANGED.1, ctx);
            } else if (again || !current) && valid.is_ok() {
                this.recheck(ctx);
            }
        }));
    }
}

impl Live {
    /// The device token behind the connection, if there is one. `None` while the connection itself rotates it.
    fn stands_on(&self) -> Option<Option<Credential>> {
        let (Some(id), Some(standing)) = (&self.info.device_id, &self.standing) else {
            return Some(None);
        };
        Some(Some(Credential::Device {
            id: id.clone(),
            role: self.info.role().to_owned(),
            generation: standing.generation()?,
        }))
    }
}

/// Is the credential behind the connection still good, and its device still paired, with the token it came with.
async fn still_valid(state: &GatewayState, identity: &Identity, device: Option<Credential>) -> Result<bool> {
    let config = &state.services.config;
    let of_device = matches!(identity.credential, Credential::Device { .. });
    match device {
        Some(device) => {
            let stands = config.still_good(&identity.user, &device).await?;
            Ok(stands && (of_device || config.still_valid(identity).await?))
        }
        None => config.still_valid(identity).await,
    }
}
