//! Bytes of attachments, in the `blob` table, and what of them is on its way to a model. A user's may weigh so much and no
//! more; what nothing refers to is deleted in the end.

mod expiry;
mod shrink;
#[cfg(test)]
mod tests;

pub(crate) use expiry::expire;

use std::sync::Arc;
use std::time::Duration;

use self::shrink::Fit;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_entities::{Scope, TenantOwned, UserId, UserOwned, blob, new_id};
use ring::digest;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::Services;
use crate::clock::now_ms;
use crate::crypto::token::hex;
use crate::db::{Db, one_by_one};
use crate::error::{Error, Result};
use crate::ports::message::{FileFormat, Message, Part};
use crate::ports::model::Takes;

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

/// Largest file that a model reads, bytes (`agent-runtime` §21.2).
pub const MAX_FILE: usize = 5 * 1024 * 1024;
/// Files and images sent with one call, bytes: providers take some 20 MiB of base64.
const MOST_SENT: usize = 14 * 1024 * 1024;

/// Stands before the id of stored bytes where a model or a tool names them.
pub const PREFIX: &str = "blob:";

/// Stores an image for the user and gives the part that refers to it: smaller than it came where models would refuse it. Of
/// one that is too large and cannot be made smaller, a note is all that is left.
pub async fn store_image(services: &Services, scope: &Scope, mime_type: &str, bytes: Vec<u8>) -> Result<Part> {
    image_of(services, scope, Whose::Owner, mime_type, bytes).await
}

/// As [`store_image`], of an image that somebody sent.
pub(crate) async fn image_of(
    services: &Services,
    scope: &Scope,
    whose: Whose,
    mime_type: &str,
    bytes: Vec<u8>,
) -> Result<Part> {
    let size = bytes.len();
    let (mime_type, bytes) = match shrink::fit(bytes).await? {
        Fit::Kept(bytes) => (mime_type, bytes),
        Fit::Shrunk { mime_type, bytes } => (mime_type, bytes),
        Fit::Unfit => {
            let text = format!(
                "[an image ({mime_type}, {size} bytes), left out: it is too large and could not be made smaller]"
            );
            return Ok(Part::Text { text });
        }
    };
    Ok(Part::Image {
        data: None,
        blob: Some(store_as(services, scope, whose, mime_type, bytes).await?),
        mime_type: mime_type.to_owned(),
    })
}

/// Stores a file for the user and gives the part that refers to it. `None`: it is of no kind that a model reads.
pub async fn store_file(services: &Services, scope: &Scope, name: &str, bytes: Vec<u8>) -> Result<Option<Part>> {
    file_of(services, scope, Whose::Owner, name, bytes).await
}

/// As [`store_file`], of a file that somebody sent.
pub(crate) async fn file_of(
    services: &Services,
    scope: &Scope,
    whose: Whose,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Option<Part>> {
    let Some(kind) = FileFormat::of(&bytes) else {
        return Ok(None);
    };
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(Some(Part::File {
        data: None,
        blob: Some(store_as(services, scope, whose, kind.mime_type(), bytes).await?),
        mime_type: kind.mime_type().to_owned(),
        name: plain_name(name),
        size,
    }))
}

/// A name that cannot pose as anything else where it is shown, 120 characters at most.
pub fn plain_name(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|letter| !letter.is_control() && !matches!(letter, '[' | ']' | '<' | '>' | '"' | '\\'));
    let kept: String = kept.take(120).collect();
    let kept = kept.trim();
    if kept.is_empty() { "file" } else { kept }.to_owned()
}

/// Stores bytes for the user and gives their id.
pub(crate) async fn store(services: &Services, scope: &Scope, mime_type: &str, bytes: Vec<u8>) -> Result<String> {
    store_as(services, scope, Whose::Owner, mime_type, bytes).await
}

/// As [`store`], of a file that somebody sent.
pub(crate) async fn store_for(
    services: &Services,
    scope: &Scope,
    whose: Whose,
    mime_type: &str,
    bytes: Vec<u8>,
) -> Result<String> {
    store_as(services, scope, whose, sound_type(mime_type), bytes).await
}

/// What is told to browsers is a kind of sound and nothing else.
fn sound_type(mime_type: &str) -> &str {
    let kind = mime_type.split(';').next().unwrap_or_default().trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/-+.".contains(letter);
    let fits = kind.starts_with("audio/") && kind.len() <= 60 && kind.chars().all(plain);
    if fits { kind } else { "application/octet-stream" }
}

/// Stores a file of an export under its id. False: it is there already.
///
/// # Errors
/// `Conflict` when it is somebody else's in this tenant, `TooLarge` without room for it.
pub async fn restore(
    db: &Db,
    scope: &Scope,
    room: Room,
    id: &str,
    mime_type: &str,
    created_at: i64,
    bytes: Vec<u8>,
) -> Result<bool> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if id.is_empty() || id.len() > 64 || !id.chars().all(plain) {
        return Err(Error::invalid("its id is none of ours"));
    }
    let known = image_type(&bytes).or_else(|| FileFormat::of(&bytes).map(FileFormat::mime_type));
    let mime_type = known.unwrap_or_else(|| sound_type(mime_type));
    let tx = db.write(scope).await?;
    let there = blob::Entity::of_tenant(scope.tenant_scope())
        .filter(blob::Column::Id.eq(id))
        .select_only()
        .column(blob::Column::UserId)
        .into_tuple::<UserId>()
        .one(&*tx)
        .await?;
    if let Some(owner) = there {
        let own = owner == *scope.user();
        return if own {
            Ok(false)
        } else {
            Err(Error::Conflict("another user has it".to_owned()))
        };
    }
    make_room(&*tx, scope, room, bytes.len() as u64).await?;
    let (_, mut row) = row(scope, room, mime_type, bytes);
    row.id = Set(id.to_owned());
    row.created_at = Set(created_at);
    insert(&*tx, row).await?;
    tx.commit().await?;
    Ok(true)
}

/// Who brought a file: guests may fill half of the room, so that the owner's agent keeps some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Owner,
    Guest,
}

/// A file that is not stored yet.
#[derive(Clone, Debug)]
pub(crate) struct Unstored {
    pub(crate) id: String,
    room: Room,
    weight: u64,
    row: blob::ActiveModel,
}

impl Unstored {
    pub(crate) fn new(services: &Services, scope: &Scope, whose: Whose, mime_type: &str, bytes: Vec<u8>) -> Self {
        let room = match whose {
            Whose::Owner => services.limits.stored_bytes,
            Whose::Guest => services.limits.stored_bytes / 2,
        };
        let room = Room {
            bytes: room,
            unused: services.limits.stored_unused,
        };
        let weight = bytes.len() as u64;
        let (id, row) = row(scope, room, mime_type, bytes);
        Self { id, room, weight, row }
    }

    /// Stores it within the caller's transaction.
    ///
    /// # Errors
    /// `TooLarge` when the user's files would weigh more than `limits.stored_bytes_per_user`.
    pub(crate) async fn store(&self, tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
        make_room(tx, scope, self.room, self.weight).await?;
        insert(tx, self.row.clone()).await
    }
}

/// As [`store`], on account of whoever it is for.
///
/// # Errors
/// As [`Unstored::store`].
pub(crate) async fn store_as(
    services: &Services,
    scope: &Scope,
    whose: Whose,
    mime_type: &str,
    bytes: Vec<u8>,
) -> Result<String> {
    let Unstored { id, room, weight, row } = Unstored::new(services, scope, whose, mime_type, bytes);
    let tx = services.db.write(scope).await?;
    make_room(&*tx, scope, room, weight).await?;
    insert(&*tx, row).await?;
    tx.commit().await?;
    Ok(id)
}

/// What one user's files may weigh, and how long an unused one is kept.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub bytes: u64,
    pub unused: Duration,
}

/// Sees to it that `bytes` more find room, until the caller's transaction ends: whoever else stores for the user waits
/// for that.
///
/// # Errors
/// `TooLarge` when there is no room for them.
pub(crate) async fn make_room(tx: &impl ConnectionTrait, scope: &Scope, room: Room, bytes: u64) -> Result<()> {
    one_by_one(tx, scope).await?;
    let weight: Option<Option<i64>> = blob::Entity::owned_by(scope)
        .select_only()
        .expr(Expr::col(blob::Column::Size).sum().cast_as("bigint"))
        .into_tuple()
        .one(tx)
        .await?;
    let weight = u64::try_from(weight.flatten().unwrap_or(0)).unwrap_or(0);
    if bytes > 0 && weight.saturating_add(bytes) > room.bytes {
        return Err(Error::TooLarge(format!(
            "the room for stored files is full ({} of {} MiB): delete conversations with files that are not \
             needed any more; the files go some days later",
            weight >> 20,
            room.bytes >> 20
        )));
    }
    Ok(())
}

/// A file as it is stored, and its id.
pub(crate) fn row(scope: &Scope, room: Room, mime_type: &str, bytes: Vec<u8>) -> (String, blob::ActiveModel) {
    let (id, now) = (new_id(), now_ms());
    let unused = i64::try_from(room.unused.as_millis()).unwrap_or(i64::MAX / 2);
    let row = blob::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        id: Set(id.clone()),
        user_id: Set(scope.user().clone()),
        mime_type: Set(mime_type.to_owned()),
        sha256: Set(hex(digest::digest(&digest::SHA256, &bytes).as_ref())),
        size: Set(i64::try_from(bytes.len()).unwrap_or(i64::MAX)),
        bytes: Set(bytes),
        created_at: Set(now),
        look_at: Set(now.saturating_add(unused)),
    };
    (id, row)
}

/// Stores a file within the caller's transaction, which has made room for it.
pub(crate) async fn insert(tx: &impl ConnectionTrait, row: blob::ActiveModel) -> Result<()> {
    blob::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Puts the bytes of stored images and files into the messages, or a note where the model takes none, the bytes are gone, or
/// newer ones fill the request.
pub(crate) async fn hydrate(
    services: &Services,
    scope: &Scope,
    messages: &mut [Arc<Message>],
    takes: Takes,
) -> Result<()> {
    let mut left = MOST_SENT;
    // The newest first: what does not fit any more is the oldest.
    for message in messages.iter_mut().rev() {
        let shows = match message.as_ref() {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content.iter().any(is_bytes),
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
            if let Part::File { .. } = part {
                hydrate_file(services, scope, part, takes, &mut left).await?;
                continue;
            }
            let Part::Image { data, blob, mime_type } = part else {
                continue;
            };
            if !takes.images {
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
            let text = match within(services, scope, &id, &mut left).await? {
                Stored::Fits(bytes) => {
                    *data = Some(STANDARD.encode(bytes));
                    continue;
                }
                Stored::TooMuch => {
                    format!("[an image {PREFIX}{id} ({mime_type}) left out here: newer files fill the request]")
                }
                Stored::Gone => "[an image that is no longer stored]".to_owned(),
            };
            *part = Part::Text { text };
        }
    }
    Ok(())
}

/// Stored bytes, if they are there and still fit.
enum Stored {
    Fits(Vec<u8>),
    TooMuch,
    Gone,
}

/// Takes the bytes off `left`, which is what may still be sent. What is too much is not read.
async fn within(services: &Services, scope: &Scope, id: &str, left: &mut usize) -> Result<Stored> {
    let this = || blob::Entity::owned_by(scope).filter(blob::Column::Id.eq(id));
    let view = services.db.glance(scope).await?;
    let most = i64::try_from(*left).unwrap_or(i64::MAX);
    if let Some(row) = this().filter(blob::Column::Size.lte(most)).one(&view).await? {
        *left = left.saturating_sub(row.bytes.len());
        return Ok(Stored::Fits(row.bytes));
    }
    let there: Option<i64> = this()
        .select_only()
        .column(blob::Column::Size)
        .into_tuple()
        .one(&view)
        .await?;
    Ok(if there.is_some() { Stored::TooMuch } else { Stored::Gone })
}

fn is_bytes(part: &Part) -> bool {
    match part {
        Part::Image { .. } | Part::File { .. } => true,
        Part::Text { .. } => false,
    }
}

/// Puts in the bytes of a stored file, or a note that says why they are missing. `left` is what may still be sent, bytes.
async fn hydrate_file(
    services: &Services,
    scope: &Scope,
    part: &mut Part,
    takes: Takes,
    left: &mut usize,
) -> Result<()> {
    let Part::File {
        data,
        blob,
        mime_type,
        name,
        size,
    } = part
    else {
        return Ok(());
    };
    if data.is_some() {
        return Ok(());
    }
    let id = blob.clone().unwrap_or_default();
    let called = format!("{name} ({PREFIX}{id}, {mime_type})");
    let kind = FileFormat::of_mime_type(mime_type);
    let size = usize::try_from(*size).unwrap_or(usize::MAX);
    let why = if !kind.is_some_and(|kind| takes.file(kind)) {
        "that this model cannot read"
    } else if size > *left {
        "left out here: newer files fill the request"
    } else {
        match read(services, scope, &id).await? {
            Some(row) => {
                *left = left.saturating_sub(row.bytes.len());
                *data = Some(STANDARD.encode(row.bytes));
                return Ok(());
            }
            None => "that is no longer stored",
        }
    };
    *part = Part::Text {
        text: format!("[a file {called} {why}]"),
    };
    Ok(())
}

/// Stored bytes of the user's own, with what they are.
pub async fn read(services: &Services, scope: &Scope, id: &str) -> Result<Option<blob::Model>> {
    let view = services.db.glance(scope).await?;
    Ok(blob::Entity::owned_by(scope)
        .filter(blob::Column::Id.eq(id))
        .one(&view)
        .await?)
}
