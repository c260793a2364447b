//! Slash commands that are a whole message, and the words that mean "stop" (`agent-runtime` §20, §2.5). Pure.

mod directives;
mod names;
mod speech;
mod stop_words;
mod switch;
mod table;
mod texts;

use crate::config::document::{DropPolicy, QueueMode};
use crate::ports::model::Thinking;
use crate::session::choice::Chosen;
use crate::session::queue::{parse_drop, parse_mode};
use crate::session::skills::calls::SkillCall;

pub use directives::{Directives, model_in, shortcuts, strip};
pub use speech::SpeechCommand;
pub use switch::{Switch, Switching};
pub use table::{COMMANDS, offers};
pub use texts::{
    Below, approve_usage_text, commands_text, help_text, queue_text, status_text, stop_text, unavailable_text,
    whoami_text,
};

/// A command that is carried out without the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Abort the run and empty the queue.
    Stop(StopForm),
    /// Start a new transcript. `rest` is a model name or, if it names none, the first message.
    New {
        rest: Option<String>,
        /// Of the new transcript, once the name in `rest` was looked up.
        model: Option<Chosen>,
    },
    Reset {
        rest: Option<String>,
    },
    Status,
    Help,
    /// A page of those there are, from 1.
    Commands(usize),
    Whoami,
    Queue(QueueCommand),
    /// Summarise the conversation so far.
    Compact {
        instructions: Option<String>,
    },
    /// Say what fills the context window.
    Context(ContextForm),
    /// How hard the model thinks: nothing shows it, `None` inside forgets it.
    Think(ThinkCommand),
    /// Which model answers.
    Model(ModelCommand),
    Switch(Switch, Switching),
    /// Whose voice reads aloud, how much, and a text at once.
    Speech(SpeechCommand),
    /// Several of these in one message.
    All(Vec<Command>),
    /// Decide about a command on a node.
    Approve(ApproveCommand),
    /// A skill called by name, where no model is asked.
    Skill(SkillCall),
    /// The user's agents.
    Agents,
    Subagents(SubagentCommand),
    Config(ConfigCommand),
    /// Who may write to this bot.
    Allowlist(AllowlistCommand),
    /// Where this conversation is to be had as a file.
    Export,
    /// Exists elsewhere, not here.
    Unavailable(Absent),
    /// A question beside the conversation.
    Aside(String),
}

/// A command of the original that does nothing here, and what does it instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    pub name: &'static str,
    /// A sentence; may be empty.
    pub instead: &'static str,
}

/// All of them. What begins with `dock-` is one for each channel.
const ABSENT: [Absent; 11] = [
    absent("elevated", ""),
    absent("bash", "Commands run on paired devices: ask me to run one."),
    absent("restart", ""),
    absent("acp", ""),
    absent("plugins", ""),
    absent("focus", "Sub-agents have sessions of their own: see /subagents."),
    absent("unfocus", "Sub-agents have sessions of their own: see /subagents."),
    absent(
        "session",
        "When a conversation starts over is set under Settings (session.reset).",
    ),
    absent("mcp", "MCP servers are set under Settings → MCP servers."),
    absent("debug", "Settings that last are changed by /config, or under Settings."),
    absent("exec", "What may run on a device is set under Devices."),
];
const DOCK: &str = "dock-";
const DOCKED: Absent = absent("dock", "Write to me on the other channel: I answer where I am asked.");

const fn absent(name: &'static str, instead: &'static str) -> Absent {
    Absent { name, instead }
}

/// What the owner wants of the sub-agents of this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubagentCommand {
    List,
    Spawn {
        agent: String,
        task: String,
        model: Option<String>,
        thinking: Option<String>,
    },
    Info(String),
    Log(String),
    Kill(String),
    Steer {
        target: String,
        message: String,
    },
    Usage,
}

/// What the owner wants of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigCommand {
    Show(Option<String>),
    Set { path: String, value: serde_json::Value },
    Unset(String),
    Usage,
}

/// What the owner wants of the list of those who may write to a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowlistCommand {
    List,
    Add { list: Listed, id: String },
    Remove { list: Listed, id: String },
    Usage,
}

/// Which list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Direct,
    Group,
}

impl Command {
    /// Does it call a tool, which may take long.
    pub(crate) fn calls_a_tool(&self) -> bool {
        matches!(self, Self::Skill(SkillCall::Tool { .. }))
    }

    /// Does it go on for a while, so that there is something to stop.
    pub(crate) fn takes_long(&self) -> bool {
        self.calls_a_tool() || matches!(self, Self::Aside(_))
    }
}

/// How `/context` is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextForm {
    List,
    Detail,
    Json,
}

/// How somebody said stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopForm {
    Slash,
    /// A bare word such as "wait": where nothing runs it may be ordinary talk.
    Phrase,
    /// A bare word, said while sub-agents run.
    Meant,
}

/// `/queue …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueCommand {
    Show,
    /// Forget the session's own settings.
    Clear,
    Set(QueueChange),
    /// The text says what is wrong.
    Invalid(String),
}

/// `/think …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThinkCommand {
    Show,
    /// Back to the settings.
    Default,
    Set(Thinking),
    /// No such level.
    Invalid(String),
}

/// `/model …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelCommand {
    Show,
    /// Where it is, and with which key it is asked.
    Status,
    /// Those there are, numbered.
    List,
    /// Back to the settings.
    Default,
    /// By its name, or its number in the list.
    Set(String),
}

/// `/approve …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApproveCommand {
    /// The request's id, or its beginning, and one of the words a person may say.
    Decide { id: String, decision: &'static str },
    /// It was said in a way that means nothing.
    Invalid,
}

/// What `/queue` changes; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueChange {
    pub mode: Option<QueueMode>,
    pub debounce_ms: Option<u64>,
    pub cap: Option<u64>,
    pub drop: Option<DropPolicy>,
}

/// The command a whole message is, if it is one. `bot` is the bot's user name on the platform: `/status@other_bot` is
/// for somebody else. An unknown slash word is plain text.
pub fn parse(text: &str, bot: Option<&str>) -> Option<Command> {
    let text = text.trim();
    let Some(line) = text.strip_prefix('/') else {
        return stop_words::is_stop(text).then_some(Command::Stop(StopForm::Phrase));
    };
    let (name, rest) = word(line, bot)?;
    let argument = (!rest.is_empty()).then(|| rest.to_owned());
    let alone = |command: Command| rest.is_empty().then_some(command);
    match name.to_ascii_lowercase().as_str() {
        "stop" => alone(Command::Stop(StopForm::Slash)),
        "new" => Some(Command::New {
            rest: argument,
            model: None,
        }),
        "reset" => Some(Command::Reset { rest: argument }),
        "status" => alone(Command::Status),
        "compact" => Some(Command::Compact { instructions: argument }),
        "context" => context_form(rest).map(Command::Context),
        "help" => alone(Command::Help),
        "commands" => page(rest).map(Command::Commands),
        "whoami" | "id" => alone(Command::Whoami),
        "queue" => queue(rest).map(Command::Queue),
        "think" | "thinking" | "t" => think(rest),
        "model" => model(rest).map(Command::Model),
        "models" => alone(Command::Model(ModelCommand::List)),
        "approve" => Some(Command::Approve(approve(rest))),
        "tts" => match SpeechCommand::read(rest) {
            Some(said) => Some(Command::Speech(said)),
            None => Some(Command::Switch(Switch::Aloud, Switch::Aloud.read(rest)?)),
        },
        "agents" => alone(Command::Agents),
        "subagents" => Some(Command::Subagents(subagents(rest))),
        "kill" => Some(Command::Subagents(match rest {
            "" => SubagentCommand::Usage,
            target => SubagentCommand::Kill(target.to_owned()),
        })),
        "steer" | "tell" => Some(Command::Subagents(steer(rest))),
        "config" => Some(Command::Config(config(rest))),
        "allowlist" => Some(Command::Allowlist(allowlist(rest))),
        "btw" => Some(Command::Aside(rest.to_owned())),
        "export-session" | "export_session" | "export" => alone(Command::Export),
        other => {
            if other.starts_with(DOCK) {
                return Some(Command::Unavailable(DOCKED));
            }
            if let Some(absent) = ABSENT.iter().find(|absent| absent.name == other) {
                return Some(Command::Unavailable(*absent));
            }
            let switch = Switch::named(other)?;
            Some(Command::Switch(switch, switch.read(rest)?))
        }
    }
}

/// A reset that somebody asks for by a word of their own (`session.resetTriggers`), perhaps with a first message.
pub fn triggered(text: &str, triggers: &[String]) -> Option<Command> {
    let text = text.trim();
    let rest = triggers.iter().find_map(|trigger| {
        let head = text.get(..trigger.len())?;
        let rest = &text[trigger.len()..];
        let whole = rest.is_empty() || rest.starts_with(char::is_whitespace);
        (head.eq_ignore_ascii_case(trigger) && whole).then(|| rest.trim())
    })?;
    Some(Command::Reset {
        rest: (!rest.is_empty()).then(|| rest.to_owned()),
    })
}

/// What is to be done, and to which; nothing lists them.
fn subagents(rest: &str) -> SubagentCommand {
    let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let target = behind.trim();
    match (word.to_ascii_lowercase().as_str(), target) {
        ("" | "list", "") => SubagentCommand::List,
        ("steer" | "send" | "tell", _) => steer(target),
        ("spawn", _) => spawn(target).unwrap_or(SubagentCommand::Usage),
        ("info" | "log" | "kill" | "stop", "") => SubagentCommand::Usage,
        ("info", _) => SubagentCommand::Info(target.to_owned()),
        ("log", _) => {
            let first = target.split_whitespace().next().unwrap_or(target);
            SubagentCommand::Log(first.to_owned())
        }
        ("kill" | "stop", _) => SubagentCommand::Kill(target.to_owned()),
        _ => SubagentCommand::Usage,
    }
}

/// Whose agent, then what it is to do, then options; the task stays as it was written.
fn spawn(rest: &str) -> Option<SubagentCommand> {
    let (agent, behind) = rest.split_once(char::is_whitespace)?;
    let (mut task, mut model, mut thinking) = (behind.trim(), None, None);
    while let Some((before, value)) = task.rsplit_once(char::is_whitespace) {
        let before = before.trim_end();
        let option = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let place = match option {
            "--model" => &mut model,
            "--thinking" => &mut thinking,
            _ => break,
        };
        *place = Some(value.to_owned());
        task = before[..before.len() - option.len()].trim_end();
    }
    (!task.is_empty()).then(|| SubagentCommand::Spawn {
        agent: agent.to_owned(),
        task: task.to_owned(),
        model,
        thinking,
    })
}

/// To whom, then what.
fn steer(rest: &str) -> SubagentCommand {
    match rest.split_once(char::is_whitespace) {
        Some((target, message)) if !message.trim().is_empty() => SubagentCommand::Steer {
            target: target.to_owned(),
            message: message.trim().to_owned(),
        },
        Some(_) | None => SubagentCommand::Usage,
    }
}

/// What is to be done, on which list, and with whom; nothing shows them.
fn allowlist(rest: &str) -> AllowlistCommand {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let (list, id) = match (lower.as_slice(), words.as_slice()) {
        ([] | ["list"], _) => return AllowlistCommand::List,
        ([_, "dm"], _) | ([_, "group"], _) => return AllowlistCommand::Usage,
        ([_, "dm", _], [.., id]) | ([_, _], [.., id]) => (Listed::Direct, (*id).to_owned()),
        ([_, "group", _], [.., id]) => (Listed::Group, (*id).to_owned()),
        _ => return AllowlistCommand::Usage,
    };
    match lower.first().copied() {
        Some("add") => AllowlistCommand::Add { list, id },
        Some("remove") => AllowlistCommand::Remove { list, id },
        Some(_) | None => AllowlistCommand::Usage,
    }
}

/// What is to be done, and where; nothing shows it. A value is JSON5, or the text itself.
fn config(rest: &str) -> ConfigCommand {
    let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let behind = behind.trim();
    let is_path =
        |path: &str| !path.is_empty() && path.len() <= 200 && !path.split('.').any(|name| name.trim().is_empty());
    match word.to_ascii_lowercase().as_str() {
        "" => ConfigCommand::Show(None),
        "show" | "get" if behind.is_empty() => ConfigCommand::Show(None),
        "show" | "get" if is_path(behind) => ConfigCommand::Show(Some(behind.to_owned())),
        "unset" if is_path(behind) => ConfigCommand::Unset(behind.to_owned()),
        "set" => match behind.split_once(['=', ' ']) {
            Some((path, value)) if is_path(path.trim()) && !value.trim().is_empty() => {
                let value = value.trim();
                ConfigCommand::Set {
                    path: path.trim().to_owned(),
                    value: json5::from_str(value).unwrap_or_else(|_| value.into()),
                }
            }
            Some(_) | None => ConfigCommand::Usage,
        },
        _ => ConfigCommand::Usage,
    }
}

/// A name or a number, or nothing. A longer text is talk.
fn model(rest: &str) -> Option<ModelCommand> {
    Some(match rest.to_ascii_lowercase().as_str() {
        "" => ModelCommand::Show,
        "status" => ModelCommand::Status,
        "list" => ModelCommand::List,
        "default" | "reset" | "clear" => ModelCommand::Default,
        word if word.contains(char::is_whitespace) => return None,
        _ => ModelCommand::Set(rest.to_owned()),
    })
}

/// The name behind the slash, and what follows it. `None`: it is for another bot.
pub(super) fn word<'a>(line: &'a str, bot: Option<&str>) -> Option<(&'a str, &'a str)> {
    let end = line.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim();
    let (name, addressee) = word.split_once('@').map_or((word, None), |(name, to)| (name, Some(to)));
    if let (Some(to), Some(bot)) = (addressee, bot)
        && !to.eq_ignore_ascii_case(bot.trim_start_matches('@'))
    {
        return None;
    }
    Some((name, rest))
}

/// A number, or nothing. Anything else is talk.
fn page(rest: &str) -> Option<usize> {
    if rest.is_empty() {
        return Some(1);
    }
    rest.parse().ok().filter(|page| *page >= 1)
}

/// A level, or nothing. A longer text is talk.
fn think(rest: &str) -> Option<Command> {
    Some(Command::Think(match rest.to_ascii_lowercase().as_str() {
        "" => ThinkCommand::Show,
        "default" | "reset" | "clear" => ThinkCommand::Default,
        word => match Thinking::parse(word) {
            Some(level) => ThinkCommand::Set(level),
            None if word.contains(char::is_whitespace) => return None,
            None => ThinkCommand::Invalid(word.to_owned()),
        },
    }))
}

/// Nothing is the short form. Anything else than a form is talk.
fn context_form(rest: &str) -> Option<ContextForm> {
    match rest.to_ascii_lowercase().as_str() {
        "" | "list" => Some(ContextForm::List),
        "detail" => Some(ContextForm::Detail),
        "json" => Some(ContextForm::Json),
        _ => None,
    }
}

/// The id first, then the word, as the question asks for it.
fn approve(rest: &str) -> ApproveCommand {
    let mut words = rest.split_whitespace();
    let (Some(id), Some(word), None) = (words.next(), words.next(), words.next()) else {
        return ApproveCommand::Invalid;
    };
    let decision = match word.to_ascii_lowercase().as_str() {
        "allow-once" | "once" | "allow" => "allow-once",
        "allow-always" | "always" => "allow-always",
        "deny" | "reject" | "block" => "deny",
        _ => return ApproveCommand::Invalid,
    };
    ApproveCommand::Decide {
        id: id.to_owned(),
        decision,
    }
}

/// Options in any order. With more behind them they are a directive.
fn queue(rest: &str) -> Option<QueueCommand> {
    if rest.is_empty() {
        return Some(QueueCommand::Show);
    }
    if ["default", "reset", "clear"]
        .iter()
        .any(|word| rest.eq_ignore_ascii_case(word))
    {
        return Some(QueueCommand::Clear);
    }
    let mut change = QueueChange::default();
    let mut left = rest;
    while !left.is_empty() {
        let end = left.find(char::is_whitespace).unwrap_or(left.len());
        let (word, after) = left.split_at(end);
        match option(word, &mut change) {
            Ok(true) => left = after.trim_start(),
            Ok(false) => break,
            Err(problem) => return Some(QueueCommand::Invalid(problem)),
        }
    }
    if change == QueueChange::default() {
        return Some(QueueCommand::Invalid(format!(
            "Unknown queue mode \"{}\". Use collect, followup, steer, steer-backlog or interrupt.",
            left.split_whitespace().next().unwrap_or("")
        )));
    }
    left.is_empty().then_some(QueueCommand::Set(change))
}

/// Reads one word into `change`. `Ok(false)`: it is not an option.
fn option(word: &str, change: &mut QueueChange) -> Result<bool, String> {
    if change.mode.is_none()
        && let Some(mode) = parse_mode(word)
    {
        change.mode = Some(mode);
        return Ok(true);
    }
    let Some((name, value)) = word.split_once(':') else {
        return Ok(false);
    };
    match name.to_ascii_lowercase().as_str() {
        "debounce" => {
            let ms = duration_ms(value).ok_or_else(|| format!("\"{value}\" is no duration; write 500ms, 2s or 1m."))?;
            change.debounce_ms = Some(ms);
        }
        // A cap below one is ignored, as in the original.
        "cap" => {
            let cap: i64 = value.parse().map_err(|_| format!("\"{value}\" is no number."))?;
            change.cap = u64::try_from(cap).ok().filter(|cap| *cap >= 1).or(change.cap);
        }
        "drop" => {
            let drop = parse_drop(value)
                .ok_or_else(|| format!("\"{value}\" is no drop policy; use old, new or summarize."))?;
            change.drop = Some(drop);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `500ms`, `2s`, `1.5m`; a bare number is milliseconds.
fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, factor) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1_000.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60_000.0)
    } else {
        (text.as_str(), 1.0)
    };
    let ms = number.trim().parse::<f64>().ok()? * factor;
    const DAY: f64 = 86_400_000.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie between zero and a day"
    )]
    (ms.is_finite() && (0.0..=DAY).contains(&ms)).then_some(ms.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_rest(rest: &str) -> Option<String> {
        Some(rest.to_owned())
    }

    #[test]
    fn what_exists_elsewhere_never_goes_to_the_model() {
        for line in ["/dock-slack", "/Focus", "/exec host=node", "/mcp", "/debug show"] {
            let command = parse(line, None);
            assert!(matches!(command, Some(Command::Unavailable(_))), "{line}: {command:?}");
        }
    }

    #[test]
    fn a_question_aside_is_all_that_follows() {
        let aside = |question: &str| Some(Command::Aside(question.to_owned()));
        assert_eq!(parse("/btw what is 2 + 2?", None), aside("what is 2 + 2?"));
        assert_eq!(parse("/BTW: why", None), aside("why"));
        assert_eq!(parse("/btw", None), aside(""));
    }

    #[test]
    fn a_list_of_senders_is_named_with_what_becomes_of_it() {
        let of = |line: &str| match parse(line, None) {
            Some(Command::Allowlist(said)) => said,
            other => panic!("{line}: {other:?}"),
        };
        let id = || "Ab:1".to_owned();
        for line in ["/allowlist", "/allowlist list"] {
            assert_eq!(of(line), AllowlistCommand::List, "{line}");
        }
        for line in ["/allowlist add Ab:1", "/Allowlist ADD dm Ab:1"] {
            let added = AllowlistCommand::Add {
                list: Listed::Direct,
                id: id(),
            };
            assert_eq!(of(line), added, "{line}");
        }
        let removed = AllowlistCommand::Remove {
            list: Listed::Group,
            id: id(),
        };
        assert_eq!(of("/allowlist remove group Ab:1"), removed);
        for line in [
            "/allowlist add",
            "/allowlist add group",
            "/allowlist drop 1",
            "/allowlist add 1 2 3",
        ] {
            assert_eq!(of(line), AllowlistCommand::Usage, "{line}");
        }
    }

    #[test]
    fn agents_and_configuration() {
        let of = |line: &str| parse(line, None);
        let subagents = |said| Some(Command::Subagents(said));
        assert_eq!(of("/subagents"), subagents(SubagentCommand::List));
        assert_eq!(
            of("/subagents kill 2"),
            subagents(SubagentCommand::Kill("2".to_owned()))
        );
        assert_eq!(of("/kill all"), subagents(SubagentCommand::Kill("all".to_owned())));
        assert_eq!(of("/kill"), subagents(SubagentCommand::Usage));
        let begun = |model: Option<&str>, thinking: Option<&str>| {
            subagents(SubagentCommand::Spawn {
                agent: "main".to_owned(),
                task: "dig  it\nup".to_owned(),
                model: model.map(str::to_owned),
                thinking: thinking.map(str::to_owned),
            })
        };
        assert_eq!(of("/subagents spawn main dig  it\nup"), begun(None, None));
        assert_eq!(
            of("/subagents spawn main dig  it\nup --thinking low --model a/b"),
            begun(Some("a/b"), Some("low"))
        );
        for line in [
            "/subagents spawn",
            "/subagents spawn main",
            "/subagents spawn main --model a/b",
        ] {
            assert_eq!(of(line), subagents(SubagentCommand::Usage), "{line}");
        }
        for line in [
            "/steer dig deeper now",
            "/tell dig deeper now",
            "/subagents send dig deeper now",
        ] {
            let told = SubagentCommand::Steer {
                target: "dig".to_owned(),
                message: "deeper now".to_owned(),
            };
            assert_eq!(of(line), subagents(told), "{line}");
        }
        let config = |said| Some(Command::Config(said));
        assert_eq!(of("/config"), config(ConfigCommand::Show(None)));
        assert_eq!(
            of("/config get a.b"),
            config(ConfigCommand::Show(Some("a.b".to_owned())))
        );
        let set = |path: &str, value: serde_json::Value| {
            config(ConfigCommand::Set {
                path: path.to_owned(),
                value,
            })
        };
        assert_eq!(of("/config set a.b=3"), set("a.b", 3.into()));
        assert_eq!(of("/config set a.b some words"), set("a.b", "some words".into()));
        assert_eq!(of("/config unset a..b"), config(ConfigCommand::Usage));
        assert_eq!(of("/agents"), Some(Command::Agents));
        assert_eq!(of("/agents of change"), None);
    }

    #[test]
    fn whole_messages_are_commands() {
        let cases = [
            ("/stop", Some(Command::Stop(StopForm::Slash))),
            ("  /STOP  ", Some(Command::Stop(StopForm::Slash))),
            ("/stop@claw_bot", Some(Command::Stop(StopForm::Slash))),
            ("/stop@other_bot", None),
            (
                "/new",
                Some(Command::New {
                    rest: None,
                    model: None,
                }),
            ),
            ("/model", Some(Command::Model(ModelCommand::Show))),
            ("/model Status", Some(Command::Model(ModelCommand::Status))),
            ("/model 2", Some(Command::Model(ModelCommand::Set("2".to_owned())))),
            ("/models", Some(Command::Model(ModelCommand::List))),
            ("/model x and talk", None),
            (
                "/verbose on",
                Some(Command::Switch(Switch::Verbose, Switching::Set("on", Some("on")))),
            ),
            ("/v", Some(Command::Switch(Switch::Verbose, Switching::Show))),
            ("/send me the file", None),
            (
                "/new gpt-5",
                Some(Command::New {
                    rest: with_rest("gpt-5"),
                    model: None,
                }),
            ),
            (
                "/new: hello there",
                Some(Command::New {
                    rest: with_rest("hello there"),
                    model: None,
                }),
            ),
            ("/reset", Some(Command::Reset { rest: None })),
            ("/status", Some(Command::Status)),
            ("/help", Some(Command::Help)),
            ("/compact", Some(Command::Compact { instructions: None })),
            (
                "/compact: keep the numbers",
                Some(Command::Compact {
                    instructions: with_rest("keep the numbers"),
                }),
            ),
            ("/context", Some(Command::Context(ContextForm::List))),
            ("/context Detail", Some(Command::Context(ContextForm::Detail))),
            ("/context of the talk", None),
            ("/commands", Some(Command::Commands(1))),
            ("/commands 2", Some(Command::Commands(2))),
            ("/commands of yours", None),
            ("/whoami", Some(Command::Whoami)),
            ("/id", Some(Command::Whoami)),
            ("/queue", Some(Command::Queue(QueueCommand::Show))),
            ("/elevated on", Some(Command::Unavailable(ABSENT[0]))),
            ("/unknown thing", None),
            ("/", None),
            ("/etc/hosts is a file", None),
            ("please /status", None),
            ("/status of the project?", None),
            ("hello", None),
        ];
        for (text, command) in cases {
            assert_eq!(parse(text, Some("claw_bot")), command, "{text:?}");
        }
        assert_eq!(parse("/status@any", None), Some(Command::Status));
    }

    #[test]
    fn approve_takes_an_id_and_a_word() {
        for (text, decision) in [
            ("/approve 0a1b allow-once", Some("allow-once")),
            ("/approve@claw_bot 0a1b ALLOW-ALWAYS", Some("allow-always")),
            ("/approve: 0a1b deny", Some("deny")),
            ("/approve 0a1b", None),
            ("/approve", None),
            ("/approve 0a1b yes", None),
            ("/approve 0a1b deny it", None),
        ] {
            let expected = decision.map_or(ApproveCommand::Invalid, |decision| ApproveCommand::Decide {
                id: "0a1b".to_owned(),
                decision,
            });
            assert_eq!(
                parse(text, Some("claw_bot")),
                Some(Command::Approve(expected)),
                "{text}"
            );
        }
    }

    #[test]
    fn queue_options() {
        let change = |mode, debounce_ms, cap, drop| QueueChange {
            mode,
            debounce_ms,
            cap,
            drop,
        };
        let cases = [
            (
                "/queue followup",
                QueueCommand::Set(change(Some(QueueMode::Followup), None, None, None)),
            ),
            (
                "/queue coalesce debounce:2s cap:5 drop:oldest",
                QueueCommand::Set(change(
                    Some(QueueMode::Collect),
                    Some(2_000),
                    Some(5),
                    Some(DropPolicy::Old),
                )),
            ),
            (
                "/queue debounce:250 interrupt",
                QueueCommand::Set(change(Some(QueueMode::Interrupt), Some(250), None, None)),
            ),
            (
                "/queue collect cap:0",
                QueueCommand::Set(change(Some(QueueMode::Collect), None, None, None)),
            ),
            ("/queue default", QueueCommand::Clear),
            ("/queue Reset", QueueCommand::Clear),
        ];
        for (text, command) in cases {
            assert_eq!(parse(text, None), Some(Command::Queue(command)), "{text:?}");
        }
        assert_eq!(parse("/queue interrupt do this first: now", None), None, "a directive");
        for text in ["/queue sideways", "/queue collect debounce:soon", "/queue drop:all"] {
            assert!(
                matches!(parse(text, None), Some(Command::Queue(QueueCommand::Invalid(_)))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn words_of_ones_own_start_over() {
        let triggers = ["fresh start".to_owned(), "neu".to_owned()];
        for (text, rest) in [
            ("Fresh Start", Some(None)),
            (" neu  hello ", Some(with_rest("hello"))),
            ("neues", None),
            ("a fresh start", None),
        ] {
            let expected = rest.map(|rest| Command::Reset { rest });
            assert_eq!(triggered(text, &triggers), expected, "{text:?}");
        }
        assert_eq!(triggered("ü", &["neu".to_owned()]), None);
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("2s", Some(2_000)),
            ("1.5m", Some(90_000)),
            ("7", Some(7)),
            ("-1", None),
            ("x", None),
            ("nan", None),
            ("99999999999m", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
    }
}
