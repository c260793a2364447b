//! What commands are called where they are put on record.

use super::{Command, Switch};

impl Command {
    /// Their names, without slash and without anything that was said behind them: one, or those of several in one message.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let name = match self {
            Self::All(commands) => return commands.iter().flat_map(Self::names).collect(),
            Self::Stop(_) => "stop",
            Self::New { .. } => "new",
            Self::Reset { .. } => "reset",
            Self::Status => "status",
            Self::Help => "help",
            Self::Commands(_) => "commands",
            Self::Whoami => "whoami",
            Self::Queue(_) => "queue",
            Self::Compact { .. } => "compact",
            Self::Context(_) => "context",
            Self::Think(_) => "think",
            Self::Model(_) => "model",
            Self::Switch(Switch::Verbose, _) => "verbose",
            Self::Switch(Switch::Reasoning, _) => "reasoning",
            Self::Switch(Switch::Fast, _) => "fast",
            Self::Switch(Switch::Usage, _) => "usage",
            Self::Switch(Switch::Send, _) => "send",
            Self::Switch(Switch::Activation, _) => "activation",
            Self::Switch(Switch::Aloud, _) | Self::Speech(_) => "tts",
            Self::Approve(_) => "approve",
            Self::Skill(_) => "skill",
            Self::Agents => "agents",
            Self::Subagents(_) => "subagents",
            Self::Config(_) => "config",
            Self::Allowlist(_) => "allowlist",
            Self::Export => "export-session",
            Self::Unavailable(absent) => absent.name,
            Self::Aside(_) => "btw",
        };
        vec![name]
    }
}
