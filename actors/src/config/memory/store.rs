//! The pieces of the notes in the database: written with their file, and caught up with where a file has none yet.

use claw_entities::{Scope, UserOwned, memory_chunk, workspace_file};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Set};

use super::super::ConfigService;
use super::chunk::chunks;
use super::is_note;
use super::terms::terms;
use crate::crypto::token::hash;
use crate::error::Result;

/// Pieces of one statement.
const AT_ONCE: usize = 64;
/// Characters of an owner's mark, all of them ASCII.
pub(crate) const MARK: usize = 8;

/// Stands for tenant, user and agent before each of their words. Two may have the same one: it keeps searches apart for
/// speed, the scope keeps them apart for good.
pub(crate) fn mark(scope: &Scope, agent_id: &str) -> String {
    hash(&format!("{}\0{}\0{agent_id}", scope.tenant(), scope.user()))
        .chars()
        .take(MARK)
        .collect()
}

/// The words of a text behind their owner's mark, as the index has them.
pub(crate) fn marked(mark: &str, text: &str) -> String {
    let words = terms(text).into_iter();
    words.map(|word| format!("{mark}{word}")).collect::<Vec<_>>().join(" ")
}

/// The words of [`marked`] without it.
pub(crate) fn unmarked(terms: &str) -> Vec<String> {
    let marked = terms.split(' ');
    marked.filter_map(|word| word.get(MARK..).map(str::to_owned)).collect()
}

/// Puts a file's pieces in the place of those it had. Other files than notes have none.
pub(in crate::config) async fn index(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    agent_id: &str,
    path: &str,
    content: &str,
) -> Result<()> {
    if !is_note(path) {
        return Ok(());
    }
    forget(tx, scope, agent_id, Some(path)).await?;
    let mark = mark(scope, agent_id);
    for pieces in chunks(content).chunks(AT_ONCE) {
        let rows = pieces.iter().map(|piece| memory_chunk::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            agent_id: Set(agent_id.to_owned()),
            path: Set(path.to_owned()),
            start_line: Set(piece.start_line),
            end_line: Set(piece.end_line),
            content: Set(piece.text.clone()),
            terms: Set(marked(&mark, &piece.text)),
            hash: Set(hash(&piece.text)),
            ..Default::default()
        });
        memory_chunk::Entity::insert_many(rows)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

/// Takes a file's pieces out, or all of an agent's.
pub(in crate::config) async fn forget(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    agent_id: &str,
    path: Option<&str>,
) -> Result<()> {
    let mut delete = memory_chunk::Entity::delete_owned(scope).filter(memory_chunk::Column::AgentId.eq(agent_id));
    if let Some(path) = path {
        delete = delete.filter(memory_chunk::Column::Path.eq(path));
    }
    delete.exec(tx).await?;
    Ok(())
}

impl ConfigService {
    /// Looks through the files that were written before there was an index, or by a process that knows none. Each is
    /// one commit, so what was done stays done.
    pub(super) async fn catch_up(&self, scope: &Scope, agent_id: &str) -> Result<()> {
        let unread = || Expr::cust("indexed_version <> version");
        let view = self.db.glance(scope).await?;
        let paths: Vec<String> = workspace_file::Entity::owned_by(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .filter(unread())
            .select_only()
            .column(workspace_file::Column::Path)
            .into_tuple()
            .all(&view)
            .await?;
        drop(view);
        for path in paths {
            let tx = self.db.write(scope).await?;
            let row = workspace_file::Entity::owned_by(scope)
                .filter(workspace_file::Column::AgentId.eq(agent_id))
                .filter(workspace_file::Column::Path.eq(&path))
                .filter(unread())
                .lock_exclusive()
                .one(&*tx)
                .await?;
            let Some(row) = row else { continue };
            index(&*tx, scope, agent_id, &path, &row.content).await?;
            workspace_file::Entity::update_owned(scope)
                .filter(workspace_file::Column::AgentId.eq(agent_id))
                .filter(workspace_file::Column::Path.eq(&path))
                .col_expr(workspace_file::Column::IndexedVersion, Expr::value(row.version))
                .exec(&*tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
