//! Searching an agent's notes: by meaning too, where a model makes vectors, and by words alone where none does or it
//! fails. Vectors of pieces that have none are made here: by a search, and soon after a note was written.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::Scope;
use dashmap::DashSet;
use tokio::time::Instant;

use super::budget::{Charge, Payer};
use super::embedding::{PATIENCE, Wish, embed_for};
use crate::Services;
use crate::config::document::MemorySettings;
use crate::config::memory::{Found, Meant};
use crate::config::providers::EmbeddingPlan;
use crate::error::{Error, Result};
use crate::ports::embedding::Meaning;

/// Results of one search, unless somebody says otherwise, and at most.
const RESULTS: usize = 6;
const MOST: usize = crate::config::document::MOST_RESULTS;
/// Least score with vectors, as the original; and without: a word that fits is worth showing.
const LEAST: f64 = 0.35;
const LEAST_WORDS: f64 = 0.05;
/// Pieces whose vectors are asked for at once.
const AT_ONCE: u64 = 64;
/// How long a search waits for the question's vector: with one key, and with all of them. The tool has 30 s.
const ONE_KEY: Duration = Duration::from_secs(8);
const ALL_KEYS: Duration = Duration::from_secs(14);
/// How long it waits then for vectors of pieces that have none.
const PIECES: Duration = Duration::from_secs(6);
/// Notes are often written one after the other (`agent-runtime` §9).
const DEBOUNCE: Duration = Duration::from_millis(1_500);

/// What a search asks.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub text: String,
    pub most: Option<usize>,
    /// Leaves out what fits less.
    pub least: Option<f64>,
}

/// What a search gave, and how.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    pub found: Vec<Found>,
    /// Provider and model whose vectors had a part in it.
    pub model: Option<(String, String)>,
    /// Why words alone were searched although a model makes vectors.
    pub fallback: Option<String>,
}

/// Whose vectors are being made in this process. Another process may make the same: the first that are stored count.
#[derive(Debug, Default)]
pub struct Indexing(DashSet<(Scope, String)>);

/// The pieces of the agent's notes that fit, best first.
///
/// # Errors
/// When the notes cannot be searched; a provider that fails is no error, and no spending limit is one.
pub async fn recall(services: &Services, scope: &Scope, agent_id: &str, question: &Question) -> Result<Recalled> {
    let payer = Payer {
        scope,
        agent_id,
        charge: &Charge::default(),
    };
    recall_for(services, payer, question).await
}

/// As [`recall`], paid for by whoever pays for the run.
pub(crate) async fn recall_for(services: &Services, payer: Payer<'_>, question: &Question) -> Result<Recalled> {
    let Payer { scope, agent_id, .. } = payer;
    let settings = services.config.settings(scope).await?;
    let memory = settings.memory(agent_id);
    if !memory.enabled {
        return Err(Error::invalid("searching notes is switched off (memorySearch.enabled)"));
    }
    let most = question.most.or(memory.max_results).unwrap_or(RESULTS).clamp(1, MOST);
    let least = question.least.or(memory.min_score);
    let by_words = async |fallback| {
        let least = least.unwrap_or(LEAST_WORDS);
        let found = services
            .config
            .search_memory(scope, agent_id, &question.text, most, least);
        Ok(Recalled {
            found: found.await?,
            model: None,
            fallback,
        })
    };
    let plan = match services.config.embedding_plan(scope, agent_id).await {
        Ok(Some(plan)) if !question.text.trim().is_empty() => plan,
        Ok(_) => return by_words(None).await,
        Err(Error::Invalid(why)) => return by_words(Some(why)).await,
        Err(error) => return Err(error),
    };
    let asked = [question.text.chars().take(8_000).collect::<String>()];
    let wish = Wish {
        texts: &asked,
        meaning: Meaning::Question,
        dimensions: None,
        patience: ONE_KEY,
    };
    let embedded = tokio::time::timeout(ALL_KEYS, embed_for(services, payer, &plan, wish)).await;
    let vector = match embedded {
        Ok(Ok(mut embedded)) => embedded.vectors.swap_remove(0),
        Ok(Err(Error::Upstream(why) | Error::Budget(why) | Error::Busy { message: why, .. })) => {
            return by_words(Some(why)).await;
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            let why = format!("The AI provider {} did not answer in time.", plan.provider);
            return by_words(Some(why)).await;
        }
    };
    // What comes late is found by its words, and by its meaning the next time. It goes on when nobody waits any more.
    let plan = Arc::new(plan);
    let (all, of, agent, with) = (services.clone(), scope.clone(), agent_id.to_owned(), Arc::clone(&plan));
    let charge = payer.charge.clone();
    let work = services.io.spawn(async move {
        let payer = Payer {
            scope: &of,
            agent_id: &agent,
            charge: &charge,
        };
        keep_up(&all, payer, &with).await;
    });
    let _ = tokio::time::timeout(PIECES, work).await;
    let meant = meant(memory, &plan, &vector);
    let limits = (most, least.unwrap_or(LEAST));
    let found = services
        .config
        .search_meaning(scope, agent_id, &question.text, meant, limits);
    Ok(Recalled {
        found: found.await?,
        model: Some((plan.provider.clone(), plan.model.clone())),
        fallback: None,
    })
}

fn meant<'a>(memory: &MemorySettings, plan: &'a EmbeddingPlan, vector: &'a [f32]) -> Meant<'a> {
    Meant {
        space: &plan.space,
        vector,
        vector_weight: memory.vector_weight,
        text_weight: memory.text_weight,
        candidates: memory.candidates,
    }
}

/// Makes the vectors that are missing, soon and behind the caller's back. What does not come of it the next search does.
pub(crate) fn remind(services: &Services, payer: Payer<'_>) {
    let (services, scope, agent_id) = (services.clone(), payer.scope.clone(), payer.agent_id.to_owned());
    let charge = payer.charge.clone();
    let io = services.io.clone();
    io.spawn(async move {
        tokio::time::sleep(DEBOUNCE).await;
        let locked = services.config.is_locked(&scope);
        if let Ok(Some(plan)) = services.config.embedding_plan(&scope, &agent_id).await
            && !locked
        {
            let payer = Payer {
                scope: &scope,
                agent_id: &agent_id,
                charge: &charge,
            };
            keep_up(&services, payer, &plan).await;
        }
    });
}

/// Makes the vectors that are missing, batch after batch, each kept when it is there. One at a time for each agent: who
/// comes second does not wait.
async fn keep_up(services: &Services, payer: Payer<'_>, plan: &EmbeddingPlan) {
    let Payer { scope, agent_id, .. } = payer;
    let key = (scope.clone(), agent_id.to_owned());
    if !services.indexing.0.insert(key.clone()) {
        return;
    }
    let begun = Begun(services, key);
    let started = Instant::now();
    match fill(services, payer, plan).await {
        Ok(0) => {}
        Ok(made) => {
            tracing::debug!(
                tenant.id = %scope.tenant(), vectors = made,
                duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "notes embedded"
            );
            if let Err(error) = services.config.drop_stale_vectors(scope).await {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "old vectors could not be removed");
            }
        }
        // The call is on record already, or was not made.
        Err(Error::Upstream(_) | Error::Budget(_) | Error::Busy { .. }) => {}
        Err(error) => tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "notes could not be embedded"),
    }
    drop(begun);
}

struct Begun<'a>(&'a Services, (Scope, String));

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.indexing.0.remove(&self.1);
    }
}

/// Gives how many were made.
async fn fill(services: &Services, payer: Payer<'_>, plan: &EmbeddingPlan) -> Result<usize> {
    let Payer { scope, agent_id, .. } = payer;
    let mut made = 0;
    loop {
        let blanks = services.config.blanks(scope, agent_id, &plan.space, AT_ONCE).await?;
        if blanks.is_empty() {
            return Ok(made);
        }
        let (hashes, texts): (Vec<String>, Vec<String>) =
            blanks.into_iter().map(|blank| (blank.hash, blank.text)).unzip();
        let wish = Wish {
            texts: &texts,
            meaning: Meaning::Document,
            dimensions: None,
            patience: PATIENCE,
        };
        let embedded = embed_for(services, payer, plan, wish).await?;
        made += hashes.len();
        let vectors = hashes.into_iter().zip(embedded.vectors).collect();
        services.config.keep_vectors(scope, plan, vectors).await?;
    }
}
