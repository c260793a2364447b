//! From a model's text to what people see (`agent-runtime` §4.2–§4.4): silence, tags, hidden thinking, the response
//! prefix; whole, or while it streams.

mod filter;

use filter::Filter;

/// The whole text of a reply nobody is meant to see.
pub const NO_REPLY: &str = "NO_REPLY";
/// The same, of an agent that is to answer another session, or to tell in a chat what came of that.
pub const REPLY_SKIP: &str = "REPLY_SKIP";
pub const ANNOUNCE_SKIP: &str = "ANNOUNCE_SKIP";
/// A heartbeat's "nothing to report"; at the edge of other replies it is a slip.
pub const HEARTBEAT_OK: &str = "HEARTBEAT_OK";

/// Which message the model wants to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    Current,
    Message(String),
}

/// A reply, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shaped {
    /// What people see. `None`: a silent or empty reply.
    pub text: Option<String>,
    pub reply_to: Option<ReplyTo>,
    /// Send audio as a voice message.
    pub voice: bool,
    /// Addresses of `MEDIA:` lines, unchecked.
    pub media: Vec<String>,
}

/// Shapes a finished reply.
pub fn shape(text: &str) -> Shaped {
    let mut hold = HoldBack::default();
    hold.filter.push(text);
    hold.finish()
}

/// Shapes the finished answer of an agent that looked by itself. Also says whether the token was at one of its ends.
pub fn shape_heartbeat(text: &str) -> (Shaped, bool) {
    let mut hold = HoldBack::default();
    hold.filter.push(text);
    hold.filter.end();
    let whole = strip_silence(hold.filter.text().trim());
    let has_token = strip_heartbeat(whole).len() < whole.len();
    (hold.finish(), has_token)
}

/// Shapes a reply while it streams: shows nothing that might turn out to be a tag, thinking or [`NO_REPLY`].
#[derive(Debug, Default)]
pub struct HoldBack {
    filter: Filter,
    /// Bytes of the text shown last.
    shown: usize,
}

impl HoldBack {
    /// Takes a delta. Gives the whole text that may be shown so far, if it grew. What was shown is always a prefix of
    /// what is shown next.
    pub fn push(&mut self, delta: &str) -> Option<&str> {
        self.filter.push(delta);
        let safe = safe_length(&self.filter);
        if safe > self.shown {
            self.shown = safe;
            Some(self.visible())
        } else {
            None
        }
    }

    /// What may be shown so far.
    pub fn visible(&self) -> &str {
        &self.filter.text()[..self.shown]
    }

    /// Which message it wants to answer, as far as it said.
    pub fn reply_to(&self) -> Option<&ReplyTo> {
        self.filter.reply_to.as_ref()
    }

    /// The stream is over: nothing is held any more.
    pub fn finish(mut self) -> Shaped {
        self.filter.end();
        let text = strip_heartbeat(strip_silence(self.filter.text().trim()));
        Shaped {
            text: (!text.is_empty()).then(|| text.to_owned()),
            reply_to: self.filter.reply_to,
            voice: self.filter.voice,
            media: self.filter.media,
        }
    }
}

/// Up to the last word, when that word may become one of the silent tokens.
fn safe_length(filter: &Filter) -> usize {
    let text = filter.text();
    let trimmed = text.trim_end();
    if filter.in_fence() {
        return trimmed.len();
    }
    let start = trimmed
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + trimmed[at..].chars().next().map_or(1, char::len_utf8));
    let word = &trimmed[start..];
    let tokens = [NO_REPLY, HEARTBEAT_OK, REPLY_SKIP, ANNOUNCE_SKIP];
    let held = !word.is_empty() && tokens.iter().any(|token| token.starts_with(word));
    if held {
        trimmed[..start].trim_end().len()
    } else {
        trimmed.len()
    }
}

/// Takes a trailing `NO_REPLY` off; nothing is left of a reply that is only that, or another word for silence.
fn strip_silence(text: &str) -> &str {
    if text == REPLY_SKIP || text == ANNOUNCE_SKIP {
        return "";
    }
    match text.strip_suffix(NO_REPLY) {
        Some(rest) if !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_') => rest.trim_end(),
        Some(_) | None => text,
    }
}

/// Takes the heartbeat token off either end, with up to four signs after it.
fn strip_heartbeat(text: &str) -> &str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut text = text;
    if let Some(rest) = text.strip_prefix(HEARTBEAT_OK)
        && !rest.starts_with(is_word)
    {
        let signs = rest.chars().take_while(|c| !is_word(*c) && !c.is_whitespace()).count();
        if signs <= 4 {
            text = rest
                .trim_start_matches(|c: char| !is_word(c) && !c.is_whitespace())
                .trim_start();
        }
    }
    let body = text.trim_end_matches(|c: char| !is_word(c));
    if let Some(rest) = body.strip_suffix(HEARTBEAT_OK)
        && text[body.len()..].chars().count() <= 4
        && !rest.ends_with(is_word)
    {
        text = rest.trim_end();
    }
    text
}

/// What a response prefix may name.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrefixFacts<'a> {
    pub provider: &'a str,
    pub model: &'a str,
    pub thinking_level: &'a str,
    pub identity_name: &'a str,
}

/// The prefix for a template (`messages.responsePrefix`): `auto` is the agent's name in brackets, an empty one is
/// none. Unknown variables stay as they are.
pub fn response_prefix(template: &str, facts: &PrefixFacts<'_>) -> Option<String> {
    if template.eq_ignore_ascii_case("auto") {
        return (!facts.identity_name.is_empty()).then(|| format!("[{}]", facts.identity_name));
    }
    let mut prefix = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        prefix.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        match rest[1..close].to_ascii_lowercase().as_str() {
            "model" => prefix.push_str(facts.model.rsplit('/').next().unwrap_or(facts.model)),
            "modelfull" => prefix.push_str(&format!("{}/{}", facts.provider, facts.model)),
            "provider" => prefix.push_str(facts.provider),
            "thinkinglevel" | "think" => prefix.push_str(facts.thinking_level),
            "identity.name" | "identityname" => prefix.push_str(facts.identity_name),
            _ => prefix.push_str(&rest[..=close]),
        }
        rest = &rest[close + 1..];
    }
    prefix.push_str(rest);
    (!prefix.trim().is_empty()).then_some(prefix)
}

/// Puts the prefix before a reply that does not have it yet.
pub fn with_prefix(prefix: Option<&str>, text: String) -> String {
    match prefix {
        Some(prefix) if !text.starts_with(prefix) => {
            let space = if prefix.ends_with(char::is_whitespace) { "" } else { " " };
            format!("{prefix}{space}{text}")
        }
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests;
