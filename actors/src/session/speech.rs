//! Reading texts aloud, on record whatever comes of it.

use claw_entities::Scope;

use super::budget::{Charge, Payer};
use super::{blobs, budget, side};
use crate::Services;
use crate::config::budgets::Unit;
use crate::error::{Error, Result};
use crate::ports::channel::{FileAbout, FileKind};
use crate::ports::message::Usage;
use crate::ports::speech::{AudioFormat, SpeechRequest};

/// Without a wish: the original's.
const VOICE: &str = "alloy";
const VOICE_OF_ELEVENLABS: &str = "pMsXgVXv3BLzUgSXRplE";
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
