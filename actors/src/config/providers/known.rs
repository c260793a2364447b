//! Providers that need no address in a configuration.

/// Where a provider lives whose entry has no `baseUrl`.
#[derive(Debug)]
pub struct Known {
    pub id: &'static str,
    /// Wire family.
    pub api: &'static str,
    pub base_url: &'static str,
}

const fn row(id: &'static str, api: &'static str, base_url: &'static str) -> Known {
    Known { id, api, base_url }
}

const KNOWN: &[Known] = &[
    row("anthropic", "anthropic-messages", "https://api.anthropic.com"),
    row("openai", "openai-completions", "https://api.openai.com/v1"),
    row("openrouter", "openai-completions", "https://openrouter.ai/api/v1"),
    row("groq", "openai-completions", "https://api.groq.com/openai/v1"),
    row("mistral", "openai-completions", "https://api.mistral.ai/v1"),
    row("xai", "openai-completions", "https://api.x.ai/v1"),
    row("deepseek", "openai-completions", "https://api.deepseek.com/v1"),
    row("zai", "openai-completions", "https://api.z.ai/api/paas/v4"),
];

/// The well-known provider of this id.
pub fn known(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id)
}
