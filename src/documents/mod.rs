//! Reads documents that strangers made, each in a process of its own: what a PDF can do to its reader (memory without end, a
//! stack that overflows, a panic) ends that process and nothing else (ADR 011).

pub mod reader;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::document::{DocumentText, Documents, Pages, Unreadable};
use claw_actors::supervisor::rooms::Rooms;
use claw_entities::TenantId;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::reader::{COMMAND, Told};

/// Documents of all tenants that are read at the same time.
const AT_ONCE: usize = 2;
/// How long one waits for its turn, and how long reading it may take.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(20);
/// Bytes of JSON for one character, and around the text.
const PER_CHARACTER: usize = 12;
const AROUND: usize = 4_096;

/// The reader of this process.
#[derive(Clone)]
pub struct DocumentReader {
    places: Arc<Semaphore>,
    /// One place for each tenant that has a document here.
    tenants: Rooms,
}

impl Default for DocumentReader {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            tenants: Rooms::new(1),
        }
    }
}

impl DocumentReader {
    async fn read(
        self,
        tenant: TenantId,
        bytes: Vec<u8>,
        most: usize,
        pages: Pages,
    ) -> Result<DocumentText, Unreadable> {
        let own = self.tenants.of(&tenant);
        let turn = async {
            let own = own.acquire().await.ok()?;
            Some((own, self.places.acquire().await.ok()?))
        };
        let Ok(Some(_places)) = timeout(PATIENCE, turn).await else {
            return Err(Unreadable::Busy);
        };
        match timeout(LONGEST, child(bytes, most, &pages)).await {
            Ok(told) => told,
            Err(_) => Err(Unreadable::TooMuch),
        }
    }
}

impl Documents for DocumentReader {
    fn pdf(
        &self,
        tenant: TenantId,
        bytes: Vec<u8>,
        most: usize,
        pages: Pages,
    ) -> BoxFuture<'static, Result<DocumentText, Unreadable>> {
        Box::pin(self.clone().read(tenant, bytes, most, pages))
    }
}

/// Hands the document to a process of its own. Dropped, that process ends.
async fn child(bytes: Vec<u8>, most: usize, pages: &Pages) -> Result<DocumentText, Unreadable> {
    let failed = |error: std::io::Error| {
        tracing::error!(error = %error, "no process to read a document could be started");
        Unreadable::Busy
    };
    let mut command = Command::new(program().map_err(failed)?);
    command
        .args([COMMAND, &most.to_string(), &pages.to_string()])
        // Nothing of what we know is there for it to tell.
        .env_clear()
        // The allocator asks for memory as it needs it: what is reserved ahead would count as used (reader.rs, `MEMORY`).
        .env("MIMALLOC_DISALLOW_ARENA_ALLOC", "1")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(Unreadable::Busy);
    };
    let most = most.saturating_mul(PER_CHARACTER).saturating_add(AROUND);
    let mut told = Vec::new();
    let mut stdout = stdout.take(u64::try_from(most).unwrap_or(u64::MAX));
    let give = async move {
        // One that died has told so by its end.
        let _ = stdin.write_all(&bytes).await;
        drop(stdin);
    };
    let (_, read) = tokio::join!(give, stdout.read_to_end(&mut told));
    read.map_err(|_| Unreadable::TooMuch)?;
    drop(stdout);
    let ended = child.wait().await.map_err(|_| Unreadable::TooMuch)?;
    if !ended.success() {
        return Err(Unreadable::TooMuch);
    }
    match serde_json::from_slice(&told) {
        Ok(Told::Text { text, pages, read }) => Ok(DocumentText { text, pages, read }),
        Ok(Told::Broken) | Err(_) => Err(Unreadable::Broken),
        Ok(Told::Locked) => Err(Unreadable::Locked),
    }
}

/// This very program, also when its file was replaced meanwhile.
fn program() -> std::io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
}
