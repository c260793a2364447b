//! How much of all sounds is in memory at the same time: so much of the process, and of each tenant.

use std::sync::LazyLock;

use claw_entities::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::supervisor::rooms::Rooms;

/// Megabytes of all tenants. What a sound takes on its way is about thrice its size.
const OF_PROCESS: usize = 96;
/// Megabytes of one tenant: the largest sound has room.
const OF_TENANT: usize = 32;

static PROCESS: Semaphore = Semaphore::const_new(OF_PROCESS);
static TENANTS: LazyLock<Rooms> = LazyLock::new(|| Rooms::new(OF_TENANT));

/// Room for one sound, until it is dropped.
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _place: SemaphorePermit<'static>,
}

/// Waits for room for so many bytes. `None` never comes: nobody closes the room.
pub(super) async fn take(tenant: &TenantId, bytes: usize) -> Option<Place> {
    let megabytes = bytes.div_ceil(1 << 20).clamp(1, OF_TENANT);
    let megabytes = u32::try_from(megabytes).ok()?;
    let own = TENANTS.of(tenant).acquire_many_owned(megabytes).await.ok()?;
    let place = PROCESS.acquire_many(megabytes).await.ok()?;
    Some(Place {
        _own: own,
        _place: place,
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_tenants_sounds_leave_room_for_anothers() {
        let (one, other) = (TenantId::from("places-one"), TenantId::from("places-other"));
        let large = take(&one, 20 << 20).await.expect("room");
        let mut second = Box::pin(take(&one, 20 << 20));
        assert!((&mut second).now_or_never().is_none(), "one tenant has so much");
        assert!(take(&other, 20 << 20).await.is_some());
        drop(large);
        assert!(second.await.is_some());
    }
}
