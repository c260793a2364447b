//! What a message brings that its model cannot take, in words: sounds are written down, the text of PDFs is taken out. What
//! cannot be understood is named, and whoever sent it is told why.

mod length;

use std::sync::Arc;

use claw_entities::Scope;
use tokio_util::sync::CancellationToken;

use super::blobs::{self, Whose};
use super::budget::{self, Payer};
use super::turn::Authority;
use super::{asking, side, untrusted};
use crate::Services;
use crate::config::budgets::Unit;
use crate::config::document::HearingSettings;
use crate::error::{Error, Result};
use crate::ports::message::{FileFormat, Part, Usage};
use crate::ports::model::{ErrorClass, Takes};
use crate::ports::speech::{Heard, HearingRequest};

/// Longest sound of the owner's and of a guest's, seconds.
const LONGEST: f64 = 3_600.0;
const LONGEST_OF_GUEST: f64 = 600.0;
/// Sounds of one turn.
const MOST_SOUNDS: usize = 5;
/// Characters of documents in one message, however large the model's window is.
const MOST_TEXT: u64 = 200_000;

const NO_LISTENER: &str = "no speech-to-text is set up";

/// Reads what one message brings.
pub(crate) struct Reader<'a> {
    services: &'a Services,
    authority: &'a Authority,
    stop: &'a CancellationToken,
    /// The model that is named with the message.
    wanted: Option<&'a str>,
    model: Option<Known>,
    sounds: usize,
    /// Why what could not be understood, for the person.
    pub(crate) missed: Vec<String>,
}

/// What counts of the model that answers.
#[derive(Clone, Copy, Debug)]
struct Known {
    takes: Takes,
    /// Characters of documents that the message may still have.
    room: usize,
}

/// What stands for a file.
pub(crate) struct Words {
    /// For the model.
    pub(crate) text: String,
    /// For people who read the conversation, where there is anything to read.
    pub(crate) shown: Option<String>,
}

impl Words {
    pub(crate) fn of(text: String) -> Self {
        Self { text, shown: None }
    }
}

/// A sound as it came.
pub(crate) struct Sound<'a> {
    pub(crate) name: &'a str,
    pub(crate) mime_type: &'a str,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) whose: Whose,
}

/// Are files of this kind understood in this session: by the model itself, or put into words for it.
///
/// # Errors
/// When there is no such model, or none of its keys may be used now.
pub async fn understands(services: &Services, scope: &Scope, takes: Takes, kind: FileFormat) -> Result<bool> {
    Ok(takes.file(kind)
        || match kind {
            FileFormat::Pdf => services.ports.documents().is_some(),
            FileFormat::Wav | FileFormat::Mp3 | FileFormat::Ogg => !services.config.listeners(scope).await?.is_empty(),
        })
}

impl<'a> Reader<'a> {
    /// For a turn whose model is not chosen yet.
    pub(crate) fn new(
        services: &'a Services,
        authority: &'a Authority,
        wanted: Option<&'a str>,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            services,
            authority,
            stop,
            wanted,
            model: None,
            sounds: 0,
            missed: Vec::new(),
        }
    }

    /// For a model that is at work already.
    pub(crate) fn serving(mut self, takes: Takes, context_window: u64) -> Self {
        self.model = Some(Known {
            takes,
            room: room(context_window),
        });
        self
    }

    async fn model(&mut self) -> Result<&mut Known> {
        let known = match self.model.take() {
            Some(known) => known,
            None => {
                let (scope, key) = (&self.authority.scope, self.authority.key.as_str());
                match asking::model(self.services, scope, key, self.wanted).await {
                    Ok(model) => Known {
                        takes: model.takes,
                        room: room(model.context_window),
                    },
                    Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
                    // The turn ends with why: nothing is spent on it before.
                    Err(_) => Known {
                        takes: Takes {
                            images: true,
                            pdf: true,
                            audio: true,
                            ogg: true,
                        },
                        room: 0,
                    },
                }
            }
        };
        Ok(self.model.insert(known))
    }

    /// Words for a stored file that the model does not take. `None`: it takes it.
    pub(crate) async fn stored(&mut self, part: &Part, whose: Whose) -> Result<Option<Words>> {
        let Part::File {
            blob: Some(id),
            mime_type,
            name,
            data: None,
            ..
        } = part
        else {
            return Ok(None);
        };
        let Some(kind) = FileFormat::of_mime_type(mime_type) else {
            return Ok(None);
        };
        if self.model().await?.takes.file(kind) {
            return Ok(None);
        }
        let Some(row) = blobs::read(self.services, &self.authority.scope, id).await? else {
            return Ok(None);
        };
        let called = format!("{name} ({}{id})", blobs::PREFIX);
        if kind == FileFormat::Pdf {
            return self.pdf(name, &called, row.bytes).await.map(Some);
        }
        let sound = Sound {
            name,
            mime_type,
            bytes: Arc::new(row.bytes),
            whose,
        };
        Ok(Some(match self.transcript(&sound).await? {
            Ok(said) => said,
            Err(why) => self.unheard(name, &called, &why),
        }))
    }

    /// Largest sound that somebody may send, bytes.
    pub(crate) async fn largest(&self, whose: Whose) -> Result<usize> {
        let settings = self.services.config.settings(&self.authority.scope).await?;
        Ok(largest(&settings.hearing, whose))
    }

    /// A sound from a chat: as it is for a model that hears it, else in words.
    pub(crate) async fn sound(&mut self, sound: Sound<'_>) -> Result<std::result::Result<Part, Words>> {
        let (services, scope) = (self.services, &self.authority.scope);
        let kind = FileFormat::of(&sound.bytes).filter(|kind| *kind != FileFormat::Pdf);
        if let Some(kind) = kind
            && sound.bytes.len() <= blobs::MAX_FILE
            && self.model().await?.takes.file(kind)
        {
            let bytes = Arc::unwrap_or_clone(sound.bytes);
            return match blobs::file_of(services, scope, sound.whose, sound.name, bytes).await {
                Ok(Some(part)) => Ok(Ok(part)),
                Ok(None) => Ok(Err(self.unheard(sound.name, sound.name, "it is of no known kind"))),
                Err(Error::TooLarge(_)) => Ok(Err(self.unheard(
                    sound.name,
                    sound.name,
                    "the room for stored files is full",
                ))),
                Err(error) => Err(error),
            };
        }
        let why = match self.transcript(&sound).await? {
            Ok(said) => return Ok(Err(said)),
            Err(why) => why,
        };
        // What nobody understood stays, so that it can be listened to later.
        let name = sound.name;
        let bytes = Arc::unwrap_or_clone(sound.bytes);
        let stored = blobs::store_for(services, scope, sound.whose, sound.mime_type, bytes).await;
        let called = match stored {
            Ok(id) => format!("{name} ({}{id})", blobs::PREFIX),
            Err(Error::TooLarge(_)) => name.to_owned(),
            Err(error) => return Err(error),
        };
        Ok(Err(self.unheard(name, &called, &why)))
    }

    /// A note for the model, and one for the person.
    pub(crate) fn unheard(&mut self, name: &str, called: &str, why: &str) -> Words {
        self.missed.push(format!("(I could not listen to {name}: {why}.)"));
        Words::of(format!(
            "[attached: a voice message or sound, {called}, that could not be listened to: {why}. Its sender is told so.]"
        ))
    }

    async fn transcript(&mut self, sound: &Sound<'_>) -> Result<std::result::Result<Words, String>> {
        self.sounds += 1;
        if self.sounds > MOST_SOUNDS {
            return Ok(Err("there are too many sounds in one message".to_owned()));
        }
        let stop = self.stop;
        let heard = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Err("the answer was stopped".to_owned())),
            heard = listen(self.services, self.authority.into(), sound) => heard?,
        };
        Ok(heard.map(|said| {
            let name = sound.name;
            let said = said.trim();
            if said.is_empty() {
                return Words::of(format!("[Audio: {name}]\nNo words are heard in it."));
            }
            // Whoever spoke wrote none of what stands at the beginning of a line.
            let lines = untrusted::neutralise(said).replace('\n', "\n  ");
            Words {
                text: format!("[Audio: {name}]\nTranscript (what was said, written down by a machine):\n  {lines}"),
                shown: Some(said.to_owned()),
            }
        }))
    }

    async fn pdf(&mut self, name: &str, called: &str, bytes: Vec<u8>) -> Result<Words> {
        let tenant = self.authority.scope.tenant().clone();
        let Some(documents) = self.services.ports.documents().cloned() else {
            return Ok(Words::of(format!("[a file {called} that this model cannot read]")));
        };
        let room = self.model().await?.room;
        let read = if room == 0 {
            Err("there is no room for its text beside the other files")
        } else {
            let stop = self.stop;
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Words::of(format!("[a file {called}, not read: the answer was stopped]"))),
                read = documents.pdf(tenant, bytes, room) => read,
            };
            read.map_err(crate::ports::document::Unreadable::reason)
        };
        let document = match read {
            Ok(document) if document.text.is_empty() => Err("it has no text in it, only pictures, as scans have"),
            read => read,
        };
        let document = match document {
            Ok(document) => document,
            Err(why) => {
                self.missed.push(format!("(I could not read {name}: {why}.)"));
                return Ok(Words::of(format!(
                    "[attached: a PDF, {called}, that could not be read: {why}. Its sender is told so.]"
                )));
            }
        };
        let taken = document.text.chars().count();
        let known = self.model().await?;
        known.room = known.room.saturating_sub(taken);
        let mut source = format!("the text of the PDF file {called}, {} pages", document.pages);
        if document.read < document.pages || taken >= room {
            source.push_str(&format!(", of which only the first {} are here", document.read));
        }
        Ok(Words::of(untrusted::wrap(&source, &document.text)))
    }
}

/// Characters that documents may have: a quarter of the window.
fn room(context_window: u64) -> usize {
    usize::try_from(context_window.min(MOST_TEXT)).unwrap_or(0)
}

/// Asks the models that listen, one after the other. The inner error is for the person.
async fn listen(
    services: &Services,
    payer: Payer<'_>,
    sound: &Sound<'_>,
) -> Result<std::result::Result<String, String>> {
    let settings = services.config.settings(payer.scope).await?;
    let hearing = &settings.hearing;
    let largest = largest(hearing, sound.whose);
    let longest = match sound.whose {
        Whose::Owner => LONGEST,
        Whose::Guest => LONGEST_OF_GUEST,
    };
    if sound.bytes.is_empty() {
        return Ok(Err("it is empty".to_owned()));
    }
    if sound.bytes.len() > largest {
        return Ok(Err(too_large(largest)));
    }
    let seconds = length::seconds(&sound.bytes);
    if seconds > longest {
        return Ok(Err(format!("it is longer than {} minutes", (longest / 60.0).round())));
    }
    let mut why = NO_LISTENER.to_owned();
    for model in services.config.listeners(payer.scope).await? {
        let adapter = services.ports.model(&model.api);
        let Some(listener) = adapter.and_then(|adapter| adapter.hearing()) else {
            why = format!("the AI provider {} cannot write down speech", model.provider);
            continue;
        };
        let request = HearingRequest {
            endpoint: model.endpoint.clone(),
            provider: model.provider.clone(),
            model: model.model.clone(),
            sound: Arc::clone(&sound.bytes),
            name: file_name(sound),
            mime_type: sound.mime_type.to_owned(),
            language: hearing.language.clone(),
            prompt: hearing.prompt.clone(),
            timeout: hearing.timeout,
        };
        // Priced by the second, which is no token.
        let hold = match budget::beside(services, payer, &model, whole(seconds), Some(Unit::Money)).await {
            Ok(hold) => hold,
            Err(error @ Error::Budget(_)) => return Ok(Err(lower(&budget::sentence(error)))),
            Err(error) => return Err(error),
        };
        let outcome = listener.hear(request).await;
        let used = outcome.as_ref().map(|heard| Usage {
            input: whole(heard.seconds.unwrap_or(seconds)),
            ..Usage::default()
        });
        side::record(services, payer.scope, &model, used).await;
        if let Some(hold) = hold {
            hold.answered(used).await;
        }
        match outcome {
            Ok(Heard { text, .. }) => return Ok(Ok(text.chars().take(hearing.longest).collect())),
            // Whoever comes next would say the same of the sound.
            Err(error) if error.class == ErrorClass::Format => return Ok(Err(lower(&error.message))),
            Err(error) => why = lower(&error.message),
        }
    }
    Ok(Err(why))
}

/// A guest's sound costs the owner: a quarter of what they may send themselves.
fn largest(hearing: &HearingSettings, whose: Whose) -> usize {
    match whose {
        Whose::Owner => hearing.largest,
        Whose::Guest => hearing.largest / 4,
    }
}

/// For people.
pub(crate) fn too_large(largest: usize) -> String {
    format!("it is larger than {} MB", largest.div_ceil(1 << 20))
}

/// In whole units, one at least.
fn whole(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what both can hold"
    )]
    let whole = seconds.ceil().clamp(1.0, 1e9) as u64;
    whole
}

/// A name with an end by which services tell the format.
fn file_name(sound: &Sound<'_>) -> String {
    let end = match sound.mime_type.split(';').next().unwrap_or_default().trim() {
        "audio/ogg" | "audio/opus" => "ogg",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mp4" | "audio/x-m4a" | "audio/m4a" | "audio/aac" => "m4a",
        "audio/webm" => "webm",
        "audio/flac" | "audio/x-flac" => "flac",
        _ => match FileFormat::of(&sound.bytes) {
            Some(FileFormat::Ogg) => "ogg",
            Some(FileFormat::Mp3) => "mp3",
            Some(FileFormat::Wav) => "wav",
            Some(FileFormat::Pdf) | None => sound.name.rsplit_once('.').map_or("ogg", |(_, end)| end),
        },
    };
    let end: String = end.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("audio.{end}")
}

/// A sentence as part of another one.
fn lower(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut letters = sentence.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        Some(_) | None => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_has_a_name_by_which_its_format_is_told() {
        let check = |mime_type: &str, name: &str, bytes: &[u8], expected: &str| {
            let sound = Sound {
                name,
                mime_type,
                bytes: Arc::new(bytes.to_vec()),
                whose: Whose::Owner,
            };
            assert_eq!(file_name(&sound), expected, "{mime_type} {name}");
        };
        check("audio/ogg; codecs=opus", "file", b"", "audio.ogg");
        check("audio/mp4", "audio_message.m4a", b"", "audio.m4a");
        check("application/octet-stream", "x", b"RIFF\0\0\0\0WAVE", "audio.wav");
        check("audio/amr", "note.a\"mr", b"", "audio.amr");
    }

    #[test]
    fn sentences_become_parts_of_sentences() {
        assert_eq!(lower("The AI provider is away."), "the AI provider is away");
        assert_eq!(lower("AI is away"), "AI is away");
        assert_eq!(lower(""), "");
    }
}
