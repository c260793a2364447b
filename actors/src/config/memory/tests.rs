//! Notes and what is searched of them, on a real database.

use claw_entities::{Scope, UserOwned, memory_chunk, workspace_file};
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, DbBackend, PaginatorTrait};

use super::super::ConfigService;
use super::super::identity::Role;
use super::super::testing::{self, Server};
use super::{is_note, of_day};
use crate::error::Error;

async fn put(config: &ConfigService, scope: &Scope, path: &str, text: &str) {
    let written = config.put_workspace_file(scope, "main", path, text, None).await;
    written.expect("writes");
}

/// The paths and first lines of what is found.
async fn found(config: &ConfigService, scope: &Scope, asked: &str) -> Vec<(String, i64)> {
    let found = config.search_memory(scope, "main", asked, 10, 0.0).await;
    let found = found.expect("any question has an answer").into_iter();
    found.map(|piece| (piece.path, piece.start_line)).collect()
}

async fn pieces(server: &Server, scope: &Scope) -> u64 {
    let tx = server.db.read(scope).await.expect("begins");
    memory_chunk::Entity::owned_by(scope).count(&*tx).await.expect("counts")
}

#[test]
fn notes_are_two_kinds_of_files() {
    for note in ["MEMORY.md", "memory.md", "memory/people.md", &of_day("2026-11-26")] {
        assert!(is_note(note), "{note}");
    }
    for other in [
        "AGENTS.md",
        "Memory.md",
        "memory/a.txt",
        "memory/.md",
        "memory",
        "x/MEMORY.md",
        "notes/memory/a.md",
    ] {
        assert!(!is_note(other), "{other}");
    }
}

#[tokio::test]
async fn the_best_piece_comes_first_with_its_lines() {
    let server = testing::start().await;
    let (config, owner) = (&server.config, testing::owner(&server.config).await);
    put(
        config,
        &owner,
        "MEMORY.md",
        "Anna lives in Zürich.\nThe cat is called Miso.\n",
    )
    .await;
    put(
        config,
        &owner,
        "memory/2026-11-24.md",
        "Talked with Anna about the migration of the database.",
    )
    .await;
    let long: String = (1..=300)
        .map(|n| format!("day {n}: nothing happened at all\n"))
        .collect();
    let long = format!("{long}the migration went well and the migration is done\n");
    put(config, &owner, "memory/2026-11-25.md", &long).await;
    put(config, &owner, "notes/anna.md", "Anna is not a note here").await;

    assert_eq!(found(config, &owner, "miso cat").await, [("MEMORY.md".to_owned(), 1)]);
    assert_eq!(found(config, &owner, "zurich").await, [("MEMORY.md".to_owned(), 1)]);
    let anna = found(config, &owner, "anna database").await;
    assert_eq!(anna[0].0, "memory/2026-11-24.md");
    assert_eq!(anna.len(), 2, "{anna:?}");
    let migration = config
        .search_memory(&owner, "main", "is the migration done", 1, 0.0)
        .await
        .expect("searches");
    assert_eq!(migration.len(), 1, "no more than asked for");
    let best = &migration[0];
    assert!(
        best.path == "memory/2026-11-25.md" && best.end_line == 301 && best.start_line > 200,
        "{best:?}"
    );
    assert!(
        best.snippet.ends_with("the migration is done") && best.snippet.chars().count() <= 700,
        "{best:?}"
    );
    assert!(best.score > 0.3 && best.score <= 1.0, "{best:?}");
    let strict = config
        .search_memory(&owner, "main", "anna unicorn dragon", 9, 0.9)
        .await;
    assert!(strict.expect("searches").is_empty());
}

#[tokio::test]
async fn nobody_finds_what_is_anothers() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let colleague = testing::user(config, owner.tenant_scope(), "b@acme.test", Role::Owner).await;
    let tenant = testing::tenant(config, "beta").await;
    let stranger = testing::user(config, &tenant, "owner@acme.test", Role::Owner).await;
    put(config, &owner, "MEMORY.md", "the treasure is under the oak").await;
    put(config, &colleague, "MEMORY.md", "the treasure of a colleague").await;
    put(config, &stranger, "memory/a.md", "treasure of a stranger").await;
    for (scope, path) in [
        (&owner, "MEMORY.md"),
        (&colleague, "MEMORY.md"),
        (&stranger, "memory/a.md"),
    ] {
        let found = config
            .search_memory(scope, "main", "treasure oak", 10, 0.0)
            .await
            .expect("searches");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].path.as_str(), found[0].snippet.contains("oak")),
            (path, scope == &owner)
        );
    }
    let agent = config
        .search_memory(&owner, "work", "treasure", 10, 0.0)
        .await
        .expect("searches");
    assert!(agent.is_empty(), "another agent has its own notes");
    // Naming somebody's words in a question does not help either.
    let theirs = super::store::mark(&owner, "main");
    for asked in [
        theirs.clone(),
        format!("{theirs}treasure"),
        format!("{theirs}oak\" OR \"{theirs}oak"),
    ] {
        assert!(found(config, &stranger, &asked).await.is_empty());
    }
    // What others write changes no score.
    let score = async || {
        config
            .search_memory(&owner, "main", "treasure oak", 1, 0.0)
            .await
            .expect("searches")[0]
            .score
    };
    let before = score().await;
    for n in 0..20 {
        put(config, &stranger, &format!("memory/{n}.md"), "oak oak oak").await;
    }
    assert!((score().await - before).abs() < f64::EPSILON);
}

#[tokio::test]
async fn any_text_may_be_asked() {
    let server = testing::start().await;
    let (config, owner) = (&server.config, testing::owner(&server.config).await);
    put(
        config,
        &owner,
        "MEMORY.md",
        "tea, NEAR the AND gate; not 'quoted' 100%\n数据库迁移在星期五",
    )
    .await;
    for asked in [
        "",
        " ",
        "\"",
        "'",
        "*",
        "(",
        ")",
        "^",
        "-",
        ":",
        "\\",
        "%",
        "_",
        "\0",
        "\"\"\"",
        "a* (b",
        "x:*",
        "& | !",
        "<->",
        "{terms owner} : x",
        "owner:",
        "terms : (",
        "NEAR(",
        "AND",
        "OR OR",
        "NOT",
        "'; DROP TABLE memory_chunk; --",
        "🦀",
        "\u{200b}",
        "\u{fffd}\u{202e}",
        "a\u{0301}\u{0301}",
    ] {
        found(config, &owner, asked).await;
    }
    let endless = "word (\" ".repeat(20_000);
    assert!(found(config, &owner, &endless).await.is_empty());
    let many: String = (0..5_000).map(|n| format!("w{n} ")).collect();
    assert!(found(config, &owner, &many).await.is_empty());
    for asked in [
        "tea\" OR \"x",
        "NEAR(tea)",
        "gate AND",
        "'quoted':*",
        "数据库",
        "迁",
        "100",
    ] {
        assert_eq!(found(config, &owner, asked).await.len(), 1, "{asked}");
    }
}

#[tokio::test]
async fn the_index_goes_with_its_file() {
    let server = testing::start().await;
    let (config, owner) = (&server.config, testing::owner(&server.config).await);
    let path = "memory/2026-11-26.md";
    put(config, &owner, path, "apples").await;
    put(config, &owner, path, "pears").await;
    assert!(found(config, &owner, "apples").await.is_empty());
    assert_eq!(found(config, &owner, "pears").await.len(), 1);
    let refused = config.put_workspace_file(&owner, "main", path, "plums", Some(1)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    assert!(found(config, &owner, "plums").await.is_empty());
    // A transaction that does not commit leaves both as they were.
    let tx = server.db.write(&owner).await.expect("begins");
    super::index(&*tx, &owner, "main", path, "plums")
        .await
        .expect("indexes");
    drop(tx);
    assert_eq!(
        (
            found(config, &owner, "pears").await.len(),
            found(config, &owner, "plums").await.len()
        ),
        (1, 0)
    );
    // Nor does one whose words cannot be stored.
    if server.db.backend() == DbBackend::Sqlite {
        let tx = server.db.write(&owner).await.expect("begins");
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON memory_chunk WHEN new.content LIKE '%plums%' \
                      BEGIN SELECT RAISE(ABORT, 'no'); END";
        tx.execute_unprepared(refuse).await.expect("a trigger");
        tx.commit().await.expect("commits");
        assert!(
            config
                .put_workspace_file(&owner, "main", path, "plums", None)
                .await
                .is_err()
        );
        let file = config
            .workspace_file(&owner, "main", path)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(
            (file.content.as_str(), found(config, &owner, "pears").await.len()),
            ("pears", 1)
        );
    }
    config
        .delete_workspace_file(&owner, "main", path)
        .await
        .expect("removes");
    assert!(found(config, &owner, "pears").await.is_empty());
    put(config, &owner, "MEMORY.md", "cherries").await;
    config.delete_workspace(&owner, "main").await.expect("removes");
    assert_eq!(pieces(&server, &owner).await, 0);
    put(config, &owner, "MEMORY.md", "cherries").await;
    config.delete_tenant("acme").await.expect("deletes");
    if server.db.backend() == DbBackend::Sqlite {
        // FTS5 compares what it has with the table it is of.
        let tx = server.db.system_write().await.expect("begins");
        let check = "INSERT INTO memory_fts (memory_fts, rank) VALUES ('integrity-check', 1)";
        tx.execute_unprepared(check).await.expect("the index is in step");
    }
}

#[tokio::test]
async fn files_from_before_are_found_by_the_first_search() {
    let server = testing::start().await;
    let (config, owner) = (&server.config, testing::owner(&server.config).await);
    put(config, &owner, "MEMORY.md", "an old note").await;
    put(config, &owner, "SOUL.md", "an old file").await;
    let tx = server.db.write(&owner).await.expect("begins");
    super::forget(&*tx, &owner, "main", None).await.expect("forgets");
    workspace_file::Entity::update_owned(&owner)
        .col_expr(workspace_file::Column::IndexedVersion, Expr::value(0))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    assert_eq!(pieces(&server, &owner).await, 0);
    assert_eq!(found(config, &owner, "old").await, [("MEMORY.md".to_owned(), 1)]);
    assert_eq!(pieces(&server, &owner).await, 1, "it is kept");
    assert_eq!(found(&server.another_process(), &owner, "old").await.len(), 1);
}

#[tokio::test]
async fn many_writers_of_one_file_lose_nothing() {
    let server = testing::start().await;
    let (config, owner) = (&server.config, testing::owner(&server.config).await);
    let add = async |n: usize| {
        let line = move |before: Option<&crate::config::workspace::WorkspaceFile>| {
            let before = before.map_or("", |file| &file.content);
            Ok(Some(format!("{before}line{n}\n")))
        };
        for _ in 0..20 {
            match config.change_workspace_file(&owner, "main", "memory/a.md", line).await {
                Ok(_) => return,
                Err(Error::Conflict(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("never written");
    };
    futures::future::join_all((0..8).map(add)).await;
    let file = config
        .workspace_file(&owner, "main", "memory/a.md")
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!((file.content.lines().count(), file.version), (8, 8), "{}", file.content);
    for n in 0..8 {
        assert_eq!(found(config, &owner, &format!("line{n}")).await.len(), 1);
    }
}
