//! What a `SKILL.md` says about itself (`agent-runtime` §16.1): YAML between `---` lines, read leniently and with
//! limits, because strangers write it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Largest frontmatter, bytes.
const MAX_FRONTMATTER: usize = 32 * 1024;
/// Longest name, and longest description, in characters.
const MAX_NAME: usize = 64;
pub const MAX_DESCRIPTION: usize = 1024;
/// Longest link and label, in characters.
const MAX_TEXT: usize = 300;
/// Entries of one list.
const MAX_ENTRIES: usize = 32;

/// A skill as its `SKILL.md` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    pub name: String,
    pub description: String,
    pub homepage: Option<String>,
    pub emoji: Option<String>,
    /// `skillKey`: its name in the configuration, where that is not `name`.
    pub key: Option<String>,
    /// Skips the gates.
    pub always: bool,
    /// `disable-model-invocation`: left out of the prompt.
    pub hidden_from_model: bool,
    /// `user-invocable: false`.
    pub hidden_from_user: bool,
    /// `command-dispatch: tool` with `command-tool`: its command calls this tool, without a model.
    pub command_tool: Option<String>,
    /// The variable that `apiKey` fills.
    pub primary_env: Option<String>,
    /// `darwin`, `linux`, `win32`.
    pub os: Vec<String>,
    pub requires: Requires,
    pub install: Vec<Installer>,
}

/// What must be there for the skill to be of use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Requires {
    pub bins: Vec<String>,
    pub any_bins: Vec<String>,
    pub env: Vec<String>,
    pub config: Vec<String>,
}

/// A way to get a missing program. Shown; never run here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Installer {
    pub id: String,
    pub kind: String,
    pub label: String,
    pub bins: Vec<String>,
}

impl Manifest {
    /// The skill's name in the configuration and in `skill://<key>/…`.
    pub fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| slug(&self.name))
    }

    /// Reads the frontmatter of a `SKILL.md`. `Error::Invalid` says what is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let block = block(text)?;
        let fields = yaml(block).unwrap_or_else(|| lines(block));
        Self::read(&fields)
    }

    fn read(fields: &Map<String, Value>) -> Result<Self> {
        let name = line(fields.get("name"), usize::MAX)
            .ok_or_else(|| Error::invalid("SKILL.md has no name in its frontmatter"))?;
        if name.chars().count() > MAX_NAME {
            return Err(Error::Invalid(format!(
                "a skill's name has at most {MAX_NAME} characters"
            )));
        }
        let description = line(fields.get("description"), MAX_DESCRIPTION)
            .ok_or_else(|| Error::invalid("SKILL.md has no description in its frontmatter"))?;
        let about = about(fields.get("metadata"));
        let requires = about.get("requires").and_then(Value::as_object);
        let wanted = |name: &str, fits: fn(&str) -> bool| {
            requires
                .map(|requires| list(requires.get(name), fits))
                .unwrap_or_default()
        };
        let key = line(about.get("skillKey"), usize::MAX);
        let manifest = Self {
            homepage: line(fields.get("homepage"), MAX_TEXT)
                .or_else(|| line(about.get("homepage"), MAX_TEXT))
                .filter(|link| link.starts_with("https://") || link.starts_with("http://")),
            emoji: line(about.get("emoji"), 16),
            key: key.filter(|key| is_key(key)),
            always: flag(about.get("always")).unwrap_or(false),
            hidden_from_model: flag(fields.get("disable-model-invocation")).unwrap_or(false),
            hidden_from_user: !flag(fields.get("user-invocable")).unwrap_or(true),
            command_tool: line(fields.get("command-dispatch"), MAX_TEXT)
                .filter(|kind| kind.eq_ignore_ascii_case("tool"))
                .and_then(|_| line(fields.get("command-tool"), MAX_NAME)),
            primary_env: line(about.get("primaryEnv"), MAX_TEXT).filter(|name| is_variable(name)),
            os: list(about.get("os"), is_word),
            requires: Requires {
                bins: wanted("bins", is_program),
                any_bins: wanted("anyBins", is_program),
                env: wanted("env", is_variable),
                config: wanted("config", is_path),
            },
            install: installers(about.get("install")),
            name,
            description,
        };
        if !is_key(&manifest.key()) {
            return Err(Error::invalid("a skill's name has at least one letter or digit"));
        }
        Ok(manifest)
    }
}

/// Can this be a skill's key: 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit.
pub fn is_key(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key.starts_with(|first: char| first.is_ascii_alphanumeric())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Can this be the name of a variable.
pub fn is_variable(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_program(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+'))
}

fn is_word(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_path(path: &str) -> bool {
    (1..=128).contains(&path.len()) && !path.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Where the name itself is no key.
fn slug(name: &str) -> String {
    if is_key(name) {
        return name.to_owned();
    }
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(64)
        .collect();
    plain.trim_matches(['-', '_']).to_owned()
}

/// The text between the `---` lines.
fn block(text: &str) -> Result<&str> {
    let missing = || Error::invalid("SKILL.md does not begin with a frontmatter between --- lines");
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let rest = text.strip_prefix("---").ok_or_else(missing)?;
    let (first, rest) = rest.split_once('\n').ok_or_else(missing)?;
    if !first.trim().is_empty() {
        return Err(missing());
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            let block = rest.get(..end).unwrap_or_default();
            if block.len() > MAX_FRONTMATTER {
                return Err(Error::TooLarge(
                    "the frontmatter of SKILL.md has at most 32 KiB".to_owned(),
                ));
            }
            return Ok(block);
        }
        end += line.len();
    }
    Err(missing())
}

/// As YAML. Aliases, depth and size have limits, so that a small text stays small.
fn yaml(block: &str) -> Option<Map<String, Value>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_aliases: 0,
            max_anchors: 0,
            max_events: 20_000,
            max_nodes: 5_000,
            max_documents: 1,
            max_total_scalar_bytes: MAX_FRONTMATTER,
            max_merge_keys: 0,
        },
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Value>(block, options) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    }
}

/// As the original reads it where it is no YAML (`description: Use when: …`): one `key: value` per line.
fn lines(block: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    for line in block.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let is_name = !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if is_name && fields.len() < MAX_ENTRIES {
            fields.insert(key.to_owned(), Value::String(unquoted(value.trim()).to_owned()));
        }
    }
    fields
}

fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// `metadata.openclaw`, also under the names of older published skills; `metadata` may be JSON as a text.
fn about(metadata: Option<&Value>) -> Map<String, Value> {
    let metadata = match metadata {
        Some(Value::String(text)) => yaml(text),
        Some(Value::Object(fields)) => Some(fields.clone()),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => None,
    };
    let metadata = metadata.unwrap_or_default();
    ["openclaw", "clawdbot", "clawdis"]
        .into_iter()
        .find_map(|name| metadata.get(name)?.as_object().cloned())
        .unwrap_or_default()
}

/// One line without control characters, cut to `longest` characters; `None` when nothing is left.
fn line(value: Option<&Value>, longest: usize) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let text: String = words.join(" ").chars().take(longest).collect();
    (!text.is_empty()).then_some(text)
}

fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Texts that fit, each once; a single text is split at commas.
fn list(value: Option<&Value>, fits: fn(&str) -> bool) -> Vec<String> {
    let items: Vec<&str> = match value {
        Some(Value::String(text)) => text.split(',').collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    };
    let mut kept: Vec<String> = Vec::new();
    for item in items.into_iter().map(str::trim) {
        if fits(item) && kept.len() < MAX_ENTRIES && !kept.iter().any(|known| known == item) {
            kept.push(item.to_owned());
        }
    }
    kept
}

fn installers(value: Option<&Value>) -> Vec<Installer> {
    let items = value.and_then(Value::as_array);
    let items = items.into_iter().flatten().enumerate().take(MAX_ENTRIES);
    items
        .filter_map(|(at, item)| {
            let kind = line(item.get("kind"), MAX_TEXT)?;
            if !["brew", "node", "go", "uv", "download"].contains(&kind.as_str()) {
                return None;
            }
            Some(Installer {
                id: line(item.get("id"), MAX_NAME).unwrap_or_else(|| format!("{kind}-{at}")),
                label: line(item.get("label"), MAX_TEXT).unwrap_or_else(|| format!("Install with {kind}")),
                bins: list(item.get("bins"), is_program),
                kind,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(frontmatter: &str) -> Manifest {
        Manifest::parse(&format!("---\n{frontmatter}\n---\n# Body\n")).expect("reads")
    }

    #[test]
    fn metadata_as_yaml_as_json_and_as_a_text() {
        let yaml = parse(
            "name: weather\ndescription: Tells the weather.\nmetadata:\n  openclaw:\n    emoji: 🌤\n    requires:\n      bins: [curl]\n      env: [KEY]\n    primaryEnv: KEY\n    os: [linux, darwin]",
        );
        let json = parse(
            "name: weather\ndescription: \"Tells the weather.\"\nmetadata: {\"openclaw\":{\"emoji\":\"🌤\",\"requires\":{\"bins\":[\"curl\"],\"env\":[\"KEY\"]},\"primaryEnv\":\"KEY\",\"os\":[\"linux\",\"darwin\"]}}",
        );
        let text = parse(
            "name: weather\ndescription: Tells the weather.\nmetadata: '{\"clawdbot\":{\"emoji\":\"🌤\",\"requires\":{\"bins\":[\"curl\"],\"env\":[\"KEY\"]},\"primaryEnv\":\"KEY\",\"os\":[\"linux\",\"darwin\"]}}'",
        );
        assert_eq!(yaml, json);
        assert_eq!(yaml, text);
        assert_eq!(yaml.key(), "weather");
        assert_eq!(yaml.requires.bins, ["curl"]);
        assert_eq!(
            (yaml.primary_env.as_deref(), yaml.emoji.as_deref()),
            (Some("KEY"), Some("🌤"))
        );
    }

    #[test]
    fn what_is_no_yaml_is_read_line_by_line() {
        let loose = parse(
            "name: gh\ndescription: Use when: somebody says \"PR\": look at it\nuser-invocable: false\nmetadata: {\"openclaw\":{\"always\":true}}",
        );
        assert_eq!(loose.description, "Use when: somebody says \"PR\": look at it");
        assert!(loose.hidden_from_user && loose.always && !loose.hidden_from_model);
    }

    #[test]
    fn names_become_keys() {
        assert_eq!(parse("name: My Fine Skill!\ndescription: d").key(), "my-fine-skill");
        assert_eq!(
            parse("name: x\ndescription: d\nmetadata: {openclaw: {skillKey: other}}").key(),
            "other"
        );
        let odd = parse("name: x\ndescription: d\nmetadata: {openclaw: {skillKey: ../up}}");
        assert_eq!(odd.key(), "x", "a key that cannot stand in a path is not taken");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, why) in [
            ("# nothing", "frontmatter"),
            ("---\nname: x\ndescription: d\n", "frontmatter"),
            ("---\ndescription: d\n---\n", "no name"),
            ("---\nname: x\n---\n", "no description"),
            ("---\nname: '!!'\ndescription: d\n---\n", "letter or digit"),
            ("", "frontmatter"),
        ] {
            let error = Manifest::parse(text).expect_err("is refused").to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn strangers_cannot_make_it_large_or_strange() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\nname: x\ndescription: d";
        assert_eq!(parse(bomb).name, "x", "read line by line instead");
        let deep = format!("name: x\ndescription: d\nz: {}", "[".repeat(10_000));
        assert_eq!(parse(&deep).description, "d");
        let text = format!("---\nname: x\ndescription: d\n# {}\n---\n", "y".repeat(MAX_FRONTMATTER));
        assert!(matches!(Manifest::parse(&text), Err(Error::TooLarge(_))));
        let long = parse(&format!("name: x\ndescription: \"a\\u0007b\\n{}\"", "é".repeat(5000)));
        assert_eq!(long.description.chars().count(), MAX_DESCRIPTION);
        assert!(long.description.starts_with("a b é"));
        let odd = parse(
            "name: x\ndescription: d\nmetadata: {openclaw: {requires: {bins: ['rm -rf /', '../x', curl, curl, '-x'], env: ['A B', OK]}, install: [{kind: sh, id: x}]}}",
        );
        assert_eq!(
            (odd.requires.bins, odd.requires.env, odd.install),
            (vec!["curl".to_owned()], vec!["OK".to_owned()], vec![])
        );
        let crlf = Manifest::parse("\u{feff}---\r\nname: x\r\ndescription: d\r\n---\r\nbody").expect("reads");
        assert_eq!(crlf.description, "d");
    }

    proptest::proptest! {
        #[test]
        fn anything_at_all_is_read_or_refused(block in "[a-z:{}\\[\\]&*!|>'\"#,? \n\t-]{0,300}", text in ".{0,200}") {
            let _ = Manifest::parse(&text);
            let _ = Manifest::parse(&format!("---\n{block}\n---\n"));
            let known = Manifest::parse(&format!("---\nname: x\ndescription: d\nmetadata: {block}\n---\n"));
            if let Ok(manifest) = known {
                proptest::prop_assert!(is_key(&manifest.key()));
                proptest::prop_assert!(manifest.description.chars().count() <= MAX_DESCRIPTION);
            }
        }
    }
}
