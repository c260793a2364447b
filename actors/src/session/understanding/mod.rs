//! What a message brings that its model cannot take, in words: sounds are written down, the text of PDFs is taken out. What
//! cannot be understood is named, and whoever sent it is told why.

mod attempts;
mod length;
mod places;

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, UserOwned, transcript_entry};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::places::Place;
use super::blobs::{self, Whose};
use super::budget::{self, Hold, Payer};
use super::turn::{Authority, Turn};
use super::{asking, side, untrusted};
use crate::Services;
use crate::config::budgets::Unit;
use crate::config::document::HearingSettings;
use crate::config::providers::ResolvedModel;
use crate::conversation::entry::{Body, Columns};
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::document::Pages;
use crate::ports::message::{FileFormat, Part, Usage};
use crate::ports::model::{ErrorClass, ModelError, Takes};
use crate::ports::speech::{Heard, HearingRequest};

/// Longest sound of the owner's and of a guest's, seconds.
const LONGEST: f64 = 3_600.0;
const LONGEST_OF_GUEST: f64 = 600.0;
/// Sounds of one turn.
const MOST_SOUNDS: usize = 5;
/// Characters of documents in one message, however large the model's window is.
const MOST_TEXT: u64 = 200_000;

/// How long the understanding of one turn's message may take.
const PATIENCE: Duration = Duration::from_secs(180);

const STOPPED: &str = "the answer was stopped";
const TOO_LONG: &str = "it took too long";
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
    /// What is not understood by then is left out.
    until: Instant,
    /// Inbox rows whose attempt counts before somebody is paid, and whether it does by now.
    rows: Vec<String>,
    counted: bool,
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
            FileFormat::Wav | FileFormat::Mp3 | FileFormat::Ogg => {
                let listeners = services.config.listeners(scope).await?;
                listeners.iter().flatten().any(|model| {
                    let adapter = services.ports.model(&model.api);
                    adapter.is_some_and(|adapter| adapter.hearing().is_some())
                })
            }
        })
}

/// Is it worth to do the same again later: the database is away, another process serves the user, too much goes on.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Storage(_) | Error::Fenced | Error::Busy { .. })
}

/// What an earlier attempt at a turn did not understand of what these inbox rows brought. Each row's entry has its id.
pub(crate) async fn missed_before(
    services: &Services,
    scope: &Scope,
    head: &SessionHead,
    rows: Vec<String>,
) -> Result<Vec<String>> {
    let view = services.db.glance(scope).await?;
    let query = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Id.is_in(rows))
        .order_by_asc(transcript_entry::Column::Seq);
    let entries = Columns::of(query).all(&view).await?;
    let bodies = entries.into_iter().filter_map(|columns| match columns.entry()?.body {
        Body::Message(body) => Some(body.missed),
        Body::Compaction(_)
        | Body::BranchSummary(_)
        | Body::CustomMessage(_)
        | Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => None,
    });
    Ok(bodies.flatten().collect())
}

impl<'a> Reader<'a> {
    /// For a turn that has not begun. What is paid for counts as an attempt of it.
    pub(crate) fn of(
        services: &'a Services,
        authority: &'a Authority,
        turn: &'a Turn,
        stop: &'a CancellationToken,
    ) -> Self {
        let wanted = turn.last().options.model.as_deref();
        Self {
            rows: turn.inbox_ids(),
            ..Self::new(services, authority, wanted, stop)
        }
    }

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
            until: Instant::now() + PATIENCE,
            rows: Vec::new(),
            counted: false,
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

    /// The turn has begun, which counted the attempt again. Gives what was missed.
    pub(crate) async fn begun(self) -> Vec<String> {
        if self.counted
            && let Err(error) = attempts::change(self.services, self.authority, &self.rows, -1).await
        {
            tracing::warn!(error = ?error, "an attempt was counted twice");
        }
        self.missed
    }

    /// Without it, a message that ends the process, or that cannot be stored, would be paid for again and again.
    async fn count_attempt(&mut self) -> Result<()> {
        if !self.counted && !self.rows.is_empty() {
            attempts::change(self.services, self.authority, &self.rows, 1).await?;
            self.counted = true;
        }
        Ok(())
    }

    /// Waits for something as long as there is time. The error is why not, for people.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> std::result::Result<T, &'static str> {
        if Instant::now() >= self.until {
            return Err(TOO_LONG);
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(STOPPED),
            done = tokio::time::timeout_at(self.until, work) => done.map_err(|_| TOO_LONG),
        }
    }

    /// Room for a sound of this size in memory. It is taken before the sound is there.
    pub(crate) async fn place(&self, bytes: usize) -> std::result::Result<Place, &'static str> {
        let place = places::take(self.authority.scope.tenant(), bytes);
        self.in_time(place).await?.ok_or(TOO_LONG)
    }

    /// What a small text file says, where there is room for it.
    pub(crate) async fn text(&mut self, name: &str, text: &str) -> Result<Words> {
        let name = blobs::plain_name(name);
        let known = self.model().await?;
        let Some(room) = known.room.checked_sub(text.chars().count()) else {
            let why = "there is no room for its text beside the other files";
            self.missed.push(format!("(I could not read {name}: {why}.)"));
            return Ok(Words::of(format!(
                "[attached: the text file {name}, left out: {why}. Its sender is told so.]"
            )));
        };
        known.room = room;
        Ok(Words::of(untrusted::wrap(&format!("the text file {name}"), text)))
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
                    Err(error @ (Error::Storage(_) | Error::Fenced)) => return Err(error),
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
        let called = format!("{name} ({}{id})", blobs::PREFIX);
        let _place = match kind {
            FileFormat::Pdf => None,
            FileFormat::Wav | FileFormat::Mp3 | FileFormat::Ogg => match self.place(blobs::MAX_FILE).await {
                Ok(place) => Some(place),
                Err(why) => return Ok(Some(self.unheard(name, &called, why))),
            },
        };
        let Some(row) = blobs::read(self.services, &self.authority.scope, id).await? else {
            return Ok(None);
        };
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
                Err(error) if is_passing(&error) => Err(error),
                Err(error) => {
                    tracing::warn!(error = ?error, "a sound was not stored");
                    Ok(Err(self.unheard(sound.name, sound.name, "it could not be stored")))
                }
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
            Err(error) if is_passing(&error) => return Err(error),
            // No room, as a rule.
            Err(_) => name.to_owned(),
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
        let heard = match Box::pin(self.listen(sound)).await {
            Ok(heard) => heard,
            Err(error) if is_passing(&error) => return Err(error),
            // The words beside it are answered all the same.
            Err(error) => {
                tracing::warn!(error = ?error, "a sound was not listened to");
                Err("something went wrong inside".to_owned())
            }
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

    /// Asks the models that listen, one after the other. The inner error is for the person.
    async fn listen(&mut self, sound: &Sound<'_>) -> Result<std::result::Result<String, String>> {
        let (services, payer) = (self.services, Payer::from(self.authority));
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
        let stated = length::stated(&sound.bytes);
        if stated.is_some_and(|seconds| seconds > longest) {
            return Ok(Err(format!("it is longer than {} minutes", (longest / 60.0).round())));
        }
        let seconds = stated.unwrap_or_else(|| length::guessed(&sound.bytes));
        let mut why = NO_LISTENER.to_owned();
        for model in services.config.listeners(payer.scope).await? {
            let model = match model {
                Ok(model) => model,
                Err(mistake) => {
                    why = lower(&mistake);
                    continue;
                }
            };
            let adapter = services.ports.model(&model.api);
            let Some(listener) = adapter.and_then(|adapter| adapter.hearing()) else {
                why = format!("the AI provider {} cannot write down speech", model.provider);
                continue;
            };
            // Guests run past no limit of the owner's.
            if sound.whose == Whose::Guest && !model.priced && is_limited(services, payer).await? {
                why = format!(
                    "there is a spending limit, and nobody has said what {} costs",
                    model.provider
                );
                continue;
            }
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
            self.count_attempt().await?;
            // Priced by the second, which is no token.
            let hold = budget::beside(services, payer, &model, whole(seconds), Some(Unit::Money));
            let hold = match self.in_time(Box::pin(hold)).await {
                Ok(Ok(hold)) => hold,
                Ok(Err(error)) if is_passing(&error) => return Err(error),
                Ok(Err(error)) => return Ok(Err(lower(&budget::sentence(error)))),
                Err(ended) => return Ok(Err(ended.to_owned())),
            };
            let outcome = match self.in_time(listener.hear(request)).await {
                Ok(outcome) => outcome,
                Err(ended) => {
                    self.gave_up(&model, whole(seconds), hold).await;
                    return Ok(Err(ended.to_owned()));
                }
            };
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
                Err(error) if is_about_the_sound(&error) => return Ok(Err(lower(&error.message))),
                Err(error) => why = lower(&error.message),
            }
        }
        Ok(Err(why))
    }

    /// Nobody waits for the call any more. It counts as estimated, and says nothing of its key.
    async fn gave_up(&self, model: &ResolvedModel, seconds: u64, hold: Option<Hold>) {
        let used = Ok(Usage {
            input: seconds,
            ..Usage::default()
        });
        let mut nameless = model.clone();
        nameless.key.clear();
        side::record(self.services, &self.authority.scope, &nameless, used).await;
        if let Some(hold) = hold {
            hold.answered(used).await;
        }
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
            match self.in_time(documents.pdf(tenant, bytes, room, Pages::default())).await {
                Ok(read) => read.map_err(crate::ports::document::Unreadable::reason),
                Err(why) => Err(why),
            }
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

/// Does a limit in money apply to whoever pays.
async fn is_limited(services: &Services, payer: Payer<'_>) -> Result<bool> {
    let budgets = services.config.budgets(payer.scope.tenant_scope()).await?;
    let mut agents: Vec<&str> = payer.charge.agents.iter().map(String::as_str).collect();
    agents.push(payer.agent_id);
    let limits = budgets.of_call(payer.scope.user(), &agents, payer.charge.job.as_deref());
    Ok(limits.iter().any(|limit| limit.unit == Unit::Money))
}

/// Is it the sound that the service does not take: whoever comes next would say the same of it.
fn is_about_the_sound(error: &ModelError) -> bool {
    error.class == ErrorClass::Format && matches!(error.status, Some(400 | 413 | 415))
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
    use crate::ports::message::AssistantMessage;

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
    fn only_what_is_about_the_sound_ends_the_asking() {
        let check = |class: ErrorClass, status: Option<u16>, expected: bool| {
            let error = ModelError {
                class,
                message: String::new(),
                detail: String::new(),
                status,
                retry_after: None,
                partial: AssistantMessage::default(),
            };
            assert_eq!(is_about_the_sound(&error), expected, "{class:?} {status:?}");
        };
        for status in [400, 413, 415] {
            check(ErrorClass::Format, Some(status), true);
        }
        check(ErrorClass::Format, Some(404), false);
        check(ErrorClass::Format, Some(422), false);
        // An answer that is no transcript.
        check(ErrorClass::Format, None, false);
        check(ErrorClass::ModelNotFound, Some(400), false);
        check(ErrorClass::RateLimit, Some(413), false);
    }

    #[test]
    fn sentences_become_parts_of_sentences() {
        assert_eq!(lower("The AI provider is away."), "the AI provider is away");
        assert_eq!(lower("AI is away"), "AI is away");
        assert_eq!(lower(""), "");
    }
}
