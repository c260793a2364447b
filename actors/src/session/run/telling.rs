//! What is told along with an answer: which tools run (`/verbose`), what the model thought (`/reasoning`), what it cost
//! (`/usage`). Only where the owner speaks: a guest learns nothing of how the agent works.

use super::aloud::Aloud;
use super::{RunContext, Work};
use crate::config::providers::ResolvedModel;
use crate::ports::message::{AssistantMessage, AssistantPart, Message, Part, ToolCall};
use crate::session::acks;
use crate::session::changing;
use crate::session::commands::Switch;
use crate::session::excerpt;
use crate::session::preview::{Outlet, Shown};
use crate::session::repeats::{self, WRITTEN};
use crate::session::turn::{self, Piece, TOLD};

/// Longest arguments and longest result that are shown, characters.
const ARGUMENTS: usize = 160;
const RESULT: usize = 800;
/// Longest thoughts that are shown, characters.
const THOUGHTS: usize = 4_000;

impl Work {
    /// `off`, or as the message, the session or, where nobody else reads along, the settings say.
    pub(super) fn level(&self, context: &RunContext, switch: Switch) -> &'static str {
        self.said(context, switch).unwrap_or("off")
    }

    /// The same; `None` where nothing is said and nobody else reads along.
    fn said(&self, context: &RunContext, switch: Switch) -> Option<&'static str> {
        let last = context.turn.last();
        if !last.audience().speaks_with_owner() || context.turn.beat().is_some() {
            return Some("off");
        }
        let said = match switch {
            Switch::Verbose => last.options.verbose,
            Switch::Reasoning => last.options.reasoning,
            Switch::Fast => last.options.fast,
            Switch::Usage | Switch::Send | Switch::Activation | Switch::Aloud => None,
        };
        if !last.audience().is_private() {
            // Others read along: only what was asked for here.
            return said.or_else(|| switch.stored(&self.head.entry)).or(Some("off"));
        }
        changing::said(switch, said, &self.head.entry, &self.settings, &context.agent_id)
    }

    /// Is the provider's faster tier asked for, last of all by the settings of the model.
    pub(super) fn is_fast(&self, context: &RunContext, model: &ResolvedModel) -> bool {
        let said = self.said(context, Switch::Fast).map(|word| word == "on");
        said.or(model.params.fast).unwrap_or(false)
    }

    /// Tells of calls that are about to be made.
    pub(super) async fn tell_calls(&self, context: &RunContext, calls: &[ToolCall]) {
        if self.level(context, Switch::Verbose) == "off" {
            return;
        }
        let lines = calls.iter().map(|call| {
            let arguments = excerpt::beginning(&call.arguments.to_string(), ARGUMENTS);
            format!("🔧 {} {}", call.name, inline(&arguments))
        });
        self.tell(context, &lines.collect::<Vec<_>>().join("\n")).await;
    }

    /// Tells what calls gave.
    pub(super) async fn tell_results(&self, context: &RunContext, results: &[Message]) {
        if self.level(context, Switch::Verbose) != "full" {
            return;
        }
        let mut told = Vec::new();
        for result in results {
            if let Message::ToolResult { tool_name, content, .. } = result {
                let texts = content.iter().filter_map(Part::text);
                let text = excerpt::beginning(&texts.collect::<Vec<_>>().join("\n"), RESULT);
                let fence = "`".repeat(3.max(longest_run(&text) + 1));
                told.push(format!("🔧 {tool_name}\n{fence}\n{text}\n{fence}"));
            }
        }
        self.tell(context, &told.join("\n\n")).await;
    }

    /// Minds what the calls of a round gave, for the end.
    pub(super) fn note_results(&mut self, results: &[Message]) {
        self.failed = None;
        for result in results {
            let Message::ToolResult {
                tool_name,
                content,
                is_error,
                ..
            } = result
            else {
                continue;
            };
            if *is_error {
                let texts = content.iter().filter_map(Part::text);
                let detail = excerpt::beginning(&texts.collect::<Vec<_>>().join(" "), ARGUMENTS);
                self.failed = Some((tool_name.clone(), detail));
            } else if tool_name == WRITTEN {
                self.wrote = true;
            }
        }
    }

    /// An answer without a word behind a tool that failed: says at least that.
    pub(super) async fn own_up(&mut self, context: &mut RunContext, message: &mut AssistantMessage) {
        if context.turn.beat().is_some() || self.wrote || !message.text().trim().is_empty() {
            return;
        }
        let Some((tool, detail)) = self.failed.take().filter(|_| context.emitter.text().is_empty()) else {
            return;
        };
        let text = if self.level(context, Switch::Verbose) == "off" {
            format!("⚠️ The tool {tool} failed, and I have nothing else to tell.")
        } else {
            format!("⚠️ The tool {tool} failed: {detail}")
        };
        context.emitter.show(0, &text).await;
        message.content.push(AssistantPart::Text { text });
    }

    /// Did a tool write all of this into the same chat already.
    pub(super) async fn is_repeated(&self, context: &RunContext, outlet: &Outlet, reply: &[String]) -> bool {
        if !self.wrote || self.parts.streams() {
            return false;
        }
        let rendered = reply.iter().flat_map(|text| outlet.render(text));
        let pieces: Vec<Piece> = rendered
            .map(|rendered| Piece::new("final", &outlet.destination, rendered))
            .collect();
        let sent = repeats::was_sent(&self.services, &context.scope, &context.turn.run_id, &pieces);
        // Better twice than not at all.
        Box::pin(sent).await.unwrap_or(false)
    }

    async fn tell(&self, context: &RunContext, markdown: &str) {
        let Some(outlet) = &self.outlet else { return };
        let rendered = outlet.render(markdown).into_iter();
        let pieces: Vec<Piece> = rendered
            .map(|rendered| Piece::new(TOLD, &outlet.destination, rendered))
            .collect();
        if pieces.is_empty() {
            return;
        }
        match turn::post(&self.services, &self.authority, &context.turn.run_id, pieces).await {
            Ok(()) => {
                let conversation = outlet.destination.conversation();
                context.directory.delivery().kick(&context.scope, &conversation);
            }
            Err(error) => tracing::warn!(error = ?error, run.id = %context.turn.run_id, "a summary was not stored"),
        }
    }

    /// What the model thought before this message, as a message of its own.
    pub(super) fn thoughts(&self, context: &RunContext, outlet: &Outlet, message: &AssistantMessage) -> Vec<Piece> {
        if self.level(context, Switch::Reasoning) != "on" {
            return Vec::new();
        }
        let thoughts = message.content.iter().filter_map(|part| match part {
            AssistantPart::Thinking {
                thinking,
                redacted: false,
                ..
            } => Some(thinking.trim()),
            AssistantPart::Thinking { .. } | AssistantPart::Text { .. } | AssistantPart::ToolCall(_) => None,
        });
        let text = thoughts
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n");
        if text.is_empty() {
            return Vec::new();
        }
        let rendered = outlet.render(&format!("Reasoning:\n{}", excerpt::beginning(&text, THOUGHTS)));
        let pieces = rendered.into_iter();
        pieces
            .map(|rendered| Piece::new("final", &outlet.destination, rendered))
            .collect()
    }

    /// Shows what the model thinks while it thinks (`/reasoning stream`): where its answer will be, until that begins.
    pub(super) fn think_aloud(&mut self, context: &RunContext, delta: &str, thoughts: &mut String) {
        if self.preview.is_none() || self.level(context, Switch::Reasoning) != "stream" {
            return;
        }
        thoughts.push_str(delta);
        forget(thoughts, THOUGHTS);
        let said = context.emitter.text().get(self.parts.at()..).unwrap_or_default();
        if let Some(preview) = self.preview.as_mut().filter(|_| said.trim().is_empty()) {
            preview.update(&format!("Reasoning:\n{}", excerpt::end(thoughts, THOUGHTS)));
        }
    }

    /// The line about what the answer took.
    pub(super) fn footer(&self, context: &RunContext, model: Option<&ResolvedModel>) -> Option<String> {
        let usage = &self.usage;
        let tokens = format!("Usage: {} in / {} out", usage.prompt_tokens(), usage.output);
        match (self.level(context, Switch::Usage), model) {
            ("tokens", _) | ("full", None) => Some(tokens),
            ("full", Some(model)) => Some(format!(
                "{tokens} · ${:.4} · {}/{}",
                usage.cost.total, model.provider, model.model
            )),
            _ => None,
        }
    }
}

/// Forgets now and then the beginning of a text that grows: [`excerpt::end`] says of what is left what it would say of all.
fn forget(text: &mut String, most: usize) {
    if text.len() <= 8 * most {
        return;
    }
    let skipped = text.chars().count().saturating_sub(2 * most);
    if let Some((begin, _)) = text.char_indices().nth(skipped).filter(|_| skipped > 0) {
        text.drain(..begin);
    }
}

/// What follows an end that is on record. Nobody waits for it.
pub(super) fn afterwards(context: &RunContext, acks_go: bool, aloud: Option<Aloud>, preview: Option<Shown>) {
    if acks_go {
        for item in context.turn.answered() {
            acks::take_away(&context.directory, &context.scope, item);
        }
    }
    if let Some(preview) = preview {
        preview.take_back();
    }
    if let Some(aloud) = aloud {
        aloud.begin(context);
    }
}

/// As inline code that the text cannot end.
fn inline(text: &str) -> String {
    let ticks = "`".repeat(longest_run(text) + 1);
    format!("{ticks} {text} {ticks}")
}

fn longest_run(text: &str) -> usize {
    text.split(|sign| sign != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_thoughts_only_the_end_is_kept_and_shown() {
        let (mut kept, mut all) = (String::new(), String::new());
        let mut longest = 0;
        for number in 0..2_000 {
            let thought = format!("thöught {number}. ");
            kept.push_str(&thought);
            all.push_str(&thought);
            forget(&mut kept, 100);
            longest = longest.max(kept.len());
            assert_eq!(excerpt::end(&kept, 100), excerpt::end(&all, 100));
        }
        assert!(longest <= 800, "{longest} bytes are kept");
        assert!(excerpt::end(&kept, 100).starts_with('…'));
        assert_eq!(excerpt::end("short", 100), "short");
    }
}
