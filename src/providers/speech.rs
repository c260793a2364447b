//! Texts read aloud: `/audio/speech` as OpenAI has it and everybody compatible, and ElevenLabs' `/text-to-speech`.

use claw_actors::ports::model::ModelError;
use claw_actors::ports::speech::{AudioFormat, SpeechRequest};
use reqwest::Method;
use serde_json::json;

use super::embeddings::beside;
use super::errors::Failure;
use super::once::Callee;
use crate::egress::{Egress, Purpose};

/// Largest sound, bytes: minutes of it.
const LARGEST: usize = 16 * 1024 * 1024;

/// In the provider's dialect.
pub(super) async fn speak(egress: Egress, wish: SpeechRequest) -> Result<Vec<u8>, ModelError> {
    let callee = Callee {
        endpoint: &wish.endpoint,
        provider: &wish.provider,
        model: &wish.model,
    };
    let key = wish.endpoint.api_key.as_ref().filter(|key| !key.is_empty());
    let post = |url: &str| egress.request(Purpose::Configured, Method::POST, url);
    let request = if wish.provider == "elevenlabs" {
        let base = wish.endpoint.base_url.trim().trim_end_matches('/');
        // A voice is a part of a path of its own.
        let voice: String = wish.voice.chars().filter(char::is_ascii_alphanumeric).collect();
        let format = match wish.format {
            AudioFormat::Mp3 => "mp3_44100_128",
            AudioFormat::Opus => "opus_48000_64",
        };
        let body = json!({"text": wish.text, "model_id": wish.model});
        let request = post(&format!("{base}/text-to-speech/{voice}?output_format={format}"));
        request.map(|request| match key {
            Some(key) => request.json(&body).header("xi-api-key", key.expose()),
            None => request.json(&body),
        })
    } else {
        let body = json!({
            "model": wish.model, "voice": wish.voice, "input": wish.text, "response_format": wish.format.name(),
        });
        let request = post(&beside(&wish.endpoint.base_url, "/audio/speech"));
        request.map(|request| match key {
            Some(key) => request.json(&body).bearer(key),
            None => request.json(&body),
        })
    };
    let answer = callee
        .send(request.map(|request| request.timeout(wish.timeout).max_body(LARGEST)))
        .await?;
    let is_text = |kind: &str| kind.starts_with("text/") || kind.starts_with("application/json");
    if answer.body.is_empty() || answer.header("content-type").is_some_and(is_text) {
        return Err(callee.error(Failure::garbage("no sound")));
    }
    Ok(answer.body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use claw_actors::crypto::Secret;
    use claw_actors::ports::model::{Endpoint, ErrorClass, ModelProvider};

    use super::*;
    use crate::egress::testing::{FakeServer, Reply, Seen};
    use crate::providers::openai::ChatCompletions;

    async fn spoken(reply: Reply) -> (Result<Vec<u8>, ModelError>, serde_json::Value) {
        let (spoken, seen) = spoken_by("acme", reply).await;
        assert_eq!(seen.path, "/v1/audio/speech");
        assert_eq!(seen.header("authorization"), Some("Bearer sk-test-0123456789"));
        (spoken, seen.json())
    }

    async fn spoken_by(provider: &str, reply: Reply) -> (Result<Vec<u8>, ModelError>, Seen) {
        let server = FakeServer::start(move |_| reply.clone()).await;
        let adapter = ChatCompletions::new(FakeServer::egress());
        let request = SpeechRequest {
            endpoint: Endpoint {
                base_url: server.url("/v1"),
                api_key: Some(Secret::new("sk-test-0123456789")),
                headers: Vec::new(),
            },
            provider: provider.to_owned(),
            model: "tts".to_owned(),
            voice: "alloy".to_owned(),
            text: "hello".to_owned(),
            format: AudioFormat::Opus,
            timeout: Duration::from_secs(20),
        };
        let spoken = adapter.speech().expect("it can").speak(request).await;
        (spoken, server.seen().remove(0))
    }

    #[tokio::test]
    async fn elevenlabs_has_a_dialect_of_its_own() {
        let sound = Reply::Full(200, vec![("content-type", "audio/ogg".to_owned())], b"OggS".to_vec());
        let (spoken, seen) = spoken_by("elevenlabs", sound).await;
        assert_eq!(spoken.expect("speaks"), b"OggS");
        assert_eq!(seen.path, "/v1/text-to-speech/alloy?output_format=opus_48000_64");
        assert_eq!(
            (seen.header("xi-api-key"), seen.header("authorization")),
            (Some("sk-test-0123456789"), None)
        );
        assert_eq!(seen.json(), json!({"text": "hello", "model_id": "tts"}));
    }

    #[tokio::test]
    async fn a_text_becomes_sound_and_nothing_else_does() {
        let sound = Reply::Full(200, vec![("content-type", "audio/ogg".to_owned())], b"OggS".to_vec());
        let (spoken_bytes, body) = spoken(sound).await;
        assert_eq!(spoken_bytes.expect("speaks"), b"OggS");
        let expected = json!({"model": "tts", "voice": "alloy", "input": "hello", "response_format": "opus"});
        assert_eq!(body, expected);
        let (error, _) = spoken(Reply::json(200, &json!({"ok": true}))).await;
        assert_eq!(error.expect_err("no sound").class, ErrorClass::Format);
        let (error, _) = spoken(Reply::text(429, "slow down")).await;
        assert_eq!(error.expect_err("refused").class, ErrorClass::RateLimit);
    }
}
