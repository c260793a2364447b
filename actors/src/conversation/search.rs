//! Searching what was said in a user's sessions, by words.
//!
//! A turn writes no index: what was said since the last search is read by the next one, a part at a time, so that who
//! never searches pays nothing. Entries never change, and whoever deletes one deletes its words (a foreign key does).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, session, transcript_entry, transcript_read, transcript_words};
use sea_orm::sea_query::{Expr, LockType, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Value,
};

use super::entry::Entry;
use super::transcript::{BRANCHED_AT, SessionHead};
use super::{ConversationService, display, tree};
use crate::config::memory::rank::scores;
use crate::config::memory::terms::{self, Term};
use crate::config::memory::{mark, marked, snippet, unmarked};
use crate::db::Transaction;
use crate::db::writer::Writer;
use crate::error::Result;

/// Characters of a message whose words are searched, as many as people see of one text.
const SEARCHED: usize = 12_000;
/// Entries one search reads for the index, entries of one commit, and commits.
const READ: u64 = 2_048;
const AT_ONCE: u64 = 256;
const COMMITS: usize = 64;
/// Messages with a word of the question in the wanted sessions that are ranked, the newest ones.
const RANKED: usize = 500;
/// Results of one search, as the original.
pub const MOST: usize = 25;

/// What is searched for, and where.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Any text.
    pub text: String,
    /// In this agent's sessions alone.
    pub agent_id: Option<String>,
    /// In these sessions alone.
    pub keys: Option<Vec<SessionKey>>,
    /// Results, 1 to [`MOST`].
    pub most: usize,
}

/// A message that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub session_key: SessionKey,
    pub session_id: String,
    /// Id of its entry.
    pub message_id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub snippet: String,
    /// Above 0 to 1.
    pub score: f64,
}

/// What a search gave.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// Best first.
    pub found: Vec<Hit>,
    /// Not everything that was said is searched yet; the next search goes on reading.
    pub indexing: bool,
    /// More fits than was asked for, or may fit: only so many messages are looked at.
    pub truncated: bool,
}

impl ConversationService {
    /// Messages of people and agents that have words of the question, in the current transcripts of the user's
    /// sessions, on the branches in use.
    pub async fn search(&self, writer: &Writer, scope: &Scope, ask: &Ask) -> Result<Hits> {
        let indexing = self.read_up(writer, scope).await?;
        let question = terms::question(&ask.text);
        let mut hits = Hits {
            indexing,
            ..Hits::default()
        };
        if question.is_empty() {
            return Ok(hits);
        }
        let most = ask.most.clamp(1, MOST);
        let tx = self.db.read(scope).await?;
        let (ranked, cut) = ranked(&*tx, scope, ask, &question).await?;
        // Some may stand on branches that are not in use.
        let (candidates, all) = (ranked.len().min(2 * MOST), ranked.len());
        let ranked = ranked.get(..candidates).unwrap_or_default();
        let mut entries = entries(&*tx, scope, ranked).await?;
        let sessions = sessions(&*tx, scope, ranked).await?;
        let mut in_use: HashMap<&str, HashSet<String>> = HashMap::new();
        for (score, row) in ranked {
            let Some(head) = sessions.get(&row.session_id) else {
                continue;
            };
            let Some(entry) = entries.remove(&(row.session_id.clone(), row.seq)) else {
                continue;
            };
            if head.entry.get(BRANCHED_AT).is_some_and(|at| !at.is_null()) {
                if !in_use.contains_key(head.session_id.as_str()) {
                    let nodes = tree::nodes(&*tx, scope, &head.session_id).await?;
                    let path = tree::path(&nodes, head.leaf_id.as_deref());
                    in_use.insert(&head.session_id, path.map(|node| node.id.clone()).collect());
                }
                if !in_use
                    .get(head.session_id.as_str())
                    .is_some_and(|ids| ids.contains(&entry.id))
                {
                    continue;
                }
            }
            let Some((role, text)) = said(&entry) else { continue };
            if hits.found.len() == most {
                hits.truncated = true;
                break;
            }
            hits.found.push(Hit {
                session_key: head.key.clone(),
                session_id: head.session_id.clone(),
                message_id: entry.id,
                role,
                timestamp: entry.created_at,
                snippet: snippet(&text, &question),
                score: *score,
            });
        }
        hits.truncated |= cut || all > candidates;
        Ok(hits)
    }

    /// Reads what was said since the last search, so much at a time. Says whether something is left.
    async fn read_up(&self, writer: &Writer, scope: &Scope) -> Result<bool> {
        let (mut left, mut commits) = (READ, 0);
        while let Some((session_id, after)) = self.unread(scope).await? {
            if left == 0 || commits == COMMITS {
                return Ok(true);
            }
            left = left.saturating_sub(self.read_some(writer, scope, &session_id, after).await?);
            commits += 1;
        }
        if commits > 0 {
            let scope_in = scope.clone();
            let forgets = writer.run(scope, move |tx| {
                let scope = scope_in.clone();
                Box::pin(async move { forget(tx, &scope).await })
            });
            forgets.await?;
        }
        Ok(false)
    }

    /// The transcript in use lately that has entries nobody read, and how far it was read.
    async fn unread(&self, scope: &Scope) -> Result<Option<(String, i64)>> {
        const READ_UP_TO: &str = "COALESCE((SELECT seen.seq FROM transcript_read AS seen \
            WHERE seen.tenant_id = \"session\".\"tenant_id\" AND seen.user_id = \"session\".\"user_id\" \
            AND seen.session_id = \"session\".\"session_id\"), 0)";
        Ok(session::Entity::owned_by(scope)
            .select_only()
            .column(session::Column::SessionId)
            .column_as(Expr::cust(READ_UP_TO), "read_up_to")
            .filter(Expr::cust(format!("\"session\".\"next_seq\" - 1 > {READ_UP_TO}")))
            .order_by_desc(session::Column::UpdatedAt)
            .order_by_asc(session::Column::SessionId)
            .limit(1)
            .into_tuple()
            .one(&self.db.glance(scope).await?)
            .await?)
    }

    /// Puts the words of the next messages into the index, one commit. Gives how many there were. Two searches at once
    /// write the same.
    async fn read_some(&self, writer: &Writer, scope: &Scope, session_id: &str, after: i64) -> Result<u64> {
        // They never change, so they are read and taken apart before the commit that writes their words.
        let view = self.db.glance(scope).await?;
        // What comes from here on is read the next time.
        let next: Option<i64> = session::Entity::owned_by(scope)
            .select_only()
            .column(session::Column::NextSeq)
            .filter(session::Column::SessionId.eq(session_id))
            .into_tuple()
            .one(&view)
            .await?;
        let next = next.unwrap_or(after + 1);
        let rows = transcript_entry::Entity::owned_by(scope)
            .filter(transcript_entry::Column::SessionId.eq(session_id))
            .filter(transcript_entry::Column::Seq.gt(after))
            .filter(transcript_entry::Column::Seq.lt(next))
            .filter(transcript_entry::Column::Kind.eq("message"))
            .order_by_asc(transcript_entry::Column::Seq)
            .limit(AT_ONCE)
            .all(&view)
            .await?;
        drop(view);
        let count = rows.len() as u64;
        let full = rows.last().filter(|_| count == AT_ONCE);
        let end = full.map_or(next - 1, |last| last.seq);
        let mark = mark(scope, "");
        let words = rows.into_iter().filter_map(Entry::from_row).filter_map(|entry| {
            let (_, text) = said(&entry)?;
            let terms = marked(&mark, &text);
            (!terms.is_empty()).then_some((entry.seq, terms))
        });
        let part = Arc::new(Part {
            session_id: session_id.to_owned(),
            words: words.collect(),
            end,
        });
        let scope_in = scope.clone();
        let writes = writer.run(scope, move |tx| {
            let (scope, part) = (scope_in.clone(), part.clone());
            Box::pin(async move { write(tx, &scope, &part).await })
        });
        writes.await?;
        Ok(count)
    }
}

/// Words of a part of a transcript.
struct Part {
    session_id: String,
    /// By the position of their message.
    words: Vec<(i64, String)>,
    /// The last entry of the part.
    end: i64,
}

async fn write(tx: &Transaction, scope: &Scope, part: &Part) -> Result<()> {
    if !part.words.is_empty() {
        // Some may be gone by now; those that are there stay until the commit.
        let there: Vec<i64> = transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::Seq)
            .filter(transcript_entry::Column::SessionId.eq(part.session_id.as_str()))
            .filter(transcript_entry::Column::Seq.is_in(part.words.iter().map(|(seq, _)| *seq)))
            .order_by_asc(transcript_entry::Column::Seq)
            .lock(LockType::KeyShare)
            .into_tuple()
            .all(tx)
            .await?;
        let there: HashSet<i64> = there.into_iter().collect();
        let words = part.words.iter().filter(|(seq, _)| there.contains(seq));
        let rows: Vec<transcript_words::ActiveModel> = words
            .map(|(seq, terms)| transcript_words::ActiveModel {
                tenant_id: Set(scope.tenant().clone()),
                user_id: Set(scope.user().clone()),
                session_id: Set(part.session_id.clone()),
                seq: Set(*seq),
                terms: Set(terms.clone()),
                ..Default::default()
            })
            .collect();
        if !rows.is_empty() {
            transcript_words::Entity::insert_many(rows)
                .on_conflict_do_nothing()
                .exec_without_returning(tx)
                .await?;
        }
    }
    let key = [
        transcript_read::Column::TenantId,
        transcript_read::Column::UserId,
        transcript_read::Column::SessionId,
    ];
    transcript_read::Entity::insert(transcript_read::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        session_id: Set(part.session_id.clone()),
        seq: Set(part.end),
    })
    .on_conflict(
        OnConflict::columns(key)
            .update_column(transcript_read::Column::Seq)
            .to_owned(),
    )
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

/// How far transcripts were read that no session has any more.
async fn forget(tx: &Transaction, scope: &Scope) -> Result<()> {
    let current = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::SessionId)
        .into_query();
    transcript_read::Entity::delete_owned(scope)
        .filter(transcript_read::Column::SessionId.not_in_subquery(current))
        .exec(tx)
        .await?;
    Ok(())
}

/// Who said what, if a person or an agent did.
fn said(entry: &Entry) -> Option<(String, String)> {
    let (shown, _) = display::entry(entry)?;
    let role = shown["role"]
        .as_str()
        .filter(|role| ["user", "assistant"].contains(role))?;
    let text = display::one_line(&shown, SEARCHED)?;
    Some((role.to_owned(), text))
}

/// Messages that have words of the question, best first, and the newer of equals; and whether there are more than were
/// looked at.
async fn ranked(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    ask: &Ask,
    question: &[Term],
) -> Result<(Vec<(f64, transcript_words::Model)>, bool)> {
    let mut rows =
        transcript_words::Entity::owned_by(scope).filter(matched(tx.get_database_backend(), scope, ask, question));
    if tx.get_database_backend() == DbBackend::Postgres {
        let mut wanted = session::Entity::owned_by(scope)
            .select_only()
            .column(session::Column::SessionId);
        if let Some(agent) = &ask.agent_id {
            wanted = wanted.filter(session::Column::AgentId.eq(agent.as_str()));
        }
        if let Some(keys) = &ask.keys {
            wanted = wanted.filter(session::Column::Key.is_in(keys.iter().cloned()));
        }
        rows = rows.filter(transcript_words::Column::SessionId.in_subquery(wanted.into_query()));
    }
    let rows = rows
        .order_by_desc(transcript_words::Column::Id)
        .limit(RANKED as u64)
        .all(tx)
        .await?;
    let cut = rows.len() == RANKED;
    let total = transcript_words::Entity::owned_by(scope).count(tx).await?;
    let pieces: Vec<Vec<String>> = rows.iter().map(|row| unmarked(&row.terms)).collect();
    let scores = scores(question, &pieces, total);
    let scored = scores.into_iter().zip(rows).filter(|(score, _)| *score > 0.0);
    let mut ranked: Vec<(f64, transcript_words::Model)> = scored.collect();
    ranked.sort_by(|(left, one), (right, other)| right.total_cmp(left).then_with(|| other.id.cmp(&one.id)));
    Ok((ranked, cut))
}

/// Has a row a word of the question. On SQLite, whose index of words knows no sessions, also: is it one of the newest such
/// rows in the wanted sessions. The limit is written out: SQLite would plan the statement anew for each value.
fn matched(backend: DbBackend, scope: &Scope, ask: &Ask, question: &[Term]) -> SimpleExpr {
    let mark = mark(scope, "");
    if backend == DbBackend::Postgres {
        let words = [terms::tsquery(&mark, question)];
        return Expr::cust_with_values("\"transcript_words\".\"search\" @@ CAST($1 AS tsquery)", words);
    }
    let mut sql = "id IN (SELECT transcript_fts.rowid FROM transcript_fts \
         CROSS JOIN transcript_words AS near ON near.id = transcript_fts.rowid \
         WHERE transcript_fts MATCH ? AND near.tenant_id = ? AND near.user_id = ? AND near.session_id IN \
         (SELECT wanted.session_id FROM session AS wanted WHERE wanted.tenant_id = ? AND wanted.user_id = ?"
        .to_owned();
    let (tenant, user) = (scope.tenant().as_str(), scope.user().as_str());
    let mut values: Vec<Value> = vec![terms::fts5(&mark, question).into()];
    values.extend([tenant, user, tenant, user].map(Value::from));
    if let Some(agent) = &ask.agent_id {
        sql.push_str(" AND wanted.agent_id = ?");
        values.push(agent.as_str().into());
    }
    if let Some(keys) = &ask.keys {
        let marks = vec!["?"; keys.len()].join(", ");
        sql.push_str(&format!(" AND wanted.\"key\" IN ({marks})"));
        values.extend(keys.iter().map(|key| Value::from(key.as_str())));
    }
    sql.push_str(&format!(") ORDER BY transcript_fts.rowid DESC LIMIT {RANKED})"));
    Expr::cust_with_values(sql, values)
}

type Place = (String, i64);

async fn entries(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    ranked: &[(f64, transcript_words::Model)],
) -> Result<HashMap<Place, Entry>> {
    if ranked.is_empty() {
        return Ok(HashMap::new());
    }
    let places = ranked.iter().fold(Condition::any(), |all, (_, row)| {
        let one = Condition::all()
            .add(transcript_entry::Column::SessionId.eq(row.session_id.as_str()))
            .add(transcript_entry::Column::Seq.eq(row.seq));
        all.add(one)
    });
    let rows = transcript_entry::Entity::owned_by(scope).filter(places).all(tx).await?;
    let placed = |row: transcript_entry::Model| {
        let place = (row.session_id.clone(), row.seq);
        Some((place, Entry::from_row(row)?))
    };
    Ok(rows.into_iter().filter_map(placed).collect())
}

async fn sessions(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    ranked: &[(f64, transcript_words::Model)],
) -> Result<HashMap<String, SessionHead>> {
    let ids: HashSet<&str> = ranked.iter().map(|(_, row)| row.session_id.as_str()).collect();
    let rows = session::Entity::owned_by(scope)
        .filter(session::Column::SessionId.is_in(ids))
        .all(tx)
        .await?;
    let heads = rows.into_iter().map(SessionHead::from);
    Ok(heads.map(|head| (head.session_id.clone(), head)).collect())
}
