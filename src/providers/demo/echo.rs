//! `demo/echo`: no network, no key, but a stream that behaves like any other.

use std::time::Duration;

use claw_actors::clock;
use claw_actors::config::providers::DEMO_API;
use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason, Usage};
use claw_actors::ports::model::{ModelEvent, ModelProvider, ModelRequest};
use claw_actors::session::greeting;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

/// Most characters of the person's message that are repeated.
const MAX_ECHO: usize = 200;
const SETTINGS_PATH: &str = "/settings/ai-providers";
/// A usual estimate; nothing is billed by it.
const CHARACTERS_PER_TOKEN: u64 = 4;
/// Rough size of an image, in tokens.
const IMAGE_TOKENS: u64 = 1_000;

/// The adapter.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers) struct Echo;

impl ModelProvider for Echo {
    fn api(&self) -> &'static str {
        DEMO_API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let text = answer(&request);
        let message = AssistantMessage {
            usage: estimate(&request, &text),
            api: DEMO_API.to_owned(),
            provider: request.provider,
            model: request.model,
            response_id: None,
            stop_reason: StopReason::Stop,
            error_message: None,
            attachments: Vec::new(),
            timestamp: clock::now_ms(),
            content: vec![AssistantPart::Text { text: text.clone() }],
        };
        let words: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let deltas = stream::iter(words.into_iter().enumerate()).then(|(at, word)| async move {
            tokio::time::sleep(pause(at)).await;
            ModelEvent::TextDelta(word)
        });
        stream::iter([ModelEvent::Start])
            .chain(deltas)
            .chain(stream::iter([ModelEvent::Done(message)]))
            .boxed()
    }
}

/// Between 60 and 100 ms, uneven as a model's words are.
fn pause(at: usize) -> Duration {
    let jitter = u64::try_from(at % 41).unwrap_or_default() * 17 % 41;
    Duration::from_millis(60 + jitter)
}

fn answer(request: &ModelRequest) -> String {
    // The caller may say where the Admin UI lives; alone, the path is right inside of it.
    let settings = format!("{}{SETTINGS_PATH}", request.endpoint.base_url.trim_end_matches('/'));
    let mut text =
        String::from("Hello from demo/echo, the built-in demonstration model. This reply is streamed word by word.");
    let said = last_words(request);
    if !said.is_empty() {
        text.push_str(&format!(" You wrote: “{said}”."));
    }
    text.push_str(&format!(
        " To talk to a real model, add a provider in [Settings → AI Providers]({settings})."
    ));
    text
}

/// What the person said last, on one line and without what Markdown would act on.
fn last_words(request: &ModelRequest) -> String {
    let parts = request
        .messages
        .iter()
        .rev()
        .find_map(|message| match message.as_ref() {
            Message::User { content, .. } => Some(content),
            Message::Assistant(_) | Message::ToolResult { .. } => None,
        });
    let mut said = String::new();
    for part in parts.into_iter().flatten() {
        if let Part::Text { text } = part {
            said.push_str(text);
            said.push(' ');
        }
    }
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // Nobody wrote that.
    if line.starts_with(greeting::BEGINS) {
        return String::new();
    }
    let mut echo: String = line
        .chars()
        .filter(|char| !"[]<>`*_|".contains(*char))
        .take(MAX_ECHO)
        .collect();
    if line.chars().count() > MAX_ECHO {
        echo.push('…');
    }
    echo
}

fn estimate(request: &ModelRequest, answer: &str) -> Usage {
    let characters = |text: &str| u64::try_from(text.chars().count()).unwrap_or_default();
    let parts = |content: &[Part]| -> u64 {
        content
            .iter()
            .map(|part| match part {
                Part::Text { text } => characters(text),
                Part::Image { .. } | Part::File { .. } => IMAGE_TOKENS * CHARACTERS_PER_TOKEN,
            })
            .sum()
    };
    let system: u64 = request.system.iter().map(|block| characters(&block.text)).sum();
    let history: u64 = request
        .messages
        .iter()
        .map(|message| match message.as_ref() {
            Message::User { content, .. } | Message::ToolResult { content, .. } => parts(content),
            Message::Assistant(message) => characters(&message.text()),
        })
        .sum();
    let input = (system + history).div_ceil(CHARACTERS_PER_TOKEN);
    let output = characters(answer).div_ceil(CHARACTERS_PER_TOKEN);
    Usage {
        input,
        output,
        total_tokens: input + output,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::call::tests::request;

    #[tokio::test]
    async fn streams_word_by_word() {
        let mut model = request("", vec![Message::user("héllo *there*\n friend", 1)]);
        model.provider = "demo".to_owned();
        model.model = "echo".to_owned();
        let mut stream = Echo.stream(model);
        let (mut words, mut text, mut done) = (0, String::new(), None);
        assert!(matches!(stream.next().await, Some(ModelEvent::Start)));
        while let Some(event) = stream.next().await {
            match event {
                ModelEvent::TextDelta(word) => {
                    words += 1;
                    text.push_str(&word);
                }
                ModelEvent::Done(message) => done = Some(message),
                other @ (ModelEvent::Start
                | ModelEvent::ThinkingDelta(_)
                | ModelEvent::ToolCallStart { .. }
                | ModelEvent::ToolCallDelta(_)
                | ModelEvent::Error(_)) => panic!("{other:?}"),
            }
        }
        let done = done.expect("the stream ends with the message");
        assert!(words >= 12, "{words}");
        assert_eq!(done.text(), text);
        for piece in [
            "This reply is streamed word by word",
            "demo/echo",
            "[Settings → AI Providers](/settings/ai-providers)",
            "“héllo there friend”",
        ] {
            assert!(text.contains(piece), "{text}");
        }
        assert!(done.usage.input > 0 && done.usage.output > 10);
        assert_eq!(
            (done.provider.as_str(), done.model.as_str(), done.api.as_str()),
            ("demo", "echo", "demo-echo")
        );
    }

    #[test]
    fn words_come_60_to_100_ms_apart() {
        let pauses: Vec<u128> = (0..200).map(|at| pause(at).as_millis()).collect();
        assert!(pauses.iter().all(|pause| (60..=100).contains(pause)), "{pauses:?}");
        assert!(pauses.windows(2).all(|pair| pair[0] != pair[1]), "uneven: {pauses:?}");
    }

    #[test]
    fn long_messages_are_cut_and_links_may_be_absolute() {
        let mut model = request("", vec![Message::user("x".repeat(1_000), 1)]);
        model.endpoint.base_url = "https://acme.example.com/".to_owned();
        let text = answer(&model);
        assert!(text.contains("…”") && text.len() < 700, "{text}");
        assert!(text.contains("(https://acme.example.com/settings/ai-providers)"));
        let empty = answer(&request("", Vec::new()));
        assert!(!empty.contains("You wrote"));
    }
}
