//! Tavily.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;
use serde_json::json;

use super::{Answer, Asking, Engine, hits};

const ADDRESS: &str = "https://api.tavily.com/search";

pub(super) struct Tavily;

impl Engine for Tavily {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &["freshness", "date_after", "date_before", "domain_filter"]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let query = asking.query;
            let mut body = json!({"query": query.query, "max_results": asking.count});
            let wishes = [
                ("time_range", &query.freshness),
                ("start_date", &query.date_after),
                ("end_date", &query.date_before),
            ];
            Asking::put(&mut body, &wishes);
            if !query.domain_filter.is_empty() {
                body["include_domains"] = json!(query.domain_filter);
            }
            let request = asking.post_with_key(asking.base(ADDRESS), &body)?;
            Ok(hits(
                &asking.send(request).await?["results"],
                "content",
                "published_date",
            ))
        })
    }
}
