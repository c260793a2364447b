//! Which server it is, where servers differ in what they take.

use claw_actors::ports::model::ModelRequest;
use reqwest::Url;

/// Where Ollama listens unless it is told otherwise.
const OLLAMA_PORT: u16 = 11434;

/// A server whose differences matter to the request. Everything else is [`Host::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    OpenAi,
    Azure,
    Anthropic,
    OpenRouter,
    Mistral,
    DeepSeek,
    Moonshot,
    Xai,
    Zai,
    Groq,
    /// Gemini behind its compatible address.
    Google,
    Ollama,
    Other,
}

impl Host {
    pub(super) fn of(base_url: &str) -> Self {
        let url = Url::parse(base_url.trim());
        let Some(host) = url.as_ref().ok().and_then(Url::host_str) else {
            return Self::Other;
        };
        if url.as_ref().ok().and_then(Url::port) == Some(OLLAMA_PORT) {
            return Self::Ollama;
        }
        let within = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        [
            ("api.openai.com", Self::OpenAi),
            ("openai.azure.com", Self::Azure),
            ("services.ai.azure.com", Self::Azure),
            ("api.anthropic.com", Self::Anthropic),
            ("openrouter.ai", Self::OpenRouter),
            ("api.groq.com", Self::Groq),
            ("generativelanguage.googleapis.com", Self::Google),
            ("ollama.com", Self::Ollama),
            ("mistral.ai", Self::Mistral),
            ("deepseek.com", Self::DeepSeek),
            ("x.ai", Self::Xai),
            ("z.ai", Self::Zai),
            ("moonshot.ai", Self::Moonshot),
            ("moonshot.cn", Self::Moonshot),
        ]
        .into_iter()
        .find_map(|(domain, kind)| within(domain).then_some(kind))
        .unwrap_or(Self::Other)
    }
}

/// The tier that is asked for, of a server that has tiers; others refuse the field.
pub(super) fn service_tier(request: &ModelRequest) -> Option<&str> {
    let provider = request.provider.as_str();
    let knows = match Host::of(&request.endpoint.base_url) {
        Host::OpenAi | Host::Azure | Host::Groq => true,
        // A proxy of somebody's own has an address that says nothing.
        Host::Other => ["openai", "groq"].contains(&provider) || provider.starts_with("azure"),
        Host::Anthropic
        | Host::OpenRouter
        | Host::Mistral
        | Host::DeepSeek
        | Host::Moonshot
        | Host::Xai
        | Host::Zai
        | Host::Google
        | Host::Ollama => false,
    };
    let wanted = request.fast.then_some("priority").or(request.service_tier.as_deref());
    wanted.filter(|_| knows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::call::tests::request;

    #[test]
    fn hosts() {
        for (base, host) in [
            ("https://api.openai.com/v1", Host::OpenAi),
            ("https://acme.openai.azure.com/openai/v1", Host::Azure),
            ("https://openrouter.ai/api/v1", Host::OpenRouter),
            ("https://api.deepseek.com", Host::DeepSeek),
            ("https://api.mistral.ai/v1", Host::Mistral),
            ("https://api.x.ai/v1", Host::Xai),
            ("https://api.z.ai/api/paas/v4", Host::Zai),
            ("https://api.groq.com/openai/v1", Host::Groq),
            ("https://generativelanguage.googleapis.com/v1beta/openai", Host::Google),
            ("http://127.0.0.1:11434/v1", Host::Ollama),
            ("https://max.ai/v1", Host::Other),
            ("https://notopenrouter.ai/v1", Host::Other),
            ("https://openrouter.ai.evil.example/v1", Host::Other),
            ("http://127.0.0.1:9000/v1", Host::Other),
            ("nonsense", Host::Other),
        ] {
            assert_eq!(Host::of(base), host, "{base}");
        }
    }
    #[test]
    fn tiers_go_to_servers_that_have_them() {
        let asked = |base: &str, provider: &str, fast| {
            let mut request = request(base, Vec::new());
            request.provider = provider.to_owned();
            request.service_tier = Some("flex".to_owned());
            request.fast = fast;
            service_tier(&request).map(str::to_owned)
        };
        let own = "http://127.0.0.1:9000/v1";
        assert_eq!(
            asked("https://api.openai.com/v1", "mine", false).as_deref(),
            Some("flex")
        );
        assert_eq!(
            asked("https://api.groq.com/openai/v1", "groq", false).as_deref(),
            Some("flex")
        );
        assert_eq!(asked(own, "openai", true).as_deref(), Some("priority"));
        assert_eq!(asked(own, "vllm", true), None);
        assert_eq!(asked("https://api.deepseek.com", "openai", true), None);
    }
}
