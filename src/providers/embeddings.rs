//! Vectors of texts: `/embeddings` as OpenAI has it and everybody compatible (Mistral, Voyage, Ollama, vLLM …), and
//! Gemini's `batchEmbedContents`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::embedding::{Embedded, EmbeddingRequest, Meaning};
use claw_actors::ports::model::ModelError;
use reqwest::Method;
use serde::de::{self, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::errors::Failure;
use super::once::Callee;
use crate::egress::{Egress, Purpose};

/// Largest answer, whatever was asked.
const LARGEST: usize = 32 * 1024 * 1024;
/// Bytes of an answer for one number, as text, and for what is around the vectors.
const PER_NUMBER: usize = 24;
const AROUND: usize = 64 * 1024;
/// Numbers of a vector that are expected where nobody asked for more.
const USUAL: usize = 4096;
/// Numbers of a vector, and characters of base64 of them.
const LONGEST: usize = 16_384;
const LONGEST_PACKED: usize = (LONGEST * 4).div_ceil(3) * 4;

/// Where the key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    Bearer,
    /// As Azure wants it.
    ApiKey,
}

#[derive(Deserialize)]
struct OpenAiAnswer {
    data: Vec<OpenAiVector>,
    #[serde(default)]
    usage: Option<OpenAiUsage>,
}

#[derive(Deserialize)]
struct OpenAiVector {
    #[serde(default)]
    index: Option<usize>,
    embedding: Numbers,
}

/// As numbers, or as base64 of four bytes each, little endian. Read by hand: what an untagged enum keeps to try one
/// shape after the other is many times as large as the numbers, and strangers send them.
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneVector)
    }
}

struct OneVector;

impl<'de> Visitor<'de> for OneVector {
    type Value = Numbers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at most {LONGEST} numbers, or base64 of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Numbers, A::Error> {
        let mut numbers: Vec<f32> = Vec::new();
        while let Some(number) = seq.next_element::<f32>()? {
            if numbers.len() >= LONGEST {
                return Err(A::Error::custom("a vector is too long"));
            }
            numbers.push(number);
        }
        Ok(Numbers(numbers))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Numbers, E> {
        if text.len() > LONGEST_PACKED {
            return Err(E::custom("a vector is too long"));
        }
        let unpacked = unpacked(text).ok_or_else(|| E::custom("a vector cannot be read"))?;
        Ok(Numbers(unpacked))
    }
}

#[derive(Deserialize)]
struct OpenAiUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// `{base}/embeddings`.
pub(super) async fn openai(egress: Egress, place: KeyPlace, wish: EmbeddingRequest) -> Result<Embedded, ModelError> {
    let callee = callee(&wish);
    let request = egress.request(
        Purpose::Configured,
        Method::POST,
        &beside(&wish.endpoint.base_url, "/embeddings"),
    );
    let request = request.map(|request| {
        let request = request
            .json(&openai_body(&wish))
            .timeout(wish.timeout)
            .max_body(room(&wish));
        match wish.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            Some(key) if place == KeyPlace::ApiKey => request.header("api-key", key.expose()),
            Some(key) => request.bearer(key),
            None => request,
        }
    });
    let answer = callee.send(request).await?;
    let read: OpenAiAnswer = answer.json().map_err(|error| callee.error(garbage(&error)))?;
    let count = read.data.len();
    if count > wish.texts.len() {
        return Err(callee.error(Failure::garbage("more vectors than texts")));
    }
    let mut vectors = vec![Vec::new(); count];
    for (at, one) in read.data.into_iter().enumerate() {
        let place = vectors.get_mut(one.index.unwrap_or(at));
        let place = place.ok_or_else(|| callee.error(Failure::garbage("a vector has no place")))?;
        *place = one.embedding.0;
    }
    let used = read.usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
    Ok(Embedded {
        vectors,
        tokens: used.unwrap_or(0),
    })
}

fn openai_body(wish: &EmbeddingRequest) -> Value {
    let mut body = json!({"model": wish.model, "input": wish.texts});
    let voyage = is_voyage(&wish.endpoint.base_url);
    if let Some(dimensions) = wish.dimensions {
        // https://docs.voyageai.com/reference/embeddings-api calls it otherwise.
        body[if voyage { "output_dimension" } else { "dimensions" }] = json!(dimensions);
    }
    match wish.meaning {
        Meaning::Question if voyage => body["input_type"] = json!("query"),
        Meaning::Document if voyage => body["input_type"] = json!("document"),
        Meaning::Any | Meaning::Question | Meaning::Document => {}
    }
    body
}

fn is_voyage(base: &str) -> bool {
    let url = reqwest::Url::parse(base.trim()).ok();
    url.as_ref().and_then(reqwest::Url::host_str) == Some("api.voyageai.com")
}

/// The address of another endpoint beside those for chats. A query stays at the end.
pub(super) fn beside(base: &str, end: &str) -> String {
    let (base, query) = match base.trim().split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (base.trim(), String::new()),
    };
    let mut base = base.trim_end_matches('/');
    for known in ["/chat/completions", "/responses", "/embeddings"] {
        base = base.strip_suffix(known).unwrap_or(base);
    }
    let version = if base.ends_with("api.openai.com") {
        "/v1"
    } else if base.ends_with(".openai.azure.com") {
        "/openai/v1"
    } else {
        ""
    };
    format!("{base}{version}{end}{query}")
}

fn unpacked(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Bytes that an answer to this may have.
fn room(wish: &EmbeddingRequest) -> usize {
    let length = wish.dimensions.map_or(USUAL, |length| USUAL.max(length as usize));
    let numbers = wish.texts.len().saturating_mul(length);
    numbers.saturating_mul(PER_NUMBER).saturating_add(AROUND).min(LARGEST)
}

#[derive(Deserialize)]
struct GeminiAnswer {
    embeddings: Vec<GeminiVector>,
}

#[derive(Deserialize)]
struct GeminiVector {
    values: Numbers,
}

/// `{base}/models/{model}:batchEmbedContents`. It counts no tokens.
pub(super) async fn gemini(egress: Egress, url: String, wish: EmbeddingRequest) -> Result<Embedded, ModelError> {
    let callee = callee(&wish);
    let request = egress.request(Purpose::Configured, Method::POST, &url);
    let request = request.map(|request| {
        let request = request
            .json(&gemini_body(&wish))
            .timeout(wish.timeout)
            .max_body(room(&wish));
        match wish.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            Some(key) => request.header("x-goog-api-key", key.expose()),
            None => request,
        }
    });
    let answer = callee.send(request).await?;
    let read: GeminiAnswer = answer.json().map_err(|error| callee.error(garbage(&error)))?;
    if read.embeddings.len() > wish.texts.len() {
        return Err(callee.error(Failure::garbage("more vectors than texts")));
    }
    Ok(Embedded {
        vectors: read.embeddings.into_iter().map(|one| one.values.0).collect(),
        // Four characters to a token, as everywhere where nobody counts.
        tokens: wish.texts.iter().map(|text| text.chars().count() as u64 / 4 + 1).sum(),
    })
}

fn gemini_body(wish: &EmbeddingRequest) -> Value {
    let model = wish.model.strip_prefix("models/").unwrap_or(&wish.model);
    let requests: Vec<Value> = wish
        .texts
        .iter()
        .map(|text| {
            let mut one = Map::new();
            one.insert("model".to_owned(), json!(format!("models/{model}")));
            one.insert("content".to_owned(), json!({"parts": [{"text": text}]}));
            let task = match wish.meaning {
                Meaning::Any => None,
                Meaning::Question => Some("RETRIEVAL_QUERY"),
                Meaning::Document => Some("RETRIEVAL_DOCUMENT"),
            };
            one.extend(task.map(|task| ("taskType".to_owned(), json!(task))));
            let length = wish
                .dimensions
                .map(|length| ("outputDimensionality".to_owned(), json!(length)));
            one.extend(length);
            Value::Object(one)
        })
        .collect();
    json!({"requests": requests})
}

fn callee(wish: &EmbeddingRequest) -> Callee<'_> {
    Callee {
        endpoint: &wish.endpoint,
        provider: &wish.provider,
        model: &wish.model,
    }
}

fn garbage(error: &serde_json::Error) -> Failure {
    Failure::garbage(format!("not an answer with embeddings: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use claw_actors::crypto::Secret;
    use claw_actors::ports::model::{Endpoint, ErrorClass, ModelProvider};

    use super::*;
    use crate::egress::testing::{FakeServer, Reply};
    use crate::providers::google::Gemini;
    use crate::providers::openai::ChatCompletions;

    fn wish(base_url: &str, texts: &[&str]) -> EmbeddingRequest {
        EmbeddingRequest {
            endpoint: Endpoint {
                base_url: base_url.to_owned(),
                api_key: Some(Secret::new("sk-test-0123456789")),
                headers: vec![("x-tenant".to_owned(), Secret::new("acme header"))],
            },
            provider: "acme".to_owned(),
            model: "embed-1".to_owned(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            dimensions: Some(2),
            meaning: Meaning::Question,
            timeout: Duration::from_secs(20),
        }
    }

    #[tokio::test]
    async fn openais_answers_are_put_in_order_and_read_packed_or_plain() {
        let body = json!({"data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": "AACAPwAAAEA="}],
            "usage": {"prompt_tokens": 7}});
        let server = FakeServer::start(move |_| Reply::json(200, &body)).await;
        let adapter = ChatCompletions::new(FakeServer::egress());
        let embeddings = adapter.embeddings().expect("it can");
        let embedded = embeddings
            .embed(wish(&server.url("/v1"), &["a", "b"]))
            .await
            .expect("embeds");
        assert_eq!(embedded.vectors, [vec![1.0, 2.0], vec![0.5, 1.0]]);
        assert_eq!(embedded.tokens, 7);
        let seen = server.seen();
        assert_eq!(seen[0].path, "/v1/embeddings");
        assert_eq!(seen[0].header("authorization"), Some("Bearer sk-test-0123456789"));
        assert_eq!(seen[0].header("x-tenant"), Some("acme header"));
        assert_eq!(
            seen[0].json(),
            json!({"model": "embed-1", "input": ["a", "b"], "dimensions": 2})
        );
    }

    #[tokio::test]
    async fn geminis_are_asked_in_one_request() {
        let body = json!({"embeddings": [{"values": [1, 0]}, {"values": [0, 1]}]});
        let server = FakeServer::start(move |_| Reply::json(200, &body)).await;
        let adapter = Gemini::new(FakeServer::egress());
        let embeddings = adapter.embeddings().expect("it can");
        let embedded = embeddings
            .embed(wish(&server.url("/v1beta"), &["a", "b"]))
            .await
            .expect("embeds");
        assert_eq!(embedded.vectors.len(), 2);
        let seen = server.seen();
        assert_eq!(seen[0].path, "/v1beta/models/embed-1:batchEmbedContents");
        assert_eq!(
            seen[0].json()["requests"][1],
            json!({"model": "models/embed-1", "content": {"parts": [{"text": "b"}]}, "taskType": "RETRIEVAL_QUERY",
                "outputDimensionality": 2})
        );
    }

    #[tokio::test]
    async fn failures_have_the_classes_of_answers_and_no_key_in_them() {
        for (reply, class) in [
            (Reply::text(401, "bad key sk-test-0123456789"), ErrorClass::Auth),
            (Reply::text(429, "slow down"), ErrorClass::RateLimit),
            (Reply::text(200, "<html>"), ErrorClass::Format),
            (
                Reply::text(200, r#"{"data": [{"index": 9, "embedding": []}]}"#),
                ErrorClass::Format,
            ),
            (
                Reply::text(200, r#"{"data": [{"embedding": [1]}, {"embedding": [1]}]}"#),
                ErrorClass::Format,
            ),
            (Reply::Close, ErrorClass::Network),
        ] {
            let server = FakeServer::start(move |_| reply.clone()).await;
            let adapter = ChatCompletions::new(FakeServer::egress());
            let embeddings = adapter.embeddings().expect("it can");
            let error = embeddings
                .embed(wish(&server.url("/v1"), &["a"]))
                .await
                .expect_err("fails");
            assert_eq!(error.class, class, "{error:?}");
            assert!(!format!("{error:?}").contains("0123456789"), "{error:?}");
        }
    }

    #[test]
    fn a_vector_has_an_end() {
        let read = |count: usize| serde_json::from_value::<Numbers>(json!(vec![0.5; count]));
        assert_eq!(read(LONGEST).expect("fits").0.len(), LONGEST);
        assert!(read(LONGEST + 1).is_err());
        let packed = |count: usize| serde_json::from_value::<Numbers>(json!(STANDARD.encode(vec![0_u8; count * 4])));
        assert_eq!(packed(LONGEST).expect("fits").0.len(), LONGEST);
        assert!(packed(LONGEST + 1).is_err());
        for wrong in [json!("AAA"), json!("AAAA"), json!({"a": 1}), json!(1), json!([null])] {
            assert!(serde_json::from_value::<Numbers>(wrong.clone()).is_err(), "{wrong}");
        }
        let mut wish = wish("http://h", &["a"]);
        assert_eq!(room(&wish), 4096 * 24 + AROUND);
        wish.texts = vec!["a".to_owned(); 2048];
        assert_eq!(room(&wish), LARGEST);
    }

    #[test]
    fn addresses() {
        for (base, url) in [
            ("https://api.openai.com", "https://api.openai.com/v1/embeddings"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/embeddings"),
            ("http://h/v1/chat/completions", "http://h/v1/embeddings"),
            (
                "https://a.openai.azure.com?api-version=1",
                "https://a.openai.azure.com/openai/v1/embeddings?api-version=1",
            ),
        ] {
            assert_eq!(beside(base, "/embeddings"), url);
        }
        let mut voyage = wish("https://api.voyageai.com/v1", &["a"]);
        voyage.meaning = Meaning::Document;
        let body = openai_body(&voyage);
        assert_eq!(
            (&body["input_type"], &body["output_dimension"]),
            (&json!("document"), &json!(2))
        );
    }
}
