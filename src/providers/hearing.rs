//! What is said in a sound: `/audio/transcriptions` as OpenAI has it and everybody compatible (Groq, Mistral, vLLM …).

use claw_actors::ports::model::ModelError;
use claw_actors::ports::speech::{Heard, HearingRequest};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::embeddings::beside;
use super::errors::Failure;
use super::once::Callee;
use crate::egress::{Egress, Purpose};
use crate::multipart::Form;

/// Largest answer, bytes: hours of talk.
const LARGEST: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Answer {
    text: String,
    /// Seconds: OpenAI's whisper and Groq say it here, as a number or as text.
    #[serde(default)]
    duration: Value,
    #[serde(default)]
    usage: Value,
}

impl Answer {
    fn seconds(&self) -> Option<f64> {
        let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        let named = ["seconds", "prompt_audio_seconds"];
        let used = named.iter().find_map(|name| number(self.usage.get(name)?));
        used.or_else(|| number(&self.duration))
            .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
    }
}

/// `{base}/audio/transcriptions`.
pub(super) async fn openai(egress: Egress, wish: HearingRequest) -> Result<Heard, ModelError> {
    let callee = Callee {
        endpoint: &wish.endpoint,
        provider: &wish.provider,
        model: &wish.model,
    };
    let url = beside(&wish.endpoint.base_url, "/audio/transcriptions");
    let mut form = Form::new().text("model", &wish.model);
    for (name, value) in [("language", &wish.language), ("prompt", &wish.prompt)] {
        if let Some(value) = value {
            form = form.text(name, value);
        }
    }
    let (kind, body) = form.end("file", (&wish.name, &wish.mime_type), &wish.sound);
    let request = egress.request(Purpose::Configured, Method::POST, &url);
    let request = request.map(|request| {
        let request = request.body(body, &kind).timeout(wish.timeout).max_body(LARGEST);
        match wish.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            Some(key) => request.bearer(key),
            None => request,
        }
    });
    let answer = callee.send(request).await?;
    let answer: Answer =
        serde_json::from_slice(&answer.body).map_err(|_| callee.error(Failure::garbage("no transcript")))?;
    Ok(Heard {
        seconds: answer.seconds(),
        text: answer.text,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use claw_actors::crypto::Secret;
    use claw_actors::ports::model::{Endpoint, ErrorClass, ModelProvider};
    use serde_json::json;

    use super::*;
    use crate::egress::testing::{FakeServer, Reply};
    use crate::providers::openai::ChatCompletions;
    use crate::providers::responses::Responses;

    async fn heard(reply: Reply) -> (Result<Heard, ModelError>, String) {
        let server = FakeServer::start(move |_| reply.clone()).await;
        let adapter = ChatCompletions::new(FakeServer::egress());
        let request = HearingRequest {
            endpoint: Endpoint {
                base_url: server.url("/v1"),
                api_key: Some(Secret::new("sk-test-0123456789")),
                headers: Vec::new(),
            },
            provider: "acme".to_owned(),
            model: "whisper".to_owned(),
            sound: Arc::new(b"OggS sound".to_vec()),
            name: "voice.ogg".to_owned(),
            mime_type: "audio/ogg".to_owned(),
            language: Some("de".to_owned()),
            prompt: None,
            timeout: Duration::from_secs(20),
        };
        let heard = adapter.hearing().expect("it can").hear(request).await;
        let seen = server.seen();
        assert_eq!(seen[0].path, "/v1/audio/transcriptions");
        assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
        (heard, String::from_utf8_lossy(&seen[0].body).into_owned())
    }

    #[tokio::test]
    async fn deployments_on_azure_have_another_address() {
        assert!(Responses::new(FakeServer::egress()).hearing().is_some());
        assert!(Responses::azure(FakeServer::egress()).hearing().is_none());
    }

    #[tokio::test]
    async fn a_sound_becomes_words_and_nothing_else_does() {
        let (words, form) = heard(Reply::json(200, &json!({"text": "hello", "usage": {"seconds": 3}}))).await;
        let expected = Heard {
            text: "hello".to_owned(),
            seconds: Some(3.0),
        };
        assert_eq!(words.expect("hears"), expected);
        for part in [
            "name=\"model\"\r\n\r\nwhisper\r\n",
            "name=\"language\"\r\n\r\nde\r\n",
            "name=\"file\"; filename=\"voice.ogg\"\r\nContent-Type: audio/ogg\r\n\r\nOggS sound\r\n",
        ] {
            assert!(form.contains(part), "{form}");
        }
        let (words, _) = heard(Reply::json(200, &json!({"text": "", "duration": "1.5"}))).await;
        assert_eq!(words.expect("hears").seconds, Some(1.5));
        let (error, _) = heard(Reply::json(200, &json!({"ok": true}))).await;
        assert_eq!(error.expect_err("no words").class, ErrorClass::Format);
        let (error, _) = heard(Reply::text(429, "slow down")).await;
        assert_eq!(error.expect_err("refused").class, ErrorClass::RateLimit);
    }
}
