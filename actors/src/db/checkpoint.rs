//! Copying SQLite's log into its file beside the commits.
//!
//! SQLite by itself does it within whichever commit finds the log long, and everybody who waits for that commit waits for
//! thousands of pages to be written and synced. Here a thread copies them on a connection of its own while commits go on.
//! It never catches up with a writer that is busy, and the log begins anew only when nothing is left to copy: so the last
//! few pages are copied between two commits, by the thread that commits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use sea_orm::DbErr;

use super::direct::{self, Direct};

/// The log is copied, and is to begin anew, when it has as many pages (of 4 KiB). A page that is written often is copied
/// once for all of them: sooner would be more work.
const LONG: u32 = 4000;
/// As many pages are copied between two commits.
const FEW: u32 = 300;
/// Where its end could not be copied, because somebody reads it, that is tried again after so many more.
const AGAIN: u32 = 1000;
/// Something keeps the log from being copied, or the writer is faster than the copying: commits wait for it after all.
const TOO_LONG: u32 = 64_000;

/// Of the thread that commits. Ends the copying thread when it is dropped.
pub(super) struct Checkpoints {
    copier: Copier,
    wake: SyncSender<()>,
    /// How long the log was when its copying was last asked for.
    asked: u32,
    /// How long it was when copying its end here was last tried.
    ended: u32,
    /// How long it was after the last commit.
    seen: u32,
}

/// What both threads know.
#[derive(Clone, Debug, Default)]
struct Copier {
    busy: Arc<AtomicBool>,
    /// Pages of the log that were copied.
    copied: Arc<AtomicU32>,
}

impl Checkpoints {
    /// Starts the thread. An error means that there is none to be had, or no connection.
    pub(super) fn start(file: &Path) -> std::io::Result<Self> {
        let connection = direct::connect(file).map_err(std::io::Error::other)?;
        let copier = Copier::default();
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let of_thread = copier.clone();
        thread.spawn(move || of_thread.run(&connection, &woken))?;
        Ok(Self {
            copier,
            wake,
            asked: 0,
            ended: 0,
            seen: 0,
        })
    }

    /// Between two commits: has the log copied, or its end, when it is time for that.
    pub(super) fn after_commit(&mut self, direct: &Direct) {
        let pages = direct.log_pages();
        if pages < self.seen {
            // It began anew.
            (self.asked, self.ended) = (0, 0);
            self.copier.copied.store(0, Ordering::Release);
        }
        self.seen = pages;
        if pages < LONG || self.copier.busy.load(Ordering::Acquire) {
            return;
        }
        let left = pages.saturating_sub(self.copier.copied.load(Ordering::Acquire));
        let again = pages >= self.ended.saturating_add(AGAIN);
        if again && (left <= FEW || pages >= TOO_LONG) {
            self.ended = pages;
            self.copier.note(direct.with(copy));
        } else if left > FEW && pages >= self.asked.saturating_add(FEW.max(left / 8)) {
            self.asked = pages;
            self.copier.busy.store(true, Ordering::Release);
            if self.wake.try_send(()).is_err() {
                self.copier.busy.store(false, Ordering::Release);
            }
        }
    }
}

impl Copier {
    fn run(&self, connection: &Connection, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            self.note(copy(connection));
            self.busy.store(false, Ordering::Release);
        }
    }

    fn note(&self, copied: Result<u32, DbErr>) {
        match copied {
            Ok(copied) => self.copied.store(copied, Ordering::Release),
            Err(error) => tracing::warn!(error = ?error, "the database's log could not be copied; it goes on growing"),
        }
    }
}

/// Copies what no reader keeps from being copied, and waits for nobody. Gives how many pages of the log are copied.
fn copy(connection: &Connection) -> Result<u32, DbErr> {
    let mut passive = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .map_err(direct::failed)?;
    let copied: i64 = passive.query_row([], |row| row.get(2)).map_err(direct::failed)?;
    // -1: there is no log.
    Ok(u32::try_from(copied).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use sea_orm::DbBackend;

    use super::*;
    use crate::config::testing;

    /// Commits until `done` says so; gives how long the log was at its longest.
    fn write_until(direct: &Direct, checkpoints: &mut Checkpoints, mut done: impl FnMut(u32) -> bool) -> u32 {
        let mut longest = 0;
        loop {
            direct.control("BEGIN IMMEDIATE").expect("begins");
            direct
                .control("INSERT INTO heap (page) SELECT randomblob(40000)")
                .expect("writes");
            direct
                .control("DELETE FROM heap WHERE rowid < (SELECT max(rowid) FROM heap) - 20")
                .expect("writes");
            direct.control("COMMIT").expect("commits");
            checkpoints.after_commit(direct);
            let pages = direct.log_pages();
            longest = longest.max(pages);
            if done(pages) {
                return longest;
            }
        }
    }

    async fn heap() -> Option<(testing::Server, Direct, Checkpoints)> {
        let server = testing::start().await;
        if server.db.backend() != DbBackend::Sqlite {
            return None;
        }
        let file = server.db.file.clone().expect("SQLite has a file");
        let direct = Direct::open(&file).expect("opens");
        direct.control("CREATE TABLE heap (page BLOB)").expect("makes a table");
        let checkpoints = Checkpoints::start(&file).expect("starts");
        Some((server, direct, checkpoints))
    }

    #[tokio::test]
    async fn the_log_of_a_busy_writer_begins_anew_again_and_again() {
        let Some((_server, direct, mut checkpoints)) = heap().await else {
            return;
        };
        let (mut last, mut anew) = (0, 0);
        let longest = write_until(&direct, &mut checkpoints, |pages| {
            anew += u32::from(pages < last);
            last = pages;
            anew == 5
        });
        assert!(longest < TOO_LONG / 2, "{longest} pages");
    }

    #[tokio::test]
    async fn a_reader_that_stays_keeps_the_log_and_when_it_leaves_the_log_begins_anew() {
        let Some((server, direct, mut checkpoints)) = heap().await else {
            return;
        };
        let reader = Connection::open(server.db.file.as_ref().expect("a file")).expect("opens");
        reader.execute_batch("BEGIN; SELECT count(*) FROM heap").expect("reads");
        let longest = write_until(&direct, &mut checkpoints, |pages| pages > 2 * LONG);
        assert!(longest > 2 * LONG);
        reader.execute_batch("COMMIT").expect("leaves");
        let mut last = 0;
        write_until(&direct, &mut checkpoints, |pages| {
            let anew = pages < last;
            last = pages;
            anew
        });
    }
}
