//! The four layers, merged, with every key known by name before a value is believed.

use std::str::FromStr;

use config::{Config, File, FileFormat};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::{Profile, Settings, SettingsError};

const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");
/// Untracked, beside the process.
const LOCAL: &str = "config/local.toml";
const PREFIX: &str = "CLAWCENTRAL__";

/// Where the untracked layers come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Environment variables, all of them: others than ours are ignored.
    pub env: Vec<(String, String)>,
    /// Text of `config/local.toml`.
    pub local: Option<String>,
}

impl Source {
    /// This process's environment and the file in its working directory.
    pub fn process() -> Self {
        Self {
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            local: std::fs::read_to_string(LOCAL).ok(),
        }
    }

    fn profile(&self) -> Result<Profile, SettingsError> {
        let named = self.env.iter().find(|(name, _)| name == "CLAWCENTRAL_PROFILE");
        match named.map(|(_, value)| value.as_str()) {
            None | Some("" | "development") => Ok(Profile::Development),
            Some("production") => Ok(Profile::Production),
            Some(other) => Err(SettingsError::Profile(other.to_owned())),
        }
    }
}

/// Every key there is, dotted, in the order of `config/default.toml`'s sections.
pub fn known_keys() -> Vec<String> {
    defaults().into_iter().map(|(key, _)| key).collect()
}

fn defaults() -> Vec<(String, Value)> {
    let table = Table::from_str(DEFAULT).expect("the embedded file is TOML: a test reads it");
    let mut keys = Vec::new();
    flatten("", table, &mut keys);
    keys
}

fn flatten(prefix: &str, table: Table, into: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        if let Value::Table(table) = value {
            flatten(&key, table, into);
        } else {
            into.push((key, value));
        }
    }
}

pub(super) fn read(source: &Source) -> Result<Settings, SettingsError> {
    let profile = source.profile()?;
    let known = defaults();
    let over = match profile {
        Profile::Development => DEVELOPMENT,
        Profile::Production => PRODUCTION,
    };
    let mut builder = Config::builder()
        .add_source(File::from_str(DEFAULT, FileFormat::Toml))
        .add_source(File::from_str(over, FileFormat::Toml));
    if let Some(text) = &source.local {
        let table = Table::from_str(text).map_err(|error| SettingsError::Unreadable {
            place: LOCAL.to_owned(),
            reason: error.message().to_owned(),
        })?;
        let mut keys = Vec::new();
        flatten("", table, &mut keys);
        for (key, _) in &keys {
            find(&known, key, LOCAL)?;
        }
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    for (name, text) in &source.env {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let key = path.to_ascii_lowercase().replace("__", ".");
        let value = typed(&key, find(&known, &key, name)?, text)?;
        builder = builder
            .set_override(&key, value)
            .map_err(|error| SettingsError::invalid(&key, error.to_string()))?;
    }
    let merged = builder.build().map_err(|error| broken(&error))?;
    let mut settings: Settings = merged.try_deserialize().map_err(|error| broken(&error))?;
    settings.profile = profile;
    Ok(settings)
}

/// The default of a known key; an unknown one is refused with its nearest neighbour.
fn find<'a>(known: &'a [(String, Value)], key: &str, place: &str) -> Result<&'a Value, SettingsError> {
    if let Some((_, value)) = known.iter().find(|(name, _)| name == key) {
        return Ok(value);
    }
    let nearest = known
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, key), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .map(|(_, name)| name.clone());
    Err(SettingsError::Unknown {
        key: key.to_owned(),
        place: place.to_owned(),
        nearest,
    })
}

/// A variable's text in the type of the key's default.
fn typed(key: &str, default: &Value, text: &str) -> Result<config::Value, SettingsError> {
    let wrong = |what: &str| SettingsError::invalid(key, format!("must be {what}, not {text:?}"));
    Ok(match default {
        Value::Integer(_) => text.parse::<i64>().map_err(|_| wrong("a whole number"))?.into(),
        Value::Boolean(_) => text.parse::<bool>().map_err(|_| wrong("true or false"))?.into(),
        Value::Array(_) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect::<Vec<String>>()
            .into(),
        Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => text.into(),
    })
}

/// The library's message names the key; nothing secret is typed other than as text, so no secret can stand in it.
fn broken(error: &config::ConfigError) -> SettingsError {
    if let config::ConfigError::At {
        error, key: Some(key), ..
    } = error
    {
        return SettingsError::invalid(key, error.to_string());
    }
    if let config::ConfigError::Type {
        unexpected,
        expected,
        key: Some(key),
        ..
    } = error
    {
        return SettingsError::invalid(key, format!("must be {expected}, not {unexpected}"));
    }
    SettingsError::Unreadable {
        place: "settings".to_owned(),
        reason: error.to_string(),
    }
}

/// An empty text is "not set".
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
