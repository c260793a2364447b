//! The limit of open files, which what the bench starts inherits.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs beside its clients' sockets.
const BESIDE: u64 = 500;

/// Makes room for this many sockets in one process.
///
/// # Errors
/// Says what the hard limit is when it is too low: only an administrator can raise that.
pub fn open_files(clients: usize) -> Result<()> {
    let needed = clients as u64 + BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(needed);
    ensure!(
        most >= needed,
        "{clients} sockets (--clients, --waiting) need {needed} open files in a process, and no more than {most} are allowed"
    );
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")
}
