//! Reading a text aloud, into the chat the run is in or for whoever asks.

use serde_json::{Value, json};

use super::message::MessageWish;
use super::{Reach, Refusal};
use crate::ports::speech::AudioFormat;
use crate::session::blobs;
use crate::session::speech::{self, Spoken};

impl Reach {
    /// Reads the text aloud. In a chat it goes out as a voice message, where the platform has them; else it is stored, and
    /// the answer says where.
    pub async fn speak(&self, text: &str, channel: Option<&str>) -> Result<Value, Refusal> {
        let run = &self.0;
        if !run.owner {
            return Err(super::look::NOT_YOURS.to_owned());
        }
        let services = run.directory.services();
        let here = run.place.as_ref().map(|place| place.channel.as_str());
        let target = channel.map(str::trim).filter(|channel| !channel.is_empty()).or(here);
        let voice = target
            .and_then(|channel| services.ports.channel(channel))
            .and_then(|channel| channel.files())
            .is_some_and(|files| files.has_voice());
        if here.is_some() && here == target {
            // Speech is paid for: not for a chat it cannot go to.
            self.may_send_file(&MessageWish::default()).await?;
        }
        let format = if voice { AudioFormat::Opus } else { AudioFormat::Mp3 };
        let Spoken { about, provider } = speech::spoken_for(services, (&run.authority).into(), text, format)
            .await
            .map_err(super::away)?;
        let stored = format!("{}{}", blobs::PREFIX, about.blob);
        if here.is_none() || here != target {
            return Ok(json!({"ok": true, "provider": provider, "audio": stored, "sent": false}));
        }
        let sent = self.message(MessageWish {
            file: Some(about),
            ..MessageWish::default()
        });
        let sent = sent.await?;
        Ok(json!({"ok": true, "provider": provider, "audio": stored, "sent": true, "target": sent["target"]}))
    }
}
