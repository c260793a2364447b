//! How a server differs that only speaks like OpenAI's: `compat` of a provider or a model (`agent-runtime` §10.4).

use std::collections::BTreeMap;

use serde_json::Value;

/// Longest name of a level of thinking, characters.
const LONGEST_EFFORT: usize = 40;

/// What the settings say of a server. Where a field is `None`, what is known of its host counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// `supportsTools: false`: it is called without tools, whatever its API.
    pub tools: Option<bool>,
    /// `supportsStore`: it takes `store`.
    pub store: Option<bool>,
    /// `supportsDeveloperRole`: a model that thinks has its instructions from a `developer`.
    pub developer_role: Option<bool>,
    /// `supportsReasoningEffort`.
    pub reasoning_effort: Option<bool>,
    /// `reasoningEffortMap`: its own names of the levels, by ours.
    pub efforts: BTreeMap<String, String>,
    /// `supportsUsageInStreaming`: it counts tokens when it is asked to.
    pub usage_in_streaming: Option<bool>,
    /// `supportsStrictMode`: its tools take `strict`.
    pub strict_mode: Option<bool>,
    pub max_tokens_field: Option<MaxTokensField>,
    /// `requiresToolResultName`.
    pub tool_result_name: Option<bool>,
    /// `requiresAssistantAfterToolResult`: no message of a person stands right behind a result.
    pub assistant_after_tool_result: Option<bool>,
    /// `requiresThinkingAsText`: what was thought goes back as words of the answer.
    pub thinking_as_text: Option<bool>,
    pub thinking_format: Option<ThinkingFormat>,
    /// `requiresMistralToolIds`: ids of calls have nine letters and digits.
    pub mistral_tool_ids: Option<bool>,
    /// `toolSchemaProfile: "xai"`: schemas without the keywords that xAI refuses.
    pub xai_schemas: Option<bool>,
    /// `toolCallArgumentsEncoding: "html-entities"`: texts of arguments come escaped.
    pub html_arguments: Option<bool>,
    /// `injectNumCtxForOpenAICompat` of the provider: Ollama is told the window behind its compatible address too.
    pub num_ctx: Option<bool>,
}

/// What the longest answer is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

/// How a server is told how hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingFormat {
    /// `reasoning_effort`.
    OpenAi,
    /// `reasoning: {effort}`.
    OpenRouter,
    /// `thinking: {type}`: on or off.
    Zai,
    /// `enable_thinking`.
    Qwen,
    /// `chat_template_kwargs: {enable_thinking}`.
    QwenTemplate,
}

impl Compat {
    /// Reads the `compat` of a provider with that of one of its models over it, and the provider's own switch beside.
    /// What is not what it should be counts as not said.
    pub fn of(provider: &Value, model: &Value) -> Self {
        let said = |name: &str| {
            let of = |settings: &Value| settings.get("compat")?.get(name).cloned();
            of(model).or_else(|| of(provider))
        };
        let flag = |name: &str| said(name)?.as_bool();
        let word = |name: &str| said(name)?.as_str().map(str::to_owned);
        let efforts = said("reasoningEffortMap");
        let efforts = efforts.as_ref().and_then(Value::as_object).into_iter().flatten();
        Self {
            tools: flag("supportsTools"),
            store: flag("supportsStore"),
            developer_role: flag("supportsDeveloperRole"),
            reasoning_effort: flag("supportsReasoningEffort"),
            efforts: efforts
                .filter_map(|(level, name)| Some((level.clone(), name.as_str()?.trim().to_owned())))
                .filter(|(_, name)| !name.is_empty() && name.len() <= LONGEST_EFFORT)
                .collect(),
            usage_in_streaming: flag("supportsUsageInStreaming"),
            strict_mode: flag("supportsStrictMode"),
            max_tokens_field: match word("maxTokensField").as_deref() {
                Some("max_tokens") => Some(MaxTokensField::MaxTokens),
                Some("max_completion_tokens") => Some(MaxTokensField::MaxCompletionTokens),
                Some(_) | None => None,
            },
            tool_result_name: flag("requiresToolResultName"),
            assistant_after_tool_result: flag("requiresAssistantAfterToolResult"),
            thinking_as_text: flag("requiresThinkingAsText"),
            thinking_format: match word("thinkingFormat").as_deref() {
                Some("openai") => Some(ThinkingFormat::OpenAi),
                Some("openrouter") => Some(ThinkingFormat::OpenRouter),
                Some("zai") => Some(ThinkingFormat::Zai),
                Some("qwen") => Some(ThinkingFormat::Qwen),
                Some("qwen-chat-template") => Some(ThinkingFormat::QwenTemplate),
                Some(_) | None => None,
            },
            mistral_tool_ids: flag("requiresMistralToolIds"),
            xai_schemas: word("toolSchemaProfile").map(|profile| profile == "xai"),
            html_arguments: word("toolCallArgumentsEncoding").map(|encoding| encoding == "html-entities"),
            num_ctx: provider.get("injectNumCtxForOpenAICompat").and_then(Value::as_bool),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_models_word_counts_more_than_its_providers_and_nonsense_counts_nothing() {
        let provider = json!({
            "injectNumCtxForOpenAICompat": false,
            "compat": {"supportsStore": true, "supportsDeveloperRole": "yes", "maxTokensField": "max_tokens",
                "thinkingFormat": "loud", "reasoningEffortMap": {"high": "maximum", "low": 3, "medium": " "}},
        });
        let model = json!({"compat": {"supportsStore": false, "thinkingFormat": "qwen-chat-template"}});
        let read = Compat::of(&provider, &model);
        assert_eq!(
            (read.store, read.developer_role, read.num_ctx),
            (Some(false), None, Some(false))
        );
        assert_eq!(read.max_tokens_field, Some(MaxTokensField::MaxTokens));
        assert_eq!(read.thinking_format, Some(ThinkingFormat::QwenTemplate));
        assert_eq!(
            read.efforts,
            BTreeMap::from([("high".to_owned(), "maximum".to_owned())])
        );
        assert_eq!(Compat::of(&provider, &Value::Null).thinking_format, None);
        assert_eq!(Compat::of(&json!({"compat": 7}), &json!("bare id")), Compat::default());
    }
}
