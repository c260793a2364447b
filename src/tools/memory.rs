//! The agent's notes: `memory_search`, `memory_get`, `memory_read`, `memory_write` (`agent-runtime` §9, product §11.1).
//! What a result is called follows the original gateway.

use claw_actors::config::memory::is_note;
use claw_actors::ports::tool::{Effect, ToolOutput};
use claw_actors::session::recall::Question;
use claw_actors::session::workspace::Workspace;
use serde::Deserialize;
use serde_json::{Value, json};

use super::private::{About, Answer, PrivateTool, arguments_of, text_of};
use super::read::{MAX_BYTES, page};

/// Results of one search at most.
const MOST: usize = claw_actors::config::document::MOST_RESULTS;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SearchArguments {
    query: String,
    max_results: Option<usize>,
    min_score: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct GetArguments {
    path: String,
    from: Option<usize>,
    lines: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct ReadArguments {
    path: String,
}

#[derive(Debug, Deserialize)]
struct WriteArguments {
    content: String,
    path: Option<String>,
}

pub(super) fn search() -> PrivateTool {
    let about = About {
        name: "memory_search",
        description: "Searches your notes (MEMORY.md and memory/*.md) and gives the pieces that fit best, with path and lines. Use it before you answer about earlier work, decisions, dates, people, preferences \
                      or open ends.",
        summary: "search your notes",
        effect: Effect::ReadOnly,
        arguments: json!({
            "query": {"type": "string", "description": "What to look for, in the words that the notes may have."},
            "maxResults": {"type": "integer", "minimum": 1, "maximum": MOST, "description": "Default: 6."},
            "minScore": {"type": "number", "minimum": 0, "maximum": 1, "description": "Leaves out what fits less."},
        }),
        required: &["query"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(searched(workspace, arguments)))
}

/// Notes that cannot be searched are a result with a reason, not a failed call.
async fn searched(workspace: &Workspace, arguments: Value) -> Answer {
    let arguments: SearchArguments = arguments_of(arguments)?;
    let question = Question {
        text: arguments.query,
        most: arguments.max_results,
        least: arguments.min_score,
    };
    let recalled = match workspace.search(&question).await {
        Ok(recalled) => recalled,
        Err(why) => {
            return Ok(shown(
                &json!({"results": [], "disabled": true, "unavailable": true, "error": why}),
            ));
        }
    };
    let results: Vec<Value> = recalled
        .found
        .iter()
        .map(|piece| {
            let citation = format!("{}#L{}-L{}", piece.path, piece.start_line, piece.end_line);
            json!({
                "path": piece.path, "startLine": piece.start_line, "endLine": piece.end_line,
                "score": (piece.score * 1000.0).round() / 1000.0, "snippet": piece.snippet, "source": "memory",
                "citation": citation,
            })
        })
        .collect();
    let mut answer = json!({"results": results, "provider": "none", "mode": "fts-only", "citations": "auto"});
    if let Some((provider, model)) = recalled.model {
        answer["provider"] = json!(provider);
        answer["model"] = json!(model);
        answer["mode"] = json!("hybrid");
    }
    if let Some(why) = recalled.fallback {
        answer["fallback"] = json!({"mode": "fts-only", "reason": why});
    }
    Ok(shown(&answer))
}

pub(super) fn get() -> PrivateTool {
    let about = About {
        name: "memory_get",
        description: "Reads a file of your notes (MEMORY.md, memory/*.md), or some lines of it. Use it after memory_search.",
        summary: "read lines of your notes",
        effect: Effect::ReadOnly,
        arguments: json!({
            "path": {"type": "string"},
            "from": {"type": "integer", "minimum": 1, "description": "First line, from 1."},
            "lines": {"type": "integer", "minimum": 1, "description": "How many lines."},
        }),
        required: &["path"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(got(workspace, arguments)))
}

/// A file that is not there is an empty text.
async fn got(workspace: &Workspace, arguments: Value) -> Answer {
    let GetArguments { path, from, lines } = arguments_of(arguments)?;
    check(&path)?;
    let text = workspace
        .read(&path)
        .await
        .map_err(ToolOutput::error)?
        .unwrap_or_default();
    let from = from.unwrap_or(1);
    let mut shown_text = String::new();
    let mut next = None;
    for (number, line) in text
        .lines()
        .enumerate()
        .skip(from.saturating_sub(1))
        .take(lines.unwrap_or(usize::MAX))
    {
        if shown_text.len() + line.len() > MAX_BYTES && !shown_text.is_empty() {
            next = Some(number + 1);
            break;
        }
        shown_text.push_str(line);
        shown_text.push('\n');
    }
    let mut answer = json!({"path": path, "text": shown_text.trim_end_matches('\n')});
    if let Some(next) = next {
        answer["truncated"] = json!(true);
        answer["nextFrom"] = json!(next);
    }
    Ok(shown(&answer))
}

pub(super) fn read() -> PrivateTool {
    let about = About {
        name: "memory_read",
        description: "Reads a whole file of your notes (MEMORY.md, memory/*.md); of a long one the beginning.",
        summary: "read a file of your notes",
        effect: Effect::ReadOnly,
        arguments: json!({"path": {"type": "string"}}),
        required: &["path"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(whole(workspace, arguments)))
}

async fn whole(workspace: &Workspace, arguments: Value) -> Answer {
    let ReadArguments { path } = arguments_of(arguments)?;
    check(&path)?;
    let text = text_of(workspace, &path).await?;
    Ok(ToolOutput::text(page(&text, 1, None)))
}

pub(super) fn write() -> PrivateTool {
    let about = About {
        name: "memory_write",
        description: "Writes something down that is to be remembered: adds it to the end of a file of your notes, and makes \
                      the file where there is none. Without path it goes to the notes of today; what stays true belongs \
                      into MEMORY.md.",
        summary: "write something down in your notes",
        effect: Effect::Idempotent,
        arguments: json!({
            "content": {"type": "string", "minLength": 1, "description": "Markdown, in a line or two."},
            "path": {"type": "string", "description": "MEMORY.md or memory/<name>.md; leave out for today."},
        }),
        required: &["content"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(noted(workspace, arguments)))
}

async fn noted(workspace: &Workspace, arguments: Value) -> Answer {
    let WriteArguments { content, path } = arguments_of(arguments)?;
    let path = path.as_deref().map(str::trim).filter(|path| !path.is_empty());
    let noted = workspace.note(path, &content).await.map_err(ToolOutput::error)?;
    let text = if noted.added {
        format!("Written to {}.", noted.path)
    } else {
        format!("{} ends with that already.", noted.path)
    };
    Ok(ToolOutput::text(text))
}

fn check(path: &str) -> Result<(), ToolOutput> {
    if is_note(path) {
        return Ok(());
    }
    let refusal = format!("{path} is none of your notes: they are MEMORY.md and memory/*.md.");
    Err(ToolOutput::error(refusal))
}

fn shown(answer: &Value) -> ToolOutput {
    ToolOutput {
        details: Some(answer.clone()),
        ..ToolOutput::text(answer.to_string())
    }
}
