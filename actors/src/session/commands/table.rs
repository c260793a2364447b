//! The commands that people are told of, for `/commands` and for clients alike.

use crate::ports::channel::Offer;

/// A command as people type it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Without the slash.
    pub name: &'static str,
    /// Other names of it.
    pub aliases: &'static [&'static str],
    /// What may follow it; empty when nothing does.
    pub arguments: &'static str,
    pub what: &'static str,
    /// How clients group it (`gateway-methods`, `commands.list`).
    pub category: &'static str,
}

const fn row(name: &'static str, arguments: &'static str, what: &'static str, category: &'static str) -> Known {
    Known {
        name,
        aliases: &[],
        arguments,
        what,
        category,
    }
}

impl Known {
    const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

/// All of them, in the order of the list.
pub const COMMANDS: [Known; 30] = [
    row("help", "", "this overview", "status"),
    row("commands", "[page]", "all commands", "status"),
    row("status", "", "model, context use, queue", "status"),
    row("whoami", "", "your sender id, as allowlists need it", "status").also(&["id"]),
    row("new", "[model]", "start a new conversation", "session"),
    row("reset", "", "the same, with the model as it is", "session"),
    row(
        "compact",
        "[what to mind]",
        "summarise the earlier part of this conversation",
        "session",
    ),
    row(
        "context",
        "[list|detail|json]",
        "what fills the context window",
        "status",
    ),
    row("think", "[level]", "how hard the model thinks", "options").also(&["thinking", "t"]),
    row(
        "model",
        "[name|number|default|status]",
        "which model answers",
        "options",
    ),
    row("models", "", "those that may answer, numbered", "options"),
    row("verbose", "[on|full|off]", "tell which tools run", "options").also(&["v"]),
    row(
        "reasoning",
        "[on|stream|off]",
        "show what the model thinks first, or while it thinks",
        "options",
    )
    .also(&["reason"]),
    row(
        "fast",
        "[on|off|status]",
        "ask for the provider's faster tier (OpenAI), at twice the price",
        "options",
    ),
    row(
        "tts",
        "[off|always|inbound|tagged|status|provider|limit|audio]",
        "which answers are read aloud, and by whom",
        "options",
    ),
    row("usage", "[off|tokens|full|cost]", "what answers take", "options"),
    row(
        "send",
        "[on|off|inherit]",
        "whether my answers go out here",
        "management",
    ),
    row(
        "activation",
        "[mention|always]",
        "when I answer in this group",
        "management",
    ),
    row(
        "btw",
        "<question>",
        "a question beside the conversation, which keeps nothing of it",
        "session",
    ),
    row("stop", "", "stop what runs and drop what waits", "session"),
    row("queue", "[mode]", "how messages are handled while I am busy", "options"),
    row(
        "approve",
        "<id> allow-once|allow-always|deny",
        "decide about a command on a device",
        "management",
    ),
    row("skill", "<name> [input]", "use a skill", "tools"),
    row("agents", "", "your agents", "management"),
    row(
        "subagents",
        "[list|info|log|kill|steer|spawn]",
        "sub-agents of this conversation",
        "management",
    ),
    row(
        "kill",
        "<sub-agent|all>",
        "stop a sub-agent, or all of them",
        "management",
    ),
    row(
        "steer",
        "<sub-agent> <message>",
        "tell a sub-agent something more",
        "management",
    )
    .also(&["tell"]),
    row(
        "config",
        "[show|get|set|unset]",
        "your configuration, where commands.config is on",
        "management",
    ),
    row(
        "allowlist",
        "[list|add|remove]",
        "who may write to this bot",
        "management",
    ),
    row(
        "export-session",
        "",
        "where this conversation is to be had as a file",
        "session",
    ),
];

/// All of them as a platform's menu offers them.
pub fn offers() -> Vec<Offer> {
    let offer = |known: &Known| Offer {
        name: known.name,
        what: match known.arguments {
            "" => known.what.to_owned(),
            arguments => format!("{} ({arguments})", known.what),
        },
    };
    // Menus take no other signs.
    let plain = |known: &&Known| !known.name.contains('-');
    COMMANDS.iter().filter(plain).map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::commands::{Command, parse};

    /// Slack has no menu that a bot could fill: people are told how to make one.
    #[test]
    fn the_documentation_lists_every_command() {
        let text = include_str!("../../../../docs/commands.md");
        for known in COMMANDS {
            let space = if known.arguments.is_empty() { "" } else { " " };
            let arguments = known.arguments.replace('|', "\\|");
            let row = format!("| `/{}{space}{arguments}` | {} |", known.name, known.what);
            assert!(text.contains(&row), "docs/commands.md lacks: {row}");
        }
        assert_eq!(
            text.matches("| `/").count(),
            COMMANDS.len(),
            "docs/commands.md has a row too many"
        );
    }

    #[test]
    fn whatever_is_listed_is_understood() {
        for known in COMMANDS.iter().filter(|known| known.name != "skill") {
            let argument = match known.name {
                "approve" => " 1 deny",
                _ => "",
            };
            for name in known.aliases.iter().chain([&known.name]) {
                let line = format!("/{name}{argument}");
                let command = parse(&line, None).unwrap_or_else(|| panic!("{line} is not understood"));
                assert!(!matches!(command, Command::Unavailable(_)), "{line} is not there");
            }
        }
    }
}
