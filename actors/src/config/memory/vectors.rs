//! What the pieces of the notes mean, as vectors: which have none yet, and which are near a question. Exact and without
//! an extension of either database: one agent's pieces are few.
//!
//! What is to be done is what is missing, so a crash between two steps costs a call and loses nothing.

use std::collections::HashMap;

use claw_entities::{Scope, UserOwned, memory_chunk, memory_vector};
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Set};

use super::super::ConfigService;
use super::super::providers::EmbeddingPlan;
use crate::clock::now_ms;
use crate::crypto::token::hash;
use crate::error::Result;

/// Pieces of one agent that are compared; those beyond are found by their words alone.
const MOST: u64 = 20_000;
/// Bytes of vectors that one search reads, and that it reads at once.
const BUDGET: usize = 64 * 1024 * 1024;
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Vectors read at once, however short.
const PAGE: usize = 256;
/// Pieces from before that are hashed in one transaction.
const HASHED_AT_ONCE: u64 = 200;
/// Longest vector that is kept. What a search reads is counted in bytes, so a long one costs no more than others.
const LONGEST: usize = 16_384;

/// A piece without a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blank {
    pub(crate) hash: String,
    pub(crate) text: String,
}

/// A vector of length 1, or `None` where it has no direction.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if vector.is_empty() || vector.len() > LONGEST || !length.is_finite() || length <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "numbers between -1 and 1")]
    let scaled = vector.iter().map(|x| (f64::from(*x) / length) as f32);
    Some(scaled.collect())
}

fn packed(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// How near a stored vector is to one of length 1: 1 the same direction, 0 none in common. `None` where they cannot be
/// compared.
fn nearness(question: &[f32], stored: &[u8]) -> Option<f64> {
    let (numbers, rest) = stored.as_chunks::<4>();
    if !rest.is_empty() || numbers.len() != question.len() {
        return None;
    }
    let pairs = question.iter().zip(numbers);
    let sum: f32 = pairs.map(|(x, bytes)| x * f32::from_le_bytes(*bytes)).sum();
    sum.is_finite().then(|| f64::from(sum).clamp(0.0, 1.0))
}

/// Vectors of this length, of which there is at least one number, that fit these bytes.
fn fit(bytes: usize, length: usize) -> usize {
    (bytes / length.saturating_mul(4).max(1)).max(1)
}

impl ConfigService {
    /// Pieces of the agent's notes that have no vector in the plan's space yet, at most `most`.
    pub(crate) async fn blanks(&self, scope: &Scope, agent_id: &str, space: &str, most: u64) -> Result<Vec<Blank>> {
        self.catch_up(scope, agent_id).await?;
        self.hash_old_pieces(scope, agent_id).await?;
        let there = memory_vector::Entity::owned_by(scope)
            .filter(memory_vector::Column::Space.eq(space))
            .select_only()
            .column(memory_vector::Column::Hash)
            .into_query();
        let view = self.db.glance(scope).await?;
        let rows: Vec<(String, String)> = memory_chunk::Entity::owned_by(scope)
            .filter(memory_chunk::Column::AgentId.eq(agent_id))
            .filter(memory_chunk::Column::Hash.not_in_subquery(there))
            .select_only()
            .columns([memory_chunk::Column::Hash, memory_chunk::Column::Content])
            .order_by_asc(memory_chunk::Column::Id)
            .limit(most)
            .into_tuple()
            .all(&view)
            .await?;
        let mut blanks: Vec<Blank> = Vec::with_capacity(rows.len());
        for (hash, text) in rows {
            if blanks.iter().all(|known| known.hash != hash) {
                blanks.push(Blank { hash, text });
            }
        }
        Ok(blanks)
    }

    /// Keeps vectors of pieces by hash. One without a direction is kept empty, so that it is not asked about again.
    pub(crate) async fn keep_vectors(
        &self,
        scope: &Scope,
        plan: &EmbeddingPlan,
        vectors: Vec<(String, Vec<f32>)>,
    ) -> Result<()> {
        let rows = vectors.into_iter().map(|(hash, vector)| {
            let vector = unit(&vector).unwrap_or_default();
            memory_vector::ActiveModel {
                tenant_id: Set(scope.tenant().clone()),
                user_id: Set(scope.user().clone()),
                space: Set(plan.space.clone()),
                hash: Set(hash),
                model: Set(format!("{}/{}", plan.provider, plan.model)),
                dimensions: Set(i32::try_from(vector.len()).unwrap_or(0)),
                vector: Set(packed(&vector)),
                made_at: Set(now_ms()),
            }
        });
        let tx = self.db.write(scope).await?;
        memory_vector::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::columns([
                    memory_vector::Column::TenantId,
                    memory_vector::Column::UserId,
                    memory_vector::Column::Space,
                    memory_vector::Column::Hash,
                ])
                .do_nothing()
                .to_owned(),
            )
            .exec_without_returning(&*tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes vectors away that are of no piece any more, or of a space that none of the user's agents is in: those that
    /// are configured, and those that have notes all the same. Spaces stay where an agent has none just now: it may come
    /// back to the one it had.
    pub(crate) async fn drop_stale_vectors(&self, scope: &Scope) -> Result<()> {
        let settings = self.settings(scope).await?;
        let view = self.db.glance(scope).await?;
        let noted: Vec<String> = memory_chunk::Entity::owned_by(scope)
            .select_only()
            .column(memory_chunk::Column::AgentId)
            .distinct()
            .into_tuple()
            .all(&view)
            .await?;
        drop(view);
        let configured = settings.agents.iter().map(|agent| agent.id.clone());
        let mut agents: Vec<String> = configured.chain(noted).collect();
        agents.push(settings.default_agent.clone());
        agents.sort_unstable();
        agents.dedup();
        // `None` where an agent has no space.
        let mut spaces: Option<Vec<String>> = Some(Vec::new());
        for agent in &agents {
            let plan = self.embedding_plan(scope, agent).await?;
            spaces = spaces.zip(plan).map(|(mut spaces, plan)| {
                spaces.push(plan.space);
                spaces
            });
        }
        let pieces = memory_chunk::Entity::owned_by(scope)
            .select_only()
            .column(memory_chunk::Column::Hash)
            .into_query();
        let mut stale = memory_vector::Column::Hash.not_in_subquery(pieces);
        if let Some(spaces) = spaces {
            stale = stale.or(memory_vector::Column::Space.is_not_in(spaces));
        }
        let tx = self.db.write(scope).await?;
        memory_vector::Entity::delete_owned(scope)
            .filter(stale)
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// How near each piece that has a vector is to the question, 0 to 1, by the piece's id.
    pub(super) async fn nearness(
        &self,
        scope: &Scope,
        agent_id: &str,
        space: &str,
        question: &[f32],
    ) -> Result<HashMap<i64, f64>> {
        let Some(question) = unit(question) else {
            return Ok(HashMap::new());
        };
        let most = Ord::min(MOST, fit(BUDGET, question.len()) as u64);
        let at_once = fit(PAGE_BYTES, question.len()).min(PAGE);
        let length = i32::try_from(question.len()).unwrap_or(0);
        let view = self.db.glance(scope).await?;
        let pieces: Vec<(i64, String)> = memory_chunk::Entity::owned_by(scope)
            .filter(memory_chunk::Column::AgentId.eq(agent_id))
            .select_only()
            .columns([memory_chunk::Column::Id, memory_chunk::Column::Hash])
            .order_by_desc(memory_chunk::Column::Id)
            .limit(most)
            .into_tuple()
            .all(&view)
            .await?;
        drop(view);
        let mut near = HashMap::with_capacity(pieces.len());
        for page in pieces.chunks(at_once) {
            let hashes = page.iter().map(|(_, hash)| hash.as_str());
            let view = self.db.glance(scope).await?;
            let rows: Vec<(String, Vec<u8>)> = memory_vector::Entity::owned_by(scope)
                .filter(memory_vector::Column::Space.eq(space))
                .filter(memory_vector::Column::Dimensions.eq(length))
                .filter(memory_vector::Column::Hash.is_in(hashes))
                .select_only()
                .columns([memory_vector::Column::Hash, memory_vector::Column::Vector])
                .into_tuple()
                .all(&view)
                .await?;
            drop(view);
            let scores: HashMap<&str, f64> = rows
                .iter()
                .filter_map(|(hash, vector)| Some((hash.as_str(), nearness(&question, vector)?)))
                .collect();
            let scored = page
                .iter()
                .filter_map(|(id, hash)| Some((*id, *scores.get(hash.as_str())?)));
            near.extend(scored);
        }
        Ok(near)
    }

    /// Pieces from before there were vectors are known by what they say now.
    async fn hash_old_pieces(&self, scope: &Scope, agent_id: &str) -> Result<()> {
        loop {
            let view = self.db.glance(scope).await?;
            let old: Vec<(i64, String)> = memory_chunk::Entity::owned_by(scope)
                .filter(memory_chunk::Column::AgentId.eq(agent_id))
                .filter(memory_chunk::Column::Hash.eq(""))
                .select_only()
                .columns([memory_chunk::Column::Id, memory_chunk::Column::Content])
                .order_by_asc(memory_chunk::Column::Id)
                .limit(HASHED_AT_ONCE)
                .into_tuple()
                .all(&view)
                .await?;
            drop(view);
            if old.is_empty() {
                return Ok(());
            }
            let tx = self.db.write(scope).await?;
            for (id, content) in &old {
                set_hash(&*tx, scope, *id, content).await?;
            }
            tx.commit().await?;
        }
    }
}

async fn set_hash(tx: &impl ConnectionTrait, scope: &Scope, id: i64, content: &str) -> Result<()> {
    memory_chunk::Entity::update_owned(scope)
        .filter(memory_chunk::Column::Id.eq(id))
        .col_expr(
            memory_chunk::Column::Hash,
            sea_orm::sea_query::Expr::value(hash(content)),
        )
        .exec(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_is_the_angle_and_nothing_else() {
        let question = unit(&[3.0, 4.0]).expect("a direction");
        let near = |vector: &[f32]| nearness(&question, &packed(&unit(vector).expect("a direction")));
        assert!((near(&[30.0, 40.0]).expect("comparable") - 1.0).abs() < 1e-6);
        assert!(near(&[-4.0, 3.0]).expect("comparable") < 1e-6);
        assert!(near(&[-3.0, -4.0]).expect("comparable") < 1e-6, "never below 0");
        assert_eq!(near(&[1.0, 0.0, 0.0]), None, "another length");
        assert_eq!(nearness(&question, &[1, 2, 3]), None);
        for nothing in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            assert_eq!(unit(nothing), None, "{nothing:?}");
        }
        assert_eq!(fit(BUDGET, 1536), 10_922);
        assert_eq!(fit(BUDGET, LONGEST) * LONGEST * 4, BUDGET);
        assert_eq!((fit(3, 1), fit(PAGE_BYTES, LONGEST)), (1, 64));
        assert_eq!(packed(&[1.0]), [0, 0, 128, 63], "little endian");
    }
}
