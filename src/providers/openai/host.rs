//! Which of the compatible servers it is, where they differ in what they take.

use reqwest::Url;

/// A server whose differences matter to the request. Everything else is [`Host::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    OpenAi,
    Azure,
    OpenRouter,
    Mistral,
    DeepSeek,
    Moonshot,
    Xai,
    Zai,
    Other,
}

impl Host {
    pub(super) fn of(base_url: &str) -> Self {
        let url = Url::parse(base_url.trim());
        let Some(host) = url.as_ref().ok().and_then(Url::host_str) else {
            return Self::Other;
        };
        let within = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        [
            ("api.openai.com", Self::OpenAi),
            ("openai.azure.com", Self::Azure),
            ("services.ai.azure.com", Self::Azure),
            ("openrouter.ai", Self::OpenRouter),
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

    /// Newer models there refuse `max_tokens`.
    pub(super) fn wants_max_completion_tokens(self) -> bool {
        matches!(self, Self::OpenAi | Self::Azure)
    }

    /// How it is told how hard to think.
    pub(super) fn thinking(self) -> ThinkingForm {
        match self {
            Self::OpenAi | Self::Azure | Self::Other => ThinkingForm::Effort,
            Self::OpenRouter => ThinkingForm::Reasoning,
            Self::Zai => ThinkingForm::Switch,
            Self::Mistral | Self::DeepSeek | Self::Moonshot | Self::Xai => ThinkingForm::None,
        }
    }

    /// Keywords of schemas that it refuses.
    pub(super) fn refused_keywords(self) -> &'static [&'static str] {
        if self == Self::Xai {
            &["minLength", "maxLength", "minItems", "maxItems"]
        } else {
            &[]
        }
    }

    /// A result of a tool may not stand right before a message of the user there.
    pub(super) fn wants_answer_to_results(self) -> bool {
        self == Self::Mistral
    }

    /// Tool loops of thinking models there need their own reasoning back.
    pub(super) fn wants_reasoning_back(self) -> bool {
        matches!(self, Self::DeepSeek | Self::Moonshot)
    }
}

/// How a server is told how hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingForm {
    /// `reasoning_effort`.
    Effort,
    /// `reasoning: {effort}`.
    Reasoning,
    /// `thinking: {type}`: on or off.
    Switch,
    /// Not at all.
    None,
}

/// OpenAI models that think refuse a temperature.
pub(super) fn fixed_temperature(host: Host, model: &str) -> bool {
    host.wants_max_completion_tokens()
        && ["o1", "o3", "o4", "gpt-5"]
            .iter()
            .any(|family| model.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("https://max.ai/v1", Host::Other),
            ("https://notopenrouter.ai/v1", Host::Other),
            ("https://openrouter.ai.evil.example/v1", Host::Other),
            ("http://127.0.0.1:9000/v1", Host::Other),
            ("nonsense", Host::Other),
        ] {
            assert_eq!(Host::of(base), host, "{base}");
        }
    }
}
