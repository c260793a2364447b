//! The outside world as the runtime sees it: the traits that the edge (`src/`) implements.
//!
//! Another trait needs an ADR. Nothing here opens a socket.

pub mod channel;
pub mod compat;
pub mod document;
pub mod embedding;
pub mod message;
pub mod model;
pub mod nul;
pub mod servers;
pub mod skills;
pub mod speech;
pub mod tool;
pub mod web;

use std::collections::HashMap;
use std::sync::Arc;

/// Every adapter of this process, built once at start and handed down.
#[derive(Clone, Default)]
pub struct Ports {
    channels: Arc<Vec<Arc<dyn channel::Channel>>>,
    models: Arc<HashMap<&'static str, Arc<dyn model::ModelProvider>>>,
    tools: Arc<Vec<Arc<dyn tool::Tool>>>,
    poster: Option<Arc<dyn web::Poster>>,
    servers: Option<Arc<dyn servers::ToolServers>>,
    skills: Option<Arc<dyn skills::SkillSource>>,
    documents: Option<Arc<dyn document::Documents>>,
}

impl Ports {
    /// Collects the adapters. Panics when two share a name: that is a programming error found at start.
    pub fn new(
        channels: Vec<Arc<dyn channel::Channel>>,
        models: Vec<Arc<dyn model::ModelProvider>>,
        tools: Vec<Arc<dyn tool::Tool>>,
    ) -> Self {
        let mut by_api = HashMap::new();
        for model in models {
            let api = model.api();
            assert!(by_api.insert(api, model).is_none(), "two model providers for api {api}");
        }
        let mut seen = std::collections::HashSet::new();
        for channel in &channels {
            assert!(
                seen.insert(channel.manifest().id),
                "two channels named {}",
                channel.manifest().id
            );
        }
        let mut seen = std::collections::HashSet::new();
        for tool in &tools {
            assert!(
                seen.insert(tool.spec().name.clone()),
                "two tools named {}",
                tool.spec().name
            );
        }
        Self {
            channels: Arc::new(channels),
            models: Arc::new(by_api),
            tools: Arc::new(tools),
            poster: None,
            servers: None,
            skills: None,
            documents: None,
        }
    }

    /// With a way to speak with tool servers.
    pub fn with_servers(mut self, servers: Arc<dyn servers::ToolServers>) -> Self {
        self.servers = Some(servers);
        self
    }

    /// What speaks with tool servers.
    pub fn servers(&self) -> Option<&Arc<dyn servers::ToolServers>> {
        self.servers.as_ref()
    }

    /// With a way to post to web addresses.
    pub fn with_poster(mut self, poster: Arc<dyn web::Poster>) -> Self {
        self.poster = Some(poster);
        self
    }

    /// What posts to web addresses.
    pub fn poster(&self) -> Option<&Arc<dyn web::Poster>> {
        self.poster.as_ref()
    }

    /// With a way to fetch skills.
    pub fn with_skills(mut self, skills: Arc<dyn skills::SkillSource>) -> Self {
        self.skills = Some(skills);
        self
    }

    /// What fetches skills.
    pub fn skills(&self) -> Option<&Arc<dyn skills::SkillSource>> {
        self.skills.as_ref()
    }

    /// With a way to read documents.
    pub fn with_documents(mut self, documents: Arc<dyn document::Documents>) -> Self {
        self.documents = Some(documents);
        self
    }

    /// What reads documents.
    pub fn documents(&self) -> Option<&Arc<dyn document::Documents>> {
        self.documents.as_ref()
    }

    /// The adapter whose id is `id` (`telegram`, `slack`, …).
    pub fn channel(&self, id: &str) -> Option<&Arc<dyn channel::Channel>> {
        self.channels.iter().find(|channel| channel.manifest().id == id)
    }

    /// The adapter that answers `/webhooks/<path>`.
    pub fn channel_by_path(&self, path: &str) -> Option<&Arc<dyn channel::Channel>> {
        self.channels.iter().find(|channel| channel.manifest().path == path)
    }

    /// All channels in the order of the list.
    pub fn channels(&self) -> &[Arc<dyn channel::Channel>] {
        &self.channels
    }

    /// The adapter for a wire family (`anthropic-messages`, `openai-completions`, `demo-echo`).
    pub fn model(&self, api: &str) -> Option<&Arc<dyn model::ModelProvider>> {
        self.models.get(api)
    }

    /// The wire families this process speaks, sorted.
    pub fn apis(&self) -> Vec<&'static str> {
        let mut apis: Vec<_> = self.models.keys().copied().collect();
        apis.sort_unstable();
        apis
    }

    /// All tools in the order of the list.
    pub fn tools(&self) -> &[Arc<dyn tool::Tool>] {
        &self.tools
    }

    /// The tool named `name`.
    pub fn tool(&self, name: &str) -> Option<&Arc<dyn tool::Tool>> {
        self.tools.iter().find(|tool| tool.spec().name == name)
    }
}
