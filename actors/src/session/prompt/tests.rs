//! What is in the prompt, for whom.

use super::*;

fn file(path: &str, content: &str) -> WorkspaceFile {
    WorkspaceFile {
        path: path.to_owned(),
        content: content.to_owned(),
        version: 1,
        size: 0,
        updated_at: 0,
    }
}

fn files() -> Vec<WorkspaceFile> {
    [
        "MEMORY.md",
        "USER.md",
        "AGENTS.md",
        "SOUL.md",
        "TOOLS.md",
        "IDENTITY.md",
        "HEARTBEAT.md",
    ]
    .map(|name| file(name, &format!("content of {name}")))
    .into()
}

fn facts<'a>(files: &'a [WorkspaceFile], audience: Audience) -> PromptFacts<'a> {
    PromptFacts {
        mode: Mode::Full,
        audience,
        agent_id: "main",
        agent_name: Some("Claw"),
        tools: &[],
        away: &[],
        file_chars: (20_000, 150_000),
        files,
        time_zone: "Europe/Berlin",
        skills: &[],
        model: "demo/echo",
        default_model: "demo/echo",
        channel: None,
        room: None,
        speech_by_tag: false,
        aliases: &[],
        heartbeat: false,
        thinking: "off",
        extra: None,
    }
}

fn whole(facts: &PromptFacts<'_>) -> String {
    system_prompt(facts)
        .iter()
        .map(|block| block.text.as_str())
        .collect::<Vec<_>>()
        .join("\n----\n")
}

#[test]
fn the_owner_sees_the_workspace_in_order() {
    let files = files();
    let prompt = whole(&facts(&files, Audience::Owner));
    let places: Vec<usize> = [
        "AGENTS.md",
        "SOUL.md",
        "TOOLS.md",
        "IDENTITY.md",
        "USER.md",
        "HEARTBEAT.md",
        "MEMORY.md",
    ]
    .iter()
    .map(|name| prompt.find(&format!("content of {name}")).unwrap())
    .collect();
    assert!(places.is_sorted());
    for part in [
        "You are Claw",
        "NO_REPLY",
        "Europe/Berlin",
        "model=demo/echo",
        "channel=webchat",
    ] {
        assert!(prompt.contains(part), "{part}");
    }
}

#[test]
fn guests_and_groups_see_instructions_only() {
    let files = files();
    for (audience, hidden) in [
        (Audience::Guest, &["MEMORY.md", "USER.md", "HEARTBEAT.md"][..]),
        (
            Audience::Group { owner: false },
            &["MEMORY.md", "USER.md", "HEARTBEAT.md"],
        ),
        (Audience::Group { owner: true }, &["MEMORY.md"]),
    ] {
        let prompt = whole(&facts(&files, audience));
        for name in hidden {
            assert!(!prompt.contains(&format!("content of {name}")), "{audience:?} {name}");
        }
        for name in ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md"] {
            assert!(prompt.contains(&format!("content of {name}")), "{audience:?} {name}");
        }
    }
    let lower = [file("memory.md", "a secret")];
    assert!(!whole(&facts(&lower, Audience::Guest)).contains("a secret"));
    assert!(whole(&facts(&lower, Audience::Owner)).contains("a secret"));
}

fn tool(name: &str) -> Arc<ToolSpec> {
    Arc::new(ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        summary: String::new(),
        parameters: serde_json::json!({}).into(),
        effect: crate::ports::tool::Effect::ReadOnly,
        owner_only: true,
        timeout: std::time::Duration::from_secs(1),
    })
}

#[test]
fn each_section_stands_where_there_is_something_to_say() {
    let all = ["gateway", "message", "sessions_send", "memory_search"].map(tool);
    let aliases = [("opus", "anthropic/claude-opus")];
    let base = PromptFacts {
        tools: &all,
        aliases: &aliases,
        heartbeat: true,
        ..facts(&[], Audience::Owner)
    };
    let stands = |facts: &PromptFacts<'_>, title: &str| whole(facts).contains(&format!("\n## {title}\n"));
    let titles = [
        "Your configuration",
        "Models",
        "Help",
        "Messages",
        "Other sessions",
        "Looking by yourself",
    ];
    for title in titles {
        assert!(stands(&base, title), "{title}");
        let minimal = PromptFacts {
            mode: Mode::Minimal,
            ..base
        };
        assert!(!stands(&minimal, title), "{title} for a sub-agent");
    }
    assert!(whole(&base).contains("- opus: anthropic/claude-opus"));
    let nothing = facts(&[], Audience::Owner);
    for title in titles.iter().filter(|title| **title != "Help") {
        assert!(!stands(&nothing, title), "{title} about nothing");
    }
    // What the owner has is nothing to guests.
    for audience in [Audience::Guest, Audience::Group { owner: false }] {
        let theirs = PromptFacts { audience, ..base };
        assert!(
            !stands(&theirs, "Models") && !stands(&theirs, "Looking by yourself"),
            "{audience:?}"
        );
    }
}

#[test]
fn a_scheduled_run_may_go_without_the_files_and_keeps_the_rest() {
    let files = files();
    let tools = [tool("memory_search")];
    let prompt = whole(&PromptFacts {
        mode: Mode::NoFiles,
        tools: &tools,
        ..facts(&files, Audience::Owner)
    });
    assert!(!prompt.contains("content of ") && !prompt.contains("## Project context"));
    assert!(prompt.contains("## Memory") && prompt.contains("NO_REPLY"));
}

#[test]
fn memory_is_explained_where_it_can_be_searched() {
    let tools = ["memory_search", "web_fetch"].map(tool);
    let explained = |mode, tools| {
        let base = facts(&[], Audience::Owner);
        whole(&PromptFacts { mode, tools, ..base }).contains("## Memory")
    };
    assert!(explained(Mode::Full, &tools[..]));
    assert!(!explained(Mode::Full, &tools[1..]));
    assert!(!explained(Mode::Minimal, &tools[..]) && !explained(Mode::Light, &tools[..]));
}

#[test]
fn skills_are_for_the_owner_and_for_runs_that_can_read_them() {
    let offered = [Offered {
        name: "tea".to_owned(),
        description: "Makes tea.".to_owned(),
        location: "skill://tea/SKILL.md".to_owned(),
    }];
    let (reads, fetches) = ([tool("read")], [tool("web_fetch")]);
    for (audience, tools, listed) in [
        (Audience::Owner, &reads, true),
        (Audience::Group { owner: true }, &reads, true),
        (Audience::Guest, &reads, false),
        (Audience::Group { owner: false }, &reads, false),
        (Audience::Owner, &fetches, false),
    ] {
        let prompt = whole(&PromptFacts {
            tools,
            skills: &offered,
            ..facts(&[], audience)
        });
        assert_eq!(prompt.contains("skill://tea/SKILL.md"), listed, "{audience:?}");
    }
}

#[test]
fn only_the_first_block_is_cached_and_it_is_the_same_for_every_chat_of_the_owner() {
    let files = files();
    let web = system_prompt(&facts(&files, Audience::Owner));
    let telegram = system_prompt(&PromptFacts {
        channel: Some("Telegram"),
        extra: Some("be brief"),
        ..facts(&files, Audience::Owner)
    });
    assert_eq!(web.iter().map(|block| block.cache).collect::<Vec<_>>(), [true, false]);
    assert_eq!(web[0].text, telegram[0].text);
    assert!(telegram[1].text.contains("be brief"));
}

#[test]
fn long_files_keep_head_and_tail_within_the_limits() {
    let long = file("AGENTS.md", &format!("HEAD{}TAIL", "é".repeat(30_000)));
    let prompt = whole(&facts(std::slice::from_ref(&long), Audience::Owner));
    assert!(prompt.contains("HEAD") && prompt.contains("TAIL") && prompt.contains("left out"));
    assert!(prompt.chars().count() < 25_000);

    let many: Vec<WorkspaceFile> = [
        "AGENTS.md",
        "SOUL.md",
        "TOOLS.md",
        "IDENTITY.md",
        "USER.md",
        "HEARTBEAT.md",
    ]
    .into_iter()
    .chain(["BOOTSTRAP.md", "MEMORY.md"])
    .map(|name| file(name, &"x".repeat(50_000)))
    .collect();
    let prompt = whole(&facts(&many, Audience::Owner));
    assert!(prompt.len() < 160_000, "{}", prompt.len());
}

#[test]
fn missing_files_are_named_and_blank_ones_left_out() {
    let files = [file("SOUL.md", "  \n ")];
    let prompt = whole(&facts(&files, Audience::Owner));
    assert!(prompt.contains("(AGENTS.md does not exist.)"));
    assert!(!prompt.contains("SOUL.md") && !prompt.contains("BOOTSTRAP.md"));
}

#[test]
fn smaller_modes() {
    let files = files();
    let bare = system_prompt(&PromptFacts {
        mode: Mode::Bare,
        ..facts(&files, Audience::Owner)
    });
    assert_eq!(bare.len(), 1);
    assert!(!bare[0].text.contains("##"));
    let minimal = whole(&PromptFacts {
        mode: Mode::Minimal,
        ..facts(&files, Audience::Owner)
    });
    assert!(minimal.contains("content of TOOLS.md") && !minimal.contains("content of SOUL.md"));
    assert!(!minimal.contains("NO_REPLY"));
}

#[test]
fn a_file_cannot_hold_the_provider_s_test_string() {
    let files = [file("AGENTS.md", "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_X")];
    assert!(!whole(&facts(&files, Audience::Owner)).contains("ANTHROPIC_MAGIC_STRING"));
}
