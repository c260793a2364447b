//! `/context`: what fills the model's context window right now (`agent-runtime` §8.9).

use std::fmt::Write;

use serde_json::{Value, json};

use super::commands::ContextForm;
use super::context;
use super::item::Item;
use super::outlook::Outlook;
use super::prompt::SkillShare;
use super::run;
use super::turn::Authority;
use crate::conversation::tokens;
use crate::error::{Error, Result};
use crate::ports::tool::ToolSpec;
use crate::supervisor::directory::Directory;

/// Rows of one list in the detailed form.
const MOST_ROWS: usize = 40;

struct Report {
    model: String,
    window: u64,
    reserve: u64,
    /// Size of the last prompt as the provider counted it, where it is known.
    last_prompt: Option<u64>,
    compactions: u32,
    /// (characters, tokens)
    system: (usize, u64),
    files: Vec<FileRow>,
    tools: Vec<ToolRow>,
    /// (characters, tokens) of the list in the system prompt, which counts them too.
    skills_list: (usize, u64),
    skills: Vec<SkillShare>,
    messages: usize,
    history: u64,
    complete: bool,
}

struct FileRow {
    name: String,
    /// Characters of the file, and of what stands in the prompt.
    raw: usize,
    injected: usize,
}

struct ToolRow {
    name: String,
    tokens: u64,
    /// Characters of its description, and of its arguments' schema.
    described: usize,
    schema: usize,
}

/// The text for the one who asked.
pub(crate) async fn text(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    form: ContextForm,
) -> Result<String> {
    let report = match gather(directory, authority, item).await {
        Ok(report) => report,
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
        Err(error) => return Ok(error.to_string()),
    };
    Ok(match form {
        ContextForm::List => report.list(),
        ContextForm::Detail => report.detail(),
        ContextForm::Json => report.json().to_string(),
    })
}

async fn gather(directory: &Directory, authority: &Authority, item: &Item) -> Result<Report> {
    let Outlook {
        settings,
        head,
        model,
        specs,
        skills,
        base,
        messages,
        complete,
    } = Outlook::of(directory, authority, item).await?;
    let system = base.system();
    let (listed, skills) = base.skills(&specs, &skills);
    let stored = head.as_ref().map(run::snapshot).unwrap_or_default();
    Ok(Report {
        model: format!("{}/{}", model.provider, model.model),
        window: model.context_window,
        reserve: super::compaction::reserve(&settings.room.compaction, model.context_window),
        last_prompt: stored.context_tokens,
        compactions: stored.compactions,
        system: (
            system.iter().map(|block| block.text.chars().count()).sum(),
            system.iter().map(|block| tokens::text(&block.text)).sum(),
        ),
        files: base
            .files()
            .into_iter()
            .map(|share| FileRow {
                name: share.path,
                raw: share.raw,
                injected: share.injected,
            })
            .collect(),
        tools: specs.iter().map(|spec| row(spec)).collect(),
        skills_list: (listed.chars().count(), tokens::text(&listed)),
        skills,
        messages: messages.len(),
        history: messages.iter().map(|message| tokens::message(message)).sum(),
        complete,
    })
}

fn row(spec: &ToolSpec) -> ToolRow {
    ToolRow {
        name: spec.name.clone(),
        tokens: context::tool(spec),
        described: spec.description.chars().count(),
        schema: spec.parameters.text().get().chars().count(),
    }
}

impl Report {
    fn tools_tokens(&self) -> u64 {
        self.tools.iter().map(|tool| tool.tokens).sum()
    }

    fn used(&self) -> u64 {
        self.system.1 + self.tools_tokens() + self.history
    }

    fn skills_line(&self) -> String {
        if self.skills.is_empty() {
            return "none".to_owned();
        }
        let (chars, tokens) = self.skills_list;
        format!(
            "{} with {tokens} tokens ({chars} characters) of the system prompt",
            self.skills.len()
        )
    }

    fn list(&self) -> String {
        let mut text = format!(
            "Context of {}: about {} of {} tokens ({} stay free for the answer)",
            self.model,
            self.used(),
            self.window,
            self.reserve
        );
        let _ = write!(
            text,
            "\nSystem prompt: {} tokens ({} characters)\nSkills: {}\nTools: {} with {} tokens (schemas of {} characters)\n\
             History: {} messages with {} tokens",
            self.system.1,
            self.system.0,
            self.skills_line(),
            self.tools.len(),
            self.tools_tokens(),
            self.tools.iter().map(|tool| tool.schema).sum::<usize>(),
            self.messages,
            self.history
        );
        if !self.complete {
            text.push_str(", older ones left out");
        }
        match self.last_prompt {
            Some(last) => {
                let _ = write!(text, "\nLast prompt, as the provider counted it: {last} tokens");
            }
            None => text.push_str("\nLast prompt: unknown"),
        }
        let _ = write!(text, "\nCompactions: {}", self.compactions);
        text
    }

    fn detail(&self) -> String {
        let mut text = self.list();
        text.push_str("\n\nFiles:");
        for file in self.files.iter().take(MOST_ROWS) {
            let cut = if file.injected < file.raw { " (cut)" } else { "" };
            let _ = write!(
                text,
                "\n{}: {} of {} characters{cut}",
                file.name, file.injected, file.raw
            );
        }
        if !self.skills.is_empty() {
            text.push_str("\n\nSkills:");
        }
        for skill in self.skills.iter().take(MOST_ROWS) {
            let _ = write!(text, "\n{}: {} characters", skill.name, skill.chars);
        }
        text.push_str("\n\nTools:");
        for tool in self.tools.iter().take(MOST_ROWS) {
            let (name, tokens, schema) = (&tool.name, tool.tokens, tool.schema);
            let _ = write!(text, "\n{name}: {tokens} tokens (schema of {schema} characters)");
        }
        text
    }

    fn json(&self) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|file| {
                json!({"name": file.name, "rawChars": file.raw, "injectedChars": file.injected,
                    "truncated": file.injected < file.raw})
            })
            .collect();
        let tools: Vec<Value> = self
            .tools
            .iter()
            .map(|tool| {
                json!({"name": tool.name, "tokens": tool.tokens, "descriptionChars": tool.described,
                    "schemaChars": tool.schema})
            })
            .collect();
        let skills = self.skills.iter();
        let skills: Vec<Value> = skills
            .map(|skill| json!({"name": skill.name, "chars": skill.chars}))
            .collect();
        json!({
            "model": self.model, "contextTokens": self.window, "reserveTokens": self.reserve,
            "lastPromptTokens": self.last_prompt, "compactionCount": self.compactions,
            "systemPrompt": {"chars": self.system.0, "tokens": self.system.1}, "files": files, "tools": tools,
            "skills": skills, "skillsPrompt": {"chars": self.skills_list.0, "tokens": self.skills_list.1},
            "history": {"messages": self.messages, "tokens": self.history, "complete": self.complete},
        })
    }
}
