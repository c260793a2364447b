//! Skills that a person calls by name: `/skill <name> [input]` and `/<name> [input]` (`agent-runtime` §16.4, §20).
//!
//! The owner calls all of them. A guest calls those that the owner opened to guests, and hears of no other: to them a
//! name is a word like any.

use claw_entities::Scope;
use tokio_util::sync::CancellationToken;

use super::dispatch;
use super::left_out;
use crate::config::document::UserSettings;
use crate::config::skills::SKILL;
use crate::config::skills::commands::{SkillCommand, commands, named};
use crate::error::Result;
use crate::gateway::skills;
use crate::session::commands as builtin;
use crate::session::item::Item;
use crate::session::turn::Authority;
use crate::supervisor::directory::Directory;

/// The command that names a skill behind it.
const BY_NAME: &str = "skill";
/// Names that commands of OpenClaw have, whether or not there is such a command here.
pub(crate) const TAKEN: [&str; 50] = [
    "acp",
    "activation",
    "agents",
    "allowlist",
    "approve",
    "bash",
    "btw",
    "commands",
    "compact",
    "config",
    "context",
    "debug",
    "elevated",
    "exec",
    "export",
    "fast",
    "focus",
    "help",
    "id",
    "kill",
    "mcp",
    "model",
    "models",
    "new",
    "plugins",
    "queue",
    "reason",
    "reasoning",
    "reset",
    "restart",
    "send",
    "session",
    "skill",
    "skills",
    "start",
    "status",
    "steer",
    "stop",
    "subagents",
    "t",
    "tell",
    "think",
    "thinking",
    "tts",
    "unfocus",
    "usage",
    "v",
    "verbose",
    "voice",
    "whoami",
];
/// Longest instructions that are put into a guest's prompt, characters.
const MAX_INLINE: usize = 32_000;

/// A call that is answered without a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkillCall {
    /// It comes to nothing, and why.
    Say(String),
    /// The skill wants a tool called (`command-dispatch: tool`).
    Tool {
        tool: String,
        /// The slash command, and the skill's own name.
        name: String,
        skill: String,
        input: String,
    },
}

/// What a message calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// The model is asked this instead.
    Ask(String),
    Alone(SkillCall),
}

/// The skill that a message calls, if it is such a call.
pub(crate) async fn called(
    directory: &Directory,
    scope: &Scope,
    agent_id: &str,
    settings: &UserSettings,
    item: &Item,
    bot: Option<&str>,
) -> Result<Option<Called>> {
    let Some((name, rest)) = item
        .text
        .trim()
        .strip_prefix('/')
        .and_then(|line| builtin::word(line, bot))
    else {
        return Ok(None);
    };
    let guest = !item.guest.is_empty();
    let explicit = name.eq_ignore_ascii_case(BY_NAME);
    if name.is_empty() || (!explicit && TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken))) {
        return Ok(None);
    }
    let known = all(directory, scope, agent_id, settings).await?;
    let known: Vec<SkillCommand> = known.into_iter().filter(|command| !guest || command.guests).collect();
    let (wanted, input) = if explicit {
        rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
    } else {
        (name, rest)
    };
    let input = input.trim();
    let found = if explicit {
        named(&known, wanted)
    } else {
        known.iter().find(|command| command.name.eq_ignore_ascii_case(wanted))
    };
    let Some(command) = found else {
        // An unknown slash word is plain text.
        return Ok(explicit.then(|| Called::Alone(SkillCall::Say(unknown(&known)))));
    };
    if let Some(tool) = &command.tool {
        if guest {
            let text = "Only the owner of the agent may use this skill.".to_owned();
            return Ok(Some(Called::Alone(SkillCall::Say(text))));
        }
        return Ok(Some(Called::Alone(SkillCall::Tool {
            tool: tool.clone(),
            name: command.name.clone(),
            skill: command.skill.clone(),
            input: input.to_owned(),
        })));
    }
    let mut wish = if guest {
        // A guest's run reads no skills, so it is told what this one says.
        let text = directory
            .services()
            .config
            .skill_file(scope, &command.node_id, &command.key, SKILL)
            .await?
            .unwrap_or_default();
        let text: String = String::from_utf8_lossy(&text).chars().take(MAX_INLINE).collect();
        format!("Use the skill \"{}\" for this request. It says:\n{text}", command.skill)
    } else {
        format!(
            "Use the skill \"{}\" for this request: read {} first and follow it.",
            command.skill, command.location
        )
    };
    if !input.is_empty() {
        wish.push_str("\n\nUser input:\n");
        wish.push_str(input);
    }
    Ok(Some(Called::Ask(wish)))
}

/// The commands of an agent's skills.
pub(crate) async fn all(
    directory: &Directory,
    scope: &Scope,
    agent_id: &str,
    settings: &UserSettings,
) -> Result<Vec<SkillCommand>> {
    let set = directory.services().config.skills(scope).await?;
    if set.skills.is_empty() {
        return Ok(Vec::new());
    }
    let nodes = skills::facts(directory, scope, &set).await?;
    let judged = set.judged(&nodes);
    let usable = judged.iter().filter(|(skill, _)| !left_out(settings, agent_id, skill));
    Ok(commands(usable.map(|(skill, standing)| (*skill, standing)), &TAKEN))
}

fn unknown(known: &[SkillCommand]) -> String {
    if known.is_empty() {
        return "There is no skill to use here.".to_owned();
    }
    let names: Vec<&str> = known.iter().map(|command| command.name.as_str()).collect();
    format!("Usage: /skill <name> [input]. Skills: {}.", names.join(", "))
}

/// Lines about the skills that whoever wrote the message may call, for `/commands`.
pub(crate) async fn listed(directory: &Directory, authority: &Authority, item: &Item) -> Result<Vec<String>> {
    let settings = directory.services().config.settings(&authority.scope).await?;
    let known = all(directory, &authority.scope, &authority.agent_id, &settings).await?;
    let known = known.iter().filter(|command| item.guest.is_empty() || command.guests);
    Ok(known
        .map(|command| format!("/{} [input]: {}", command.name, command.description))
        .collect())
}

/// Carries out a call that asks no model.
pub(crate) async fn carry_out(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    call: &SkillCall,
    stop: &CancellationToken,
) -> Result<String> {
    match call {
        SkillCall::Say(text) => Ok(text.clone()),
        SkillCall::Tool {
            tool,
            name,
            skill,
            input,
        } => dispatch::call(directory, authority, item, (tool, name, skill, input), stop).await,
    }
}
