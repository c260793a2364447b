//! Providers that need no address in a configuration, and models that need no numbers. What a tenant's settings say
//! counts more. Only the models Claude Opus 4.6, Sonnet 4.5 and Haiku 4.5 were looked up on the vendor's page (November
//! 2026); the other rows, addresses and models, were not checked.

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

const COMPLETIONS: &str = "openai-completions";

const KNOWN: &[Known] = &[
    row("anthropic", "anthropic-messages", "https://api.anthropic.com"),
    row("openai", COMPLETIONS, "https://api.openai.com/v1"),
    row(
        "google",
        "google-generative-ai",
        "https://generativelanguage.googleapis.com/v1beta",
    ),
    row("openrouter", COMPLETIONS, "https://openrouter.ai/api/v1"),
    row("groq", COMPLETIONS, "https://api.groq.com/openai/v1"),
    row("mistral", COMPLETIONS, "https://api.mistral.ai/v1"),
    row("xai", COMPLETIONS, "https://api.x.ai/v1"),
    row("deepseek", COMPLETIONS, "https://api.deepseek.com"),
    row("together", COMPLETIONS, "https://api.together.xyz/v1"),
    row("cerebras", COMPLETIONS, "https://api.cerebras.ai/v1"),
    row("moonshot", COMPLETIONS, "https://api.moonshot.ai/v1"),
    row("zai", COMPLETIONS, "https://api.z.ai/api/paas/v4"),
    row(
        "amazon-bedrock",
        "bedrock-converse-stream",
        "https://bedrock-runtime.us-east-1.amazonaws.com",
    ),
    // Speech alone, in a dialect of its own.
    row("elevenlabs", COMPLETIONS, "https://api.elevenlabs.io/v1"),
    // Embeddings alone.
    row("voyage", COMPLETIONS, "https://api.voyageai.com/v1"),
];

/// The well-known provider of this id.
pub fn known(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id)
}

/// What is known of a model.
#[derive(Debug)]
pub(super) struct KnownModel {
    provider: &'static str,
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) window: u64,
    pub(super) max_tokens: u32,
    pub(super) takes_images: bool,
    pub(super) reasoning: bool,
    /// USD per million tokens: input, output, cache read, cache write.
    pub(super) prices: [f64; 4],
}

const fn text(
    provider: &'static str,
    (id, name): (&'static str, &'static str),
    (window, max_tokens): (u64, u32),
    prices: [f64; 4],
) -> KnownModel {
    KnownModel {
        provider,
        id,
        name,
        window,
        max_tokens,
        takes_images: false,
        reasoning: false,
        prices,
    }
}

impl KnownModel {
    const fn sees(self) -> Self {
        Self {
            takes_images: true,
            ..self
        }
    }

    const fn thinks(self) -> Self {
        Self {
            reasoning: true,
            ..self
        }
    }
}

// Where the numbers are from: those of Claude Opus 4.6, Sonnet 4.5 and Haiku 4.5 were looked up on the vendor's page
// (platform.claude.com/docs) in November 2026. The other rows were not checked against their vendors' pages, and may be
// wrong or old. The specification (`agent-runtime` §11.6) names the columns and no numbers. Deliberately lower than a
// page says: Claude's window, because the beta header for a million tokens (§10.3) is not sent. Left out, for want of a
// column: what Gemini Pro, GPT and Claude cost more beyond 200,000 tokens.
const CLAUDE: (u64, u32) = (200_000, 64_000);
const GPT_5: (u64, u32) = (400_000, 128_000);
const GEMINI: (u64, u32) = (1_048_576, 65_536);

const MODELS: &[KnownModel] = &[
    text(
        "anthropic",
        ("claude-opus-4-6", "Claude Opus 4.6"),
        (200_000, 128_000),
        [5.0, 25.0, 0.5, 6.25],
    )
    .sees()
    .thinks(),
    text(
        "anthropic",
        ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
        CLAUDE,
        [3.0, 15.0, 0.3, 3.75],
    )
    .sees()
    .thinks(),
    text(
        "anthropic",
        ("claude-opus-4-5", "Claude Opus 4.5"),
        CLAUDE,
        [5.0, 25.0, 0.5, 6.25],
    )
    .sees()
    .thinks(),
    text(
        "anthropic",
        ("claude-sonnet-4-5", "Claude Sonnet 4.5"),
        CLAUDE,
        [3.0, 15.0, 0.3, 3.75],
    )
    .sees()
    .thinks(),
    text(
        "anthropic",
        ("claude-haiku-4-5", "Claude Haiku 4.5"),
        CLAUDE,
        [1.0, 5.0, 0.1, 1.25],
    )
    .sees()
    .thinks(),
    text("openai", ("gpt-5.2", "GPT-5.2"), GPT_5, [1.75, 14.0, 0.175, 0.0])
        .sees()
        .thinks(),
    text("openai", ("gpt-5.1", "GPT-5.1"), GPT_5, [1.25, 10.0, 0.125, 0.0])
        .sees()
        .thinks(),
    text("openai", ("gpt-5", "GPT-5"), GPT_5, [1.25, 10.0, 0.125, 0.0])
        .sees()
        .thinks(),
    text("openai", ("gpt-5-mini", "GPT-5 mini"), GPT_5, [0.25, 2.0, 0.025, 0.0])
        .sees()
        .thinks(),
    text("openai", ("gpt-5-nano", "GPT-5 nano"), GPT_5, [0.05, 0.4, 0.005, 0.0])
        .sees()
        .thinks(),
    text(
        "openai",
        ("gpt-4.1", "GPT-4.1"),
        (1_047_576, 32_768),
        [2.0, 8.0, 0.5, 0.0],
    )
    .sees(),
    text(
        "openai",
        ("gpt-4.1-mini", "GPT-4.1 mini"),
        (1_047_576, 32_768),
        [0.4, 1.6, 0.1, 0.0],
    )
    .sees(),
    text(
        "openai",
        ("gpt-4o", "GPT-4o"),
        (128_000, 16_384),
        [2.5, 10.0, 1.25, 0.0],
    )
    .sees(),
    text(
        "openai",
        ("gpt-4o-mini", "GPT-4o mini"),
        (128_000, 16_384),
        [0.15, 0.6, 0.075, 0.0],
    )
    .sees(),
    text(
        "google",
        ("gemini-3-pro-preview", "Gemini 3 Pro"),
        GEMINI,
        [2.0, 12.0, 0.2, 0.0],
    )
    .sees()
    .thinks(),
    text(
        "google",
        ("gemini-2.5-pro", "Gemini 2.5 Pro"),
        GEMINI,
        [1.25, 10.0, 0.125, 0.0],
    )
    .sees()
    .thinks(),
    text(
        "google",
        ("gemini-2.5-flash", "Gemini 2.5 Flash"),
        GEMINI,
        [0.3, 2.5, 0.03, 0.0],
    )
    .sees()
    .thinks(),
    text(
        "google",
        ("gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite"),
        GEMINI,
        [0.1, 0.4, 0.01, 0.0],
    )
    .sees()
    .thinks(),
    text(
        "deepseek",
        ("deepseek-chat", "DeepSeek Chat"),
        (128_000, 8_192),
        [0.28, 0.42, 0.028, 0.0],
    ),
    text(
        "deepseek",
        ("deepseek-reasoner", "DeepSeek Reasoner"),
        (128_000, 65_536),
        [0.28, 0.42, 0.028, 0.0],
    )
    .thinks(),
    text("xai", ("grok-4", "Grok 4"), (256_000, 64_000), [3.0, 15.0, 0.75, 0.0])
        .sees()
        .thinks(),
    text(
        "groq",
        ("llama-3.3-70b-versatile", "Llama 3.3 70B"),
        (131_072, 32_768),
        [0.59, 0.79, 0.0, 0.0],
    ),
    text(
        "groq",
        ("openai/gpt-oss-120b", "GPT-OSS 120B"),
        (131_072, 65_536),
        [0.15, 0.6, 0.0, 0.0],
    )
    .thinks(),
];

/// The model of this provider, if the catalogue has it.
pub(super) fn known_model(provider: &str, id: &str) -> Option<&'static KnownModel> {
    MODELS.iter().find(|model| model.provider == provider && model.id == id)
}

const ALIASES: &[(&str, &str)] = &[
    ("opus", "anthropic/claude-opus-4-6"),
    ("sonnet", "anthropic/claude-sonnet-4-6"),
    ("gpt", "openai/gpt-5.2"),
    ("gpt-mini", "openai/gpt-5-mini"),
    ("gemini", "google/gemini-3-pro-preview"),
    ("gemini-flash", "google/gemini-2.5-flash"),
    ("gemini-flash-lite", "google/gemini-2.5-flash-lite"),
];

/// What one of the built-in short names stands for.
pub(super) fn known_alias(name: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map(|(_, target)| *target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_catalogue_is_there_once_and_can_be_reached() {
        for (at, model) in MODELS.iter().enumerate() {
            assert!(known(model.provider).is_some(), "{}", model.provider);
            let same = |other: &&KnownModel| other.provider == model.provider && other.id == model.id;
            assert_eq!(MODELS.iter().position(|other| same(&other)), Some(at), "{}", model.id);
            assert!(u64::from(model.max_tokens) < model.window, "{}", model.id);
        }
        for (alias, target) in ALIASES {
            let (provider, id) = target.split_once('/').expect("a ref");
            assert!(known_model(provider, id).is_some(), "{alias}");
        }
    }
}
