//! What hangs on a message: files to fetch later, places and stickers also in words.

use claw_actors::ports::channel::Attachment;

use super::update::{File, Message};

pub(super) fn attachments(message: &Message) -> Vec<Attachment> {
    let mut list = Vec::new();
    let mut add = |kind: &str, file: &File, mime_type: Option<&str>| {
        if !file.file_id.is_empty() {
            list.push(Attachment {
                kind: kind.to_owned(),
                file: file.file_id.clone(),
                mime_type: file.mime_type.clone().or(mime_type.map(str::to_owned)),
                name: file.file_name.clone(),
                size: file.file_size,
            });
        }
    };
    // The same picture in several sizes: the largest is the picture.
    if let Some(photo) = message.photo.iter().max_by_key(|photo| (photo.width, photo.file_size)) {
        add("image", photo, Some("image/jpeg"));
    }
    match (&message.animation, &message.document) {
        (Some(animation), _) => add("video", animation, Some("video/mp4")),
        (None, Some(document)) => add("document", document, None),
        (None, None) => {}
    }
    let files = [
        ("audio", &message.voice, "audio/ogg"),
        ("audio", &message.audio, "audio/mpeg"),
        ("video", &message.video, "video/mp4"),
        ("video", &message.video_note, "video/mp4"),
    ];
    for (kind, file, mime_type) in files {
        if let Some(file) = file {
            add(kind, file, Some(mime_type));
        }
    }
    if let Some(sticker) = &message.sticker {
        let mime_type = match (sticker.is_animated, sticker.is_video) {
            (true, _) => "application/x-tgsticker",
            (false, true) => "video/webm",
            (false, false) => "image/webp",
        };
        add("sticker", sticker, Some(mime_type));
    }
    if let Some(location) = &message.location {
        list.push(Attachment {
            kind: "location".into(),
            file: format!("geo:{},{}", location.latitude, location.longitude),
            mime_type: None,
            name: message.venue.as_ref().map(|venue| venue.title.clone()),
            size: None,
        });
    }
    list
}

/// A location or a sticker in words.
pub(super) fn place(message: &Message) -> Option<String> {
    if let Some(sticker) = &message.sticker {
        return sticker.emoji.clone();
    }
    let location = message.location.as_ref()?;
    let mut text = format!("📍 {}, {}", location.latitude, location.longitude);
    if let Some(venue) = &message.venue {
        text = format!("{text} ({})", [venue.title.as_str(), venue.address.as_str()].join(", "));
    }
    Some(text)
}
