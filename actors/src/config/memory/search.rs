//! Searching the notes of one agent by words.

use claw_entities::{Scope, UserOwned, memory_chunk};
use sea_orm::sea_query::{Expr, Order, SimpleExpr};
use sea_orm::{ColumnTrait, DbBackend, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::super::ConfigService;
use super::Found;
use super::rank::scores;
use super::store::{MARK, mark};
use super::terms::{self, Term};
use crate::error::Result;

/// Pieces that are ranked; the database says which, where more have a word.
const CANDIDATES: u64 = 200;
/// Characters of a snippet.
const SNIPPET: usize = 700;

impl ConfigService {
    /// The pieces of the agent's notes that fit, best first: at most `most`, none with a score below `least`.
    /// Any text may be asked.
    pub async fn search_memory(
        &self,
        scope: &Scope,
        agent_id: &str,
        asked: &str,
        most: usize,
        least: f64,
    ) -> Result<Vec<Found>> {
        self.catch_up(scope, agent_id).await?;
        let question = terms::question(asked);
        if question.is_empty() {
            return Ok(Vec::new());
        }
        let mark = mark(scope, agent_id);
        let mine = memory_chunk::Entity::owned_by(scope).filter(memory_chunk::Column::AgentId.eq(agent_id));
        let tx = self.db.read(scope).await?;
        let total = mine.clone().count(&*tx).await?;
        let candidates = if self.db.backend() == DbBackend::Postgres {
            let query = terms::tsquery(&mark, &question);
            mine.filter(Expr::cust_with_values("search @@ CAST($1 AS tsquery)", [query.clone()]))
                .order_by(
                    Expr::cust_with_values("ts_rank(search, CAST($1 AS tsquery))", [query]),
                    Order::Desc,
                )
                .order_by_asc(memory_chunk::Column::Id)
                .limit(CANDIDATES)
        } else {
            mine.filter(matched_by_fts5(&mark, &question))
        };
        let rows = candidates.all(&*tx).await?;
        drop(tx);
        let words = |row: &memory_chunk::Model| -> Vec<String> {
            let marked = row.terms.split(' ');
            marked.filter_map(|word| word.get(MARK..).map(str::to_owned)).collect()
        };
        let pieces: Vec<Vec<String>> = rows.iter().map(words).collect();
        let scores = scores(&question, &pieces, total);
        let mut ranked: Vec<(f64, memory_chunk::Model)> = scores
            .into_iter()
            .zip(rows)
            .filter(|(score, _)| *score > 0.0 && *score >= least)
            .collect();
        ranked.sort_by(|(left, one), (right, other)| {
            let place = |row: &memory_chunk::Model| (row.path.clone(), -row.start_line);
            // Of equals, the newer day first.
            right.total_cmp(left).then_with(|| place(other).cmp(&place(one)))
        });
        ranked.truncate(most);
        Ok(ranked
            .into_iter()
            .map(|(score, row)| Found {
                score,
                snippet: snippet(&row.content, &question),
                path: row.path,
                start_line: row.start_line,
                end_line: row.end_line,
            })
            .collect())
    }
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
fn snippet(content: &str, question: &[Term]) -> String {
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
