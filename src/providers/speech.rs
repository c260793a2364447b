//! Texts read aloud: `/audio/speech` as OpenAI has it and everybody compatible.

use claw_actors::ports::model::ModelError;
use claw_actors::ports::speech::SpeechRequest;
use reqwest::Method;
use serde_json::json;

use super::embeddings::beside;
use super::errors::Failure;
use super::once::Callee;
use crate::egress::{Egress, Purpose};

/// Largest sound, bytes: minutes of it.
const LARGEST: usize = 16 * 1024 * 1024;

/// `{base}/audio/speech`.
pub(super) async fn openai(egress: Egress, wish: SpeechRequest) -> Result<Vec<u8>, ModelError> {
    let callee = Callee {
        endpoint: &wish.endpoint,
        provider: &wish.provider,
        model: &wish.model,
    };
    let url = beside(&wish.endpoint.base_url, "/audio/speech");
    let body = json!({
        "model": wish.model, "voice": wish.voice, "input": wish.text, "response_format": wish.format.name(),
    });
    let request = egress.request(Purpose::Configured, Method::POST, &url);
    let request = request.map(|request| {
        let request = request.json(&body).timeout(wish.timeout).max_body(LARGEST);
        match wish.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            Some(key) => request.bearer(key),
            None => request,
        }
    });
    let answer = callee.send(request).await?;
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
    use claw_actors::ports::speech::AudioFormat;

    use super::*;
    use crate::egress::testing::{FakeServer, Reply};
    use crate::providers::openai::ChatCompletions;

    async fn spoken(reply: Reply) -> (Result<Vec<u8>, ModelError>, serde_json::Value) {
        let server = FakeServer::start(move |_| reply.clone()).await;
        let adapter = ChatCompletions::new(FakeServer::egress());
        let request = SpeechRequest {
            endpoint: Endpoint {
                base_url: server.url("/v1"),
                api_key: Some(Secret::new("sk-test-0123456789")),
                headers: Vec::new(),
            },
            provider: "acme".to_owned(),
            model: "tts".to_owned(),
            voice: "alloy".to_owned(),
            text: "hello".to_owned(),
            format: AudioFormat::Opus,
            timeout: Duration::from_secs(20),
        };
        let spoken = adapter.speech().expect("it can").speak(request).await;
        let seen = server.seen();
        assert_eq!(seen[0].path, "/v1/audio/speech");
        assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
        (spoken, seen[0].json())
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
