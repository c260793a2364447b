//! `web_fetch`: reads one public page or text for the model. Addresses are judged by the outbound client; what comes
//! back is wrapped as untrusted.

mod charset;
mod extract;
mod secrets;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_actors::config::document::FetchSettings;
use claw_actors::crypto::Secret;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::untrusted;
use claw_entities::Scope;
use futures::future::BoxFuture;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cache::Cache;
use super::refused;
use crate::egress::{Egress, EgressError, Purpose, Response};
use extract::{Extractor, Page};
use secrets::Secrets;

const MAX_ERROR_CHARACTERS: usize = 4_000;
const ACCEPT: &str = "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, text/plain;q=0.8, */*;q=0.1";
const USER_AGENT: &str = concat!("Mozilla/5.0 (compatible; ClawCentral/", env!("CARGO_PKG_VERSION"), ")");

/// The tool.
pub(super) struct WebFetch {
    spec: Arc<ToolSpec>,
    egress: Egress,
    /// [`Purpose::Untrusted`], except in tests, whose server is on loopback.
    purpose: Purpose,
    extractor: Extractor,
    cache: Cache<Key, Page>,
}

/// What was asked, and for whom.
type Key = (Scope, String, Mode);

/// How a page is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Markdown,
    Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    url: String,
    #[serde(default)]
    extract_mode: Mode,
    max_chars: Option<u64>,
    skill: Option<String>,
    #[serde(default)]
    secret_headers: Vec<String>,
}

impl WebFetch {
    pub(super) fn new(egress: Egress) -> Self {
        Self::with_purpose(egress, Purpose::Untrusted)
    }

    fn with_purpose(egress: Egress, purpose: Purpose) -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "web_fetch".to_owned(),
                description: "Fetches a public web page or text file by URL and returns its content as Markdown or \
                    plain text. Works without a browser: no scripts run and no log-in is possible."
                    .to_owned(),
                summary: "fetch and read a web page".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "url": {
                            "type": "string",
                            "description": "The http or https URL to fetch.",
                        },
                        "extractMode": {
                            "type": "string",
                            "enum": ["markdown", "text"],
                            "description": "How to return the content. Default: markdown.",
                        },
                        "maxChars": {
                            "type": "integer",
                            "minimum": FetchSettings::LEAST_CHARACTERS,
                            "description": "Most characters to return (at most 50000, the default, and fewer where the settings say so).",
                        },
                        "skill": {
                            "type": "string",
                            "description": "With secretHeaders: the skill whose stored keys they name.",
                        },
                        "secretHeaders": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "Request headers with keys of a skill by name, e.g. \
                                \"Authorization: Bearer ${API_KEY}\". Only for https and for hosts the user chose \
                                for that skill; you never see the keys.",
                        },
                    },
                    "required": ["url"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: FetchSettings::LONGEST + Duration::from_secs(15),
            }),
            egress,
            purpose,
            extractor: Extractor::default(),
            cache: Cache::default(),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> ToolOutput {
        let settings = match &context.reach {
            Some(reach) => match reach.fetch_settings().await {
                Ok(settings) => settings,
                Err(why) => return refused(why),
            },
            None => FetchSettings::default(),
        };
        self.read(context, arguments, &settings).await
    }

    async fn read(&self, context: &ToolContext, arguments: Value, settings: &FetchSettings) -> ToolOutput {
        let arguments: Arguments = match serde_json::from_value(arguments) {
            Ok(arguments) => arguments,
            Err(error) => return ToolOutput::error(format!("Invalid arguments: {error}.")),
        };
        let started = Instant::now();
        let most = arguments
            .max_chars
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(settings.characters)
            .clamp(FetchSettings::LEAST_CHARACTERS, settings.most_characters);
        let url = arguments.url.trim();
        if !arguments.secret_headers.is_empty() {
            let secret = match Secrets::find(context, url, arguments.skill.as_deref(), &arguments.secret_headers).await
            {
                Ok(secret) => secret,
                Err(refusal) => return ToolOutput::error(refusal),
            };
            // What an account may see is not kept for whoever asks without it.
            return match self
                .fetch(url, arguments.extract_mode, secret.headers(), settings)
                .await
            {
                Ok(page) => shown(&secret.hide(page), most, false, started.elapsed()),
                Err(output) => secret.hide_output(output),
            };
        }
        let key = (context.scope.clone(), url.to_owned(), arguments.extract_mode);
        let (page, cached) = match self.cache.get_within(&key, settings.cache) {
            Some(page) => (page, true),
            None => match self.fetch(url, arguments.extract_mode, &[], settings).await {
                Ok(page) => {
                    let page = Arc::new(page);
                    if !settings.cache.is_zero() {
                        self.cache.put(key, Arc::clone(&page));
                    }
                    (page, false)
                }
                Err(output) => return output,
            },
        };
        shown(&page, most, cached, started.elapsed())
    }

    async fn fetch(
        &self,
        url: &str,
        mode: Mode,
        headers: &[(String, Secret)],
        settings: &FetchSettings,
    ) -> Result<Page, ToolOutput> {
        let answer = self.ask(url, headers, settings).await.map_err(refusal)?;
        if !answer.is_success() {
            return Err(self.error_page(answer).await);
        }
        self.extractor.page(answer, mode).await.map_err(ToolOutput::error)
    }

    /// A redirect to another origin takes none of `headers` along.
    async fn ask(
        &self,
        url: &str,
        headers: &[(String, Secret)],
        settings: &FetchSettings,
    ) -> Result<Response, EgressError> {
        let mut request = self
            .egress
            .request(self.purpose, Method::GET, url)?
            .header("accept", ACCEPT)
            .header("accept-language", "en,*;q=0.5")
            .header("user-agent", USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, value.expose());
        }
        request
            .timeout(settings.timeout)
            .truncate_body(settings.bytes)
            .send()
            .await
    }

    /// What a server says with a status of failure may help, but not at length.
    async fn error_page(&self, answer: Response) -> ToolOutput {
        let status = answer.status;
        let mut text = format!("The server answered with HTTP status {status}.");
        if let Ok(page) = self.extractor.page(answer, Mode::Text).await
            && !page.text.trim().is_empty()
        {
            let cut: String = page.text.chars().take(MAX_ERROR_CHARACTERS).collect();
            text.push('\n');
            text.push_str(&untrusted::wrap(&format!("error page of {}", page.url), &cut));
        }
        ToolOutput {
            details: Some(json!({"status": status})),
            ..ToolOutput::error(text)
        }
    }
}

impl Tool for WebFetch {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(self.run(context, arguments))
    }
}

fn refusal(error: EgressError) -> ToolOutput {
    ToolOutput::error(format!("The page could not be fetched: {error}."))
}

fn shown(page: &Page, most: usize, cached: bool, took: Duration) -> ToolOutput {
    let mut text = String::new();
    if !page.title.is_empty() {
        text.push_str(&format!("Title: {}\n\n", page.title));
    }
    let cut = page.text.char_indices().nth(most).map(|(at, _)| at);
    text.push_str(&page.text[..cut.unwrap_or(page.text.len())]);
    if cut.is_some() || page.truncated {
        text.push_str(&format!(
            "\n\n[cut: only the first part is shown, at most {most} characters]"
        ));
    } else if page.text.trim().is_empty() {
        text.push_str("(the page has no readable text)");
    }
    ToolOutput {
        details: Some(json!({
            "finalUrl": page.url,
            "status": page.status,
            "contentType": page.content_type,
            "title": page.title,
            "truncated": cut.is_some() || page.truncated,
            "cached": cached,
            "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })),
        ..ToolOutput::text(untrusted::wrap(&format!("web page {}", page.url), &text))
    }
}
