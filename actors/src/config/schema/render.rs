//! The table as clients read it: JSON Schema, hints for forms, and one part at a time.

use serde_json::{Map, Value, json};

use super::{Key, Kind, ROOT, State};

/// Deepest look-up; the table itself is less deep.
const DEEPEST: usize = 32;

/// The table as JSON Schema (draft 2020-12), known keys only.
pub fn document() -> Value {
    let mut schema = of_kind(&ROOT);
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
    }
    schema
}

/// Labels and help for forms, by dotted path; `*` stands for any key or entry.
pub fn hints() -> Map<String, Value> {
    let mut hints = Map::new();
    collect(&ROOT, "", &mut hints);
    hints
}

/// One part of the schema, as `config.schema.lookup` gives it.
pub struct Lookup {
    pub path: String,
    /// Without what is below; that is in `children`.
    pub schema: Value,
    /// `hot`: a change is seen within a second. `none`: the key does nothing here.
    pub reload_kind: &'static str,
    pub hint: Option<Value>,
    pub children: Vec<Value>,
}

/// The part at a path: dotted, with `[n]`, `[]` or `*` for entries, or a JSON pointer.
pub fn lookup(given: &str) -> Option<Lookup> {
    let mut place = Place {
        kind: ROOT,
        key: None,
        path: String::new(),
    };
    let names = segments(given);
    if names.is_empty() || names.len() > DEEPEST {
        return None;
    }
    for name in &names {
        place = place.into(name)?;
    }
    Some(Lookup {
        schema: shallow(&place.kind, place.key),
        reload_kind: place.key.map_or("hot", reload_kind),
        hint: place.key.map(hint),
        children: place.children(),
        path: place.path,
    })
}

/// `a.b[0].c`, `a.b[].c` and `/a/b/0/c` alike.
fn segments(given: &str) -> Vec<String> {
    let dotted = match given.strip_prefix('/') {
        Some(pointer) => pointer.replace('.', "\0").replace('/', "."),
        None => given.replace("[]", ".*").replace('[', ".").replace(']', ""),
    };
    dotted
        .split('.')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('\0', "."))
        .collect()
}

struct Place {
    kind: Kind,
    key: Option<&'static Key>,
    path: String,
}

impl Place {
    fn into(self, name: &str) -> Option<Self> {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        let inside = |kind: &Kind| match kind {
            Kind::Object(_) => kind.child(name).map(|key| (key.kind, Some(key))),
            Kind::Map(of) => Some((**of, None)),
            Kind::List(of) if name == "*" || name.bytes().all(|byte| byte.is_ascii_digit()) => Some((**of, None)),
            Kind::List(_)
            | Kind::Bool
            | Kind::Text
            | Kind::Secret
            | Kind::Whole
            | Kind::Number
            | Kind::Id
            | Kind::Choice(_)
            | Kind::Formed(_)
            | Kind::Hinted(_)
            | Kind::Either(_)
            | Kind::Any => None,
        };
        let (kind, key) = self.kinds().iter().find_map(inside)?;
        Some(Self { kind, key, path })
    }

    /// What a value here may be: one kind, or each of several.
    const fn kinds(&self) -> &[Kind] {
        if let Kind::Either(kinds) = &self.kind {
            kinds
        } else {
            std::slice::from_ref(&self.kind)
        }
    }

    fn children(&self) -> Vec<Value> {
        let mut children = Vec::new();
        for kind in self.kinds() {
            match kind {
                Kind::Object(groups) => {
                    let keys = groups.iter().flat_map(|keys| keys.iter()).filter(|key| key.taken());
                    children.extend(keys.map(|key| self.child(key.name, &key.kind, reload_kind(key), Some(hint(key)))));
                }
                Kind::Map(of) | Kind::List(of) => children.push(self.child("*", of, "hot", None)),
                Kind::Bool
                | Kind::Text
                | Kind::Secret
                | Kind::Whole
                | Kind::Number
                | Kind::Id
                | Kind::Choice(_)
                | Kind::Formed(_)
                | Kind::Hinted(_)
                | Kind::Either(_)
                | Kind::Any => {}
            }
        }
        children
    }

    fn child(&self, name: &str, kind: &Kind, reload_kind: &str, hint: Option<Value>) -> Value {
        let path = format!("{}.{name}", self.path);
        let mut child = json!({
            "key": name, "path": path, "required": false, "hasChildren": has_children(kind), "reloadKind": reload_kind,
        });
        if let Some(type_name) = type_name(kind) {
            child["type"] = json!(type_name);
        }
        if let Some(hint) = hint {
            child["hint"] = hint;
            child["hintPath"] = json!(path);
        }
        child
    }
}

const fn reload_kind(key: &Key) -> &'static str {
    match key.state {
        State::Live => "hot",
        State::Kept(_) | State::Elsewhere(_) | State::Bookkeeping => "none",
    }
}

fn has_children(kind: &Kind) -> bool {
    match kind {
        Kind::Object(_) | Kind::Map(_) | Kind::List(_) => true,
        Kind::Either(kinds) => kinds.iter().any(has_children),
        Kind::Bool
        | Kind::Text
        | Kind::Secret
        | Kind::Whole
        | Kind::Number
        | Kind::Id
        | Kind::Choice(_)
        | Kind::Formed(_)
        | Kind::Hinted(_)
        | Kind::Any => false,
    }
}

const fn type_name(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Bool => Some("boolean"),
        Kind::Text | Kind::Secret | Kind::Choice(_) | Kind::Formed(_) | Kind::Hinted(_) => Some("string"),
        Kind::Whole => Some("integer"),
        Kind::Number => Some("number"),
        Kind::List(_) => Some("array"),
        Kind::Object(_) | Kind::Map(_) => Some("object"),
        Kind::Id | Kind::Either(_) | Kind::Any => None,
    }
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Object(groups) => {
            let keys = groups.iter().flat_map(|keys| keys.iter()).filter(|key| key.taken());
            let properties: Map<String, Value> = keys.map(|key| (key.name.to_owned(), of_key(key))).collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        Kind::Map(of) => json!({"type": "object", "additionalProperties": of_kind(of)}),
        Kind::List(of) => json!({"type": "array", "items": of_kind(of)}),
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
        Kind::Whole => json!({"type": "integer", "minimum": 0}),
        Kind::Choice(words) => json!({"type": "string", "enum": words}),
        Kind::Id => json!({"type": ["string", "number"]}),
        Kind::Any => json!({}),
        Kind::Bool | Kind::Text | Kind::Secret | Kind::Formed(_) | Kind::Hinted(_) | Kind::Number => {
            json!({"type": type_name(kind)})
        }
    }
}

fn of_key(key: &Key) -> Value {
    described(of_kind(&key.kind), key)
}

fn described(mut schema: Value, key: &Key) -> Value {
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), json!(label(key.name)));
        let description = description(key);
        if !description.is_empty() {
            map.insert("description".to_owned(), json!(description));
        }
    }
    schema
}

/// The schema of one part, without what is below it.
fn shallow(kind: &Kind, key: Option<&Key>) -> Value {
    let mut schema = of_kind(kind);
    if let Value::Object(map) = &mut schema {
        map.remove("properties");
        map.remove("items");
        if matches!(kind, Kind::Map(_)) {
            map.insert("additionalProperties".to_owned(), json!(true));
        }
    }
    match key {
        Some(key) => described(schema, key),
        None => schema,
    }
}

fn description(key: &Key) -> String {
    match key.state {
        State::Live => key.help.to_owned(),
        State::Kept(note) => capital(note) + ".",
        State::Elsewhere("") => "Has no meaning in the cloud.".to_owned(),
        State::Elsewhere(why) => format!("Has no meaning in the cloud: {why}."),
        State::Bookkeeping => "Not kept.".to_owned(),
    }
}

fn hint(key: &Key) -> Value {
    let mut hint = json!({"label": label(key.name)});
    let help = description(key);
    if !help.is_empty() {
        hint["help"] = json!(help);
    }
    hint["advanced"] = json!(!matches!(key.state, State::Live));
    if matches!(key.kind, Kind::Secret) {
        hint["sensitive"] = json!(true);
    }
    hint
}

/// `dmPolicy` → `Dm policy`.
fn label(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    capital(&words)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn collect(kind: &Kind, path: &str, hints: &mut Map<String, Value>) {
    match kind {
        Kind::Object(groups) => {
            for key in groups.iter().flat_map(|keys| keys.iter()).filter(|key| key.taken()) {
                let path = join(path, key.name);
                hints.insert(path.clone(), hint(key));
                collect(&key.kind, &path, hints);
            }
        }
        Kind::Map(of) | Kind::List(of) => {
            let path = join(path, "*");
            if matches!(of, Kind::Secret) {
                hints.insert(path.clone(), json!({"sensitive": true}));
            }
            collect(of, &path, hints);
        }
        Kind::Either(kinds) => kinds.iter().for_each(|kind| collect(kind, path, hints)),
        Kind::Bool
        | Kind::Text
        | Kind::Secret
        | Kind::Whole
        | Kind::Number
        | Kind::Id
        | Kind::Choice(_)
        | Kind::Formed(_)
        | Kind::Hinted(_)
        | Kind::Any => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
