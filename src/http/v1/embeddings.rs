//! `POST /v1/embeddings` (`agent-runtime` §21.3): vectors from the model that the agent's notes are searched with, or from
//! the one that `x-openclaw-model` names.

use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::Error;
use claw_actors::config::providers::EmbeddingPlan;
use claw_actors::ports::embedding::Meaning;
use claw_actors::session::embedding::{PATIENCE, Wish, embed};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::content::TextOr;
use super::error::V1Error;
use super::{admitted, header, target};
use crate::http::state::AppState;

/// Texts of one request, as OpenAI takes them; bytes of one, and of all together.
const MOST: usize = 2048;
const LONGEST: usize = 64 * 1024;
const MOST_BYTES: usize = 1024 * 1024;
/// Longest vector that may be asked for.
const MOST_DIMENSIONS: u32 = 16_384;
/// Requests that are answered at the same time, of all users: the vectors of each take memory.
static AT_ONCE: Semaphore = Semaphore::const_new(16);
/// How long one of more waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What of OpenAI's request counts here. The rest is accepted and ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsRequest {
    /// `openclaw`, `openclaw/<agentId>`, or the embedding model that is configured.
    model: Option<String>,
    /// A text, or a list of texts. Lists of tokens cannot be read here.
    #[schema(value_type = Object)]
    input: TextOr<Text, MOST>,
    /// `float` (without it) or `base64`: four bytes for each number, little endian.
    #[serde(default)]
    encoding_format: Option<String>,
    /// Length of the vectors, where the model can.
    #[serde(default)]
    dimensions: Option<u32>,
}

/// One entry of a list. Tokens are recognised, to say what is wrong with them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Words(String),
    Tokens(serde::de::IgnoredAny),
}

#[utoipa::path(post, path = "/v1/embeddings", operation_id = "createEmbedding", tag = "programs",
    request_body = EmbeddingsRequest,
    responses((status = 200, description = "A list of vectors in the order of the texts", body = Object)))]
pub(crate) async fn create(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, V1Error> {
    let (caller, _place, input) = admitted::<EmbeddingsRequest>(&request, payload, &state).await?;
    let packed = match input.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(V1Error::param("encoding_format", "encoding_format is float or base64")),
    };
    if input
        .dimensions
        .is_some_and(|length| !(1..=MOST_DIMENSIONS).contains(&length))
    {
        return Err(V1Error::param(
            "dimensions",
            format!("dimensions is 1 to {MOST_DIMENSIONS}"),
        ));
    }
    let texts = texts(input.input)?;
    let scope = caller.scope();
    let (agent, plan) = plan(&request, &state, scope, input.model.as_deref()).await?;
    let wish = Wish {
        texts: &texts,
        meaning: Meaning::Any,
        dimensions: input.dimensions,
        patience: PATIENCE,
    };
    let turn = timeout(TURN, AT_ONCE.acquire()).await.map_err(|_| busy())?;
    let _turn = turn.map_err(Error::internal)?;
    let embedded = embed(&state.services, scope, &agent, &plan, wish)
        .await
        .map_err(failed)?;
    let wrong = |vector: &Vec<f32>| input.dimensions.is_some_and(|wanted| vector.len() != wanted as usize);
    if embedded.vectors.iter().any(wrong) {
        return Err(V1Error::param(
            "dimensions",
            "the model does not make vectors of that length",
        ));
    }
    let data = embedded.vectors.iter().enumerate().map(|(index, vector)| One {
        object: "embedding",
        index,
        embedding: shown(vector, packed),
    });
    Ok(HttpResponse::Ok().json(All {
        object: "list",
        data: data.collect(),
        model: format!("{}/{}", plan.provider, plan.model),
        usage: Used {
            prompt_tokens: embedded.tokens,
            total_tokens: embedded.tokens,
        },
    }))
}

/// The answer as OpenAI has it. Written as it is: a tree of values would take many times the memory.
#[derive(Serialize)]
struct All<'a> {
    object: &'static str,
    data: Vec<One<'a>>,
    model: String,
    usage: Used,
}

#[derive(Serialize)]
struct One<'a> {
    object: &'static str,
    index: usize,
    embedding: Shown<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Plain(&'a [f32]),
    Packed(String),
}

#[derive(Serialize)]
struct Used {
    prompt_tokens: u64,
    total_tokens: u64,
}

fn busy() -> Error {
    Error::Busy {
        message: "too many texts are being embedded just now".to_owned(),
        retry_after: TURN,
    }
}

/// The agent that is meant, and what makes its vectors.
async fn plan(
    request: &HttpRequest,
    state: &AppState,
    scope: &claw_entities::Scope,
    model: Option<&str>,
) -> Result<(String, EmbeddingPlan), V1Error> {
    let config = &state.services.config;
    let settings = config.settings(scope).await?;
    let of_agent = target::agent(&settings, model, header(request, "x-openclaw-agent-id"));
    let agent = of_agent.as_ref().unwrap_or(&settings.default_agent).clone();
    if let Some(named) = header(request, "x-openclaw-model") {
        of_agent?;
        return Ok((agent, config.named_embedder(scope, named).await?));
    }
    let plan = config.embedding_plan(scope, &agent).await?;
    match (of_agent, plan) {
        (Ok(_), Some(plan)) => Ok((agent, plan)),
        // Programs that are written for OpenAI name the embedding model itself.
        (Err(_), Some(plan)) if model.is_some_and(|model| is_named(&plan, model)) => Ok((agent, plan)),
        (Err(unknown), _) => Err(unknown),
        (Ok(_), None) => Err(Error::invalid(
            "no embedding model is configured: add an AI provider that has one, or set agents.defaults.memorySearch",
        )
        .into()),
    }
}

fn is_named(plan: &EmbeddingPlan, model: &str) -> bool {
    model == plan.model || model == format!("{}/{}", plan.provider, plan.model)
}

fn texts(input: TextOr<Text, MOST>) -> Result<Vec<String>, V1Error> {
    let complain = |what: &str| V1Error::param("input", what.to_owned());
    let texts = match input {
        TextOr::Text(text) => vec![text],
        TextOr::List(list) => {
            let words = list.0.into_iter().map(|text| match text {
                Text::Words(words) => Some(words),
                Text::Tokens(_) => None,
            });
            let texts: Option<Vec<String>> = words.collect();
            texts.ok_or_else(|| complain("input is a text or a list of texts; tokens are not taken here"))?
        }
    };
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(complain("input has at least one text, and none is empty"));
    }
    if texts.iter().any(|text| text.len() > LONGEST) || texts.iter().map(String::len).sum::<usize>() > MOST_BYTES {
        return Err(complain("a text has at most 64 KiB, all together 1 MiB"));
    }
    Ok(texts)
}

fn shown(vector: &[f32], packed: bool) -> Shown<'_> {
    if packed {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        return Shown::Packed(STANDARD.encode(bytes));
    }
    Shown::Plain(vector)
}

/// What the provider said is the person's to know, in the sentence that was made of it.
fn failed(error: Error) -> V1Error {
    if let Error::Upstream(sentence) = &error {
        return V1Error::of_run(sentence);
    }
    error.into()
}
