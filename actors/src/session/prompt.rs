//! stub
use crate::config::document::UserSettings;
use crate::config::providers::ResolvedModel;
use crate::config::workspace::WorkspaceFile;
use crate::ports::model::SystemBlock;
use crate::ports::tool::ToolSpec;
pub struct Facts<'a> {
    pub agent_id: &'a str,
    pub settings: &'a UserSettings,
    pub model: &'a ResolvedModel,
    pub tools: &'a [ToolSpec],
    pub files: &'a [WorkspaceFile],
    pub guest: bool,
    pub direct: bool,
    pub channel: Option<&'a str>,
    pub extra: Option<&'a str>,
}
pub fn build(_: &Facts<'_>) -> Vec<SystemBlock> {
    vec![]
}
