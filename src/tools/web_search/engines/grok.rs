//! Grok of xAI, which looks things up and answers in words (its Responses API).

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Answer, Asking, Engine, written};

const ADDRESS: &str = "https://api.x.ai/v1";
const MODEL: &str = "grok-4.7";
/// Sites the service takes.
const MOST_SITES: usize = 5;

pub(super) struct Grok;

impl Engine for Grok {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &["domain_filter"]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let sites = &asking.query.domain_filter;
            let mut tool = json!({"type": "web_search"});
            if sites.len() > MOST_SITES {
                return Err(format!("grok takes at most {MOST_SITES} sites in domain_filter."));
            }
            if !sites.is_empty() {
                tool["filters"] = json!({"allowed_domains": sites});
            }
            let body = json!({
                "model": asking.model(MODEL),
                "input": [{"role": "user", "content": asking.query.query}],
                "tools": [tool],
                "store": false,
            });
            let request = asking.post_with_key(&format!("{}/responses", asking.base(ADDRESS)), &body)?;
            read(&asking.send(request).await?)
        })
    }
}

fn read(answer: &Value) -> Result<Answer, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let messages = list(&answer["output"])
        .into_iter()
        .filter(|item| item["type"] == "message");
    let blocks: Vec<Value> = messages.flat_map(|message| list(&message["content"])).collect();
    let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    if text.trim().is_empty() {
        return Err("grok gave no answer to this search.".to_owned());
    }
    let marked = blocks.iter().flat_map(|block| list(&block["annotations"]));
    let marked = marked.filter(|mark| mark["type"] == "url_citation").filter_map(|mark| {
        let title = mark["title"].as_str().unwrap_or_default();
        Some((mark["url"].as_str()?.to_owned(), title.to_owned()))
    });
    let cited = list(&answer["citations"]).into_iter();
    let cited = cited.filter_map(|cited| Some((cited.as_str()?.to_owned(), String::new())));
    Ok(written(&text, marked.chain(cited)))
}
