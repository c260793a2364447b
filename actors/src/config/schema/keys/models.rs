//! `models`: AI providers of the tenant.

use super::super::{Form, Key, Kind, elsewhere, kept, live};

pub(super) const MODELS: &[Key] = &[
    live(
        "providers",
        Kind::Map(&Kind::Object(&[PROVIDER])),
        "AI providers by id.",
    ),
    elsewhere(
        "mode",
        "there is no built-in catalogue to merge with: the models listed are the models",
    ),
    elsewhere("bedrockDiscovery", "not available"),
    elsewhere("catalog", "not available"),
    elsewhere("pricing", "not available"),
];

const BASE_URL: Kind = Kind::Formed(&Form {
    what: "an http or https address",
    fits: |text| text.starts_with("https://") || text.starts_with("http://"),
});

const PROVIDER: &[Key] = &[
    live(
        "baseUrl",
        BASE_URL,
        "Where the provider's API is; well-known providers need none.",
    ),
    live("apiKey", Kind::Secret, "Sealed when it is stored."),
    live(
        "apiKeys",
        Kind::Map(&Kind::Secret),
        "Further keys by name: when one fails, the next is used.",
    ),
    live(
        "keyOrder",
        Kind::List(&Kind::Text),
        "Names of keys in the order they are tried; no other key is used.",
    ),
    live(
        "api",
        Kind::Text,
        "Wire family, e.g. openai-completions or anthropic-messages.",
    ),
    live(
        "models",
        Kind::List(&Kind::Either(&[Kind::Text, Kind::Object(&[MODEL])])),
        "What can be picked.",
    ),
    live(
        "headers",
        Kind::Map(&Kind::Secret),
        "Sent with every request; sealed when stored.",
    ),
    live("authHeader", Kind::Bool, "Send the key as a bearer token too."),
    live("enabled", Kind::Bool, "May agents use it."),
    live(
        "compat",
        Kind::Object(&[COMPAT]),
        "As of a model; a model's own counts more.",
    ),
    elsewhere("auth", "only API keys can be used here"),
    live(
        "injectNumCtxForOpenAICompat",
        Kind::Bool,
        "Tell Ollama the window behind its compatible address too; on unless switched off.",
    ),
    elsewhere("timeoutSeconds", ""),
    elsewhere("proxy", ""),
    elsewhere("request", ""),
];

const MODEL: &[Key] = &[
    live("id", Kind::Text, "The provider's name of the model."),
    live("name", Kind::Text, "Name for people."),
    live("reasoning", Kind::Bool, "Does it think before it answers."),
    live("input", Kind::List(&Kind::Text), "text, image."),
    live("contextWindow", Kind::Whole, "Tokens."),
    live(
        "contextTokens",
        Kind::Whole,
        "Tokens of the window to use; absent: all.",
    ),
    live("maxTokens", Kind::Whole, "Tokens of one answer."),
    live("cost", Kind::Object(&[COST]), "USD per million tokens."),
    kept("api", Kind::Text),
    kept("alias", Kind::Text),
    live(
        "compat",
        Kind::Object(&[COMPAT]),
        "How the server differs from OpenAI's.",
    ),
    kept("params", Kind::Any),
    elsewhere("headers", "set headers on the provider, where they are sealed"),
];

const COMPAT: &[Key] = &[
    live("supportsStore", Kind::Bool, "It takes store."),
    live(
        "supportsDeveloperRole",
        Kind::Bool,
        "A model that thinks has its instructions from a developer.",
    ),
    live("supportsReasoningEffort", Kind::Bool, "It is told how hard to think."),
    live(
        "reasoningEffortMap",
        Kind::Map(&Kind::Text),
        "Its own names of the levels of thinking.",
    ),
    live(
        "supportsUsageInStreaming",
        Kind::Bool,
        "It counts tokens when asked to.",
    ),
    live("supportsStrictMode", Kind::Bool, "Its tools take strict."),
    live(
        "maxTokensField",
        Kind::Choice(&["max_completion_tokens", "max_tokens"]),
        "",
    ),
    live(
        "thinkingFormat",
        Kind::Choice(&["openai", "openrouter", "zai", "qwen", "qwen-chat-template"]),
        "How it is told how hard to think.",
    ),
    live("requiresToolResultName", Kind::Bool, "A result names its tool."),
    live(
        "requiresAssistantAfterToolResult",
        Kind::Bool,
        "No message of a person stands right behind a result.",
    ),
    live(
        "requiresThinkingAsText",
        Kind::Bool,
        "What was thought goes back as words of the answer.",
    ),
    live(
        "requiresMistralToolIds",
        Kind::Bool,
        "Ids of calls have nine letters and digits.",
    ),
    live(
        "toolSchemaProfile",
        Kind::Choice(&["xai"]),
        "Schemas of tools without what the server refuses.",
    ),
    live(
        "toolCallArgumentsEncoding",
        Kind::Choice(&["html-entities"]),
        "Texts of arguments come escaped.",
    ),
    live("supportsTools", Kind::Bool, "False: it is offered no tools."),
    elsewhere("nativeWebSearchTool", "web_search is a tool of its own here"),
    elsewhere(
        "requiresOpenAiAnthropicToolPayload",
        "tools go to each family in its own form",
    ),
];

const COST: &[Key] = &[
    live("input", Kind::Number, ""),
    live("output", Kind::Number, ""),
    live("cacheRead", Kind::Number, ""),
    live("cacheWrite", Kind::Number, ""),
];
