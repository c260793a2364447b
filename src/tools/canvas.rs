//! `canvas`: what a paired device shows on its canvas.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::nodes::{answer, needed, without_nulls};
use super::{answered, read};

/// A call of a node.
const INVOKE: Duration = Duration::from_secs(30);
/// With the questions around it.
const WHOLE: Duration = Duration::from_secs(60);
/// Longest `jsonl`, bytes.
const LONGEST: usize = 256 * 1024;

/// The tool.
pub(super) struct Canvas {
    spec: Arc<ToolSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Present,
    Hide,
    Navigate,
    Eval,
    Snapshot,
    A2uiPush,
    A2uiReset,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    node: Option<String>,
    target: Option<String>,
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
    url: Option<String>,
    java_script: Option<String>,
    output_format: Option<String>,
    max_width: Option<u64>,
    quality: Option<f64>,
    jsonl: Option<String>,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "canvas".to_owned(),
                description:
                    "Controls the canvas of the user's paired devices (nodes): present, hide, navigate, eval, \
                    snapshot for a picture of it, a2ui_push and a2ui_reset for an interface made of JSON lines."
                        .to_owned(),
                summary: "show things on the canvas of the user's paired devices".to_owned(),
                parameters: parameters().into(),
                effect: Effect::External,
                owner_only: true,
                timeout: WHOLE,
            }),
        }
    }
}

fn parameters() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let number = |about: &str| json!({"type": "number", "description": about});
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    json!({
        "type": "object",
        "properties": {
            "action": words(&["present", "hide", "navigate", "eval", "snapshot", "a2ui_push", "a2ui_reset"]),
            "node": text("Id or name. Leave out when only one node has a canvas."),
            "target": text("present: address or path to show."),
            "x": number("present: place on the screen."),
            "y": number("present: place on the screen."),
            "width": number("present: size."),
            "height": number("present: size."),
            "url": text("navigate: address."),
            "javaScript": text("eval: the script; its value is the result."),
            "outputFormat": words(&["png", "jpg", "jpeg"]),
            "maxWidth": {"type": "integer", "minimum": 1, "description": "snapshot: pixels."},
            "quality": {"type": "number", "minimum": 0, "maximum": 1},
            "jsonl": text("a2ui_push: one JSON object a line."),
        },
        "required": ["action"],
        "additionalProperties": false,
    })
}

impl Tool for Canvas {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            Some("snapshot") => Effect::ReadOnly,
            Some(_) | None => Effect::External,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let Some(nodes) = &context.nodes else {
                return ToolOutput::error("Only the owner's own conversations reach nodes.");
            };
            let nodes = nodes.telling(&context.updates, &context.call_id);
            let called = async {
                let arguments: Arguments = read(arguments)?;
                let node = arguments.node.clone();
                let (command, params) = request(arguments).map_err(ToolOutput::error)?;
                let result = nodes
                    .invoke(&context.call_id, node.as_deref(), command, params, INVOKE)
                    .await
                    .map_err(ToolOutput::error)?;
                Ok(answer::of(&format!("{command} of a node"), result, &nodes).await)
            };
            answered(called.await)
        })
    }
}

/// The node's command and its parameters.
fn request(arguments: Arguments) -> Result<(&'static str, Value), String> {
    let filled = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let (command, params) = match arguments.action {
        Action::Present => {
            let placement = without_nulls(json!({
                "x": arguments.x, "y": arguments.y, "width": arguments.width, "height": arguments.height,
            }));
            let placed = placement.as_object().is_some_and(|fields| !fields.is_empty());
            (
                "canvas.present",
                json!({"url": filled(arguments.target).or(filled(arguments.url)), "placement": placed.then_some(placement)}),
            )
        }
        Action::Hide => ("canvas.hide", json!({})),
        Action::Navigate => {
            let url = filled(arguments.url).or(filled(arguments.target));
            ("canvas.navigate", json!({"url": needed(url, "url")?}))
        }
        Action::Eval => (
            "canvas.eval",
            json!({"javaScript": needed(filled(arguments.java_script), "javaScript")?}),
        ),
        Action::Snapshot => {
            let format = match arguments.output_format.as_deref() {
                Some("jpg" | "jpeg") => "jpeg",
                Some(_) | None => "png",
            };
            (
                "canvas.snapshot",
                json!({"format": format, "maxWidth": arguments.max_width, "quality": arguments.quality}),
            )
        }
        Action::A2uiPush => {
            let jsonl = needed(filled(arguments.jsonl), "jsonl")?;
            check_lines(&jsonl)?;
            ("canvas.a2ui.pushJSONL", json!({"jsonl": jsonl}))
        }
        Action::A2uiReset => ("canvas.a2ui.reset", json!({})),
    };
    Ok((command, without_nulls(params)))
}

/// Each line is a JSON object; the node would say less about what is wrong.
fn check_lines(jsonl: &str) -> Result<(), String> {
    if jsonl.len() > LONGEST {
        return Err(format!("\"jsonl\" is longer than {} KiB.", LONGEST / 1024));
    }
    let lines = jsonl.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (at, line) in lines {
        if !serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()) {
            return Err(format!("\"jsonl\" line {} is no JSON object.", at + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(arguments: Value) -> Result<(&'static str, Value), String> {
        request(serde_json::from_value(arguments).expect("arguments"))
    }

    #[test]
    fn each_action_is_a_command_of_the_node() {
        for (arguments, command, params) in [
            (json!({"action": "present"}), "canvas.present", json!({})),
            (
                json!({"action": "present", "target": "https://example.com", "x": 1, "height": 20}),
                "canvas.present",
                json!({"url": "https://example.com", "placement": {"x": 1.0, "height": 20.0}}),
            ),
            (json!({"action": "hide"}), "canvas.hide", json!({})),
            (
                json!({"action": "navigate", "url": "/a.html"}),
                "canvas.navigate",
                json!({"url": "/a.html"}),
            ),
            (
                json!({"action": "eval", "javaScript": "1 + 1"}),
                "canvas.eval",
                json!({"javaScript": "1 + 1"}),
            ),
            (
                json!({"action": "snapshot", "outputFormat": "jpg", "maxWidth": 800}),
                "canvas.snapshot",
                json!({"format": "jpeg", "maxWidth": 800}),
            ),
            (
                json!({"action": "a2ui_push", "jsonl": "{\"a\":1}\n\n{}"}),
                "canvas.a2ui.pushJSONL",
                json!({"jsonl": "{\"a\":1}\n\n{}"}),
            ),
            (json!({"action": "a2ui_reset"}), "canvas.a2ui.reset", json!({})),
        ] {
            assert_eq!(made(arguments).expect(command), (command, params));
        }
    }

    #[test]
    fn what_is_missing_or_no_json_is_told() {
        for (arguments, part) in [
            (json!({"action": "navigate"}), "url"),
            (json!({"action": "eval", "javaScript": " "}), "javaScript"),
            (json!({"action": "a2ui_push"}), "jsonl"),
            (json!({"action": "a2ui_push", "jsonl": "{}\nnonsense"}), "line 2"),
        ] {
            let refusal = made(arguments).expect_err(part);
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
