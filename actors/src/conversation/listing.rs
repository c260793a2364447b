//! Lists of sessions: filtered by the database, with titles and last words where they are asked for.

use std::ops::ControlFlow;

use claw_entities::{Scope, SessionKey, UserOwned, session, transcript_entry};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::branch::walk;
use super::entry::Entry;
use super::transcript::{self, SessionHead};
use super::{ConversationService, display};
use crate::error::Result;

/// Entries looked through for the first question or the last words.
const LOOKED_AT: usize = 8;
/// Characters of a title, as the original.
const TITLE: usize = 60;

/// A session as `sessions.list` needs it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub key: SessionKey,
    pub session_id: String,
    pub agent_id: String,
    pub label: Option<String>,
    pub entry: Value,
    pub destination: Value,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Which sessions by their archive flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archived {
    #[default]
    Without,
    Only,
    With,
}

/// What a list of sessions is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    pub agent_id: Option<String>,
    pub label: Option<String>,
    pub session_id: Option<String>,
    pub keys: Option<Vec<String>>,
    /// Key of the session that began them.
    pub spawned_by: Option<String>,
    /// Part of the key or the label, in any case.
    pub search: Option<String>,
    /// Epoch milliseconds.
    pub active_since: Option<i64>,
    pub archived: Archived,
}

impl From<session::Model> for SessionRow {
    fn from(row: session::Model) -> Self {
        Self {
            key: row.key,
            session_id: row.session_id,
            agent_id: row.agent_id,
            label: row.label,
            entry: row.entry,
            destination: row.destination,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl SessionFilter {
    fn condition(&self) -> Condition {
        let mut all = Condition::all();
        if let Some(agent) = &self.agent_id {
            all = all.add(session::Column::AgentId.eq(agent.as_str()));
        }
        if let Some(label) = &self.label {
            all = all.add(session::Column::Label.eq(label.as_str()));
        }
        if let Some(id) = &self.session_id {
            all = all.add(session::Column::SessionId.eq(id.as_str()));
        }
        if let Some(keys) = &self.keys {
            all = all.add(session::Column::Key.is_in(keys.iter().map(String::as_str)));
        }
        if let Some(by) = &self.spawned_by {
            all = all.add(Expr::cust(r#""session"."entry"->>'spawnedBy'"#).eq(by.as_str()));
        }
        if let Some(since) = self.active_since {
            all = all.add(session::Column::UpdatedAt.gte(since));
        }
        if let Some(text) = self.search.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            let lower = |column| Expr::expr(Func::lower(Expr::col((session::Entity, column))));
            let folded = part(&text.to_lowercase());
            all = all.add(
                Condition::any()
                    .add(lower(session::Column::Key).like(folded.clone()))
                    .add(lower(session::Column::Label).like(folded))
                    // SQLite folds ASCII only: other letters are found as they were written.
                    .add(Expr::col((session::Entity, session::Column::Label)).like(part(text))),
            );
        }
        // Both databases read a field this way, and an absent one, or a null, as NULL.
        match self.archived {
            Archived::Without => all.add(Expr::cust(r#""session"."entry"->>'archivedAt' IS NULL"#)),
            Archived::Only => all.add(Expr::cust(r#""session"."entry"->>'archivedAt' IS NOT NULL"#)),
            Archived::With => all,
        }
    }
}

/// Anything that holds this text, taken literally.
fn part(text: &str) -> LikeExpr {
    LikeExpr::new(format!("%{}%", literal(text))).escape('\\')
}

fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

impl ConversationService {
    /// The user's sessions, most recent first, and how many there are in all.
    pub async fn list_sessions(&self, scope: &Scope, limit: u64, offset: u64) -> Result<(Vec<SessionRow>, u64)> {
        let all = SessionFilter {
            archived: Archived::With,
            ..SessionFilter::default()
        };
        self.find_sessions(scope, &all, limit, offset).await
    }

    /// The user's sessions that pass the filter, most recent first, and how many do in all.
    pub async fn find_sessions(
        &self,
        scope: &Scope,
        filter: &SessionFilter,
        limit: u64,
        offset: u64,
    ) -> Result<(Vec<SessionRow>, u64)> {
        let tx = self.db.read(scope).await?;
        let matching = session::Entity::owned_by(scope).filter(filter.condition());
        let total = matching.clone().count(&*tx).await?;
        let rows = matching
            .order_by_desc(session::Column::UpdatedAt)
            .order_by_asc(session::Column::Key)
            .limit(limit)
            // The drivers take no larger one.
            .offset(std::cmp::min(offset, i64::MAX.unsigned_abs()))
            .all(&*tx)
            .await?;
        Ok((rows.into_iter().map(SessionRow::from).collect(), total))
    }

    /// One session, if it exists.
    pub async fn session(&self, scope: &Scope, key: &SessionKey) -> Result<Option<SessionRow>> {
        let head = self.head(scope, key).await?;
        Ok(head.as_ref().map(SessionRow::from))
    }

    /// One session's head, if it exists.
    pub async fn head(&self, scope: &Scope, key: &SessionKey) -> Result<Option<SessionHead>> {
        transcript::head(&self.db.glance(scope).await?, scope, key).await
    }

    /// What the session is about: the beginning of its first question. `None` before one was asked.
    pub async fn derived_title(&self, scope: &Scope, row: &SessionRow) -> Result<Option<String>> {
        let rows = transcript_entry::Entity::owned_by(scope)
            .filter(transcript_entry::Column::SessionId.eq(row.session_id.as_str()))
            .filter(transcript_entry::Column::Kind.eq("message"))
            .order_by_asc(transcript_entry::Column::Seq)
            .limit(LOOKED_AT as u64)
            .all(&self.db.glance(scope).await?)
            .await?;
        let first = rows.into_iter().filter_map(Entry::from_row).find_map(|entry| {
            let (shown, _) = display::entry(&entry)?;
            let text = display::one_line(&shown, usize::MAX)?;
            (shown["role"] == "user").then_some(text)
        });
        Ok(first.map(|text| title(&text)))
    }

    /// The last thing that was said, at most `most` characters of it.
    pub async fn last_words(&self, scope: &Scope, row: &SessionRow, most: usize) -> Result<Option<String>> {
        let rows = self.db.glance(scope).await?;
        match transcript::head(&rows, scope, &row.key).await? {
            Some(head) => words_at(&rows, scope, &head, most).await,
            None => Ok(None),
        }
    }
}

/// The last thing that was said on the branch that ends with the head's leaf, at most `most` characters of it.
pub(super) async fn words_at(
    rows: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    most: usize,
) -> Result<Option<String>> {
    let (mut found, mut seen) = (None, 0);
    walk(rows, scope, head, |entry| {
        seen += 1;
        found = display::entry(&entry)
            .filter(|(shown, _)| shown["role"] == "user" || shown["role"] == "assistant")
            .and_then(|(shown, _)| display::one_line(&shown, most));
        if found.is_some() || seen >= LOOKED_AT {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    Ok(found)
}

/// The beginning of a text, cut at a word where there is one.
fn title(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(TITLE) else {
        return text.to_owned();
    };
    let cut = text.get(..end).unwrap_or(text);
    let cut = match cut.rfind(' ') {
        Some(space) if space > TITLE / 2 => cut.get(..space).unwrap_or(cut),
        Some(_) | None => cut,
    };
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_end_at_a_word() {
        assert_eq!(title("short"), "short");
        let words = "word ".repeat(20);
        let cut = title(words.trim());
        assert!(cut.ends_with("word…") && cut.chars().count() <= TITLE + 1, "{cut}");
        assert_eq!(title(&"é".repeat(80)).chars().count(), TITLE + 1);
    }
}
