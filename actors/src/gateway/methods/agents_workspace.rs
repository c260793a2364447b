//! `agents.workspace.list` and `agents.workspace.get`: all files of an agent, by folders. Folders are what paths have in
//! common; there are none apart from files.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::agents::known_agent;
use super::filled;
use crate::config::workspace::{WorkspaceFile, check_path};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// Entries of one list, without `limit` and at most.
const ENTRIES: usize = 500;
const MOST_ENTRIES: usize = 2000;

pub(super) fn register(methods: &mut Methods) {
    methods.add("agents.workspace.list", Access::Scope(READ), list);
    methods.add("agents.workspace.get", Access::Scope(READ), get);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    agent_id: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    known(&call, &params.agent_id).await?;
    let folder = params.path.trim_matches('/').to_owned();
    let config = &call.state.services.config;
    let files = config.list_workspace(call.scope(), &params.agent_id).await?;
    let entries = entries(&files, &folder);
    if entries.is_empty() && !folder.is_empty() {
        let (what, kind) = ("workspace directory not found", "workspace_path_not_found");
        return Err(missing(what, kind, &folder));
    }
    let limit = params.limit.unwrap_or(ENTRIES).clamp(1, MOST_ENTRIES);
    let total = entries.len();
    let page: Vec<Value> = entries.into_iter().skip(params.offset).take(limit).collect();
    let mut answer = json!({
        "agentId": params.agent_id, "path": folder, "entries": page, "totalEntries": total, "offset": params.offset,
    });
    if !folder.is_empty() {
        answer["parentPath"] = json!(folder.rsplit_once('/').map_or("", |(parent, _)| parent));
    }
    Ok(answer)
}

fn missing(what: &str, kind: &str, path: &str) -> WireError {
    WireError::invalid(what).details(json!({"type": kind, "path": path}))
}

async fn known(call: &Call, agent_id: &str) -> Result<(), WireError> {
    let unknown = |_| WireError::invalid(format!("agent \"{agent_id}\" not found"));
    known_agent(call, agent_id).await.map_err(unknown)
}

/// What stands in a folder: its folders, then its files, each by name.
fn entries(files: &[WorkspaceFile], folder: &str) -> Vec<Value> {
    let (mut folders, mut here) = (BTreeMap::new(), Vec::new());
    for file in files {
        let inside = match folder {
            "" => Some(file.path.as_str()),
            _ => file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        match inside.map(|rest| rest.split_once('/').ok_or(rest)) {
            None => {}
            Some(Err(_)) => here.push(entry(file)),
            Some(Ok((name, _))) => {
                let path = if folder.is_empty() {
                    name.to_owned()
                } else {
                    format!("{folder}/{name}")
                };
                folders.insert(name, json!({"path": path, "name": name, "kind": "directory"}));
            }
        }
    }
    folders.into_values().chain(here).collect()
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn entry(file: &WorkspaceFile) -> Value {
    json!({
        "path": file.path, "name": name_of(&file.path), "kind": "file", "size": file.size, "updatedAtMs": file.updated_at,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetParams {
    agent_id: String,
    path: String,
}

async fn get(call: Call, params: GetParams) -> Result<Value, WireError> {
    filled("agents.workspace.get", "path", &params.path)?;
    known(&call, &params.agent_id).await?;
    if check_path(&params.path).is_err() {
        let (what, kind) = ("path escapes the agent workspace", "workspace_path_invalid");
        return Err(missing(what, kind, &params.path));
    }
    let config = &call.state.services.config;
    let found = config
        .workspace_file(call.scope(), &params.agent_id, &params.path)
        .await?;
    let (what, kind) = ("workspace file not found", "workspace_file_not_found");
    let file = found.ok_or_else(|| missing(what, kind, &params.path))?;
    let kind = if file.path.ends_with(".md") {
        "text/markdown"
    } else {
        "text/plain"
    };
    Ok(json!({"agentId": params.agent_id, "file": {
        "path": file.path, "name": name_of(&file.path), "size": file.size, "updatedAtMs": file.updated_at,
        "mimeType": kind, "encoding": "utf8", "content": file.content,
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_what_paths_have_in_common() {
        let file = |path: &str| WorkspaceFile {
            path: path.to_owned(),
            content: String::new(),
            size: 1,
            version: 1,
            updated_at: 2,
        };
        let files = [
            file("MEMORY.md"),
            file("memory/2026/a.md"),
            file("memory/b.md"),
            file("memoryless"),
        ];
        let paths = |folder: &str| -> Vec<String> {
            let found = entries(&files, folder).into_iter();
            found
                .map(|entry| entry["path"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(paths(""), ["memory", "MEMORY.md", "memoryless"]);
        assert_eq!(paths("memory"), ["memory/2026", "memory/b.md"]);
        assert_eq!(paths("memory/2026"), ["memory/2026/a.md"]);
        assert!(paths("mem").is_empty());
    }
}
