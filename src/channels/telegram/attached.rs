//! What hangs on a message: files to fetch later, places and stickers also in words.

use claw_actors::ports::channel::Attachment;

use super::update::{File, Media};

pub(super) fn attachments(media: &Media) -> Vec<Attachment> {
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
    if let Some(photo) = media.photo.iter().max_by_key(|photo| (photo.width, photo.file_size)) {
        add("image", photo, Some("image/jpeg"));
    }
    match (&media.animation, &media.document) {
        (Some(animation), _) => add("video", animation, Some("video/mp4")),
        (None, Some(document)) => add("document", document, None),
        (None, None) => {}
    }
    let files = [
        ("audio", &media.voice, "audio/ogg"),
        ("audio", &media.audio, "audio/mpeg"),
        ("video", &media.video, "video/mp4"),
        ("video", &media.video_note, "video/mp4"),
    ];
    for (kind, file, mime_type) in files {
        if let Some(file) = file {
            add(kind, file, Some(mime_type));
        }
    }
    if let Some(sticker) = &media.sticker {
        let mime_type = match (sticker.is_animated, sticker.is_video) {
            (true, _) => "application/x-tgsticker",
            (false, true) => "video/webm",
            (false, false) => "image/webp",
        };
        add("sticker", sticker, Some(mime_type));
    }
    if let Some(location) = &media.location {
        list.push(Attachment {
            kind: "location".into(),
            file: format!("geo:{},{}", location.latitude, location.longitude),
            mime_type: None,
            name: media.venue.as_ref().map(|venue| venue.title.clone()),
            size: None,
        });
    }
    list
}

/// A location or a sticker in words.
pub(super) fn place(media: &Media) -> Option<String> {
    if let Some(sticker) = &media.sticker {
        return sticker.emoji.clone();
    }
    let location = media.location.as_ref()?;
    let mut text = format!("📍 {}, {}", location.latitude, location.longitude);
    if let Some(venue) = &media.venue {
        text = format!("{text} ({})", [venue.title.as_str(), venue.address.as_str()].join(", "));
    }
    Some(text)
}
