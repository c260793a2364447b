//! Attachments of a message: images, PDFs and sounds become stored blobs, small texts are quoted, other files are named.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::gateway::protocol::WireError;
use crate::gateway::protocol::hello::MAX_ATTACHMENT;
use crate::gateway::rpc::Call;
use crate::ports::message::Part;
use crate::session::enclosed::{self, Enclosed};

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

/// Stores the attachments of a message and gives its parts.
pub(in crate::gateway::methods) async fn store(
    call: &Call,
    attachments: Vec<AttachmentParams>,
) -> Result<Vec<Part>, WireError> {
    if attachments.len() > MOST {
        return Err(WireError::invalid(format!("a message has at most {MOST} attachments")));
    }
    // All are read before the first is stored: a bad one leaves nothing behind.
    let read: Vec<Enclosed> = attachments.into_iter().map(read).collect::<Result<_, _>>()?;
    let mut parts = Vec::with_capacity(read.len());
    for enclosed in read {
        parts.push(enclosed.store(&call.state.services, call.scope()).await?);
    }
    Ok(parts)
}

fn read(attachment: AttachmentParams) -> Result<Enclosed, WireError> {
    let name = enclosed::shown(attachment.file_name.as_deref().unwrap_or("attachment"));
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
    Ok(Enclosed::read(&name, &declared, bytes)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::protocol::hello::MAX_IMAGE;

    fn check(mime_type: &str, content: Value) -> Result<Enclosed, String> {
        let attachment = json!({"mimeType": mime_type, "fileName": "a.bin", "content": content, "brandNew": 1});
        read(serde_json::from_value(attachment).expect("an attachment")).map_err(|error| error.message)
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        let png = [0x89, b'P', b'N', b'G', 1, 2];
        let image = Enclosed::Image {
            mime_type: "image/png",
            bytes: png.to_vec(),
        };
        assert_eq!(check("text/plain", json!(STANDARD.encode(png))), Ok(image));
        let url = format!("data:image/png;base64,{}", STANDARD.encode([0xff, 0xd8, 0xff]));
        assert!(matches!(
            check("image/png", json!(url)),
            Ok(Enclosed::Image {
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
            Ok(Enclosed::Text("[attached file a.bin]\nhello".to_owned()))
        );
        assert_eq!(
            check("application/zip", text),
            Ok(Enclosed::Unread {
                name: "a.bin".to_owned(),
                size: 5
            })
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
