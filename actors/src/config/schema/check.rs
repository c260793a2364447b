//! Does a configuration fit the table. Each complaint names its path.

use serde_json::Value;

use super::{Key, Kind, ROOT, State};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// It cannot be stored so.
    Refused,
    /// Stored or left out; the person should know.
    Notice,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issue {
    /// Dotted, list entries by index: `bindings.0.agentId`.
    pub path: String,
    pub message: String,
    pub weight: Weight,
}

/// Everything that does not fit, in the order of the keys. Values under secret keys are not looked into.
pub fn check(config: &Value) -> Vec<Issue> {
    let mut issues = Vec::new();
    if config.is_object() {
        walk(&ROOT, config, &mut String::new(), &mut issues);
    } else {
        issues.push(Issue {
            path: String::new(),
            message: "the configuration is an object".to_owned(),
            weight: Weight::Refused,
        });
    }
    issues
}

/// Takes out what programs write about the file itself.
pub fn prune(config: &mut Value) {
    if let Value::Object(map) = config {
        map.retain(|name, _| {
            !ROOT
                .child(name)
                .is_some_and(|key| matches!(key.state, State::Bookkeeping))
        });
    }
}

fn walk(kind: &Kind, value: &Value, path: &mut String, issues: &mut Vec<Issue>) {
    let complain = |message: String, path: &str, issues: &mut Vec<Issue>| {
        issues.push(Issue {
            path: path.to_owned(),
            message,
            weight: Weight::Refused,
        });
    };
    match (kind, value) {
        (Kind::Object(_), Value::Object(map)) => {
            for (name, item) in map {
                below(path, name, |path| match kind.child(name) {
                    Some(key) => of_key(key, item, path, issues),
                    None => complain("unknown key".to_owned(), path, issues),
                });
            }
        }
        (Kind::Map(of), Value::Object(map)) => {
            for (name, item) in map {
                below(path, name, |path| walk(of, item, path, issues));
            }
        }
        (Kind::List(of), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                below(path, &index.to_string(), |path| walk(of, item, path, issues));
            }
        }
        (Kind::Either(kinds), _) => {
            // The one whose outer shape fits says what is wrong inside.
            match kinds.iter().find(|kind| shape_fits(kind, value)) {
                Some(kind) => walk(kind, value, path, issues),
                None => complain(format!("must be {}", expected(kind)), path, issues),
            }
        }
        (Kind::Formed(form), Value::String(text)) if !(form.fits)(text.trim()) => {
            complain(format!("must be {}", form.what), path, issues);
        }
        (Kind::Hinted(hint), Value::String(text)) if !(hint.fits)(text.trim()) => {
            issues.push(Issue {
                path: path.clone(),
                message: hint.otherwise.to_owned(),
                weight: Weight::Notice,
            });
        }
        (kind, value) if !shape_fits(kind, value) => complain(format!("must be {}", expected(kind)), path, issues),
        (
            Kind::Bool
            | Kind::Text
            | Kind::Secret
            | Kind::Whole
            | Kind::Number
            | Kind::Id
            | Kind::Choice(_)
            | Kind::Formed(_)
            | Kind::Hinted(_)
            | Kind::List(_)
            | Kind::Object(_)
            | Kind::Map(_)
            | Kind::Any,
            _,
        ) => {}
    }
}

fn of_key(key: &Key, item: &Value, path: &mut String, issues: &mut Vec<Issue>) {
    let mut say = |message: &str, weight| {
        issues.push(Issue {
            path: path.clone(),
            message: message.to_owned(),
            weight,
        });
    };
    match key.state {
        State::Live => walk(&key.kind, item, path, issues),
        State::Kept(note) => {
            say(note, Weight::Notice);
            walk(&key.kind, item, path, issues);
        }
        State::Elsewhere("") => say("has no meaning in the cloud", Weight::Refused),
        State::Elsewhere(why) => say(&format!("has no meaning in the cloud: {why}"), Weight::Refused),
        State::Bookkeeping => say("is not kept", Weight::Notice),
    }
}

fn below(path: &mut String, name: &str, visit: impl FnOnce(&mut String)) {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(name);
    visit(path);
    path.truncate(length);
}

/// Is it the right sort of value, whatever is inside.
fn shape_fits(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Bool => value.is_boolean(),
        Kind::Text | Kind::Secret | Kind::Formed(_) | Kind::Hinted(_) => value.is_string(),
        Kind::Whole => value.as_u64().is_some(),
        Kind::Number => value.is_number(),
        Kind::Id => value.is_string() || value.is_number(),
        Kind::Choice(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        Kind::List(_) => value.is_array(),
        Kind::Object(_) | Kind::Map(_) => value.is_object(),
        Kind::Either(kinds) => kinds.iter().any(|kind| shape_fits(kind, value)),
    }
}

/// Ends the sentence "must be …".
fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Any => "anything".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Text | Kind::Secret | Kind::Hinted(_) => "a text".to_owned(),
        Kind::Formed(form) => form.what.to_owned(),
        Kind::Whole => "a whole number that is not negative".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Id => "an id, as a text or a number".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::List(_) => "a list".to_owned(),
        Kind::Object(_) | Kind::Map(_) => "an object".to_owned(),
        Kind::Either(kinds) => kinds.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}
