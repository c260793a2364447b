//! What waits in the queue, and the turn it becomes.

use crate::config::document::{DropPolicy, QueueMode};
use crate::ports::message::Part;

/// Longest line about a dropped item, in characters.
const SUMMARY_LINE: usize = 160;

/// Where the answer to an item goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Channel id; `webchat` for clients.
    pub channel: String,
    pub account_id: String,
    pub to: String,
    pub thread: Option<String>,
}

/// What a message says of the queue it waits in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub debounce_ms: Option<i64>,
    pub cap: Option<usize>,
    pub drop: Option<DropPolicy>,
}

/// One accepted message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    pub inbox_id: String,
    /// The platform's message id or the client's idempotency key.
    pub message_id: Option<String>,
    /// As the model sees it, envelope included.
    pub text: String,
    /// As the person typed it.
    pub display: String,
    /// Images, after the text.
    pub parts: Vec<Part>,
    pub route: Route,
    pub sender_id: String,
    /// Speaks with the rights of the session's user. Never joined with one that does not: a guest's words must not
    /// run with an owner's tools.
    pub owner: bool,
    /// Whose tools its turn has, where those of one chat have different ones; else empty. Never joined with another's.
    pub rights: String,
    /// For this message only; `None` = the session's.
    pub mode: Option<QueueMode>,
    /// For this message only, as `mode`.
    pub wish: Wish,
    /// Epoch milliseconds.
    pub received_at: i64,
    /// Wait for more from the same sender this long (`messages.inbound.debounceMs`); 0 for media that is no album, commands
    /// and clients.
    pub settle_ms: i64,
    /// Of several messages that were sent as one.
    pub album: Option<String>,
    /// Never dropped and not debounced: a client waits for the end of this very run.
    pub kept: bool,
}

/// An item that made room for others: its beginning, and the row the next turn answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    pub inbox_id: String,
    /// Empty once there were too many lines.
    pub line: String,
    pub route: Route,
    pub owner: bool,
    pub rights: String,
}

/// What is the same in all that one turn answers: where the answer goes, and whose rights it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kin<'a> {
    route: &'a Route,
    owner: bool,
    rights: &'a str,
}

impl Item {
    /// May both be answered by one turn.
    pub(in crate::session) fn joins(&self, other: &Self) -> bool {
        self.kin() == other.kin()
    }

    pub(super) fn kin(&self) -> Kin<'_> {
        Kin {
            route: &self.route,
            owner: self.owner,
            rights: &self.rights,
        }
    }

    /// Were they sent as one message.
    pub(super) fn is_album_of(&self, other: &Self) -> bool {
        self.album.is_some() && self.album == other.album && self.joins(other)
    }
}

impl Folded {
    pub(super) fn of(item: Item) -> Self {
        Self {
            line: summary_line(&item.text),
            inbox_id: item.inbox_id,
            route: item.route,
            owner: item.owner,
            rights: item.rights,
        }
    }

    pub(super) fn kin(&self) -> Kin<'_> {
        Kin {
            route: &self.route,
            owner: self.owner,
            rights: &self.rights,
        }
    }
}

/// What one run answers: items, things that made room for them, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// In the order of arrival. Settings of the run come from the last.
    pub items: Vec<Item>,
    /// Several items are listed under a heading; `false` = they are one message sent in pieces.
    pub listed: bool,
    /// What made room, oldest first.
    pub folded: Vec<Folded>,
}

impl Turn {
    /// A turn of one item.
    pub fn single(item: Item) -> Self {
        Self {
            items: vec![item],
            listed: true,
            ..Self::default()
        }
    }

    /// Where the answer goes: the first item that says.
    pub fn route(&self) -> Option<&Route> {
        let folded = self.folded.iter().map(|folded| &folded.route);
        folded
            .chain(self.items.iter().map(|item| &item.route))
            .find(|route| !route.channel.is_empty())
    }

    /// Everything in it was said with the rights of the session's user.
    pub fn owner(&self) -> bool {
        self.items.iter().all(|item| item.owner) && self.folded.iter().all(|folded| folded.owner)
    }

    /// The rows it answers for, in the order of arrival.
    pub fn inbox_ids(&self) -> impl Iterator<Item = &str> {
        let folded = self.folded.iter().map(|folded| folded.inbox_id.as_str());
        folded.chain(self.items.iter().map(|item| item.inbox_id.as_str()))
    }

    /// What the model reads.
    pub fn prompt(&self) -> Vec<Part> {
        let mut text = String::new();
        if !self.folded.is_empty() {
            text.push_str(&format!(
                "[{} earlier message(s) are cut short because too many were waiting:]\n",
                self.folded.len()
            ));
            for folded in self.folded.iter().filter(|folded| !folded.line.is_empty()) {
                text.push_str("- ");
                text.push_str(&folded.line);
                text.push('\n');
            }
            text.push('\n');
        }
        match self.items.as_slice() {
            [] => {}
            [item] => text.push_str(&item.text),
            items if self.listed => {
                text.push_str("[Messages that arrived while you were busy, oldest first. Answer them together.]\n");
                for (index, item) in items.iter().enumerate() {
                    text.push_str(&format!("\n{}. {}\n", index + 1, item.text));
                }
            }
            items => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push('\n');
                    }
                    text.push_str(&item.text);
                }
            }
        }
        let images = self.items.iter().flat_map(|item| item.parts.iter().cloned());
        let mut parts = Vec::with_capacity(1);
        if !text.trim().is_empty() {
            parts.push(Part::Text { text });
        }
        parts.extend(images);
        parts
    }

    /// What people see in the history.
    pub fn display(&self) -> String {
        let separator = if self.listed { "\n\n" } else { "\n" };
        self.items
            .iter()
            .map(|item| item.display.as_str())
            .collect::<Vec<_>>()
            .join(separator)
    }
}

/// The beginning of a text on one line.
fn summary_line(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if count + length + 1 > SUMMARY_LINE - 1 {
            if count == 0 {
                line.extend(word.chars().take(SUMMARY_LINE - 1));
            }
            line.push('…');
            break;
        }
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        line.push_str(word);
        count += length;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_bounded_line() {
        assert_eq!(summary_line("a\nb  c"), "a b c");
        let long = summary_line(&"word ".repeat(100));
        assert!(long.chars().count() <= SUMMARY_LINE && long.ends_with('…'), "{long}");
        assert!(summary_line(&"x".repeat(500)).chars().count() <= SUMMARY_LINE);
    }
}
