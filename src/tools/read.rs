//! `read`: the files of the agent's workspace by their path, and those of the user's skills by `skill://<skill>/<file>`
//! (`agent-runtime` §8.2, §16.4).

use std::sync::Arc;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::skills::is_skill;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::private::{arguments_of, text_of, workspace};

/// One call gives this much at most (`agent-runtime` §12.2).
const MAX_LINES: usize = 2_000;
pub(super) const MAX_BYTES: usize = 50 * 1024;

/// The tool.
pub(super) struct Read {
    spec: Arc<ToolSpec>,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    path: String,
    offset: Option<usize>,
    limit: Option<usize>,
}

impl Read {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "read".to_owned(),
                description:
                    "Reads a text file of your workspace, or a file of a skill: its SKILL.md at the location in \
                    the list of skills, and files beside it. Gives at most 2000 lines; offset and limit read on."
                        .to_owned(),
                summary: "read files of the workspace and of skills".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "path": {"type": "string", "description": "<file>, or skill://<skill>/<file>"},
                        "offset": {"type": "integer", "minimum": 1, "description": "First line, from 1."},
                        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "description": "Lines."},
                    },
                    "required": ["path"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: true,
                timeout: std::time::Duration::from_secs(30),
            }),
        }
    }
}

impl Tool for Read {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let arguments: Arguments = match arguments_of(arguments) {
                Ok(arguments) => arguments,
                Err(refusal) => return refusal,
            };
            let (offset, limit) = (arguments.offset.unwrap_or(1), arguments.limit);
            if !is_skill(&arguments.path) {
                let text = match workspace(context) {
                    Ok(workspace) => text_of(workspace, &arguments.path).await,
                    Err(refusal) => Err(refusal),
                };
                return text.map_or_else(|refusal| refusal, |text| ToolOutput::text(page(&text, offset, limit)));
            }
            let Some(skills) = &context.skills else {
                return ToolOutput::error("Only the owner's own conversations have skills.");
            };
            let content = match skills.read(&arguments.path).await {
                Ok(content) => content,
                Err(refusal) => return ToolOutput::error(refusal),
            };
            if let Some(mime_type) = image(&arguments.path) {
                return match skills.keep_image(mime_type, content).await {
                    Ok(part) => ToolOutput {
                        content: vec![part],
                        ..ToolOutput::default()
                    },
                    Err(_) => ToolOutput::error("The picture could not be stored for the model."),
                };
            }
            match String::from_utf8(content) {
                Ok(text) => ToolOutput::text(page(&text, offset, limit)),
                Err(_) => ToolOutput::error("The file is neither text nor a picture."),
            }
        })
    }
}

/// The type of a picture by its file's name.
fn image(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "webp" => Some("image/webp"),
        _ => None,
    }
}

/// Lines from `offset` (counted from 1), and a note where there are more.
pub(super) fn page(text: &str, offset: usize, limit: Option<usize>) -> String {
    let limit = limit.unwrap_or(MAX_LINES).min(MAX_LINES);
    let skipped = offset.saturating_sub(1);
    let total = text.lines().count();
    if skipped >= total && total > 0 {
        return format!("[The file has {total} lines.]");
    }
    let mut shown = String::new();
    let mut count = 0;
    for line in text.lines().skip(skipped).take(limit) {
        if shown.len() + line.len() + 1 > MAX_BYTES {
            if count == 0 {
                // A line longer than a page: its beginning is all that can be had.
                let cut = (0..=MAX_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
                shown.push_str(line.get(..cut).unwrap_or_default());
                shown.push_str("\n[The line goes on, and is cut here.]\n");
                count = 1;
            }
            break;
        }
        shown.push_str(line);
        shown.push('\n');
        count += 1;
    }
    let next = skipped + count;
    if next < total {
        shown.push_str(&format!(
            "[{} more lines of {total}; read on with offset {}.]",
            total - next,
            next + 1
        ));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, text};
    use super::*;

    #[test]
    fn pages() {
        let long: String = (1..=5000).map(|n| format!("line {n}\n")).collect();
        let first = page(&long, 1, None);
        assert!(
            first.starts_with("line 1\n") && first.ends_with("[3000 more lines of 5000; read on with offset 2001.]")
        );
        assert_eq!(page(&long, 4999, None), "line 4999\nline 5000\n");
        assert_eq!(
            page(&long, 3, Some(1)),
            "line 3\n[4997 more lines of 5000; read on with offset 4.]"
        );
        assert_eq!(page(&long, 5001, None), "[The file has 5000 lines.]");
        assert_eq!(page("", 1, None), "");
        let wide = format!("{}\nend", "é".repeat(MAX_BYTES));
        let cut = page(&wide, 1, None);
        assert!(cut.len() < MAX_BYTES + 200 && cut.contains("is cut here") && cut.ends_with("offset 2.]"));
    }

    #[tokio::test]
    async fn a_guest_has_no_skills() {
        let output = Read::new()
            .call(&context(), json!({"path": "skill://tea/SKILL.md"}))
            .await;
        assert!(output.is_error && text(&output).contains("Only the owner's"));
    }
}
