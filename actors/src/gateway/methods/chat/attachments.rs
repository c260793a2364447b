//! Attachments of a message: images, PDFs and sounds become stored blobs, small texts are quoted, other files are named.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::gateway::protocol::WireError;
use crate::gateway::protocol::hello::{MAX_ATTACHMENT, MAX_IMAGE};
use crate::gateway::rpc::Call;
use crate::ports::message::{FileFormat, Part};
use crate::session::{blobs, text_file};

/// Attachments one message may have.
const MOST: usize = 20;

/// One attachment as clients send it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway::methods) struct AttachmentParams {
    mime_type: Option<String>,
    file_name: Option<String>,
    /// Base64, or a `data:` URL of it.
    content: Option<Value>,
}

/// What an attachment turned out to be.
#[derive(Debug, PartialEq)]
enum Kind {
    Image {
        mime_type: &'static str,
        bytes: Vec<u8>,
    },
    /// A file that models may read.
    File {
        name: String,
        bytes: Vec<u8>,
    },
    Text(String),
}

/// Stores the attachments of a message and gives its parts.
pub(in crate::gateway::methods) async fn store(
    call: &Call,
    attachments: Vec<AttachmentParams>,
) -> Result<Vec<Part>, WireError> {
    if attachments.len() > MOST {
        return Err(WireError::invalid(format!("a message has at most {MOST} attachments")));
    }
    // All are read before the first is stored: a bad one leaves nothing behind.
    let kinds: Vec<Kind> = attachments.into_iter().map(read).collect::<Result<_, _>>()?;
    let mut parts = Vec::with_capacity(kinds.len());
    for kind in kinds {
        parts.push(match kind {
            Kind::Text(text) => Part::Text { text },
            Kind::File { name, bytes } => {
                let stored = blobs::store_file(&call.state.services, call.scope(), &name, bytes).await?;
                stored.ok_or_else(|| WireError::invalid("the file is of no known kind"))?
            }
            Kind::Image { mime_type, bytes } => {
                blobs::store_image(&call.state.services, call.scope(), mime_type, bytes).await?
            }
        });
    }
    Ok(parts)
}

fn read(attachment: AttachmentParams) -> Result<Kind, WireError> {
    let name = attachment.file_name.unwrap_or_else(|| "attachment".to_owned());
    let name: String = name.chars().filter(|char| !char.is_control()).take(120).collect();
    let declared = attachment.mime_type.unwrap_or_default();
    let Some(content) = attachment.content.as_ref().and_then(Value::as_str) else {
        return Err(WireError::invalid(format!(
            "attachment {name}: content must be base64 text"
        )));
    };
    let encoded = match content.split_once(',') {
        Some((head, body)) if head.starts_with("data:") => body,
        Some(_) | None => content,
    };
    if encoded.len() / 4 * 3 > MAX_ATTACHMENT + 3 {
        return Err(WireError::invalid(format!(
            "attachment {name}: exceeds size limit ({MAX_ATTACHMENT} bytes)"
        )));
    }
    let bytes = STANDARD
        .decode(encoded.trim())
        .map_err(|_| WireError::invalid(format!("attachment {name}: invalid base64 content")))?;
    if let Some(mime_type) = blobs::image_type(&bytes) {
        if bytes.len() > MAX_IMAGE {
            return Err(WireError::invalid(format!(
                "attachment {name}: image exceeds size limit ({MAX_IMAGE} bytes)"
            )));
        }
        return Ok(Kind::Image { mime_type, bytes });
    }
    let size = bytes.len();
    if size <= blobs::MAX_FILE && FileFormat::of(&bytes).is_some() {
        return Ok(Kind::File { name, bytes });
    }
    if let Some(text) = text_file::read(&declared, &name, bytes) {
        return Ok(Kind::Text(format!("[attached file {name}]\n{text}")));
    }
    Ok(Kind::Text(format!(
        "[attached file {name}, {size} bytes, not readable here]"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mime_type: &str, content: Value) -> Result<Kind, String> {
        let attachment = json!({"mimeType": mime_type, "fileName": "a.bin", "content": content, "brandNew": 1});
        read(serde_json::from_value(attachment).expect("an attachment")).map_err(|error| error.message)
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        let png = [0x89, b'P', b'N', b'G', 1, 2];
        let image = Kind::Image {
            mime_type: "image/png",
            bytes: png.to_vec(),
        };
        assert_eq!(check("text/plain", json!(STANDARD.encode(png))), Ok(image));
        let url = format!("data:image/png;base64,{}", STANDARD.encode([0xff, 0xd8, 0xff]));
        assert!(matches!(
            check("image/png", json!(url)),
            Ok(Kind::Image {
                mime_type: "image/jpeg",
                ..
            })
        ));
    }

    #[test]
    fn other_files() {
        let text = json!(STANDARD.encode("hello"));
        assert_eq!(
            check("text/plain", text.clone()),
            Ok(Kind::Text("[attached file a.bin]\nhello".to_owned()))
        );
        assert_eq!(
            check("application/zip", text),
            Ok(Kind::Text(
                "[attached file a.bin, 5 bytes, not readable here]".to_owned()
            ))
        );
        assert!(check("image/png", json!("%%%")).is_err());
        assert!(check("image/png", json!({"a": 1})).is_err());
        let mut large = vec![0; MAX_IMAGE + 1];
        large[..4].copy_from_slice(&[0x89, b'P', b'N', b'G']);
        assert!(
            check("image/png", json!(STANDARD.encode(large)))
                .expect_err("too large")
                .contains("size limit")
        );
    }
}
