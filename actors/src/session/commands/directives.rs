//! Directives (`agent-runtime` §20): `/think`, `/fast`, `/verbose`, `/reasoning`, `/model` and `/queue` inside a longer message are
//! taken out of it and hold for it alone; a message of nothing else changes the session. `/status`, `/help`, `/commands` and
//! `/whoami` are taken out too, and answered. Pure.

use super::{Command, ModelCommand, QueueChange, QueueCommand, Switch, Switching, ThinkCommand, option, word};
use crate::ports::model::Thinking;
use crate::session::blocks;

/// What a message says about how it is to be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub think: Option<Thinking>,
    /// `on`, `full` or `off`.
    pub verbose: Option<&'static str>,
    /// `on`, `stream` or `off`.
    pub reasoning: Option<&'static str>,
    /// `on` or `off`.
    pub fast: Option<&'static str>,
    pub model: Option<String>,
    pub queue: Option<QueueChange>,
}

impl Directives {
    /// The same as commands, which change the session.
    pub fn commands(self) -> Vec<Command> {
        let switch = |switch, word: &'static str| Command::Switch(switch, Switching::Set(word, Some(word)));
        let think = self.think.map(|level| Command::Think(ThinkCommand::Set(level)));
        let verbose = self.verbose.map(|word| switch(Switch::Verbose, word));
        let reasoning = self.reasoning.map(|word| switch(Switch::Reasoning, word));
        let fast = self.fast.map(|word| switch(Switch::Fast, word));
        let model = self.model.map(|name| Command::Model(ModelCommand::Set(name)));
        let queue = self.queue.map(|change| Command::Queue(QueueCommand::Set(change)));
        [think, verbose, reasoning, fast, model, queue]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The name that the message's `/model` asks for.
pub fn model_in(text: &str) -> Option<String> {
    strip(text, true)?.0.model
}

/// Takes the directives out of a message. `None` when there are none. What stands in a code block stays. `models`: is
/// the model it names one that may be used; otherwise its directive is plain text.
pub fn strip(text: &str, models: bool) -> Option<(Directives, String)> {
    let mut found = Directives::default();
    let rest = cut(text, |text| read(text, models, &mut found))?;
    Some((found, rest))
}

/// Takes the shortcuts out of a message (`/status`, `/help`, `/commands`, `/whoami`): each of them once, and the text without
/// them. `None` when there are none. What stands in a code block stays. `bot` is the bot's user name on the platform.
pub fn shortcuts(text: &str, bot: Option<&str>) -> Option<(Vec<Command>, String)> {
    let mut found = Vec::new();
    let rest = cut(text, |text| {
        let (command, length) = shortcut(text, bot)?;
        if !found.contains(&command) {
            found.push(command);
        }
        Some(length)
    })?;
    Some((found, rest))
}

/// Takes out what `read` gives the length of, which is asked at every slash that begins a word and is in no code.
fn cut(text: &str, mut read: impl FnMut(&str) -> Option<usize>) -> Option<String> {
    if !text.contains('/') {
        return None;
    }
    let code = blocks::code(text);
    let mut rest = String::with_capacity(text.len());
    let (mut from, mut any) = (0, false);
    for (at, _) in text.match_indices('/') {
        let begins = text[..at].chars().next_back().is_none_or(char::is_whitespace);
        let before = code.partition_point(|code| code.start <= at);
        let in_code = before > 0 && code.get(before - 1).is_some_and(|code| code.contains(&at));
        if at < from || !begins || in_code {
            continue;
        }
        if let Some(length) = read(&text[at..]) {
            rest.push_str(&text[from..at]);
            from = at + length;
            any = true;
            if rest.is_empty() || rest.ends_with(char::is_whitespace) {
                from += text[from..].len() - text[from..].trim_start_matches(' ').len();
            }
        }
    }
    rest.push_str(&text[from..]);
    any.then(|| rest.trim().to_owned())
}

/// Reads one shortcut at the beginning of `text`. Gives its length.
fn shortcut(text: &str, bot: Option<&str>) -> Option<(Command, usize)> {
    let end = text.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(text.len());
    let (name, _) = word(text.get(1..end)?, bot)?;
    let command = match name.to_ascii_lowercase().as_str() {
        "help" => Command::Help,
        "commands" => Command::Commands(1),
        "status" => Command::Status,
        "whoami" | "id" => Command::Whoami,
        _ => return None,
    };
    let colon = usize::from(text[end..].starts_with(':'));
    Some((command, end + colon))
}

/// Reads one directive at the beginning of `text`. Gives its length.
fn read(text: &str, models: bool, found: &mut Directives) -> Option<usize> {
    let end = text.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(text.len());
    let name = text.get(1..end)?;
    let name = name.split('@').next().unwrap_or(name).to_ascii_lowercase();
    let after = text[end..].strip_prefix(':').unwrap_or(&text[end..]);
    let body = after.trim_start_matches([' ', '\t']);
    let begin = text.len() - body.len();
    let word = body.split(char::is_whitespace).next().unwrap_or_default();
    let whole = begin + word.len();
    let known = |switch: Switch| match switch.read(word) {
        Some(Switching::Set(_, Some(value))) => Some(value),
        Some(Switching::Set(_, None) | Switching::Show | Switching::Report | Switching::Invalid(_)) | None => None,
    };
    match name.as_str() {
        "think" | "thinking" | "t" => found.think = Some(Thinking::parse(word)?),
        "verbose" | "v" => found.verbose = Some(known(Switch::Verbose)?),
        "reasoning" | "reason" => found.reasoning = Some(known(Switch::Reasoning)?),
        "fast" => found.fast = Some(known(Switch::Fast)?),
        "model" if models && is_model(word) => found.model = Some(word.to_owned()),
        "queue" => return queue(body, begin, found),
        _ => return None,
    }
    Some(whole)
}

fn is_model(word: &str) -> bool {
    !word.starts_with('/')
        && word.chars().any(char::is_alphanumeric)
        && word.chars().all(|c| c.is_alphanumeric() || "-_./:@".contains(c))
}

/// Options as far as there are any.
fn queue(body: &str, begin: usize, found: &mut Directives) -> Option<usize> {
    let mut change = QueueChange::default();
    let (mut left, mut end) = (body, 0);
    loop {
        let word = left.split(char::is_whitespace).next().unwrap_or_default();
        if word.is_empty() || !matches!(option(word, &mut change), Ok(true)) {
            break;
        }
        end = body.len() - left.len() + word.len();
        left = body[end..].trim_start_matches([' ', '\t']);
    }
    if change == QueueChange::default() {
        return None;
    }
    found.queue = Some(change);
    Some(begin + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::QueueMode;

    fn check(text: &str, rest: &str, expected: Directives) {
        assert_eq!(strip(text, true), Some((expected, rest.to_owned())), "{text:?}");
    }

    #[test]
    fn directives_are_taken_out_wherever_they_stand() {
        let think = Directives {
            think: Some(Thinking::High),
            ..Directives::default()
        };
        check("/think high what is it?", "what is it?", think.clone());
        check("what /t:high is it?", "what is it?", think.clone());
        check("what is it? /thinking@bot high", "what is it?", think.clone());
        check("one\n/think high\ntwo", "one\n\ntwo", think.clone());
        check("/think high", "", think);
        check(
            "do it /model mock/mock-1 /verbose full /reasoning stream /fast on now",
            "do it now",
            Directives {
                model: Some("mock/mock-1".to_owned()),
                verbose: Some("full"),
                reasoning: Some("stream"),
                fast: Some("on"),
                ..Directives::default()
            },
        );
        check(
            "/queue interrupt debounce:2s do this first: now",
            "do this first: now",
            Directives {
                queue: Some(QueueChange {
                    mode: Some(QueueMode::Interrupt),
                    debounce_ms: Some(2_000),
                    ..QueueChange::default()
                }),
                ..Directives::default()
            },
        );
    }

    #[test]
    fn talk_and_code_stay_as_they_are() {
        for text in [
            "what does /think do?",
            "see /etc/hosts and a/think high",
            "/think tanks are fine",
            "/verbose is a word, /reasoning too",
            "```\n/think high\n```\nwhat is that?",
            "use `/think high` here",
            "/queue up here",
            "/model",
            "no slash",
            "/",
        ] {
            assert_eq!(strip(text, true), None, "{text:?}");
        }
        assert_eq!(strip("say /model mock/mock-1", false), None);
        assert_eq!(model_in("say /model mock/mock-1 twice").as_deref(), Some("mock/mock-1"));
    }

    #[test]
    fn shortcuts_are_taken_out_wherever_they_stand() {
        for (text, commands, rest) in [
            ("how /status are you", vec![Command::Status], "how are you"),
            ("/help: what now?", vec![Command::Help], "what now?"),
            ("/ID@claw_bot and /whoami", vec![Command::Whoami], "and"),
            (
                "a /status\n/commands b /STATUS",
                vec![Command::Status, Command::Commands(1)],
                "a \nb",
            ),
            ("/status /help", vec![Command::Status, Command::Help], ""),
        ] {
            let found = shortcuts(text, Some("claw_bot"));
            assert_eq!(found, Some((commands, rest.to_owned())), "{text:?}");
        }
        for text in [
            "/statusquo",
            "the /status.",
            "see http://x/status or a/status",
            "use `/status` here",
            "```\n/help\n```\nwhat is that?",
            "/status@other_bot what?",
            "/stop /new /think high",
            "no slash",
        ] {
            assert_eq!(shortcuts(text, Some("claw_bot")), None, "{text:?}");
        }
    }

    #[test]
    fn a_long_message_takes_no_long_time() {
        for text in ["```\n/think high\n", "`/t high` ", "/ "] {
            assert_eq!(
                strip(&text.repeat(100_000).replace("/t ", "/x "), true).is_some(),
                text.starts_with("```")
            );
        }
    }

    #[test]
    fn alone_they_are_commands() {
        let (all, rest) = strip("/think low /model m", true).expect("two");
        assert_eq!(rest, "");
        assert_eq!(
            all.commands(),
            [
                Command::Think(ThinkCommand::Set(Thinking::Low)),
                Command::Model(ModelCommand::Set("m".to_owned())),
            ]
        );
    }
}
