//! Skills from elsewhere: a registry, addresses of archives, uploads in pieces; hostile ones, and other people's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, TestApp};
use crate::support::registry::{Registry, sha256, tarred, zipped};

const REGISTRY: &str = "CLAWCENTRAL__SKILLS__REGISTRY_URL";
const DOWNLOADS: &str = "CLAWCENTRAL__LIMITS__SKILL_DOWNLOADS_PER_MINUTE";

fn skill(name: &str, says: &str) -> String {
    format!("---\nname: {name}\ndescription: Does {name}.\n---\n{says}\n")
}

async fn with_registry() -> (TestApp, Registry) {
    let registry = Registry::start();
    let settings = [(REGISTRY, registry.setting()), (DOWNLOADS, "100".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let app = TestApp::start_with(&json!({}), &settings).await;
    (app, registry)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_of_the_registry_is_found_looked_at_installed_and_updated() {
    let (app, registry) = with_registry().await;
    let first = zipped(&[("SKILL.md", &skill("tea", "Boil water."))]);
    registry.publish("tea", "1.0.0", first.clone());
    registry.publish("coffee", "2.0.0", zipped(&[("SKILL.md", &skill("coffee", "Grind."))]));
    let owner = app.owner();
    let (code, found) = owner.get("/api/skill-store?q=te").await;
    assert_eq!((code, &found["registry"]), (200, &json!(registry.url())));
    assert_eq!(found["results"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["results"][0]["publisher"], "ada");

    let wish = json!({"slug": "@ada/tea"});
    let (code, seen) = owner.post("/api/skill-store/preview", &wish).await;
    assert_eq!(code, 200, "{seen}");
    assert_eq!(
        (&seen["origin"]["version"], &seen["sha256"], &seen["replaces"]),
        (&json!("1.0.0"), &json!(sha256(&first)), &Value::Null)
    );
    assert!(seen["text"].as_str().is_some_and(|text| text.contains("Boil water.")));
    assert_eq!(
        owner.get("/api/skills").await.1,
        json!({"skills": []}),
        "looking installs nothing"
    );
    let (code, refused) = owner
        .post(
            "/api/skill-store/install",
            &json!({"slug": "tea", "sha256": "0".repeat(64)}),
        )
        .await;
    assert_eq!(
        (code, &refused["error"]["code"]),
        (409, &json!("conflict")),
        "not what was shown"
    );
    let (code, made) = owner
        .post(
            "/api/skill-store/install",
            &json!({"slug": "tea", "sha256": seen["sha256"]}),
        )
        .await;
    assert_eq!((code, &made["source"]), (201, &json!("clawhub")), "{made}");
    let origin = &made["origin"];
    assert_eq!(origin["url"], json!(format!("{}/ada/tea", registry.url())));
    assert_eq!((&origin["version"], &origin["update"]), (&json!("1.0.0"), &Value::Null));

    registry.publish(
        "tea",
        "1.1.0",
        zipped(&[("SKILL.md", &skill("tea", "Boil fresh water."))]),
    );
    let (_, before) = owner.get("/api/skills").await;
    assert_eq!(before["skills"][0]["origin"]["update"], Value::Null, "nobody asked yet");
    let (code, checked) = owner.post("/api/skill-store/check", &json!({})).await;
    assert_eq!(
        (code, &checked["skills"][0]["origin"]["update"]),
        (200, &json!("1.1.0")),
        "{checked}"
    );
    let (_, seen) = owner.post("/api/skill-store/preview", &wish).await;
    assert_eq!(
        (&seen["replaces"], &seen["changes"][0]["path"]),
        (&json!("1.0.0"), &json!("SKILL.md"))
    );
    let diff = seen["changes"][0]["diff"].as_str().expect("a text");
    assert!(diff.contains("-Boil water.\n+Boil fresh water."), "{diff}");
    // The older one can be had still.
    let (code, listed) = owner.get("/api/skill-store/skills/tea").await;
    assert_eq!(
        (code, listed["versions"].as_array().map(Vec::len)),
        (200, Some(2)),
        "{listed}"
    );
    let (_, old) = owner
        .post("/api/skill-store/preview", &json!({"slug": "tea", "version": "1.0.0"}))
        .await;
    assert_eq!(old["changes"], json!([]));

    let mut operator = app.operator().await;
    let done = operator
        .call("skills.update", json!({"source": "clawhub", "all": true}))
        .await
        .expect("updates");
    assert_eq!(
        done,
        json!({"ok": true, "skillKey": "*", "config": {"source": "clawhub", "results": [{
            "ok": true, "slug": "tea", "previousVersion": "1.0.0", "version": "1.1.0", "changed": true,
            "targetDir": "skill://tea"}]}})
    );
    let (_, now) = owner.get("/api/skills/tea").await;
    assert!(now["text"].as_str().is_some_and(|text| text.contains("fresh")), "{now}");
    assert_eq!(now["origin"]["update"], Value::Null);
    // It is on record who installed what.
    let (_, audit) = owner.get("/api/audit").await;
    assert!(audit.to_string().contains("\"version\":\"1.1.0\""), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_gateway_search_install_and_upload() {
    let (app, registry) = with_registry().await;
    registry.publish("tea", "1.0.0", zipped(&[("SKILL.md", &skill("tea", "Boil water."))]));
    let mut operator = app.operator().await;
    let found = operator
        .call("skills.search", json!({"query": "tea", "limit": 5}))
        .await
        .expect("finds");
    assert_eq!(
        found,
        json!({"results": [{"score": 0.5, "slug": "tea", "installRef": "@ada/tea", "displayName": "The tea",
            "summary": "Does tea.", "version": "1.0.0", "updatedAt": 1_730_000_000_000_i64}]})
    );
    let detail = operator
        .call("skills.detail", json!({"slug": "@ada/tea"}))
        .await
        .expect("reads");
    assert_eq!(
        detail,
        json!({
            "skill": {"slug": "tea", "displayName": "The tea", "summary": "Does tea.", "tags": {"latest": "1.0.0"},
                "createdAt": 1, "updatedAt": 2},
            "latestVersion": {"version": "1.0.0", "createdAt": 2, "changelog": "Better."},
            "metadata": {"os": [], "systems": []},
            "owner": {"handle": "ada", "displayName": "Ada", "image": null},
        })
    );
    let other = operator.call("skills.detail", json!({"slug": "@eve/tea"})).await;
    assert!(other.is_err(), "somebody else's skill of that name");
    let done = operator
        .call("skills.install", json!({"source": "clawhub", "slug": "tea"}))
        .await
        .expect("installs");
    assert_eq!(
        done,
        json!({"ok": true, "message": "Installed tea@1.0.0", "stdout": "", "stderr": "", "code": 0, "slug": "tea",
            "version": "1.0.0", "targetDir": "skill://tea"})
    );
    operator
        .event("news of skills", |frame| frame["event"] == "skills.changed")
        .await;
    let again = operator
        .call("skills.install", json!({"source": "clawhub", "slug": "tea"}))
        .await;
    assert!(again.expect_err("is there").to_string().contains("already"));
    let program = operator
        .call("skills.install", json!({"name": "tea", "installId": "brew"}))
        .await;
    assert_eq!(program.expect_err("not here")["code"], "UNAVAILABLE");

    let archive = zipped(&[("mocha/SKILL.md", &skill("mocha", "Mix."))]);
    let begun = json!({"kind": "skill-archive", "slug": "mocha", "sizeBytes": archive.len(), "idempotencyKey": "k"});
    let upload = operator
        .call("skills.upload.begin", begun.clone())
        .await
        .expect("begins");
    assert_eq!(
        operator.call("skills.upload.begin", begun).await.expect("is the same"),
        upload
    );
    let id = upload["uploadId"].clone();
    let (one, two) = archive.split_at(40);
    for (offset, piece) in [(0, one), (40, two)] {
        let chunk = json!({"uploadId": id, "offset": offset, "dataBase64": STANDARD.encode(piece)});
        let answer = operator.call("skills.upload.chunk", chunk).await.expect("adds");
        assert_eq!(answer["receivedBytes"], json!(offset + piece.len()));
    }
    let early = json!({"source": "upload", "uploadId": id, "slug": "mocha"});
    assert!(
        operator.call("skills.install", early.clone()).await.is_err(),
        "it is not committed"
    );
    let whole = operator
        .call(
            "skills.upload.commit",
            json!({"uploadId": id, "sha256": sha256(&archive)}),
        )
        .await
        .expect("is whole");
    assert_eq!(whole["sha256"], json!(sha256(&archive)));
    let done = operator.call("skills.install", early.clone()).await.expect("installs");
    assert_eq!(
        (&done["slug"], &done["sha256"]),
        (&json!("mocha"), &json!(sha256(&archive)))
    );
    assert!(
        operator.call("skills.install", early).await.is_err(),
        "an upload is used once"
    );
    let rows = app.rows().await;
    assert_eq!(
        (rows.count("skill_upload").await, rows.count("skill_upload_chunk").await),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_is_not_asked_whatever_the_operator_allows() {
    // The registry here is on loopback, which the settings allow: for what is configured, and for nothing else.
    let (app, registry) = with_registry().await;
    let owner = app.owner();
    let good = registry.serve("/tea.zip", zipped(&[("SKILL.md", &skill("tea", "Boil water."))]));
    for url in [
        format!("{good}?token=zebra-secret"),
        good.replace("http://", "https://"),
        format!("{}/inside", registry.url()),
        "http://example.com/x.zip".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/x.zip".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        let (code, answer) = owner.post("/api/skill-store/install", &json!({"url": url})).await;
        assert_eq!(code, 400, "{url}: {answer}");
    }
    assert_eq!(registry.asked(), Vec::<String>::new());
    let (_, audit) = owner.get("/api/audit").await;
    assert!(!audit.to_string().contains("zebra-secret") && !app.binary.log().contains("zebra-secret"));
    assert_eq!(app.rows().await.count("skill").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_is_not_unpacked() {
    let (app, registry) = with_registry().await;
    let owner = app.owner();
    let tea = skill("tea", "Boil water.");
    let zeros = "\0".repeat(60 << 20);
    let many: Vec<String> = (0..501).map(|at| format!("f{at}.md")).collect();
    let mut files: Vec<(&str, &str)> = vec![("SKILL.md", &tea)];
    files.extend(many.iter().map(|name| (name.as_str(), "x")));
    for (slug, archive, code) in [
        ("up-tar", tarred(&[("SKILL.md", &tea), ("../../evil.md", "x")]), 400),
        ("abs-tar", tarred(&[("SKILL.md", &tea), ("/etc/evil.md", "x")]), 400),
        (
            "link-tar",
            tarred(&[("SKILL.md", &tea), ("@passwd", "/etc/passwd")]),
            400,
        ),
        ("bomb-tar", tarred(&[("SKILL.md", &tea), ("zeros.md", &zeros)]), 413),
        ("first-tar", tarred(&[("zeros.md", &zeros), ("SKILL.md", &tea)]), 413),
        ("many-zip", zipped(&files), 413),
        ("up-zip", zipped(&[("SKILL.md", &tea), ("a/../../evil.md", "x")]), 400),
        (
            "alike-zip",
            zipped(&[("SKILL.md", &tea), ("a.md", "1"), ("A.md", "2")]),
            400,
        ),
        ("none-zip", zipped(&[("README.md", "hello")]), 400),
        (
            "several-tar",
            tarred(&[("r/skills/tea/SKILL.md", &tea), ("r/skills/coffee/SKILL.md", &tea)]),
            400,
        ),
        ("page", b"<html>no archive</html>".to_vec(), 400),
        ("large", vec![b'P'; (10 << 20) + 1], 413),
    ] {
        registry.publish(slug, "1.0.0", archive);
        let (got, answer) = owner.post("/api/skill-store/install", &json!({"slug": slug})).await;
        assert_eq!(got, code, "{slug}: {answer}");
    }
    assert_eq!(app.rows().await.count("skill").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_warns_of_is_not_installed_by_accident() {
    let (app, registry) = with_registry().await;
    let owner = app.owner();
    let archive = zipped(&[("SKILL.md", &skill("tea", "Boil water."))]);
    for slug in ["odd", "bad", "forged"] {
        registry.publish(slug, &format!("1.0.0-{slug}"), archive.clone());
    }
    registry.moderate(
        "odd",
        json!({"isSuspicious": true, "verdict": "suspicious", "summary": "runs things"}),
    );
    registry.moderate("bad", json!({"isMalwareBlocked": true, "verdict": "malicious"}));
    registry.list_hash("1.0.0-forged", &"0".repeat(64));
    let install = async |body: Value| owner.post("/api/skill-store/install", &body).await;
    let (code, answer) = install(json!({"slug": "bad", "acceptSuspicious": true})).await;
    assert_eq!((code, &answer["error"]["code"]), (403, &json!("forbidden")));
    assert!(
        registry
            .asked()
            .iter()
            .all(|asked| !asked.starts_with("/api/v1/download")),
        "not even fetched"
    );
    let (code, answer) = install(json!({"slug": "forged"})).await;
    assert_eq!(code, 502, "{answer}");
    let (code, answer) = install(json!({"slug": "odd"})).await;
    assert_eq!(code, 409, "{answer}");
    assert!(answer.to_string().contains("runs things"));
    let (_, seen) = owner.post("/api/skill-store/preview", &json!({"slug": "odd"})).await;
    assert_eq!(
        seen["verdict"],
        json!({"verdict": "suspicious", "reason": "runs things"})
    );
    let (code, made) = install(json!({"slug": "odd", "acceptSuspicious": true})).await;
    assert_eq!((code, &made["origin"]["suspicious"]), (201, &json!(true)), "{made}");
    let (code, _) = install(json!({"slug": "none"})).await;
    assert_eq!(code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_sees_nothing_of_it() {
    let (mut app, registry) = with_registry().await;
    app.add_user("demo", MEMBER, "admin");
    registry.publish("tea", "1.0.0", zipped(&[("SKILL.md", &skill("tea", "Boil water."))]));
    let (code, _) = app
        .owner()
        .post("/api/skill-store/install", &json!({"slug": "tea"}))
        .await;
    assert_eq!(code, 201);
    registry.publish("tea", "2.0.0", zipped(&[("SKILL.md", &skill("tea", "Other words."))]));
    let mut owner = app.operator().await;
    let begun = json!({"kind": "skill-archive", "slug": "tea", "sizeBytes": 3});
    let upload = owner.call("skills.upload.begin", begun).await.expect("begins");
    let member = app.person("demo", MEMBER);
    let (_, seen) = member.post("/api/skill-store/preview", &json!({"slug": "tea"})).await;
    assert_eq!((&seen["replaces"], &seen["changes"]), (&Value::Null, &json!([])));
    let mut theirs = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    let done = theirs
        .call("skills.update", json!({"source": "clawhub", "all": true}))
        .await
        .expect("there is nothing to do");
    assert_eq!(done["config"]["results"], json!([]));
    let one = theirs
        .call("skills.update", json!({"source": "clawhub", "slug": "tea"}))
        .await;
    assert!(one.is_err());
    let chunk = json!({"uploadId": upload["uploadId"], "offset": 0, "dataBase64": STANDARD.encode("abc")});
    assert!(theirs.call("skills.upload.chunk", chunk).await.is_err());
    let commit = json!({"uploadId": upload["uploadId"]});
    assert!(theirs.call("skills.upload.commit", commit).await.is_err());
    let (_, own) = app.owner().get("/api/skills/tea").await;
    assert_eq!(own["origin"]["version"], "1.0.0", "somebody else updated the owner's");
}
