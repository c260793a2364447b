//! What the commands answer.

use std::fmt::Write;

use super::{Absent, COMMANDS};
use crate::ports::tool::SessionSnapshot;
use crate::session::queue::{Settings, drop_name, mode_name};

/// `/help`.
pub fn help_text() -> String {
    "Write to me as you would to a person.\n\n\
     /new starts over, /stop stops what I am doing, /status shows the state, /commands lists everything."
        .to_owned()
}

/// Commands on one page.
const PAGE: usize = 20;

/// A page of `/commands`, from 1. `skills` are the lines of those that skills bring.
pub fn commands_text(page: usize, skills: Vec<String>) -> String {
    let lines = COMMANDS.iter().map(|known| {
        let arguments = if known.arguments.is_empty() { "" } else { " " };
        format!("/{}{arguments}{}: {}", known.name, known.arguments, known.what)
    });
    let lines: Vec<String> = lines.chain(skills).collect();
    let mut pages = lines.chunks(PAGE);
    let count = pages.len();
    let Some(shown) = page.checked_sub(1).and_then(|at| pages.nth(at)) else {
        return format!("There are {count} pages of commands.");
    };
    let mut text = format!("Commands (page {page} of {count}):\n{}", shown.join("\n"));
    if page < count {
        let _ = write!(text, "\n\n/commands {} shows the next page.", page + 1);
    }
    text
}

/// `/status`.
pub fn status_text(status: &SessionSnapshot, owner: bool) -> String {
    let mut text = String::with_capacity(256);
    let model = if status.model.is_empty() {
        "none yet"
    } else {
        status.model.as_str()
    };
    let _ = write!(text, "Model: {model}");
    if let Some(fallback) = &status.fallback {
        let _ = write!(text, "\nFallback: {fallback}");
    }
    if let Some(options) = status.options.as_ref().filter(|_| owner) {
        let _ = write!(text, "\nOptions: {options}");
    }
    let window = thousands(status.context_window);
    let _ = match status.context_tokens {
        Some(used) if status.context_window > 0 => {
            let percent = used.saturating_mul(100) / status.context_window;
            write!(text, "\nContext: {} of {window} tokens ({percent} %)", thousands(used))
        }
        Some(used) => write!(text, "\nContext: {} tokens", thousands(used)),
        None => write!(text, "\nContext: unknown of {window} tokens"),
    };
    let _ = write!(
        text,
        "\nUsed: {} in, {} out",
        thousands(status.input_tokens),
        thousands(status.output_tokens)
    );
    if owner && status.cost_usd > 0.0 {
        let _ = write!(text, ", ${:.4}", status.cost_usd);
    }
    let _ = write!(text, "\nCompactions: {}", status.compactions);
    let mode = if status.queue_mode.is_empty() {
        "collect"
    } else {
        status.queue_mode.as_str()
    };
    let _ = write!(text, "\nQueue: {mode}, {} waiting", status.queued);
    if owner {
        let _ = write!(text, "\nSession: {}", status.session_key);
    }
    text
}

/// `/whoami`.
pub fn whoami_text(channel: &str, sender_id: &str) -> String {
    format!("Channel: {channel}\nSender id: {sender_id}")
}

/// What became of the sub-agents of a session that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// So many ran, and do not any more: sub-agents, and commands on nodes that ran or waited for a word.
    Stopped {
        agents: usize,
        commands: usize,
    },
    /// They are being stopped.
    Uncounted,
    Failed,
}

impl Below {
    /// Nothing ran.
    pub const NOTHING: Self = Self::Stopped { agents: 0, commands: 0 };
}

/// `/stop`, which stopped so much of the session's own.
pub fn stop_text(own: usize, below: Below) -> String {
    let plural = |many: usize| if many == 1 { "" } else { "s" };
    match (own, below) {
        (0, Below::Stopped { agents: 0, commands: 0 }) => "Nothing was running.".to_owned(),
        (_, Below::Stopped { agents: 0, commands: 0 }) => "Stopped.".to_owned(),
        (own, Below::Stopped { agents, commands }) => {
            let counts = [(agents, "sub-agent"), (commands, "command")].map(|(many, what)| (many, what, plural(many)));
            let counted = counts.iter().filter(|(many, ..)| *many > 0);
            let what: Vec<String> = counted.map(|(many, what, end)| format!("{many} {what}{end}")).collect();
            match own {
                0 => format!("Stopped {}.", what.join(" and ")),
                _ => format!("Stopped, and {} with it.", what.join(" and ")),
            }
        }
        (0, Below::Uncounted) => {
            "Sub-agents and commands are being stopped, if there are any: /subagents shows sub-agents.".to_owned()
        }
        (_, Below::Uncounted) => {
            "Stopped. Sub-agents and commands are being stopped too: /subagents shows sub-agents.".to_owned()
        }
        (0, Below::Failed) => {
            "Nothing else was running, but sub-agents and commands could not be stopped: try /stop again.".to_owned()
        }
        (_, Below::Failed) => "Stopped, but sub-agents and commands could not be: try /stop again.".to_owned(),
    }
}

/// `/queue` alone.
pub fn queue_text(settings: &Settings) -> String {
    format!(
        "Queue: {}, debounce {} ms, cap {}, drop {}.\n\
         Modes: collect, followup, steer, steer-backlog, interrupt. /queue default goes back to the settings.",
        mode_name(settings.mode),
        settings.debounce_ms,
        settings.cap,
        drop_name(settings.drop)
    )
}

/// `/approve` said in a way that means nothing.
pub fn approve_usage_text() -> String {
    "Usage: /approve <id> allow-once|allow-always|deny. The id stands in the question.".to_owned()
}

/// A command that means something only on one's own machine.
pub fn unavailable_text(command: Absent) -> String {
    let Absent { name, instead } = command;
    let gap = if instead.is_empty() { "" } else { " " };
    format!("/{name} is not available in the cloud.{gap}{instead}")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_says_what_it_stopped_and_what_it_could_not() {
        for (own, agents, commands, text) in [
            (0, 0, 0, "Nothing was running."),
            (3, 0, 0, "Stopped."),
            (0, 1, 0, "Stopped 1 sub-agent."),
            (0, 2, 0, "Stopped 2 sub-agents."),
            (0, 0, 1, "Stopped 1 command."),
            (1, 2, 0, "Stopped, and 2 sub-agents with it."),
            (1, 1, 2, "Stopped, and 1 sub-agent and 2 commands with it."),
        ] {
            assert_eq!(stop_text(own, Below::Stopped { agents, commands }), text);
        }
        for own in [0, 1] {
            assert!(stop_text(own, Below::Uncounted).contains("being stopped"));
            assert!(stop_text(own, Below::Failed).ends_with("try /stop again."));
            assert_eq!(stop_text(own, Below::Failed).starts_with("Stopped,"), own > 0);
        }
    }

    #[test]
    fn status_says_what_is_known() {
        let status = SessionSnapshot {
            session_key: "agent:main:main".to_owned(),
            model: "demo/echo".to_owned(),
            context_tokens: Some(50_000),
            context_window: 200_000,
            input_tokens: 1_234_567,
            queued: 2,
            ..SessionSnapshot::default()
        };
        let guests = status_text(&status, false);
        assert!(!guests.contains('$') && !guests.contains("Session:"), "{guests}");
        let text = status_text(&status, true);
        for part in [
            "demo/echo",
            "50,000 of 200,000 tokens (25 %)",
            "1,234,567 in",
            "2 waiting",
            "agent:main:main",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(status_text(&SessionSnapshot::default(), true).contains("unknown"));
        assert!(commands_text(2, Vec::new()).contains("/queue"));
        assert!(commands_text(2, vec!["/tea: x".to_owned()]).ends_with("\n/tea: x"));
        assert_eq!(commands_text(9, Vec::new()), "There are 2 pages of commands.");
    }
}
