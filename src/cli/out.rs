//! Where commands write: results to stdout, everything else to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::error::CliError;

/// One line of result. A reader that went away (`| head`) is no error.
pub(super) fn line(text: impl AsRef<str>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.as_ref()).and_then(|()| stdout.flush());
}

/// A result for machines, as one line of JSON.
pub(super) fn json(value: &impl Serialize) {
    // Serialising our own plain structs cannot fail; a line with nothing on it would be the sign.
    line(serde_json::to_string(value).unwrap_or_default());
}

/// What a person should know beside the result.
pub(super) fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// The error and what caused it, on one line.
pub(super) fn error(error: &CliError) {
    let mut text = format!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    note(text);
}
