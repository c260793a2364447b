//! Files of a workspace: read, written against the version the writer saw, listed.

use std::collections::HashMap;

use claw_entities::{Scope, UserOwned, workspace_file};
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

use super::super::{ConfigService, memory};
use super::{WorkspaceFile, paths, templates};
use crate::clock::now_ms;
use crate::db::Rows;
use crate::error::{Error, Result};

const MAX_BYTES: usize = 256 * 1024;
const MAX_FILES: u64 = 2_000;
/// How often a change is made again because somebody else's came first.
const TRIES: usize = 5;

impl ConfigService {
    /// Bootstrap files in the order of `agent-runtime` §8.2, present ones only. A new agent starts with our templates,
    /// which cost no row until they are edited. `MEMORY.md` comes last: it is not for guests and groups.
    pub async fn bootstrap_files(&self, scope: &Scope, agent_id: &str) -> Result<Vec<WorkspaceFile>> {
        let view = self.db.glance(scope).await?;
        let files = workspace_file::Entity::owned_by(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .filter(workspace_file::Column::Path.is_in(templates::names()));
        let rows = view.rows(files).await?;
        let mut stored: HashMap<String, workspace_file::Model> =
            rows.into_iter().map(|row| (row.path.clone(), row)).collect();
        let fresh = stored.is_empty();
        if stored.contains_key("MEMORY.md") {
            stored.remove("memory.md");
        }
        Ok(templates::names()
            .filter_map(|name| {
                stored
                    .remove(name)
                    .map(WorkspaceFile::from)
                    .or_else(|| templates::template(name, fresh))
            })
            .collect())
    }

    /// A file; a bootstrap file that nobody edited is our template.
    pub async fn workspace_file(&self, scope: &Scope, agent_id: &str, path: &str) -> Result<Option<WorkspaceFile>> {
        let tx = self.db.read(scope).await?;
        match find(&*tx, scope, agent_id, path).await? {
            Some(row) => Ok(Some(row.into())),
            None => template(&*tx, scope, agent_id, path).await,
        }
    }

    /// Writes a file; `expected` is the version the writer saw (0 = it must not exist, `None` = whatever is there).
    pub async fn put_workspace_file(
        &self,
        scope: &Scope,
        agent_id: &str,
        path: &str,
        content: &str,
        expected: Option<i64>,
    ) -> Result<WorkspaceFile> {
        let put = |before: Option<&WorkspaceFile>| {
            let version = before.map_or(0, |file| file.version);
            match expected {
                Some(expected) if expected != version => Err(changed_meanwhile(path)),
                Some(_) | None => Ok(Some(content.to_owned())),
            }
        };
        let put = self.change_workspace_file(scope, agent_id, path, put).await?;
        put.ok_or(Error::NotFound { what: "file" })
    }

    /// Makes a file anew from what is there, in one transaction. `change` says what it becomes, or `None` for no
    /// change; it may be asked again when somebody else wrote meanwhile. Gives the file when it was written.
    pub async fn change_workspace_file(
        &self,
        scope: &Scope,
        agent_id: &str,
        path: &str,
        change: impl Fn(Option<&WorkspaceFile>) -> Result<Option<String>> + Send,
    ) -> Result<Option<WorkspaceFile>> {
        paths::check(path)?;
        for _ in 0..TRIES {
            let tx = self.db.write(scope).await?;
            let row = workspace_file::Entity::owned_by(scope)
                .filter(workspace_file::Column::AgentId.eq(agent_id))
                .filter(workspace_file::Column::Path.eq(path))
                .lock_exclusive()
                .one(&*tx)
                .await?;
            let version = row.as_ref().map(|row| row.version);
            let before = match row {
                Some(row) => Some(row.into()),
                None => template(&*tx, scope, agent_id, path).await?,
            };
            let Some(content) = change(before.as_ref())? else {
                return Ok(None);
            };
            if let Some(file) = store(&*tx, scope, agent_id, path, content, version).await? {
                tx.commit().await?;
                return Ok(Some(file));
            }
        }
        Err(changed_meanwhile(path))
    }

    /// Removes a file. A removed bootstrap file stays as a blank one: our template does not come back.
    pub async fn delete_workspace_file(&self, scope: &Scope, agent_id: &str, path: &str) -> Result<()> {
        let tx = self.db.write(scope).await?;
        if template(&*tx, scope, agent_id, path).await?.is_some() {
            drop(tx);
            self.put_workspace_file(scope, agent_id, path, "", None).await?;
            return Ok(());
        }
        let deleted = workspace_file::Entity::delete_owned(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .filter(workspace_file::Column::Path.eq(path))
            .exec(&*tx)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::NotFound { what: "file" });
        }
        memory::forget(&*tx, scope, agent_id, Some(path)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes all files of an agent, for an agent that is gone.
    pub async fn delete_workspace(&self, scope: &Scope, agent_id: &str) -> Result<u64> {
        let tx = self.db.write(scope).await?;
        let deleted = workspace_file::Entity::delete_owned(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .exec(&*tx)
            .await?;
        memory::forget(&*tx, scope, agent_id, None).await?;
        tx.commit().await?;
        Ok(deleted.rows_affected)
    }

    /// The bootstrap files of an agent by name, with their content where there is one.
    pub async fn bootstrap_slots(
        &self,
        scope: &Scope,
        agent_id: &str,
    ) -> Result<Vec<(&'static str, Option<WorkspaceFile>)>> {
        let listed = self.list_workspace(scope, agent_id).await?;
        Ok(templates::names()
            .map(|name| (name, listed.iter().find(|file| file.path == name).cloned()))
            .collect())
    }

    /// All files of an agent by path, templates included, without their content.
    pub async fn list_workspace(&self, scope: &Scope, agent_id: &str) -> Result<Vec<WorkspaceFile>> {
        let content = Expr::col(workspace_file::Column::Content);
        let bytes = if self.db.backend() == DbBackend::Postgres {
            Expr::expr(Func::cust("octet_length").arg(content)).cast_as("bigint")
        } else {
            Func::char_length(content.cast_as("blob")).into()
        };
        let tx = self.db.read(scope).await?;
        let rows = workspace_file::Entity::owned_by(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .select_only()
            .column(workspace_file::Column::Path)
            .column(workspace_file::Column::Version)
            .column(workspace_file::Column::UpdatedAt)
            .expr_as(bytes, "size")
            .order_by_asc(workspace_file::Column::Path)
            .into_model::<Listed>()
            .all(&*tx)
            .await?;
        drop(tx);
        let mut files: Vec<_> = rows
            .into_iter()
            .map(|row| WorkspaceFile {
                path: row.path,
                content: String::new(),
                size: u64::try_from(row.size).unwrap_or(0),
                version: row.version,
                updated_at: row.updated_at,
            })
            .collect();
        let fresh = !files.iter().any(|file| templates::is_bootstrap(&file.path));
        for template in templates::names().filter_map(|name| templates::template(name, fresh)) {
            if !files.iter().any(|file| file.path == template.path) {
                files.push(WorkspaceFile {
                    content: String::new(),
                    ..template
                });
            }
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }
}

#[derive(FromQueryResult)]
struct Listed {
    path: String,
    version: i64,
    updated_at: i64,
    size: i64,
}

fn changed_meanwhile(path: &str) -> Error {
    Error::Conflict(format!("{path} was changed meanwhile; read it again"))
}

/// Writes the row and what is searched of it. `before` is the version that is there, `None` where no row is; nothing
/// is written, and `None` given, when that is no longer so.
async fn store(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    agent_id: &str,
    path: &str,
    content: String,
    before: Option<i64>,
) -> Result<Option<WorkspaceFile>> {
    if content.len() > MAX_BYTES {
        return Err(Error::TooLarge("a workspace file has at most 256 KiB".to_owned()));
    }
    if content.contains('\0') {
        return Err(Error::invalid("a workspace file is text"));
    }
    if before.is_none() {
        let files = workspace_file::Entity::owned_by(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .count(tx)
            .await?;
        if files >= MAX_FILES {
            return Err(Error::TooLarge(format!("a workspace has at most {MAX_FILES} files")));
        }
    }
    let version = before.unwrap_or(0) + 1;
    let row = workspace_file::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        agent_id: agent_id.to_owned(),
        path: path.to_owned(),
        content,
        version,
        updated_at: now_ms(),
        indexed_version: version,
    };
    let mut conflict = OnConflict::columns([
        workspace_file::Column::TenantId,
        workspace_file::Column::UserId,
        workspace_file::Column::AgentId,
        workspace_file::Column::Path,
    ]);
    conflict
        .update_columns([
            workspace_file::Column::Content,
            workspace_file::Column::Version,
            workspace_file::Column::UpdatedAt,
            workspace_file::Column::IndexedVersion,
        ])
        .action_and_where(Expr::col((workspace_file::Entity, workspace_file::Column::Version)).eq(version - 1));
    let written = workspace_file::Entity::insert(workspace_file::ActiveModel {
        tenant_id: Set(row.tenant_id.clone()),
        user_id: Set(row.user_id.clone()),
        agent_id: Set(row.agent_id.clone()),
        path: Set(row.path.clone()),
        content: Set(row.content.clone()),
        version: Set(row.version),
        updated_at: Set(row.updated_at),
        indexed_version: Set(row.indexed_version),
    })
    .on_conflict(conflict)
    .exec_without_returning(tx)
    .await?;
    if written == 0 {
        return Ok(None);
    }
    memory::index(tx, scope, agent_id, path, &row.content).await?;
    Ok(Some(row.into()))
}

/// Our text for a file that has no row.
async fn template(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    agent_id: &str,
    path: &str,
) -> Result<Option<WorkspaceFile>> {
    let fresh = path == templates::FIRST_CONTACT && {
        let written = workspace_file::Entity::owned_by(scope)
            .filter(workspace_file::Column::AgentId.eq(agent_id))
            .filter(workspace_file::Column::Path.is_in(templates::names()));
        written.count(tx).await? == 0
    };
    Ok(templates::template(path, fresh))
}

async fn find(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    agent_id: &str,
    path: &str,
) -> Result<Option<workspace_file::Model>> {
    Ok(workspace_file::Entity::owned_by(scope)
        .filter(workspace_file::Column::AgentId.eq(agent_id))
        .filter(workspace_file::Column::Path.eq(path))
        .one(tx)
        .await?)
}

impl From<workspace_file::Model> for WorkspaceFile {
    fn from(row: workspace_file::Model) -> Self {
        Self {
            size: u64::try_from(row.content.len()).unwrap_or(u64::MAX),
            path: row.path,
            content: row.content,
            version: row.version,
            updated_at: row.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use crate::config::identity::Role;

    /// How to get to know each other stands there until something was written, and comes back for nobody.
    #[tokio::test]
    async fn first_contact_is_over_with_the_first_file() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let there = async |agent: &str| {
            let file = config
                .workspace_file(&owner, agent, "BOOTSTRAP.md")
                .await
                .expect("reads");
            let listed = config.list_workspace(&owner, agent).await.expect("lists");
            let listed = listed.iter().any(|file| file.path == "BOOTSTRAP.md" && file.size > 0);
            let told = config.bootstrap_files(&owner, agent).await.expect("reads");
            let told = told.iter().any(|file| file.path == "BOOTSTRAP.md" && file.size > 0);
            let file = file.is_some_and(|file| file.size > 0);
            assert_eq!((file, listed), (told, told));
            told
        };
        assert!(there("main").await && there("work").await);
        let put =
            |agent: &'static str, path: &'static str| config.put_workspace_file(&owner, agent, path, "text", Some(0));
        put("main", "notes/a.md").await.expect("writes");
        assert!(there("main").await, "a note is not yet an acquaintance");
        put("main", "USER.md").await.expect("writes");
        assert!(!there("main").await);
        config
            .delete_workspace_file(&owner, "main", "BOOTSTRAP.md")
            .await
            .expect_err("it is gone");

        config
            .delete_workspace_file(&owner, "work", "BOOTSTRAP.md")
            .await
            .expect("removes");
        assert!(!there("work").await);
    }

    #[tokio::test]
    async fn a_new_agent_has_templates_without_rows() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let names = async || -> Vec<String> {
            let files = config.bootstrap_files(&owner, "main").await.expect("reads");
            files.into_iter().map(|file| file.path).collect()
        };
        let fresh = [
            "AGENTS.md",
            "SOUL.md",
            "TOOLS.md",
            "IDENTITY.md",
            "USER.md",
            "HEARTBEAT.md",
            "BOOTSTRAP.md",
        ];
        assert_eq!(names().await, fresh);
        let tx = server.db.read(&owner).await.expect("begins");
        assert_eq!(
            workspace_file::Entity::owned_by(&owner)
                .count(&*tx)
                .await
                .expect("counts"),
            0
        );
        drop(tx);

        config
            .put_workspace_file(&owner, "main", "memory.md", "m", Some(0))
            .await
            .expect("writes");
        assert_eq!(names().await.last().map(String::as_str), Some("memory.md"));
        config
            .put_workspace_file(&owner, "main", "MEMORY.md", "M", Some(0))
            .await
            .expect("writes");
        assert_eq!(names().await.last().map(String::as_str), Some("MEMORY.md"));
        let soul = config
            .put_workspace_file(&owner, "main", "SOUL.md", "mine", Some(0))
            .await
            .expect("writes");
        assert_eq!(soul.version, 1);
        let files = config.bootstrap_files(&owner, "main").await.expect("reads");
        assert_eq!((files[1].path.as_str(), files[1].content.as_str()), ("SOUL.md", "mine"));
        config
            .delete_workspace_file(&owner, "main", "SOUL.md")
            .await
            .expect("blanks");
        let blank = config
            .workspace_file(&owner, "main", "SOUL.md")
            .await
            .expect("reads")
            .expect("stays");
        assert_eq!((blank.content.as_str(), blank.version), ("", 2));
    }

    #[tokio::test]
    async fn writers_compare_versions_and_users_are_apart() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let other = testing::user(config, owner.tenant_scope(), "b@acme.test", Role::Owner).await;
        let put = async |text: &str, expected| {
            config
                .put_workspace_file(&owner, "main", "notes/a.md", text, expected)
                .await
                .map(|file| file.version)
        };
        assert_eq!(put("1", Some(0)).await.expect("writes"), 1);
        assert!(matches!(put("2", Some(0)).await, Err(Error::Conflict(_))));
        assert_eq!(put("äö", Some(1)).await.expect("writes"), 2);
        assert_eq!(put("äöü", None).await.expect("writes"), 3);
        let listed = config.list_workspace(&owner, "main").await.expect("lists");
        let file = listed.iter().find(|file| file.path == "notes/a.md").expect("is listed");
        assert_eq!((file.size, file.version, file.content.as_str()), (6, 3, ""));
        assert_eq!(listed.len(), 8, "with our templates");
        assert!(
            config
                .workspace_file(&other, "main", "notes/a.md")
                .await
                .expect("reads")
                .is_none()
        );
        assert!(
            config
                .workspace_file(&owner, "work", "notes/a.md")
                .await
                .expect("reads")
                .is_none()
        );
        let large = config
            .put_workspace_file(&owner, "main", "big", &"x".repeat(MAX_BYTES + 1), None)
            .await;
        assert!(matches!(large, Err(Error::TooLarge(_))));
        config
            .delete_workspace_file(&owner, "main", "notes/a.md")
            .await
            .expect("removes");
        assert!(
            config
                .workspace_file(&owner, "main", "notes/a.md")
                .await
                .expect("reads")
                .is_none()
        );
    }
}
