//! Sending files: pictures, voice messages, sounds, films, and everything else as a document.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Delivered, Delivery, FileKind, OutFile};
use serde_json::json;

use super::Telegram;
use super::outbound::{chat_id, message_id, sending_thread};
use crate::multipart::Form;

const LIMIT: Duration = Duration::from_secs(120);
/// Largest file of `sendDocument`, and picture of `sendPhoto` (<https://core.telegram.org/bots/api#sending-files>).
pub(super) const LARGEST: usize = 50 * 1024 * 1024;
const LARGEST_PHOTO: usize = 10 * 1024 * 1024;
/// Longest caption, characters.
const CAPTION: usize = 1_024;
/// The picture is one that Telegram does not show as such.
const NO_PHOTO: [&str; 3] = [
    "photo_invalid_dimensions",
    "image_process_failed",
    "photo_save_file_invalid",
];

impl Telegram {
    pub(super) async fn send_file(
        &self,
        account: &Account,
        delivery: &Delivery,
        file: &OutFile,
    ) -> Result<Delivered, DeliverError> {
        let (method, field) = method(file);
        let mut sent = self.upload(account, delivery, file, (method, field)).await;
        if method == "sendPhoto" && sent.as_ref().is_err_and(|trouble| trouble.says(&NO_PHOTO)) {
            sent = self.upload(account, delivery, file, ("sendDocument", "document")).await;
        }
        Ok(Delivered {
            message_id: message_id(&sent?),
        })
    }

    async fn upload(
        &self,
        account: &Account,
        delivery: &Delivery,
        file: &OutFile,
        (method, field): (&str, &str),
    ) -> Result<serde_json::Value, super::api::Trouble> {
        let to = &delivery.to;
        let chat = chat_id(to);
        let mut form = Form::new().text("chat_id", chat.as_str().unwrap_or(&chat.to_string()));
        if let Some(thread) = sending_thread(to) {
            form = form.text("message_thread_id", &thread.to_string());
        }
        if let Some(reply_to) = to.reply_to.as_deref().and_then(|id| id.parse::<i64>().ok()) {
            let reply = json!({"message_id": reply_to, "allow_sending_without_reply": true});
            form = form.text("reply_parameters", &reply.to_string());
        }
        let caption: String = delivery.piece.plain.chars().take(CAPTION).collect();
        if !caption.is_empty() {
            form = form.text("caption", &caption);
        }
        let (kind, body) = form.file(field, file);
        self.call_with(account, method, LIMIT, |request| request.body(body, &kind))
            .await
    }
}

/// Which method shows the file, and what it calls it.
fn method(file: &OutFile) -> (&'static str, &'static str) {
    let mime_type = file.about.mime_type.as_str();
    match file.about.kind {
        FileKind::Image if file.bytes.len() <= LARGEST_PHOTO && mime_type != "image/gif" => ("sendPhoto", "photo"),
        FileKind::Image if mime_type == "image/gif" => ("sendAnimation", "animation"),
        FileKind::Voice => ("sendVoice", "voice"),
        FileKind::Audio if matches!(mime_type, "audio/mpeg" | "audio/mp4" | "audio/x-m4a") => ("sendAudio", "audio"),
        FileKind::Video if mime_type == "video/mp4" => ("sendVideo", "video"),
        FileKind::Image | FileKind::Audio | FileKind::Video | FileKind::Document => ("sendDocument", "document"),
    }
}
