//! `write`, `edit` and `ls`: the text files of the agent's workspace (`agent-runtime` §8.2, §12.2). `read` is beside it.

use std::fmt::Write as _;

use claw_actors::ports::tool::{Effect, ToolOutput};
use claw_actors::session::workspace::Workspace;
use serde::Deserialize;
use serde_json::{Value, json};

use super::private::{About, Answer, PrivateTool, arguments_of};

/// Files that one listing names.
const MOST: usize = 500;

#[derive(Debug, Deserialize)]
struct WriteArguments {
    path: String,
    content: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EditArguments {
    path: String,
    old_text: String,
    new_text: String,
}

#[derive(Debug, Deserialize)]
struct ListArguments {
    #[serde(default)]
    path: String,
}

pub(super) fn write() -> PrivateTool {
    let about = About {
        name: "write",
        description: "Writes a text file of your workspace: makes it, or puts this content in the place of all it had. At \
                      most 256 KiB.",
        summary: "write a file of the workspace",
        effect: Effect::Idempotent,
        arguments: json!({
            "path": {"type": "string", "description": "Relative, e.g. notes/plan.md"},
            "content": {"type": "string", "description": "The whole file."},
        }),
        required: &["path", "content"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(written(workspace, arguments)))
}

async fn written(workspace: &Workspace, arguments: Value) -> Answer {
    let WriteArguments { path, content } = arguments_of(arguments)?;
    workspace.write(&path, &content).await.map_err(ToolOutput::error)?;
    Ok(ToolOutput::text(format!("Wrote {} bytes to {path}.", content.len())))
}

pub(super) fn edit() -> PrivateTool {
    let about = About {
        name: "edit",
        description: "Changes a text file of your workspace: puts newText in the one place where oldText stands, exactly \
                      as it is written there. Read the file first.",
        summary: "change a part of a file of the workspace",
        effect: Effect::Idempotent,
        arguments: json!({
            "path": {"type": "string"},
            "oldText": {"type": "string", "minLength": 1, "description": "Stands in the file once."},
            "newText": {"type": "string"},
        }),
        required: &["path", "oldText", "newText"],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(edited(workspace, arguments)))
}

async fn edited(workspace: &Workspace, arguments: Value) -> Answer {
    let arguments: EditArguments = arguments_of(arguments)?;
    let path = &arguments.path;
    let changed = workspace.edit(path, &arguments.old_text, &arguments.new_text).await;
    let text = if changed.map_err(ToolOutput::error)? {
        format!("Changed {path}.")
    } else {
        format!("{path} says so already; nothing was changed.")
    };
    Ok(ToolOutput::text(text))
}

pub(super) fn list() -> PrivateTool {
    let about = About {
        name: "ls",
        description: "Lists the files of your workspace with their size in bytes, or those of one folder.",
        summary: "list the files of the workspace",
        effect: Effect::ReadOnly,
        arguments: json!({
            "path": {"type": "string", "description": "A folder, e.g. memory; leave out for all files."},
        }),
        required: &[],
    };
    PrivateTool::new(about, |workspace, arguments| Box::pin(listed(workspace, arguments)))
}

async fn listed(workspace: &Workspace, arguments: Value) -> Answer {
    let ListArguments { path } = arguments_of(arguments)?;
    let folder = path.trim_start_matches("./").trim_matches(['.', '/']);
    let folder = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let files = workspace.list().await.map_err(ToolOutput::error)?;
    let inside: Vec<_> = files.iter().filter(|file| file.path.starts_with(&folder)).collect();
    if inside.is_empty() {
        return Ok(ToolOutput::text("There are no files there."));
    }
    let mut text = String::new();
    for file in inside.iter().take(MOST) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({} bytes)", file.path, file.size);
    }
    if let Some(more) = inside.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(text, "[{more} more; name a folder.]");
    }
    Ok(ToolOutput::text(text.trim_end()))
}
