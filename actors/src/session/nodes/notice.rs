//! The question in the chat where the agent was asked.

use claw_entities::approval;

use super::Nodes;
use crate::config::devices::approvals::ALWAYS;
use crate::config::devices::strings;
use crate::gateway::approvals::short_id;
use crate::gateway::system_run::visible;
use crate::ports::channel::Choice;
use crate::session::turn::{self, Piece};
use crate::session::{forwarding, sending};

/// Longest command that is asked about in a chat, characters. Nobody shall allow what they were not shown.
const LONGEST: usize = 2_000;

impl Nodes {
    /// Asks in the run's chat, ahead of the answer. A failure is no reason to stop: there are other ways to hear of it.
    pub(super) async fn notify(&self, node: &str, row: &approval::Model, unanswered: bool) {
        let Some(outlet) = &self.0.outlet else { return };
        let services = self.0.directory.services();
        let rendered = outlet.render(&text(node, row, unanswered)).into_iter();
        let mut pieces: Vec<Piece> = rendered
            .map(|rendered| Piece::new("notice", &outlet.destination, rendered))
            .collect();
        sending::put_buttons(services, &mut pieces, choices(row));
        let run_id = forwarding::own_chat(&row.id);
        if let Err(error) = turn::post(services, &self.0.authority, &run_id, pieces).await {
            tracing::warn!(error = ?error, run.id = %self.0.run_id, "a notice was not stored");
            return;
        }
        let conversation = outlet.destination.conversation();
        self.0.directory.delivery().kick(self.scope(), &conversation);
    }
}

/// The answers as buttons. None for a command that is not shown: nobody shall allow what they were not shown.
pub(in crate::session) fn choices(row: &approval::Model) -> Vec<Choice> {
    if block(row).chars().count() > LONGEST {
        return Vec::new();
    }
    let id = short_id(&row.id);
    let words = strings(&row.request["allowedDecisions"]).into_iter();
    let choice = |word: String| Choice {
        label: match word.as_str() {
            "allow-once" => "Allow once".to_owned(),
            ALWAYS => "Always allow".to_owned(),
            "deny" => "Deny".to_owned(),
            _ => word.clone(),
        },
        value: format!("/approve {id} {word}"),
    };
    words.map(choice).collect()
}

/// The command as it is shown, with all that it depends on.
fn block(row: &approval::Model) -> String {
    let cwd = row.request["cwd"].as_str().unwrap_or_default();
    let names = strings(&row.request["envKeys"]);
    let mut block = row.request["command"].as_str().unwrap_or_default().to_owned();
    if !cwd.is_empty() {
        block = format!("{block}\n\nin: {}", in_a_line(cwd));
    }
    if !names.is_empty() {
        block = format!("{block}\nwith set: {}", in_a_line(&names.join(", ")));
    }
    block
}

/// Which command, on which node, how to answer, and what happens without one: it runs if `unanswered`.
pub(in crate::session) fn text(node: &str, row: &approval::Model, unanswered: bool) -> String {
    let node = in_a_line(node);
    let minutes = (row.expires_at - row.created_at).max(0).unsigned_abs().div_ceil(60_000);
    let end = if unanswered {
        format!("it runs all the same in {minutes} minutes")
    } else {
        format!("it is denied in {minutes} minutes")
    };
    let block = block(row);
    if block.chars().count() > LONGEST {
        return format!(
            "The agent wants to run a command on {node} that is too long to show here. Decide it in the Admin UI under \
             Devices or in an OpenClaw app. Without an answer {end}."
        );
    }
    let fence = fence(&block);
    let id = short_id(&row.id);
    let words = strings(&row.request["allowedDecisions"]);
    let answers: Vec<String> = words.iter().map(|word| format!("/approve {id} {word}")).collect();
    let always = if words.iter().any(|word| word == ALWAYS) {
        "Always means: this program, with any arguments. "
    } else {
        ""
    };
    format!(
        "The agent wants to run this on {node}:\n\n{fence}\n{block}\n{fence}\n\nAnswer with one of:\n{}\n\n\
         {always}Without an answer {end}.",
        answers.join("\n")
    )
}

fn in_a_line(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

/// Longer than any run of backticks in the text, so that the text cannot end the block.
fn fence(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(command: &str) -> approval::Model {
        approval::Model {
            tenant_id: "t".into(),
            user_id: "u".into(),
            id: "0123456789abcdef".to_owned(),
            request: json!({"command": command, "cwd": "/tmp", "envKeys": ["LANG"],
                "allowedDecisions": ["allow-once", "deny"]}),
            reviewers: Value::Null,
            created_at: 0,
            expires_at: 120_000,
            decision: None,
            reason: None,
            resolved_by: None,
            resolved_at: None,
            consumed_at: None,
        }
    }

    #[test]
    fn the_question_says_what_where_and_how() {
        let text = text("Mac mini", &row("rm -rf x"), false);
        assert_eq!(
            text,
            "The agent wants to run this on Mac mini:\n\n```\nrm -rf x\n\nin: /tmp\nwith set: LANG\n```\n\nAnswer with one \
             of:\n/approve 01234567 allow-once\n/approve 01234567 deny\n\nWithout an answer it is denied in 2 minutes."
        );
    }

    #[test]
    fn a_command_cannot_step_out_of_its_block() {
        let text = text("n", &row("echo ````\nAnswer: it is fine"), false);
        assert!(text.contains("\n`````\necho ````\n"), "{text}");
    }

    #[test]
    fn a_folder_cannot_pose_as_the_question() {
        let mut row = row("rm -rf x");
        row.request["cwd"] = json!("/tmp\n```\nls\n```");
        let text = text("n", &row, false);
        assert_eq!(text.matches("\n````\n").count(), 2, "{text}");
        assert!(!text.contains("\nls\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_shown_is_not_asked_about_here() {
        let text = text("n", &row(&"x".repeat(LONGEST + 1)), false);
        assert!(!text.contains("/approve"), "{text}");
    }
}
