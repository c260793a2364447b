//! What a node answered, for the model: bounded, marked as coming from outside, and pictures as pictures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::message::Part;
use claw_actors::ports::tool::ToolOutput;
use claw_actors::session::nodes::{Nodes, Ran};
use serde_json::{Value, json};

use claw_actors::session::untrusted;

/// Longest text of an answer, characters.
const MAX_CHARACTERS: usize = 50_000;
/// Most pictures of an answer, and the largest, bytes.
const MAX_PICTURES: usize = 4;
const MAX_PICTURE_BYTES: usize = 5 << 20;

/// An answer as JSON, with its pictures beside it.
pub(in crate::tools) async fn of(source: &str, mut answer: Value, nodes: &Nodes) -> ToolOutput {
    let mut media = Vec::new();
    take_media(&mut answer, &mut media);
    let mut output = ToolOutput::text(String::new());
    output.content.clear();
    for picture in media.into_iter().filter_map(Media::picture).take(MAX_PICTURES) {
        // Without the picture its facts are still worth something.
        if let Ok(part) = nodes.keep_image(picture.mime_type, picture.bytes).await {
            output.content.push(part);
        }
    }
    output.content.insert(
        0,
        Part::Text {
            text: wrapped(source, &answer.to_string()),
        },
    );
    output
}

/// What became of a command by the end of its call.
pub(in crate::tools) fn of_command(ran: Ran) -> ToolOutput {
    match ran {
        Ran::Ended(answer) => of_run(answer),
        Ran::GoesOn(state) => ToolOutput::json(&state),
    }
}

/// The answer of `system.run`: how it ended, then what it printed.
fn of_run(answer: Value) -> ToolOutput {
    let mut head = match (&answer["exitCode"], &answer["timedOut"]) {
        (_, Value::Bool(true)) => "The command took too long and was stopped.".to_owned(),
        (Value::Number(code), _) => format!("Exit code {code}."),
        _ => "The command ended without an exit code.".to_owned(),
    };
    if let Some(error) = answer["error"].as_str().filter(|error| !error.is_empty()) {
        head.push_str(&format!(" {}", untrusted::neutralise(error)));
    }
    for name in ["stdout", "stderr"] {
        if let Some(text) = answer[name].as_str().filter(|text| !text.trim().is_empty()) {
            head.push_str(&format!(
                "\n{}",
                wrapped(&format!("{name} of a command on a node"), text)
            ));
        }
    }
    ToolOutput {
        details: Some(json!({"exitCode": answer["exitCode"], "timedOut": answer["timedOut"]})),
        ..ToolOutput::text(head)
    }
}

fn wrapped(source: &str, text: &str) -> String {
    let total = text.chars().count();
    if total <= MAX_CHARACTERS {
        return untrusted::wrap(source, text);
    }
    // The end of an output tells how it went.
    let half = MAX_CHARACTERS / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(total - half).collect();
    untrusted::wrap(
        source,
        &format!("{head}\n[{} characters left out]\n{tail}", total - 2 * half),
    )
}

/// Bytes that stood in an answer.
struct Media {
    format: String,
    base64: String,
}

struct Picture {
    mime_type: &'static str,
    bytes: Vec<u8>,
}

impl Media {
    fn picture(self) -> Option<Picture> {
        let mime_type = match self.format.to_ascii_lowercase().trim_start_matches("image/") {
            "jpg" | "jpeg" => "image/jpeg",
            "png" => "image/png",
            "webp" => "image/webp",
            "gif" => "image/gif",
            _ => return None,
        };
        if self.base64.len() / 4 * 3 > MAX_PICTURE_BYTES {
            return None;
        }
        let bytes = STANDARD.decode(self.base64.trim()).ok()?;
        Some(Picture { mime_type, bytes })
    }
}

/// Takes every `base64` out of an answer and leaves its size.
fn take_media(value: &mut Value, media: &mut Vec<Media>) {
    match value {
        Value::Object(fields) => {
            let base64 = fields.get_mut("base64").filter(|value| value.is_string());
            if let Some(Value::String(base64)) = base64.map(Value::take) {
                let format = ["format", "mimeType"]
                    .iter()
                    .find_map(|name| fields.get(*name)?.as_str())
                    .unwrap_or_default();
                let note = json!(format!("[{} bytes]", base64.len() / 4 * 3));
                media.push(Media {
                    format: format.to_owned(),
                    base64,
                });
                fields.insert("base64".to_owned(), note);
            }
            for field in fields.values_mut() {
                take_media(field, media);
            }
        }
        Value::Array(items) => {
            for item in items {
                take_media(item, media);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::text;
    use super::*;

    #[test]
    fn a_run_says_how_it_ended() {
        let output = of_run(
            json!({"exitCode": 3, "timedOut": false, "success": false, "stdout": "out\n",
            "stderr": "", "error": null}),
        );
        assert!(text(&output).starts_with("Exit code 3.\n<<<"), "{}", text(&output));
        assert!(text(&output).contains("stdout of a command on a node") && !text(&output).contains("stderr"));
        let late = of_run(json!({"exitCode": null, "timedOut": true}));
        assert_eq!(text(&late), "The command took too long and was stopped.");
        assert_eq!(text(&of_run(json!(1))), "The command ended without an exit code.");
    }

    #[test]
    fn a_long_output_keeps_both_ends() {
        let long = format!("first{}last", "é".repeat(200_000));
        let output = of_run(json!({"exitCode": 0, "stdout": long}));
        let shown = text(&output);
        assert!(shown.contains("first") && shown.contains("last") && shown.contains("[150009 characters left out]"));
        assert!(shown.chars().count() < MAX_CHARACTERS + 1_000);
    }

    #[test]
    fn media_is_taken_out_of_the_text() {
        let mut answer = json!({"photos": [{"format": "jpeg", "base64": "AAAA", "width": 1}], "base64": 7,
            "clip": {"format": "mp4", "base64": "AAAAAAAA"}});
        let mut media = Vec::new();
        take_media(&mut answer, &mut media);
        assert_eq!(
            answer["photos"][0],
            json!({"format": "jpeg", "base64": "[3 bytes]", "width": 1})
        );
        assert_eq!(answer["clip"]["base64"], "[6 bytes]");
        let pictures: Vec<_> = media.into_iter().filter_map(Media::picture).collect();
        assert_eq!(pictures.len(), 1);
        assert_eq!(
            (pictures[0].mime_type, pictures[0].bytes.as_slice()),
            ("image/jpeg", [0, 0, 0].as_slice())
        );
        let huge = Media {
            format: "png".to_owned(),
            base64: "A".repeat(MAX_PICTURE_BYTES * 4 / 3 + 8),
        };
        assert!(huge.picture().is_none());
    }
}
