//! The virtual workspace: text files per agent, in the database.

use claw_entities::Scope;

use super::ConfigService;
use crate::error::Result;

#[derive(Clone, Debug)]
pub struct WorkspaceFile {
    pub path: String,
    pub content: String,
    pub version: i64,
    pub updated_at: i64,
}

impl ConfigService {
    /// Bootstrap files in the order of `agent-runtime` §8.2, present ones only. A new agent starts with our templates.
    pub async fn bootstrap_files(&self, _scope: &Scope, _agent_id: &str) -> Result<Vec<WorkspaceFile>> {
        unimplemented!("config")
    }
    pub async fn workspace_file(&self, _scope: &Scope, _agent_id: &str, _path: &str) -> Result<Option<WorkspaceFile>> {
        unimplemented!("config")
    }
    /// Writes a file; `expected` is the version the writer saw (0 = it must not exist, `None` = whatever is there).
    pub async fn put_workspace_file(
        &self,
        _scope: &Scope,
        _agent_id: &str,
        _path: &str,
        _content: &str,
        _expected: Option<i64>,
    ) -> Result<WorkspaceFile> {
        unimplemented!("config")
    }
    pub async fn list_workspace(&self, _scope: &Scope, _agent_id: &str) -> Result<Vec<WorkspaceFile>> {
        unimplemented!("config")
    }
}
