//! Calls of embedding models: key after key, on record whatever came of them.

use std::time::{Duration, Instant};

use claw_entities::Scope;

use super::budget::{Charge, Payer};
use super::{budget, side};
use crate::Services;
use crate::config::providers::{EmbeddingPlan, ResolvedModel, another_key_helps};
use crate::conversation::tokens;
use crate::error::{Error, Result};
use crate::ports::embedding::{Embedded, EmbeddingRequest, Meaning};
use crate::ports::message::Usage;
use crate::ports::model::{ErrorClass, ModelError};

/// Texts of one call, and bytes of them together: what all providers take.
const TEXTS: usize = 64;
const BYTES: usize = 192 * 1024;
/// How long one call may take, where nobody waits for it in a hurry.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long all calls for one wish may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Numbers of all vectors of one wish.
const NUMBERS: usize = 2_000_000;

/// What is to be embedded.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub texts: &'a [String],
    pub meaning: Meaning,
    /// Another length than the plan's.
    pub dimensions: Option<u32>,
    /// How long one call may take.
    pub patience: Duration,
}

/// Vectors of all texts, in as many calls as that takes. No run pays for them, the user and the agent do.
///
/// # Errors
/// [`Error::Upstream`] with a sentence for the person when the provider failed; [`Error::Busy`] while its keys rest;
/// [`Error::Budget`] at a spending limit; [`Error::Invalid`] when the vectors would be too many numbers; [`Error::Timeout`]
/// when all of it takes too long.
pub async fn embed(
    services: &Services,
    scope: &Scope,
    agent_id: &str,
    plan: &EmbeddingPlan,
    wish: Wish<'_>,
) -> Result<Embedded> {
    let payer = Payer {
        scope,
        agent_id,
        charge: &Charge::default(),
    };
    embed_for(services, payer, plan, wish).await
}

/// As [`embed`], paid for by whoever pays for the run.
pub(crate) async fn embed_for(
    services: &Services,
    payer: Payer<'_>,
    plan: &EmbeddingPlan,
    wish: Wish<'_>,
) -> Result<Embedded> {
    let begun = Instant::now();
    let mut all = Embedded::default();
    let mut models = services.config.embedders(payer.scope, payer.agent_id, plan).await?;
    models.reverse();
    for texts in batches(wish.texts) {
        let part = loop {
            let Some(model) = models.last() else {
                return Err(Error::internal("no key is left to call"));
            };
            let left = DEADLINE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::Timeout(format!(
                    "The AI provider {} took too long for all the texts.",
                    plan.provider
                )));
            }
            let wish = Wish {
                patience: wish.patience.min(left),
                ..wish
            };
            let error = match call(services, payer, model, texts, plan, wish).await {
                Ok(part) => break part,
                Err(error) => error,
            };
            if !another_key_helps(error.class) || models.len() == 1 {
                return Err(told(error));
            }
            models.pop();
        };
        let expected = all.vectors.first().or(part.vectors.first()).map(Vec::len);
        let whole = part.vectors.len() == texts.len()
            && part
                .vectors
                .iter()
                .all(|vector| Some(vector.len()) == expected && !vector.is_empty());
        if !whole {
            return Err(Error::Upstream(format!(
                "The AI provider {} gave vectors that do not fit the texts.",
                plan.provider
            )));
        }
        if wish.texts.len().saturating_mul(expected.unwrap_or(0)) > NUMBERS {
            return Err(Error::Invalid(format!(
                "the vectors would have more than {NUMBERS} numbers: send fewer texts, or ask for fewer dimensions"
            )));
        }
        all.vectors.extend(part.vectors);
        all.tokens = all.tokens.saturating_add(part.tokens);
    }
    Ok(all)
}

/// In order, none larger than one call takes. A text that is larger alone has one of its own.
fn batches(texts: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |text: &&String| {
            bytes = bytes.saturating_add(text.len());
            bytes <= BYTES
        };
        let count = rest.iter().take(TEXTS).take_while(fits).count();
        let (batch, more) = rest.split_at_checked(count.max(1))?;
        rest = more;
        Some(batch)
    })
}

/// One call with one key: on record whatever comes of it.
async fn call(
    services: &Services,
    payer: Payer<'_>,
    model: &ResolvedModel,
    texts: &[String],
    plan: &EmbeddingPlan,
    wish: Wish<'_>,
) -> std::result::Result<Embedded, ModelError> {
    let request = EmbeddingRequest {
        endpoint: model.endpoint.clone(),
        provider: model.provider.clone(),
        model: model.model.clone(),
        texts: texts.to_vec(),
        dimensions: wish.dimensions.or(plan.dimensions),
        meaning: wish.meaning,
        timeout: wish.patience,
    };
    let tokens = texts.iter().map(|text| tokens::text(text)).sum();
    let held = budget::beside(services, payer, model, tokens, None).await;
    let hold = held.map_err(|error| budget::refused(budget::sentence(error)))?;
    let adapter = services.ports.model(&model.api);
    let outcome = match adapter.and_then(|adapter| adapter.embeddings()) {
        Some(embeddings) => embeddings.embed(request).await,
        None => Err(ModelError {
            class: ErrorClass::ModelNotFound,
            message: format!("The AI provider {} has no embeddings.", model.provider),
            detail: format!("{} has no embeddings", model.api),
            status: None,
            retry_after: None,
            partial: crate::ports::message::AssistantMessage::default(),
        }),
    };
    let used = outcome.as_ref().map(|embedded| Usage {
        input: embedded.tokens,
        ..Usage::default()
    });
    side::record(services, payer.scope, model, used).await;
    if let Some(hold) = hold {
        hold.answered(used).await;
    }
    outcome
}

fn told(error: ModelError) -> Error {
    if error.class == ErrorClass::Budget {
        return Error::Budget(error.message);
    }
    Error::Upstream(error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_no_larger_than_providers_take() {
        let sizes = |texts: &[String]| batches(texts).map(<[String]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec!["a".to_owned(); 130]), [64, 64, 2]);
        let large = "x".repeat(BYTES);
        assert_eq!(
            sizes(&["a".to_owned(), large.clone(), large, "b".to_owned()]),
            [1, 1, 1, 1]
        );
    }
}
