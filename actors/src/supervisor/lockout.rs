//! Lock-outs bite: what goes on for a suspended tenant or a disabled user ends, wherever the change was made.
//!
//! One look for the process after each change of configuration, not one for each connection. Sockets close and turns are
//! cut off as by a crash: their inbox rows stay, and are answered or closed when the lock-out ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::directory::Directory;
use crate::session::recovery;

/// Pause before another try, when the database is away.
const RETRY: Duration = Duration::from_millis(300);

/// Until `stop`. Who was locked out when the process started has nothing going on in it.
pub async fn keep(directory: Directory, stop: CancellationToken) {
    let config = directory.services().config.clone();
    let mut changes = config.changes();
    let mut acted = config.locked();
    let mut failing = false;
    loop {
        changes.borrow_and_update();
        let read = config.read_locked().await;
        if let Err(error) = &read
            && !failing
        {
            tracing::warn!(error = ?error, "who is locked out cannot be read; it is tried again");
        }
        failing = read.is_err();
        let locked = config.locked();
        if locked != acted {
            let tenants: Vec<_> = locked.new_tenants(&acted).cloned().collect();
            let users: Vec<_> = locked.new_users(&acted).cloned().collect();
            tracing::info!(tenants = tenants.len(), users = users.len(), "lock-outs changed");
            directory.lock_out(tenants, users).await;
            if let Some(servers) = directory.services().ports.servers() {
                servers.leave(&|scope| locked.holds(scope));
            }
            if locked.let_in_since(&acted) {
                welcome(&directory).await;
            }
            acted = locked;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY), if failing => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Hands back what waited. A hint: what is lost here, the sweeper finds.
async fn welcome(directory: &Directory) {
    if let Err(error) = recovery::scan(directory, i64::MAX).await {
        tracing::warn!(error = ?error, "what waited for a lock-out to end waits for the next sweep");
    }
    directory.cron_changed().notify_one();
}
