//! Command line of the bench programs: `--name value` and `--switch`, nothing else.

use std::collections::HashMap;
use std::str::FromStr;

/// Parsed flags. A name that is asked for and was not given has the caller's default.
pub struct Args {
    values: HashMap<String, String>,
    /// Words that are not flags, in order.
    pub words: Vec<String>,
}

impl Args {
    /// Reads the process's own command line.
    pub fn parse() -> Self {
        let mut values = HashMap::new();
        let mut words = Vec::new();
        let mut line = std::env::args().skip(1).peekable();
        while let Some(word) = line.next() {
            let Some(name) = word.strip_prefix("--") else {
                words.push(word);
                continue;
            };
            let value = line
                .next_if(|next| !next.starts_with("--"))
                .unwrap_or_else(|| "true".to_owned());
            values.insert(name.to_owned(), value);
        }
        Self { values, words }
    }

    /// Refuses flags that are not in `known`, `--help` among them: a mistyped bench must not measure something else.
    ///
    /// # Errors
    /// Names the flag and what there is.
    pub fn only(&self, known: &[&str]) -> anyhow::Result<()> {
        match self.values.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => anyhow::bail!("there is no --{name}; there are --{}", known.join(", --")),
            None => Ok(()),
        }
    }

    /// The flag's value, or `default` when it is missing.
    ///
    /// # Panics
    /// When the value does not parse: a mistyped bench must not measure something else.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.values.get(name) {
            None => default,
            Some(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("--{name} {text}: not a value of the expected kind")),
        }
    }

    /// The flag's text, or `default`.
    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name, default.to_owned())
    }
}
