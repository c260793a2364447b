//! Searching the notes of one agent: by words, or by words and meaning together.

use claw_entities::{Scope, UserOwned, memory_chunk};
use sea_orm::sea_query::{Expr, Order, SimpleExpr};
use sea_orm::{ColumnTrait, DbBackend, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::super::ConfigService;
use super::Found;
use super::rank::scores;
use super::store::{mark, unmarked};
use super::terms::{self, Term};
use crate::error::Result;

/// Pieces that are ranked; the database says which, where more have a word.
const CANDIDATES: u64 = 200;
/// Characters of a snippet.
const SNIPPET: usize = 700;

/// What a question means, in which space, and how much that counts beside its words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meant<'a> {
    pub(crate) space: &'a str,
    pub(crate) vector: &'a [f32],
    pub(crate) vector_weight: f64,
    pub(crate) text_weight: f64,
    /// Pieces that are looked at for each result.
    pub(crate) candidates: usize,
}

impl ConfigService {
    /// The pieces of the agent's notes that fit by their words, best first: at most `most`, none with a score below
    /// `least`. Any text may be asked.
    pub async fn search_memory(
        &self,
        scope: &Scope,
        agent_id: &str,
        asked: &str,
        most: usize,
        least: f64,
    ) -> Result<Vec<Found>> {
        let question = terms::question(asked);
        let mut ranked = self.by_words(scope, agent_id, &question).await?;
        ranked.retain(|(score, _)| *score >= least);
        ranked.truncate(most);
        Ok(shown(ranked, &question))
    }

    /// The pieces that fit by their words and by what they mean together (`agent-runtime` §9). What has no vector yet is
    /// found by its words.
    pub(crate) async fn search_meaning(
        &self,
        scope: &Scope,
        agent_id: &str,
        asked: &str,
        meant: Meant<'_>,
        (most, least): (usize, f64),
    ) -> Result<Vec<Found>> {
        let question = terms::question(asked);
        let looked_at = most.saturating_mul(meant.candidates);
        let mut by_words = self.by_words(scope, agent_id, &question).await?;
        by_words.truncate(looked_at);
        let near = self.nearness(scope, agent_id, meant.space, meant.vector).await?;
        let mut nearest: Vec<(i64, f64)> = near.iter().map(|(id, score)| (*id, *score)).collect();
        nearest.sort_by(|(one, left), (other, right)| right.total_cmp(left).then_with(|| other.cmp(one)));
        nearest.truncate(looked_at);
        let mut ranked: Vec<(f64, memory_chunk::Model)> = Vec::with_capacity(by_words.len() + nearest.len());
        for (rank, (_, row)) in (0_u32..).zip(by_words) {
            let words = 1.0 / f64::from(rank.saturating_add(1));
            let meaning = near.get(&row.id).copied().unwrap_or_default();
            ranked.push((meant.vector_weight * meaning + meant.text_weight * words, row));
        }
        let others = nearest
            .iter()
            .filter(|(id, _)| ranked.iter().all(|(_, row)| row.id != *id));
        let others: Vec<(i64, f64)> = others.copied().collect();
        for row in self.pieces(scope, others.iter().map(|(id, _)| *id)).await? {
            let meaning = near.get(&row.id).copied().unwrap_or_default();
            ranked.push((meant.vector_weight * meaning, row));
        }
        sort(&mut ranked);
        // The word itself is worth showing where nothing is near enough, as the original has it.
        let reached = ranked.first().is_some_and(|(score, _)| *score >= least);
        let least = if reached { least } else { least.min(meant.text_weight) };
        ranked.retain(|(score, _)| *score > 0.0 && *score >= least);
        ranked.truncate(most);
        Ok(shown(ranked, &question))
    }

    async fn pieces(&self, scope: &Scope, ids: impl IntoIterator<Item = i64>) -> Result<Vec<memory_chunk::Model>> {
        let ids: Vec<i64> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let view = self.db.glance(scope).await?;
        Ok(memory_chunk::Entity::owned_by(scope)
            .filter(memory_chunk::Column::Id.is_in(ids))
            .all(&view)
            .await?)
    }

    /// All candidates that have a word of the question, best first.
    async fn by_words(
        &self,
        scope: &Scope,
        agent_id: &str,
        question: &[Term],
    ) -> Result<Vec<(f64, memory_chunk::Model)>> {
        self.catch_up(scope, agent_id).await?;
        if question.is_empty() {
            return Ok(Vec::new());
        }
        let mark = mark(scope, agent_id);
        let mine = memory_chunk::Entity::owned_by(scope).filter(memory_chunk::Column::AgentId.eq(agent_id));
        let tx = self.db.read(scope).await?;
        let total = mine.clone().count(&*tx).await?;
        let candidates = if self.db.backend() == DbBackend::Postgres {
            let query = terms::tsquery(&mark, question);
            mine.filter(Expr::cust_with_values("search @@ CAST($1 AS tsquery)", [query.clone()]))
                .order_by(
                    Expr::cust_with_values("ts_rank(search, CAST($1 AS tsquery))", [query]),
                    Order::Desc,
                )
                .order_by_asc(memory_chunk::Column::Id)
                .limit(CANDIDATES)
        } else {
            mine.filter(matched_by_fts5(&mark, question))
        };
        let rows = candidates.all(&*tx).await?;
        drop(tx);
        let pieces: Vec<Vec<String>> = rows.iter().map(|row| unmarked(&row.terms)).collect();
        let scores = scores(question, &pieces, total);
        let scored = scores.into_iter().zip(rows).filter(|(score, _)| *score > 0.0);
        let mut ranked: Vec<(f64, memory_chunk::Model)> = scored.collect();
        sort(&mut ranked);
        Ok(ranked)
    }
}

/// Best first.
fn sort(ranked: &mut [(f64, memory_chunk::Model)]) {
    ranked.sort_by(|(left, one), (right, other)| {
        let place = |row: &memory_chunk::Model| (row.path.clone(), -row.start_line);
        // Of equals, the newer day first.
        right.total_cmp(left).then_with(|| place(other).cmp(&place(one)))
    });
}

fn shown(ranked: Vec<(f64, memory_chunk::Model)>, question: &[Term]) -> Vec<Found> {
    let found = ranked.into_iter().map(|(score, row)| Found {
        score,
        snippet: snippet(&row.content, question),
        path: row.path,
        start_line: row.start_line,
        end_line: row.end_line,
    });
    found.collect()
}

/// The limit is written out: SQLite would plan the statement anew for each value.
fn matched_by_fts5(mark: &str, question: &[Term]) -> SimpleExpr {
    Expr::cust_with_values(
        format!(
            "id IN (SELECT rowid FROM memory_fts WHERE memory_fts MATCH ? \
             ORDER BY bm25(memory_fts) LIMIT {CANDIDATES})"
        ),
        [terms::fts5(mark, question)],
    )
}

/// The part of a piece that is shown: from the first line with a word of the question, where not all of it fits.
pub(crate) fn snippet(content: &str, question: &[Term]) -> String {
    let chars = content.chars().count();
    if chars <= SNIPPET {
        return content.to_owned();
    }
    let fits = |line: &str| {
        terms::terms(line).iter().any(|word| {
            let same = |term: &Term| *word == term.text || (term.prefix && word.starts_with(&term.text));
            question.iter().any(same)
        })
    };
    let mut before = 0;
    for line in content.lines() {
        if fits(line) {
            break;
        }
        before += line.chars().count() + 1;
    }
    content
        .chars()
        .skip(before.min(chars - SNIPPET))
        .take(SNIPPET)
        .collect()
}
