use claw_entities::Scope;
use serde_json::json;

use super::super::identity::Role;
use super::super::testing::{self, Server};
use super::*;
use crate::crypto::Secret;
use crate::error::Error;

fn bundle(name: &str, about: &str) -> Bundle {
    let text = format!("---\nname: {name}\ndescription: Does {name}.\n{about}\n---\nDo it.\n");
    let files = vec![
        BundleFile {
            path: SKILL.to_owned(),
            content: text.into_bytes(),
        },
        BundleFile {
            path: "notes/more.bin".to_owned(),
            content: vec![0, 255, 1],
        },
    ];
    Bundle::of(files, "ab".repeat(32)).expect("is a skill")
}

fn node(id: &str, os: &'static str, programs: &[&str]) -> NodeFacts {
    NodeFacts {
        id: id.to_owned(),
        name: format!("the {id}"),
        os: Some(os),
        programs: programs.iter().map(|name| (*name).to_owned()).collect(),
    }
}

async fn standing(server: &Server, owner: &Scope, key: &str, nodes: &[NodeFacts]) -> Standing {
    let set = server.config.skills(owner).await.expect("reads");
    let judged = set.judged(nodes);
    let (_, standing) = judged
        .into_iter()
        .find(|(skill, _)| skill.key == key)
        .expect("is there");
    standing
}

fn offered(name: &str) -> NodeSkill {
    NodeSkill {
        name: name.to_owned(),
        description: "from a\nnode".to_owned(),
        content: "Just do it.".to_owned(),
    }
}

#[tokio::test]
async fn a_skill_is_installed_once_replaced_on_wish_and_taken_away_with_its_keys() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let tea = bundle("tea", "");
    let skill = config
        .install_skill(&owner, &tea, &Source::Upload, false)
        .await
        .expect("installs");
    assert_eq!(
        (skill.key.as_str(), skill.files, skill.source.as_str()),
        ("tea", 2, "upload")
    );
    assert_eq!(skill.sha256, "ab".repeat(32));
    let again = config.install_skill(&owner, &tea, &Source::Upload, false).await;
    assert!(matches!(again, Err(Error::Conflict(_))));
    let other_key = bundle("tea", "metadata: {openclaw: {skillKey: chai}}");
    let alike = config.install_skill(&owner, &other_key, &Source::Upload, false).await;
    assert!(matches!(alike, Err(Error::Conflict(_))), "two skills of one name");
    config
        .install_skill(&owner, &tea, &Source::Upload, true)
        .await
        .expect("replaces");

    let read = async |path: &str| config.skill_file(&owner, "", "tea", path).await.expect("reads");
    assert!(read(SKILL).await.is_some_and(|bytes| bytes.ends_with(b"Do it.\n")));
    assert_eq!(read("notes/more.bin").await, Some(vec![0, 255, 1]));
    assert_eq!(read("../tea/SKILL.md").await, None);
    let files = config.skill_files(&owner, "", "tea").await.expect("lists");
    let sizes: Vec<(&str, i64)> = files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!(sizes[1], ("notes/more.bin", 3));

    let change = SkillChange {
        enabled: Some(true),
        api_key: Some(Secret::new(" k-1 ")),
        env: vec![("TOKEN".to_owned(), Secret::new("t-1"))],
        ..SkillChange::default()
    };
    let entry = config.change_skill(&owner, "tea", change).await.expect("changes");
    assert!(!entry.to_string().contains("-1"), "secrets are sealed: {entry}");
    let pointer = "/skills/entries/tea/apiKey";
    let key = config.document_secret(&owner, pointer).await.expect("reads");
    assert_eq!(key, Some(Secret::new("k-1")));

    config.delete_skill(&owner, "tea").await.expect("goes");
    assert_eq!(read(SKILL).await, None);
    assert!(config.skills(&owner).await.expect("reads").skills.is_empty());
    assert_eq!(config.document_secret(&owner, pointer).await.expect("reads"), None);
    let gone = config.delete_skill(&owner, "tea").await;
    assert!(matches!(gone, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn what_is_missing_comes_from_nodes_and_from_the_users_own_settings() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let about = "metadata: {openclaw: {os: [darwin, linux], primaryEnv: KEY, requires: \
        {bins: [git], anyBins: [rg, grep], env: [KEY, OTHER], config: [ui.seamColor]}}}";
    config
        .install_skill(&owner, &bundle("code", about), &Source::Upload, false)
        .await
        .expect("installs");
    let bare = standing(&server, &owner, "code", &[]).await;
    assert!(!bare.eligible && bare.node.is_none());
    assert_eq!(
        bare.missing,
        Missing {
            bins: vec!["git".to_owned()],
            any_bins: vec!["rg".to_owned(), "grep".to_owned()],
            env: vec!["KEY".to_owned(), "OTHER".to_owned()],
            config: vec!["ui.seamColor".to_owned()],
            os: vec!["darwin".to_owned(), "linux".to_owned()],
        }
    );
    // What two nodes have between them is of no use: one command runs on one of them.
    let nodes = [node("desk", "linux", &["git"]), node("lap", "win32", &["git", "grep"])];
    let apart = standing(&server, &owner, "code", &nodes).await;
    assert!(!apart.eligible);
    assert_eq!(apart.missing.any_bins, ["rg", "grep"]);
    let nodes = [node("desk", "linux", &["git"]), node("lap", "darwin", &["git", "grep"])];
    let found = standing(&server, &owner, "code", &nodes).await;
    assert_eq!((found.node.as_deref(), found.missing.bins.len()), (Some("the lap"), 0));
    assert!(!found.eligible, "its variables and settings are missing still");

    let change = SkillChange {
        api_key: Some(Secret::new("k")),
        env: vec![("OTHER".to_owned(), Secret::new("o"))],
        ..SkillChange::default()
    };
    config.change_skill(&owner, "code", change).await.expect("changes");
    config
        .update_document(&owner, |mut doc| {
            doc["ui"] = json!({"seamColor": "#112233"});
            Ok(doc)
        })
        .await
        .expect("changes");
    assert!(standing(&server, &owner, "code", &nodes).await.eligible);
    let off = SkillChange {
        enabled: Some(false),
        env: vec![("OTHER".to_owned(), Secret::new(""))],
        ..SkillChange::default()
    };
    config.change_skill(&owner, "code", off).await.expect("changes");
    let off = standing(&server, &owner, "code", &nodes).await;
    assert_eq!((off.eligible, off.missing.env), (false, vec!["OTHER".to_owned()]));

    config
        .install_skill(
            &owner,
            &bundle("free", "metadata: {openclaw: {always: true, requires: {bins: [nope]}}}"),
            &Source::Upload,
            false,
        )
        .await
        .expect("installs");
    assert!(
        standing(&server, &owner, "free", &[]).await.eligible,
        "always skips the gates"
    );
}

#[tokio::test]
async fn what_a_node_offers_counts_while_it_is_there() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let offers = [offered("tea"), offered("coffee")];
    assert!(config.put_node_skills(&owner, "desk", &offers).await.expect("stores"));
    assert!(
        !config
            .put_node_skills(&owner, "desk", &offers)
            .await
            .expect("is the same")
    );
    config
        .put_node_skills(&owner, "lap", &[offered("tea")])
        .await
        .expect("stores");
    config
        .install_skill(&owner, &bundle("coffee", ""), &Source::Upload, false)
        .await
        .expect("installs");
    let names = async |nodes: &[NodeFacts]| -> Vec<(String, String)> {
        let set = config.skills(&owner).await.expect("reads");
        let judged = set.judged(nodes).into_iter();
        judged
            .map(|(skill, _)| (skill.key.clone(), skill.node_id.clone()))
            .collect()
    };
    let pair = |key: &str, node: &str| (key.to_owned(), node.to_owned());
    assert_eq!(names(&[]).await, [pair("coffee", "")]);
    assert_eq!(
        names(&[node("desk", "linux", &[]), node("lap", "linux", &[])]).await,
        [pair("coffee", ""), pair("tea", "desk")],
        "one's own comes first, then one node's"
    );
    assert_eq!(
        names(&[node("lap", "linux", &[])]).await,
        [pair("coffee", ""), pair("tea", "lap")]
    );
    let set = config.skills(&owner).await.expect("reads");
    let tea = set
        .skills
        .iter()
        .find(|skill| skill.node_id == "lap")
        .expect("is there");
    assert_eq!(tea.manifest.description, "from a node");
    config.put_node_skills(&owner, "lap", &[]).await.expect("stores");
    assert_eq!(names(&[node("lap", "linux", &[])]).await, [pair("coffee", "")]);
}

#[tokio::test]
async fn users_and_tenants_are_apart() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let far = testing::tenant(config, "far").await;
    let stranger = testing::user(config, &far, "s@far.test", Role::Owner).await;
    config
        .install_skill(&owner, &bundle("tea", ""), &Source::Upload, false)
        .await
        .expect("installs");
    config
        .put_node_skills(&owner, "desk", &[offered("coffee")])
        .await
        .expect("stores");
    for other in [&member, &stranger] {
        assert!(config.skills(other).await.expect("reads").skills.is_empty());
        assert_eq!(config.skill_file(other, "", "tea", SKILL).await.expect("reads"), None);
        assert!(config.skill_files(other, "", "tea").await.expect("reads").is_empty());
        assert!(matches!(
            config.delete_skill(other, "tea").await,
            Err(Error::NotFound { .. })
        ));
        config
            .put_node_skills(other, "desk", &[])
            .await
            .expect("changes nothing");
        config
            .install_skill(other, &bundle("tea", ""), &Source::Upload, false)
            .await
            .expect("has one of their own");
    }
    assert_eq!(config.skills(&owner).await.expect("reads").skills.len(), 2);
}

#[tokio::test]
async fn odd_keys_and_values_are_refused() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    for key in ["", "../x", "a b", "é", &"x".repeat(65)] {
        let refused = config.change_skill(&owner, key, SkillChange::default()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{key}");
    }
    let odd = SkillChange {
        env: vec![("A=B".to_owned(), Secret::new("x"))],
        ..SkillChange::default()
    };
    assert!(matches!(
        config.change_skill(&owner, "tea", odd).await,
        Err(Error::Invalid(_))
    ));
    let large = SkillChange {
        api_key: Some(Secret::new("x".repeat(17 * 1024))),
        ..SkillChange::default()
    };
    assert!(matches!(
        config.change_skill(&owner, "tea", large).await,
        Err(Error::TooLarge(_))
    ));
}

#[tokio::test]
async fn an_upload_comes_in_pieces_and_is_its_users_alone() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let new = |size: u64| NewUpload {
        slug: "tea".to_owned(),
        size,
        key: Some("once".to_owned()),
        ..NewUpload::default()
    };
    let upload = config.begin_upload(&owner, new(6)).await.expect("begins");
    let again = config.begin_upload(&owner, new(6)).await.expect("is the same");
    assert_eq!(upload, again);
    let other = config.begin_upload(&owner, new(7)).await;
    assert!(matches!(other, Err(Error::Invalid(_))), "the key is another upload's");
    let id = upload.id.as_str();
    let added = config
        .add_to_upload(&owner, id, 0, b"abc".to_vec())
        .await
        .expect("adds");
    assert_eq!(added.received, 3);
    for (offset, piece) in [(0, "abc"), (4, "x"), (3, "defg"), (3, "")] {
        let refused = config
            .add_to_upload(&owner, id, offset, piece.as_bytes().to_vec())
            .await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{offset} {piece}");
    }
    assert!(config.commit_upload(&owner, id, None).await.is_err(), "it is not whole");
    // Another user of the tenant, who knows the id.
    let foreign = config.add_to_upload(&member, id, 3, b"def".to_vec()).await;
    assert!(matches!(foreign, Err(Error::NotFound { .. })));
    assert!(matches!(
        config.commit_upload(&member, id, None).await,
        Err(Error::NotFound { .. })
    ));
    config.drop_upload(&member, id).await.expect("changes nothing");

    config
        .add_to_upload(&owner, id, 3, b"def".to_vec())
        .await
        .expect("adds");
    let wrong = config.commit_upload(&owner, id, Some(&"0".repeat(64))).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))));
    let hash = crate::crypto::token::hash_bytes(b"abcdef");
    let whole = config.commit_upload(&owner, id, Some(&hash)).await.expect("is whole");
    assert_eq!(whole.sha256.as_deref(), Some(hash.as_str()));
    assert!(config.add_to_upload(&owner, id, 6, b"g".to_vec()).await.is_err());
    for said in [("coffee", false, None), ("tea", true, None), ("tea", false, Some("ff"))] {
        assert!(config.whole_upload(&owner, id, said).await.is_err(), "{said:?}");
    }
    let foreign = config.whole_upload(&member, id, ("tea", false, None)).await;
    assert!(matches!(foreign, Err(Error::NotFound { .. })));
    let bytes = config
        .whole_upload(&owner, id, ("tea", false, Some(&hash)))
        .await
        .expect("reads");
    assert_eq!(bytes, b"abcdef");
    config.drop_upload(&owner, id).await.expect("goes");
    assert!(config.whole_upload(&owner, id, ("tea", false, None)).await.is_err());
    let many = async |number: u64| {
        let new = NewUpload {
            key: None,
            ..new(number + 1)
        };
        config.begin_upload(&owner, new).await
    };
    for number in 0..8 {
        many(number).await.expect("begins");
    }
    assert!(matches!(many(9).await, Err(Error::Conflict(_))));
}

#[tokio::test]
async fn keys_are_opened_for_their_user_alone() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let about = "metadata: {openclaw: {primaryEnv: TEA_KEY}}";
    for scope in [&owner, &member] {
        let tea = bundle("tea", about);
        config
            .install_skill(scope, &tea, &Source::Upload, false)
            .await
            .expect("installs");
    }
    let change = SkillChange {
        api_key: Some(Secret::new("sk-zebra")),
        env: vec![("SHOP".to_owned(), Secret::new("corner"))],
        secret_hosts: Some(vec![" API.tea.test ".to_owned(), "api.tea.test".to_owned()]),
        guests: Some(true),
        ..SkillChange::default()
    };
    config.change_skill(&owner, "tea", change).await.expect("changes");
    let skill = config.own_skill(&owner, "tea").await.expect("is there");
    assert_eq!(
        (skill.entry.secret_hosts.as_slice(), skill.entry.guests),
        (["api.tea.test".to_owned()].as_slice(), true)
    );
    let keys = config.skill_keys(&owner, &skill).await.expect("opens");
    let values: Vec<(&str, &str)> = keys
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(values, [("SHOP", "corner"), ("TEA_KEY", "sk-zebra")]);
    // Even with the owner's own description of the skill in hand.
    let theirs = config.skill_keys(&member, &skill).await.expect("opens");
    assert!(theirs.env.is_empty() && theirs.api_key.is_none());
    for host in [
        "127.0.0.1",
        "localhost",
        "*.tea.test",
        "tea.test:8443",
        "https://tea.test",
        "",
    ] {
        let odd = SkillChange {
            secret_hosts: Some(vec![host.to_owned()]),
            ..SkillChange::default()
        };
        assert!(
            matches!(config.change_skill(&owner, "tea", odd).await, Err(Error::Invalid(_))),
            "{host}"
        );
    }
}
