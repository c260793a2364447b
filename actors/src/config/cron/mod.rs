//! Scheduled jobs as a user keeps them. When they run is [`crate::session::cron`]'s business.

pub mod draft;
pub mod job;
mod log;
mod runs;
pub mod schedule;
pub(crate) mod store;

pub use job::{Definition, Job};
pub use log::log_entry;
pub use runs::{Delivered, RunFilter, next_wake};
pub(in crate::config) use store::release_jobs;

/// What bounds a user's jobs.
#[derive(Clone, Copy, Debug)]
pub struct CronLimits {
    /// Jobs of one user.
    pub jobs: usize,
    /// Shortest pause between two runs of the agent by one job, milliseconds.
    pub interval_ms: i64,
    /// How far ahead a job that runs once has to be, milliseconds.
    pub ahead_ms: i64,
    /// A model asks, not a person.
    pub by_model: bool,
}

impl Default for CronLimits {
    fn default() -> Self {
        Self {
            jobs: 200,
            interval_ms: 60_000,
            ahead_ms: 0,
            by_model: false,
        }
    }
}

#[cfg(test)]
mod tests;
