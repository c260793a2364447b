//! Reading texts aloud, on record whatever comes of it; whose voice it is, and `/tts` as far as it is about that.

use claw_entities::Scope;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::budget::{Charge, Payer};
use super::commands::SpeechCommand;
use super::item::Item;
use super::turn::Authority;
use super::{blobs, budget, side};
use crate::Services;
use crate::config::budgets::Unit;
use crate::config::providers::ResolvedModel;
use crate::error::{Error, Result};
use crate::ports::channel::{FileAbout, FileKind};
use crate::ports::message::Usage;
use crate::ports::speech::{AudioFormat, SpeechRequest};

/// Without a wish: the original's.
const VOICE: &str = "alloy";
const VOICE_OF_ELEVENLABS: &str = "pMsXgVXv3BLzUgSXRplE";
/// Characters that the longest text may have, as the original.
const LIMITS: std::ops::RangeInclusive<u64> = 100..=4_096;
const MISSING: &str = "no speech model is configured: add an AI provider that has one, or set messages.tts";

/// A text as sound, stored for the user.
pub(crate) struct Spoken {
    pub(crate) about: FileAbout,
    pub(crate) provider: String,
}

/// Reads the text aloud and stores it, in no run: the user pays, and their first agent.
///
/// # Errors
/// [`Error::Invalid`] where the text or the settings do not fit, [`Error::Upstream`] where the provider failed,
/// [`Error::Budget`] at a spending limit.
pub(crate) async fn spoken(services: &Services, scope: &Scope, text: &str, format: AudioFormat) -> Result<Spoken> {
    let settings = services.config.settings(scope).await?;
    let payer = Payer {
        scope,
        agent_id: &settings.default_agent,
        charge: &Charge::default(),
    };
    spoken_for(services, payer, text, format).await
}

/// As [`spoken`], paid for by whoever pays for the run.
pub(crate) async fn spoken_for(
    services: &Services,
    payer: Payer<'_>,
    text: &str,
    format: AudioFormat,
) -> Result<Spoken> {
    let scope = payer.scope;
    let settings = services.config.settings(scope).await?;
    let speech = &settings.speech;
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > speech.longest {
        return Err(Error::Invalid(format!("a text has 1 to {} characters", speech.longest)));
    }
    let model = services.config.speaker(scope).await?;
    let model = model.ok_or_else(|| Error::invalid(MISSING))?;
    let adapter = services.ports.model(&model.api);
    let Some(speaker) = adapter.and_then(|adapter| adapter.speech()) else {
        return Err(Error::Invalid(format!(
            "the AI provider {} cannot read aloud",
            model.provider
        )));
    };
    let request = SpeechRequest {
        endpoint: model.endpoint.clone(),
        provider: model.provider.clone(),
        model: model.model.clone(),
        voice: speech.voice.clone().unwrap_or_else(|| {
            let usual = if model.provider == "elevenlabs" {
                VOICE_OF_ELEVENLABS
            } else {
                VOICE
            };
            usual.to_owned()
        }),
        text: text.to_owned(),
        format,
        timeout: speech.timeout,
    };
    // Priced by its characters, which are no tokens.
    let money = Some(Unit::Money);
    let hold = budget::beside(services, payer, &model, length as u64, money).await?;
    let outcome = speaker.speak(request).await;
    let used = outcome.as_ref().map(|_| Usage {
        input: length as u64,
        ..Usage::default()
    });
    side::record(services, scope, &model, used).await;
    if let Some(hold) = hold {
        hold.answered(used).await;
    }
    let sound = outcome.map_err(|error| Error::Upstream(error.message))?;
    let blob = blobs::store(services, scope, format.mime_type(), sound).await?;
    let kind = match format {
        AudioFormat::Opus => FileKind::Voice,
        AudioFormat::Mp3 => FileKind::Audio,
    };
    Ok(Spoken {
        about: FileAbout {
            blob,
            kind,
            name: format!("speech.{}", format.extension()),
            mime_type: format.mime_type().to_owned(),
        },
        provider: model.provider,
    })
}

/// A provider that may read aloud.
pub(crate) struct Voice {
    pub(crate) provider: String,
    /// It is set up, and its kind can.
    pub(crate) ready: bool,
}

/// All that may be chosen, the chosen one first.
pub(crate) async fn voices(services: &Services, scope: &Scope) -> Result<Vec<Voice>> {
    let speakers = services.config.speakers(scope).await?;
    let voice = |(provider, model): (String, Option<ResolvedModel>)| Voice {
        provider,
        ready: model.is_some_and(|model| {
            let adapter = services.ports.model(&model.api);
            adapter.is_some_and(|adapter| adapter.speech().is_some())
        }),
    };
    Ok(speakers.into_iter().map(voice).collect())
}

/// Has another provider read aloud in all sessions. Gives its name.
///
/// # Errors
/// [`Error::Invalid`] for one that cannot.
pub(crate) async fn choose(services: &Services, scope: &Scope, wanted: &str) -> Result<String> {
    let voices = voices(services, scope).await?;
    let wanted = wanted.trim().to_lowercase();
    let ready = |voice: &&Voice| voice.ready;
    if !voices.iter().filter(ready).any(|voice| voice.provider == wanted) {
        let names: Vec<&str> = voices
            .iter()
            .filter(ready)
            .map(|voice| voice.provider.as_str())
            .collect();
        return Err(Error::Invalid(if names.is_empty() {
            MISSING.to_owned()
        } else {
            format!("Invalid provider. Use {}.", names.join(", "))
        }));
    }
    services.config.set_speech(scope, "provider", json!(wanted)).await?;
    Ok(wanted)
}

/// Has all answers read aloud, or none, in all sessions that do not say so themselves.
///
/// # Errors
/// [`Error::Invalid`] where nobody can read aloud.
pub(crate) async fn enable(services: &Services, scope: &Scope, on: bool) -> Result<()> {
    if on && !voices(services, scope).await?.first().is_some_and(|voice| voice.ready) {
        return Err(Error::invalid(MISSING));
    }
    let auto = if on { "always" } else { "off" };
    services.config.set_speech(scope, "auto", json!(auto)).await
}

/// Whose voice it is, and what is read of a long answer, for people.
pub(crate) async fn told(services: &Services, scope: &Scope) -> Result<String> {
    let voices = voices(services, scope).await?;
    let longest = services.config.settings(scope).await?.speech.longest;
    Ok(voices.first().map_or_else(String::new, |voice| {
        let ready = if voice.ready { "ready" } else { "not set up" };
        format!("Voice: {} ({ready}). Limit: {longest} characters.", voice.provider)
    }))
}

/// `/tts provider`, `limit` and `summary`.
pub(crate) async fn carry_out(services: &Services, scope: &Scope, item: &Item, said: &SpeechCommand) -> Result<String> {
    if !item.guest.is_empty() {
        return Ok("Only the owner may change that.".to_owned());
    }
    Ok(match said {
        SpeechCommand::Provider(None) => {
            let voices = voices(services, scope).await?;
            let line = |voice: &Voice| {
                let ready = if voice.ready { "ready" } else { "not set up" };
                format!("{} ({ready})", voice.provider)
            };
            let others: Vec<String> = voices.iter().skip(1).map(line).collect();
            let chosen = voices.first().map(line).unwrap_or_default();
            format!(
                "Voice: {chosen}. There are {}. To change it: /tts provider <name>",
                others.join(", ")
            )
        }
        SpeechCommand::Provider(Some(wanted)) => match choose(services, scope, wanted).await {
            Ok(chosen) => format!("Voice set to {chosen}."),
            Err(Error::Invalid(why)) => why,
            Err(error) => return Err(error),
        },
        SpeechCommand::Limit(None) => {
            let longest = services.config.settings(scope).await?.speech.longest;
            format!("At most {longest} characters of an answer are read aloud. To change it: /tts limit <number>")
        }
        SpeechCommand::Limit(Some(wanted)) => match wanted.parse().ok().filter(|wanted| LIMITS.contains(wanted)) {
            Some(limit) => {
                services.config.set_speech(scope, "maxTextLength", json!(limit)).await?;
                format!("At most {limit} characters of an answer are read aloud.")
            }
            None => format!(
                "The limit is between {} and {} characters.",
                LIMITS.start(),
                LIMITS.end()
            ),
        },
        SpeechCommand::Summary => {
            "Long answers are not summarised before they are read aloud: they end at the limit (/tts limit).".to_owned()
        }
        // It is more than a text.
        SpeechCommand::Audio(_) => String::new(),
    })
}

/// `/tts audio`: the text as sound for this chat, or where a client finds it; else why not.
pub(crate) async fn aloud(
    services: &Services,
    authority: &Authority,
    item: &Item,
    text: &str,
    stop: &CancellationToken,
) -> Result<std::result::Result<Spoken, String>> {
    if !item.guest.is_empty() {
        return Ok(Err("Only the owner may have texts read aloud.".to_owned()));
    }
    if text.is_empty() {
        return Ok(Err("What should I read aloud? /tts audio <text>".to_owned()));
    }
    let channel = item.destination.as_ref().map(|to| services.ports.channel(&to.channel));
    let files = channel.flatten().and_then(|channel| channel.files());
    // Speech is paid for: not for a chat it cannot go to.
    if item.destination.is_some() && files.is_none() {
        return Ok(Err("This chat takes no sound.".to_owned()));
    }
    let voice = files.is_some_and(|files| files.has_voice());
    let format = if voice { AudioFormat::Opus } else { AudioFormat::Mp3 };
    let spoken = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Err("Stopped.".to_owned())),
        spoken = spoken_for(services, authority.into(), text, format) => spoken,
    };
    match spoken {
        Ok(spoken) => Ok(Ok(spoken)),
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => Err(error),
        Err(error) => Ok(Err(format!("I could not read that aloud: {error}"))),
    }
}
