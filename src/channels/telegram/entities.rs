//! What a text says without the bot's name, and whether it names the bot. Telegram counts offsets in UTF-16 units.

use super::inbound::Bot;
use super::update::Entity;

/// A text without the bot's name.
pub(super) struct Read {
    pub text: String,
    pub mentioned: bool,
    /// It starts with a command that is for us or for nobody in particular.
    pub command: bool,
}

pub(super) fn read(raw: &str, entities: &[Entity], bot: &Bot) -> Read {
    let mut read = Read {
        text: String::with_capacity(raw.len()),
        mentioned: false,
        command: false,
    };
    let borders = Borders::new(raw);
    let mut cuts = Vec::new();
    for entity in entities {
        let Some((start, end)) = borders.range(entity) else {
            continue;
        };
        let words = &raw[start..end];
        match entity.kind.as_str() {
            "mention" if is_name(words.strip_prefix('@'), bot) => cuts.push((start, end)),
            "text_mention" if bot.id != 0 && entity.user.as_ref().is_some_and(|user| user.id == bot.id) => {
                cuts.push((start, end));
            }
            "bot_command" => match words.split_once('@') {
                Some((command, name)) if is_name(Some(name), bot) => {
                    cuts.push((start + command.len(), end));
                    read.command |= start == 0;
                }
                Some(_) => {}
                None => read.command |= start == 0,
            },
            _ => {}
        }
    }
    read.mentioned = !cuts.is_empty();
    cuts.sort_unstable();
    let mut at = 0;
    for (start, end) in cuts {
        if start < at {
            continue;
        }
        read.text.push_str(&raw[at..start]);
        at = end;
        // "hey @bot what" must not keep two blanks.
        if read.text.is_empty() || read.text.ends_with(char::is_whitespace) {
            at += raw[end..].len() - raw[end..].trim_start_matches(' ').len();
        }
    }
    read.text.push_str(&raw[at..]);
    let trimmed = read.text.trim();
    if trimmed.len() != read.text.len() {
        read.text = trimmed.to_owned();
    }
    read
}

/// User names are ASCII and do not differ by case.
fn is_name(name: Option<&str>, bot: &Bot) -> bool {
    !bot.username.is_empty() && name.is_some_and(|name| name.eq_ignore_ascii_case(&bot.username))
}

/// UTF-16 offsets into byte offsets.
struct Borders {
    /// Byte offset of each UTF-16 unit that starts a character, or `None` inside one. Left out for ASCII.
    units: Option<Vec<Option<usize>>>,
    length: usize,
}

impl Borders {
    fn new(text: &str) -> Self {
        let units = (!text.is_ascii()).then(|| {
            let mut units = Vec::with_capacity(text.len() + 1);
            for (at, character) in text.char_indices() {
                units.push(Some(at));
                if character.len_utf16() == 2 {
                    units.push(None);
                }
            }
            units.push(Some(text.len()));
            units
        });
        Self {
            units,
            length: text.len(),
        }
    }

    fn at(&self, unit: usize) -> Option<usize> {
        match &self.units {
            Some(units) => units.get(unit).copied().flatten(),
            None => (unit <= self.length).then_some(unit),
        }
    }

    fn range(&self, entity: &Entity) -> Option<(usize, usize)> {
        let start = self.at(entity.offset)?;
        let end = self.at(entity.offset.checked_add(entity.length)?)?;
        (start < end).then_some((start, end))
    }
}
