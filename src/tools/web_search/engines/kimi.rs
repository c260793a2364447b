//! Kimi of Moonshot, whose search is a function of the service itself: what it is called with is handed back to it.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Answer, Asking, Engine, written};

const ADDRESS: &str = "https://api.moonshot.ai/v1";
const MODEL: &str = "kimi-k2.6";
const SEARCH: &str = "$web_search";
/// Calls of one search.
const ROUNDS: usize = 4;

pub(super) struct Kimi;

impl Engine for Kimi {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &[]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let url = format!("{}/chat/completions", asking.base(ADDRESS));
            let mut messages = vec![json!({"role": "user", "content": asking.query.query})];
            let mut sources = Vec::new();
            let mut searched = false;
            for _ in 0..ROUNDS {
                let body = json!({
                    "model": asking.model(MODEL),
                    "messages": messages,
                    "tools": [{"type": "builtin_function", "function": {"name": SEARCH}}],
                    // The service does not search while it thinks.
                    "thinking": {"type": "disabled"},
                });
                let answer = asking.send(asking.post_with_key(&url, &body)?).await?;
                sources.extend(pages(&answer["search_results"]));
                let message = &answer["choices"][0]["message"];
                let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
                if calls.is_empty() {
                    let text = message["content"].as_str().unwrap_or_default();
                    return finish(text, searched, sources);
                }
                messages.push(message.clone());
                for call in calls {
                    let function = &call["function"];
                    if function["name"] != SEARCH {
                        return Err("kimi asked for something else than a search.".to_owned());
                    }
                    searched = true;
                    let arguments = function["arguments"].as_str().unwrap_or("{}");
                    let said: Value = serde_json::from_str(arguments).unwrap_or_default();
                    sources.extend(pages(&said["search_results"]));
                    messages.push(json!({
                        "role": "tool", "tool_call_id": call["id"], "name": SEARCH, "content": arguments,
                    }));
                }
            }
            Err("kimi went on searching without an answer.".to_owned())
        })
    }
}

/// Words that rest on no search are no result of one.
fn finish(text: &str, searched: bool, sources: Vec<(String, String)>) -> Result<Answer, String> {
    if text.trim().is_empty() || (!searched && sources.is_empty()) {
        return Err("kimi answered without searching: ask in other words, or read a page with web_fetch.".to_owned());
    }
    Ok(written(text, sources))
}

fn pages(list: &Value) -> Vec<(String, String)> {
    let pages = list.as_array().into_iter().flatten().filter_map(|page| {
        let title = page["title"].as_str().unwrap_or_default();
        Some((page["url"].as_str()?.to_owned(), title.to_owned()))
    });
    pages.collect()
}
