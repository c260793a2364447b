//! Bytes of attachments, in the `blob` table, and images on their way to a model.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_entities::{Scope, UserOwned, blob, new_id};
use ring::digest;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};

use crate::Services;
use crate::clock::now_ms;
use crate::crypto::token::hex;
use crate::error::Result;
use crate::ports::message::{Message, Part};

/// The kind of image these bytes are, by their first bytes; what a client says of them counts for nothing.
pub fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Stands before the id of stored bytes where a model or a tool names them.
pub const PREFIX: &str = "blob:";

/// Stores an image for the user and gives the part that refers to it.
pub async fn store_image(services: &Services, scope: &Scope, mime_type: &str, bytes: Vec<u8>) -> Result<Part> {
    Ok(Part::Image {
        data: None,
        blob: Some(store(services, scope, mime_type, bytes).await?),
        mime_type: mime_type.to_owned(),
    })
}

/// Stores bytes for the user and gives their id.
pub(crate) async fn store(services: &Services, scope: &Scope, mime_type: &str, bytes: Vec<u8>) -> Result<String> {
    let id = new_id();
    let row = blob::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        id: Set(id.clone()),
        user_id: Set(scope.user().clone()),
        mime_type: Set(mime_type.to_owned()),
        sha256: Set(hex(digest::digest(&digest::SHA256, &bytes).as_ref())),
        size: Set(i64::try_from(bytes.len()).unwrap_or(i64::MAX)),
        bytes: Set(bytes),
        created_at: Set(now_ms()),
    };
    let tx = services.db.write(scope).await?;
    blob::Entity::insert(row).exec_without_returning(&*tx).await?;
    tx.commit().await?;
    Ok(id)
}

/// Puts the bytes of stored images into the messages, or a note where the model takes none or the bytes are gone.
pub(crate) async fn hydrate(
    services: &Services,
    scope: &Scope,
    messages: &mut [Arc<Message>],
    takes_images: bool,
) -> Result<()> {
    for message in messages {
        let shows = match message.as_ref() {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content.iter().any(is_image),
            Message::Assistant(_) => false,
        };
        if !shows {
            continue;
        }
        let parts = match Arc::make_mut(message) {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content,
            Message::Assistant(_) => continue,
        };
        for part in parts {
            let Part::Image { data, blob, mime_type } = part else {
                continue;
            };
            if !takes_images {
                let name = blob.as_deref().map(|id| format!(" {PREFIX}{id}")).unwrap_or_default();
                *part = Part::Text {
                    text: format!("[an image{name} ({mime_type}) that this model cannot see]"),
                };
                continue;
            }
            if data.is_some() {
                continue;
            }
            let id = blob.clone().unwrap_or_default();
            match read(services, scope, &id).await? {
                Some(row) => *data = Some(STANDARD.encode(row.bytes)),
                None => {
                    *part = Part::Text {
                        text: "[an image that is no longer stored]".to_owned(),
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_image(part: &Part) -> bool {
    matches!(part, Part::Image { .. })
}

/// Stored bytes of the user's own, with what they are.
pub async fn read(services: &Services, scope: &Scope, id: &str) -> Result<Option<blob::Model>> {
    let view = services.db.glance(scope).await?;
    Ok(blob::Entity::owned_by(scope)
        .filter(blob::Column::Id.eq(id))
        .one(&view)
        .await?)
}
