//! What an agent is told when somebody starts over and says nothing else (`agent-runtime` §6.4): it greets them.

use chrono_tz::Tz;

use super::system_event;

/// How such a prompt begins.
pub const BEGINS: &str = "[A new conversation begins.";

/// The prompt. `now` is epoch milliseconds.
pub(crate) fn prompt(now: i64, zone: Tz) -> String {
    format!(
        "{BEGINS} The person asked for it and has said nothing yet. If your files name something to do when a conversation \
         begins, do it first. Then greet them in one to three short sentences, in your own voice and in their language, and \
         ask what they would like to do. Do not speak of files, tools or this note.]\nCurrent time: {} ({})",
        system_event::wall_time(now, zone),
        zone.name()
    )
}
