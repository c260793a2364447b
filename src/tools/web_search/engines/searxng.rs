//! A SearXNG instance of the user's own.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;

use super::{Answer, Asking, Engine, hits};

pub(super) struct Searxng;

impl Engine for Searxng {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &["language", "freshness"]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let query = asking.query;
            if query.freshness.as_deref() == Some("week") {
                return Err("searxng has no filter freshness week: take another one.".to_owned());
            }
            let mut pairs = vec![("q", query.query.clone()), ("format", "json".to_owned())];
            let wishes = [("language", &query.language), ("time_range", &query.freshness)];
            pairs.extend(
                wishes
                    .into_iter()
                    .filter_map(|(name, wish)| Some((name, wish.clone()?))),
            );
            let request = asking.get(&format!("{}/search", asking.base("")), &pairs)?;
            Ok(hits(
                &asking.send(request).await?["results"],
                "content",
                "publishedDate",
            ))
        })
    }
}
