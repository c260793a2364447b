//! Brave Search.

use claw_actors::session::reach::search::SearchAccess;
use futures::future::BoxFuture;

use super::{Answer, Asking, Engine, Query, hits};

const ADDRESS: &str = "https://api.search.brave.com/res/v1/web/search";

pub(super) struct Brave;

impl Engine for Brave {
    fn filters(&self, _: &SearchAccess) -> &'static [&'static str] {
        &[
            "country",
            "language",
            "ui_lang",
            "freshness",
            "date_after",
            "date_before",
        ]
    }

    fn ask<'a>(&'a self, asking: &'a Asking<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let request = asking.get(asking.base(ADDRESS), &pairs(asking.query, asking.count))?;
            let body = asking
                .send(request.header("x-subscription-token", asking.key()))
                .await?;
            Ok(hits(&body["web"]["results"], "description", "age"))
        })
    }
}

fn pairs(query: &Query, count: u64) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("q", query.query.clone()), ("count", count.to_string())];
    let wishes = [
        ("country", &query.country),
        ("search_lang", &query.language),
        ("ui_lang", &query.ui_lang),
    ];
    pairs.extend(
        wishes
            .into_iter()
            .filter_map(|(name, wish)| Some((name, wish.clone()?))),
    );
    let freshness = match query.freshness.as_deref() {
        Some("day") => Some("pd".to_owned()),
        Some("week") => Some("pw".to_owned()),
        Some("month") => Some("pm".to_owned()),
        Some("year") => Some("py".to_owned()),
        Some(_) | None if query.date_after.is_some() || query.date_before.is_some() => {
            let after = query.date_after.as_deref().unwrap_or("1970-01-01");
            let before = query.date_before.as_deref().unwrap_or("2100-01-01");
            Some(format!("{after}to{before}"))
        }
        Some(_) | None => None,
    };
    pairs.extend(freshness.map(|freshness| ("freshness", freshness)));
    pairs
}
