//! Session service: what is accepted, the queue, the run loop, context, delivery.

pub mod intake;
pub mod invoking;
pub mod key;
pub mod routing;

mod acks;
pub(crate) mod actor;
mod admission;
pub(crate) mod branches;
mod changing;
pub(crate) mod choice;
mod item;

pub mod commands;
pub(crate) mod origin;
mod outlook;
pub(crate) mod own;
pub mod policy;
pub mod queue;

mod closing;
pub(crate) mod edit;
pub(crate) mod exchange;
pub(crate) mod exec;
mod run;
mod steering;
pub(crate) mod turn;

mod allowlist;
mod aside;
mod assembly;
pub mod budget;
pub(crate) mod compaction;
pub mod context;
pub mod embedding;
pub(crate) mod enclosed;
pub mod envelope;
mod excerpt;
pub(crate) mod forwarding;
pub mod freshness;
pub mod greeting;
mod keepsake;
pub mod nodes;
pub(crate) mod overheard;
pub mod prompt;
pub mod reach;
pub mod recall;
mod redact;
pub mod remote;
pub mod skills;
pub(crate) mod subagent;
pub(crate) mod tasks;
mod tool_context;
mod tool_loops;
pub(crate) mod tool_policy;
mod toolbox;
pub mod untrusted;
pub mod workspace;

pub mod blocks;
pub(crate) mod events;
mod preview;
pub mod reply;
pub(crate) mod send_policy;
mod signs;

pub(crate) mod system_event;
pub(crate) mod text_file;
pub(crate) mod thinking;

pub mod asking;
pub mod attention;
pub mod blobs;
pub mod cron;
pub mod delivery;
pub(crate) mod groups;
pub(crate) mod heartbeat;
pub mod hook;
pub(crate) mod maintenance;
mod managing;
mod model_call;
mod reconcile;
pub(crate) mod record;
pub mod recovery;
mod repeats;
mod report;
pub(crate) mod sending;
pub(crate) mod side;
pub(crate) mod speech;
pub mod understanding;
pub(crate) mod usage;
pub(crate) mod wake;

#[cfg(test)]
mod tests;
