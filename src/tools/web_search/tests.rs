use claw_actors::crypto::Secret;
use claw_entities::{TenantId, UserId};

use super::super::tests::text;
use super::*;
use crate::egress::testing::{FakeServer, Reply};

fn scope(user: &str) -> Scope {
    Scope::vouch(TenantId::from("acme"), UserId::from(user))
}

fn access(engine: SearchEngine, base: Option<String>) -> SearchAccess {
    SearchAccess {
        engine,
        key: engine.needs_key().then(|| Secret::new("k-1")),
        base_url: base,
        model: None,
        count: 5,
        timeout: Duration::from_secs(10),
        cache: Duration::from_secs(900),
    }
}

fn query(text: &str) -> Query {
    Query {
        query: text.to_owned(),
        ..Query::default()
    }
}

#[tokio::test]
async fn each_service_is_asked_in_its_own_way() {
    let server = FakeServer::start(|seen| {
        let hit = json!({"title": "A <strong>hit</strong>", "url": "https://a.example/x", "description": "about\n it",
            "content": "about it"});
        let odd = json!({"title": "odd", "url": "javascript:alert(1)"});
        Reply::json(
            200,
            &if seen.path.starts_with("/brave") {
                json!({"web": {"results": [hit, odd]}})
            } else {
                json!({"results": [hit, odd]})
            },
        )
    })
    .await;
    let tool = WebSearch::new(FakeServer::egress());
    for (engine, path) in [
        (SearchEngine::Brave, "/brave"),
        (SearchEngine::Tavily, "/tavily"),
        (SearchEngine::Searxng, "/searx/"),
    ] {
        let wish = Query {
            freshness: Some("month".to_owned()),
            count: Some(3),
            ..query("löwe & co")
        };
        let output = tool
            .search(&scope("ada"), wish, &access(engine, Some(server.url(path))))
            .await
            .expect("finds");
        let shown = text(&output);
        assert!(
            shown.starts_with("<<<EXTERNAL_CONTENT") && shown.contains("\"A hit\""),
            "{shown}"
        );
        assert!(shown.contains("about it") && !shown.contains("javascript"), "{shown}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].path, "/brave?q=l%C3%B6we+%26+co&count=3&freshness=pm");
    assert_eq!(seen[0].header("x-subscription-token"), Some("k-1"));
    assert_eq!(seen[1].header("authorization"), Some("Bearer k-1"));
    assert_eq!(
        seen[1].json(),
        json!({"query": "löwe & co", "max_results": 3, "time_range": "month"})
    );
    assert_eq!(
        seen[2].path,
        "/searx/search?q=l%C3%B6we+%26+co&format=json&time_range=month"
    );
}

#[tokio::test]
async fn what_was_found_is_kept_for_a_while_and_for_nobody_else() {
    let server = FakeServer::start(|_| Reply::json(200, &json!({"results": []}))).await;
    let tool = WebSearch::new(FakeServer::egress());
    let access = access(SearchEngine::Searxng, Some(server.url("")));
    for user in ["ada", "ada", "bob"] {
        let output = tool.search(&scope(user), query("x"), &access).await.expect("finds");
        assert_eq!(text(&output), "searxng found nothing.");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn failures_name_neither_key_nor_address() {
    for (status, part) in [
        (401, "refused the key"),
        (429, "limit"),
        (500, "status 500"),
        (200, "no JSON"),
    ] {
        let server = FakeServer::start(move |_| Reply::text(status, "k-1 is wrong")).await;
        let tool = WebSearch::new(FakeServer::egress());
        let access = access(SearchEngine::Brave, Some(server.url("/")));
        let output = tool
            .search(&scope("ada"), query("x"), &access)
            .await
            .expect_err("fails");
        let shown = text(&output);
        assert!(
            shown.contains(part) && !shown.contains("k-1") && !shown.contains("127.0.0.1"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_filter_a_service_does_not_have_is_refused_by_name() {
    let tool = WebSearch::new(Egress::new(Default::default()));
    let refused = async |engine, wish: Query| {
        let access = access(engine, Some("https://search.example".to_owned()));
        let output = tool.search(&scope("ada"), wish, &access).await.expect_err("refuses");
        text(&output).to_owned()
    };
    let sites = Query {
        domain_filter: vec!["a.example".to_owned()],
        ..query("x")
    };
    assert!(refused(SearchEngine::Brave, sites).await.contains("domain_filter"));
    let country = Query {
        country: Some("DE".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Tavily, country).await.contains("country"));
    let week = Query {
        freshness: Some("week".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Searxng, week).await.contains("week"));
    let date = Query {
        date_after: Some("yesterday".to_owned()),
        ..query("x")
    };
    assert!(refused(SearchEngine::Brave, date).await.contains("date_after"));
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_the_operator_allows_it() {
    let server = FakeServer::start(|_| Reply::json(200, &json!({"results": []}))).await;
    let tool = WebSearch::new(Egress::new(Default::default()));
    let access = access(SearchEngine::Searxng, Some(server.url("")));
    tool.search(&scope("ada"), query("x"), &access)
        .await
        .expect_err("refused");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn lists_of_perplexity_and_firecrawl_are_filtered_as_they_want_it() {
    let hit = json!({"title": "A hit", "url": "https://a.example/x", "snippet": "about it", "description": "about it",
        "date": "2026-11-01"});
    let server = FakeServer::start(move |seen| {
        Reply::json(
            200,
            &if seen.path == "/p/search" {
                json!({"results": [hit]})
            } else {
                json!({"success": true, "data": {"web": [hit]}})
            },
        )
    })
    .await;
    let tool = WebSearch::new(FakeServer::egress());
    let dated = Query {
        date_after: Some("2026-01-31".to_owned()),
        date_before: Some("2026-02-28".to_owned()),
        country: Some("de".to_owned()),
        ..query("x")
    };
    let all = Query {
        language: Some("de".to_owned()),
        domain_filter: vec!["a.example".to_owned()],
        max_tokens: Some(900),
        ..dated.clone()
    };
    let recent = Query {
        freshness: Some("week".to_owned()),
        ..query("x")
    };
    for (engine, path, wish) in [
        (SearchEngine::Perplexity, "/p/search", all),
        (SearchEngine::Perplexity, "/p/search/", recent.clone()),
        (SearchEngine::Firecrawl, "/f", dated),
        (SearchEngine::Firecrawl, "/f/", recent),
    ] {
        let access = access(engine, Some(server.url(path)));
        let output = tool.search(&scope("ada"), wish, &access).await.expect("finds");
        let shown = text(&output);
        assert!(shown.starts_with("<<<EXTERNAL_CONTENT"), "{shown}");
        for part in ["A hit", "about it", "2026-11-01"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
    let seen = server.seen();
    for asked in &seen {
        assert_eq!(asked.header("authorization"), Some("Bearer k-1"));
    }
    assert_eq!(
        seen[0].json(),
        json!({"query": "x", "max_results": 5, "country": "DE", "search_after_date_filter": "01/31/2026",
            "search_before_date_filter": "02/28/2026", "search_language_filter": ["de"],
            "search_domain_filter": ["a.example"], "max_tokens": 900})
    );
    assert_eq!(
        seen[1].json(),
        json!({"query": "x", "max_results": 5, "search_recency_filter": "week"})
    );
    assert_eq!(seen[2].path, "/f/v2/search");
    assert_eq!(
        seen[2].json(),
        json!({"query": "x", "limit": 5, "sources": ["web"], "country": "DE",
            "tbs": "cdr:1,cd_min:01/31/2026,cd_max:02/28/2026"})
    );
    assert_eq!(seen[3].json()["tbs"], "qdr:w");
}

#[tokio::test]
async fn answers_in_words_come_with_their_sources() {
    let server = FakeServer::start(|seen| {
        let said = seen.json();
        let choice = |message: Value| json!({"choices": [{"message": message}]});
        Reply::json(
            200,
            &match seen.path.as_str() {
                "/g/models/gemini-x:generateContent" => json!({"candidates": [{
                    "content": {"parts": [{"text": "secret thought", "thought": true}, {"text": "the answer"}]},
                    "groundingMetadata": {"groundingChunks": [
                        {"web": {"uri": "https://a.example/x", "title": "A page"}},
                        {"web": {"uri": "https://a.example/x", "title": "again"}},
                        {"web": {"uri": "javascript:alert(1)", "title": "odd"}},
                    ]},
                }]}),
                "/x/responses" => json!({"output": [
                    {"type": "web_search_call"},
                    {"type": "message", "content": [{"type": "output_text", "text": "the answer", "annotations": [
                        {"type": "url_citation", "url": "https://a.example/x", "title": "A page"},
                    ]}]},
                ]}),
                "/s/chat/completions" => {
                    let mut answer = choice(json!({"content": "the answer"}));
                    answer["search_results"] = json!([{"title": "A page", "url": "https://a.example/x"}]);
                    answer["citations"] = json!(["https://a.example/x"]);
                    answer
                }
                "/k/chat/completions" if said["messages"].as_array().is_some_and(|all| all.len() == 1) => {
                    let arguments = json!({"search_results": [{"title": "A page", "url": "https://a.example/x"}]});
                    choice(json!({"role": "assistant", "content": "", "tool_calls": [{
                        "id": "c1", "type": "builtin_function",
                        "function": {"name": "$web_search", "arguments": arguments.to_string()},
                    }]}))
                }
                _ => choice(json!({"role": "assistant", "content": "the answer"})),
            },
        )
    })
    .await;
    let tool = WebSearch::new(FakeServer::egress());
    for (engine, path, model) in [
        (SearchEngine::Gemini, "/g", "gemini-x"),
        (SearchEngine::Grok, "/x/", "grok-x"),
        (SearchEngine::Perplexity, "/s", "sonar-x"),
        (SearchEngine::Kimi, "/k", "kimi-x"),
    ] {
        let access = SearchAccess {
            model: Some(model.to_owned()),
            ..access(engine, Some(server.url(path)))
        };
        let output = tool.search(&scope("ada"), query("why"), &access).await.expect("finds");
        let shown = text(&output);
        assert!(shown.starts_with("<<<EXTERNAL_CONTENT"), "{shown}");
        assert!(shown.contains("\"answer\": \"the answer\""), "{shown}");
        assert_eq!(shown.matches("https://a.example/x").count(), 1, "{shown}");
        assert!(
            shown.contains("A page") && !shown.contains("javascript") && !shown.contains("thought"),
            "{shown}"
        );
        assert_eq!(output.details.expect("has details")["count"], 1);
    }
    let seen = server.seen();
    assert_eq!(seen[0].header("x-goog-api-key"), Some("k-1"));
    assert_eq!(
        seen[0].json(),
        json!({"contents": [{"role": "user", "parts": [{"text": "why"}]}], "tools": [{"google_search": {}}]})
    );
    assert_eq!(seen[1].json()["tools"], json!([{"type": "web_search"}]));
    assert_eq!(seen[1].json()["model"], "grok-x");
    assert_eq!(seen[2].json()["model"], "sonar-x");
    assert_eq!(
        seen[3].json()["tools"],
        json!([{"type": "builtin_function", "function": {"name": "$web_search"}}])
    );
    let handed_back = &seen[4].json()["messages"][2];
    assert_eq!(
        (&handed_back["role"], &handed_back["tool_call_id"]),
        (&json!("tool"), &json!("c1"))
    );
    assert!(
        handed_back["content"]
            .as_str()
            .is_some_and(|said| said.contains("search_results"))
    );
    for asked in &seen[1..] {
        assert_eq!(asked.header("authorization"), Some("Bearer k-1"));
    }
}

#[tokio::test]
async fn words_that_rest_on_no_search_are_no_result() {
    let server = FakeServer::start(|_| {
        let message = json!({"role": "assistant", "content": "I cannot look things up."});
        Reply::json(200, &json!({"choices": [{"message": message}]}))
    })
    .await;
    let tool = WebSearch::new(FakeServer::egress());
    let access = access(SearchEngine::Kimi, Some(server.url("/k")));
    let output = tool
        .search(&scope("ada"), query("x"), &access)
        .await
        .expect_err("refuses");
    assert!(text(&output).contains("without searching"), "{}", text(&output));
}

#[tokio::test]
async fn every_service_names_the_filters_it_does_not_have() {
    let tool = WebSearch::new(Egress::new(Default::default()));
    let text_of = |value: &str| Some(value.to_owned());
    let wishes = [
        (
            "country",
            Query {
                country: text_of("DE"),
                ..query("x")
            },
        ),
        (
            "language",
            Query {
                language: text_of("de"),
                ..query("x")
            },
        ),
        (
            "ui_lang",
            Query {
                ui_lang: text_of("de-DE"),
                ..query("x")
            },
        ),
        (
            "freshness",
            Query {
                freshness: text_of("day"),
                ..query("x")
            },
        ),
        (
            "date_after",
            Query {
                date_after: text_of("2026-01-01"),
                ..query("x")
            },
        ),
        (
            "date_before",
            Query {
                date_before: text_of("2026-01-01"),
                ..query("x")
            },
        ),
        (
            "domain_filter",
            Query {
                domain_filter: vec!["a.example".to_owned()],
                ..query("x")
            },
        ),
        (
            "max_tokens",
            Query {
                max_tokens: Some(5),
                ..query("x")
            },
        ),
    ];
    // An address that is refused: what gets as far as that has its filter.
    for (engine, has) in [
        (
            SearchEngine::Brave,
            &[
                "country",
                "language",
                "ui_lang",
                "freshness",
                "date_after",
                "date_before",
            ][..],
        ),
        (SearchEngine::Gemini, &["freshness", "date_after", "date_before"]),
        (SearchEngine::Grok, &["domain_filter"]),
        (SearchEngine::Kimi, &[]),
        (
            SearchEngine::Firecrawl,
            &["country", "freshness", "date_after", "date_before"],
        ),
        (
            SearchEngine::Tavily,
            &["freshness", "date_after", "date_before", "domain_filter"],
        ),
        (SearchEngine::Searxng, &["language", "freshness"]),
    ] {
        for (name, wish) in &wishes {
            let access = access(engine, Some("http://127.0.0.1:9/".to_owned()));
            let refused = tool
                .search(&scope("ada"), wish.clone(), &access)
                .await
                .expect_err("refuses");
            let refused = text(&refused);
            let lacks = refused.contains(&format!("has no filter {name}"));
            assert_eq!(lacks, !has.contains(name), "{engine:?} {name}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_search_that_is_not_to_be_kept_is_made_again() {
    let server = FakeServer::start(|_| Reply::json(200, &json!({"results": []}))).await;
    let tool = WebSearch::new(FakeServer::egress());
    let access = SearchAccess {
        cache: Duration::ZERO,
        ..access(SearchEngine::Searxng, Some(server.url("")))
    };
    for _ in 0..2 {
        tool.search(&scope("ada"), query("x"), &access).await.expect("finds");
    }
    assert_eq!(server.seen().len(), 2);
}
