//! House rules that a compiler does not know.
//!
//! Each rule reads the sources and says which line breaks it. A new exception is a line in a list here, with review.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;
use walkdir::WalkDir;

/// Longest source file, lines. Splitting pays long before.
const LONGEST: usize = 900;

/// Who may vouch for an identity: each of these has checked one.
const VOUCHERS: &[&str] = &[
    // A host, a token, a code, a password, a cookie was looked up.
    "actors/src/config/identity/",
    // A webhook's account was found; its owner answers for it.
    "actors/src/config/accounts/resolve.rs",
    // A hook's token is looked up among this host's.
    "actors/src/config/hooks.rs",
    // A join URL's code was asked for at this tenant's host.
    "actors/src/config/devices/setup_codes.rs",
    // The stored row names its tenant.
    "actors/src/config/accounts/connection.rs",
    // The stored row names its user.
    "actors/src/session/intake.rs",
    "actors/src/session/delivery.rs",
    "actors/src/session/recovery.rs",
    "actors/src/session/budget/ledger.rs",
    "actors/src/session/cron/mod.rs",
    "actors/src/session/cron/expiry.rs",
    "actors/src/session/blobs/expiry.rs",
    "actors/src/session/heartbeat/mod.rs",
    "actors/src/session/reconcile.rs",
    "actors/src/session/subagent/put_away.rs",
    "actors/src/supervisor/",
    // A device or token was proven.
    "actors/src/gateway/handshake.rs",
    // The operator of the machine says for whom.
    "src/cli/",
];

/// Who may look across tenants, and the duty that needs it.
const ACROSS_TENANTS: &[&str] = &[
    // Host and token look-up.
    "actors/src/config/identity/",
    "actors/src/config/revision.rs",
    // Accounts that nobody connected yet.
    "actors/src/config/accounts/connection.rs",
    // Wrapping every tenant's data key anew.
    "actors/src/config/master.rs",
    // Inbox batch insert and turn commits.
    "actors/src/db/",
    // Recovery, the scheduler, and leases.
    "actors/src/session/recovery.rs",
    "actors/src/session/budget/ledger.rs",
    "actors/src/session/cron/mod.rs",
    "actors/src/session/cron/expiry.rs",
    "actors/src/session/blobs/expiry.rs",
    "actors/src/session/heartbeat/mod.rs",
    "actors/src/session/reconcile.rs",
    "actors/src/session/exchange.rs",
    "actors/src/session/exec/settling.rs",
    "actors/src/session/subagent/announce.rs",
    "actors/src/session/subagent/put_away.rs",
    "actors/src/session/hook/settle.rs",
    "actors/src/supervisor/",
    // The operator of the machine.
    "src/cli/",
];

struct Source {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// All of our Rust files below the folders, generated ones and build output aside.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in WalkDir::new(root().join(folder)) {
            let entry = entry.expect("the tree can be read");
            let path = entry
                .path()
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            let skipped = path.split('/').any(|part| part == "target" || part == "node_modules");
            if path.ends_with(".rs") && !skipped {
                let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "nothing below {folders:?}");
    found
}

impl Source {
    /// Lines of the product: what stands before the file's test module. Test files have none.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let test_file =
            self.path.ends_with("tests.rs") || self.path.ends_with("testing.rs") || self.path.contains("/tests/");
        let mut lines = self.text.lines().peekable();
        let mut until_tests = std::iter::from_fn(move || {
            let line = lines.next()?;
            let tests = line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with("mod tests {"));
            (!tests).then_some(line)
        });
        std::iter::from_fn(move || until_tests.next().filter(|_| !test_file))
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line))
    }

    fn is_below(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// Fails with all breaches at once.
fn none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n{}", breaches.join("\n"));
}

fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).expect("the manifest is there");
    let table: Table = text.parse().expect("the manifest is TOML");
    table["dependencies"]
        .as_table()
        .expect("a table")
        .keys()
        .cloned()
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let rules: &[(&str, &[&str])] = &[
        (
            "entities/Cargo.toml",
            &[
                "actix",
                "actix-web",
                "reqwest",
                "claw-actors",
                "claw-migration",
                "clawcentral",
            ],
        ),
        (
            "migration/Cargo.toml",
            &[
                "actix",
                "actix-web",
                "reqwest",
                "claw-actors",
                "claw-entities",
                "clawcentral",
            ],
        ),
        (
            "actors/Cargo.toml",
            &[
                "actix-web",
                "actix-web-actors",
                "reqwest",
                "config",
                "claw-migration",
                "claw-admin-ui",
                "clawcentral",
            ],
        ),
        (
            "admin-ui/Cargo.toml",
            &[
                "actix",
                "actix-web",
                "claw-actors",
                "claw-entities",
                "claw-migration",
                "clawcentral",
            ],
        ),
    ];
    let mut breaches = Vec::new();
    for (manifest, forbidden) in rules {
        let known = dependencies(manifest);
        breaches.extend(
            forbidden
                .iter()
                .filter(|name| known.iter().any(|known| known == *name))
                .map(|name| format!("{manifest}: {name}")),
        );
    }
    none("a crate depends on what stands above it", &breaches);
}

#[test]
fn only_egress_speaks_http_to_the_outside() {
    let breaches = breaches(&["src", "actors/src"], &["src/egress/"], |line| {
        // Header names and status codes are types; a client is a way out.
        line.contains("reqwest::Client")
            || line.contains("reqwest::get")
            || line.contains("ClientBuilder")
            || line.contains("TcpStream::connect")
    });
    none("outbound requests go through src/egress", &breaches);
}

#[test]
fn only_the_gateway_socket_names_actix_web_actors() {
    let breaches = breaches(&["src", "actors/src"], &["src/http/gateway_socket"], |line| {
        line.contains("actix_http::ws") || line.contains("actix_web_actors")
    });
    none(
        "ADR 002: one file knows actix-web-actors and WebSocket frames",
        &breaches,
    );
}

#[test]
fn only_those_who_checked_vouch_for_an_identity() {
    let breaches = breaches(&["src", "actors/src"], VOUCHERS, |line| line.contains("Scope::vouch("));
    none(
        "Scope::vouch is for who has checked; the list is in this file",
        &breaches,
    );
}

#[test]
fn only_the_listed_duties_look_across_tenants() {
    let doors = [
        "platform()",
        "platform_update()",
        "platform_delete()",
        "system_read()",
        "system_write()",
    ];
    let breaches = breaches(&["src", "actors/src"], ACROSS_TENANTS, |line| {
        doors.iter().any(|door| line.contains(door)) && !line.contains("fn ")
    });
    none("cross-tenant doors are for the duties listed in this file", &breaches);
}

/// Lines of the product outside `allowed` that `breaks` finds.
fn breaches(folders: &[&str], allowed: &[&str], breaks: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(folders) {
        if source.is_below(allowed) {
            continue;
        }
        for (number, line) in source.product_lines() {
            if breaks(line) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is() {
    let folders = [
        "src",
        "actors/src",
        "entities/src",
        "migration/src",
        "admin-ui/src",
        "tests/it",
        "tests/bench/src",
    ];
    let without: Vec<_> = sources(&folders)
        .into_iter()
        // A test module is explained by the file it tests.
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.path.contains("/tests/"))
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    none("a file starts with `//!` and what it is for", &without);
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> = sources(&["src", "actors/src", "entities/src", "migration/src", "tests/it"])
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none("split it", &long);
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    let silent = breaches(&["src", "actors/src", "entities/src", "migration/src"], &[], |line| {
        let line = line.trim();
        line.starts_with("#[allow(")
            || line.starts_with("#![allow(")
            || (line.starts_with("#[expect(") && line.ends_with(")]") && !line.contains("reason"))
    });
    none("#[expect(…, reason = \"…\")] instead", &silent);
}

#[test]
fn logs_name_no_contents() {
    // Field names whose value would be somebody's words, secret or address.
    let secret = [
        "text",
        "prompt",
        "token",
        "secret",
        "password",
        "arguments",
        "body",
        "content",
        "email",
        "message_text",
        "api_key",
    ];
    let mut found = Vec::new();
    for source in sources(&["src", "actors/src"]) {
        let product: String = source.product_lines().map(|(_, line)| format!("{line}\n")).collect();
        for level in [
            "error!(",
            "warn!(",
            "info!(",
            "debug!(",
            "trace!(",
            "info_span!(",
            "debug_span!(",
        ] {
            for (at, _) in product.match_indices(&format!("tracing::{level}")) {
                let call = product[at..].split(");").next().unwrap_or_default();
                let fields = outside_strings(call);
                let slip = secret.iter().find(|name| {
                    [
                        format!("{name} ="),
                        format!("%{name},"),
                        format!("?{name},"),
                        format!(" {name},"),
                    ]
                    .iter()
                    .any(|form| {
                        fields.match_indices(form.as_str()).any(|(at, _)| {
                            !fields[..at]
                                .ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.')
                        })
                    })
                });
                if let Some(name) = slip {
                    found.push(format!("{}: {name} in {}", source.path, call.replace('\n', " ")));
                }
            }
        }
    }
    none("no message text, prompt, argument, token or address in logs", &found);
}

/// The text without what stands between double quotes.
fn outside_strings(text: &str) -> String {
    text.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

#[test]
fn nothing_names_the_place_it_was_written_at() {
    // Put together here, so that this file does not break its own rule.
    let places: Vec<String> = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["sha", "red/README"],
        ["crates", ".io-index"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let mut found = Vec::new();
    for entry in WalkDir::new(root()).into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        !matches!(name.as_ref(), "target" | "node_modules" | ".git" | "Cargo.lock")
    }) {
        let entry = entry.expect("the tree can be read");
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        found.extend(
            places
                .iter()
                .filter(|place| text.contains(place.as_str()))
                .map(|place| format!("{}: {place}", entry.path().display())),
        );
    }
    none("nothing in the tree depends on one machine", &found);
}

/// A page that says which test proves what names tests that there are.
#[test]
fn every_test_that_a_page_names_is_there() {
    let mut there = std::collections::HashSet::new();
    for source in sources(&["src", "actors/src", "entities/src", "migration/src", "tests/it"]) {
        let mut marked = false;
        for line in source.text.lines().map(str::trim) {
            if line.starts_with("#[") && line.contains("test") {
                marked = true;
            } else if let Some((_, rest)) = line.split_once("fn ")
                && marked
            {
                let name = rest.split('(').next().unwrap_or_default();
                there.insert(format!("{}::{name}", source.path));
                marked = false;
            }
        }
    }
    // Where a page says more between the names: whatever looks like the name of a test is one, somewhere.
    let page = fs::read_to_string(root().join("docs/isolation.md")).expect("the page is there");
    let names: std::collections::HashSet<&str> = there.iter().filter_map(|test| test.split("::").last()).collect();
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            word.matches('_').count() > 1
                && !word.contains(|letter: char| letter.is_uppercase() || ".:/( ".contains(letter))
        })
        .collect();
    assert!(named.len() > 180, "only {} tests are named", named.len());
    let gone = named
        .into_iter()
        .filter(|name| !names.contains(name))
        .map(str::to_owned);
    none(
        "docs/isolation.md names tests that there are",
        &gone.collect::<Vec<_>>(),
    );
    let page = fs::read_to_string(root().join("docs/acceptance.md")).expect("the page is there");
    let (mut found, mut named) = (Vec::new(), 0);
    for cell in page
        .lines()
        .filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next())
    {
        // A file, then names of tests in it, until the next file.
        let mut file = "";
        for word in cell.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = word;
                continue;
            }
            named += 1;
            if !there.contains(&format!("{file}::{word}")) {
                found.push(format!("{file} has no test {word}"));
            }
        }
    }
    assert!(named > 60, "only {named} tests are named");
    none("docs/acceptance.md names tests that there are", &found);
}

/// An event in the table is made somewhere.
#[test]
fn every_event_that_is_advertised_is_sent() {
    let table = fs::read_to_string(root().join("actors/src/gateway/events.snapshot")).expect("the table is there");
    let mut made = std::collections::HashSet::new();
    for source in sources(&["actors/src"]) {
        let mut before = "";
        for (_, line) in source.product_lines() {
            let line = line.trim();
            let name = ["Event::new(\"", "direct(\"", "name: \""]
                .iter()
                .find_map(|beginning| line.split_once(beginning))
                .map(|(_, rest)| rest)
                .or(line.strip_prefix('"').filter(|_| before.ends_with("Event::new(")));
            if let Some((name, _)) = name.and_then(|name| name.split_once('"')) {
                made.insert(name.to_owned());
            }
            before = line;
        }
    }
    let names: Vec<&str> = table.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 20, "{names:?}");
    let silent = names.into_iter().filter(|name| !made.contains(*name));
    none(
        "these events are advertised and never sent",
        &silent.map(str::to_owned).collect::<Vec<_>>(),
    );
}

/// What the page about left-out methods names is left out.
#[test]
fn no_method_is_called_left_out_that_there_is() {
    let table = fs::read_to_string(root().join("actors/src/gateway/methods.snapshot")).expect("the table is there");
    let page = fs::read_to_string(root().join("docs/gateway-methods.md")).expect("the page is there");
    let first = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let named: Vec<&str> = first
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert!(named.len() > 100, "{named:?}");
    let methods = table.lines().filter_map(|line| line.split(' ').next());
    let wrong: Vec<String> = methods
        .filter(|method| {
            named.iter().any(|name| match name.strip_suffix('*') {
                Some(beginning) => method.starts_with(beginning),
                None => name == method,
            })
        })
        .map(str::to_owned)
        .collect();
    none("docs/gateway-methods.md says these are left out", &wrong);
}

/// What a package lists as a dependency stands somewhere in its sources. Names that differ there, and what is listed for
/// the features it switches on, are named here.
#[test]
fn every_dependency_is_used() {
    let spelled = |name: &str| match name {
        "fast_html2md" => "html2md".to_owned(),
        _ => name.replace('-', "_"),
    };
    let for_its_features = ["flate2"];
    let packages: &[(&str, &[&str], &[&str])] = &[
        ("Cargo.toml", &["src"], &["src", "tests/it"]),
        ("actors/Cargo.toml", &["actors/src"], &["actors/src", "actors/benches"]),
        ("entities/Cargo.toml", &["entities/src"], &["entities/src"]),
        ("migration/Cargo.toml", &["migration/src"], &["migration/src"]),
        ("admin-ui/Cargo.toml", &["admin-ui/src"], &["admin-ui/src"]),
        ("tests/bench/Cargo.toml", &["tests/bench/src"], &["tests/bench/src"]),
    ];
    let mut unused = Vec::new();
    for (manifest, product, all) in packages {
        let text = fs::read_to_string(root().join(manifest)).expect("the manifest is there");
        let table: Table = text.parse().expect("the manifest is TOML");
        for (section, folders) in [("dependencies", product), ("dev-dependencies", all)] {
            let Some(listed) = table.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            let sources = sources(folders);
            for name in listed.keys().filter(|name| !for_its_features.contains(&name.as_str())) {
                let path = spelled(name);
                let named = |text: &str| {
                    text.match_indices(&path).any(|(at, _)| {
                        let before = text[..at].chars().next_back();
                        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
                        let behind = &text[at + path.len()..];
                        !before.is_some_and(word) && [":", ";", " as "].iter().any(|next| behind.starts_with(next))
                    })
                };
                if !sources.iter().any(|source| named(&source.text)) {
                    unused.push(format!(
                        "{manifest}: {name} of [{section}] is named nowhere in {folders:?}"
                    ));
                }
            }
        }
    }
    none("a dependency that nothing uses goes:", &unused);
}

/// The metrics that the product measures: name and kind, each once.
fn measured() -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    for source in sources(&["src", "actors/src"]) {
        let text: String = source.product_lines().map(|(_, line)| format!("{line}\n")).collect();
        for kind in ["counter", "gauge", "histogram"] {
            for (at, call) in text.match_indices(&format!("{kind}!(")) {
                let name = text[at + call.len()..].trim_start().strip_prefix('"');
                let name = name.and_then(|rest| rest.split('"').next());
                let name = name.unwrap_or_else(|| panic!("{}: a {kind} whose name is not written out", source.path));
                found.insert((name.to_owned(), kind));
            }
        }
    }
    found
}

#[test]
fn every_metric_is_listed_with_its_unit() {
    let page = fs::read_to_string(root().join("docs/metrics.md")).expect("the page is there");
    let listed: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut breaches = Vec::new();
    let mut named = BTreeSet::new();
    for row in &listed {
        let [name, kind, unit, ..] = row.as_slice() else {
            panic!("a row has at least three columns: {row:?}");
        };
        if unit.is_empty() {
            breaches.push(format!("{name} is listed without a unit"));
        }
        named.insert((name.trim_matches('`').to_owned(), *kind));
    }
    // Told by the process itself, not measured by a macro.
    named.remove(&("process_resident_memory_bytes".to_owned(), "gauge"));
    let measured = measured();
    let as_names = |of: &BTreeSet<(String, &str)>| -> BTreeSet<String> {
        of.iter().map(|(name, kind)| format!("{kind} {name}")).collect()
    };
    let (named, used) = (as_names(&named), as_names(&measured));
    breaches.extend(
        used.difference(&named)
            .map(|metric| format!("{metric} is not in docs/metrics.md")),
    );
    breaches.extend(
        named
            .difference(&used)
            .map(|metric| format!("{metric} is listed, and nothing measures it")),
    );
    for (name, kind) in &measured {
        let well_named = match *kind {
            "counter" => name.ends_with("_total"),
            "histogram" => name.ends_with("_seconds") || name.ends_with("_jobs"),
            _ => !name.ends_with("_total"),
        };
        if !name.starts_with("claw_") || !well_named {
            breaches.push(format!("{kind} {name} is not named as docs/metrics.md says"));
        }
    }
    none("metrics are named one way, and listed with their unit:", &breaches);
}
