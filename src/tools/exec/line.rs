//! A command line: words, where it is nothing but a program and its arguments, or a text for a shell. Pure.
//!
//! A program that is run without a shell can be on an allowlist; what a shell makes of a text cannot be known.

use claw_actors::session::nodes::Line;

/// Longest line, bytes.
const LONGEST: usize = 32 * 1024;
/// What a shell does itself, or reads as its own.
const SHELLS: [&str; 44] = [
    ".", ":", "[[", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "do", "done",
    "elif", "else", "esac", "eval", "exec", "exit", "export", "fg", "fi", "for", "function", "hash", "if", "jobs",
    "let", "local", "readonly", "return", "select", "set", "shift", "source", "then", "time", "trap", "type", "ulimit",
    "umask", "unset", "until",
];

/// # Errors
/// When there is nothing to run, for the model.
pub(super) fn read(text: &str) -> Result<Line, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("\"command\" needs a program.".to_owned());
    }
    if text.len() > LONGEST || text.contains('\0') {
        return Err("\"command\" is too long, or holds a null character.".to_owned());
    }
    Ok(words(text).map_or_else(|| Line::Shell(text.to_owned()), Line::Words))
}

/// The words of a line in which a shell would find nothing to do. `None`: it might.
fn words(text: &str) -> Option<Vec<String>> {
    let plain = |letter: char| letter.is_alphanumeric() || "_./:=@%+,-".contains(letter);
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        end if end == letter => break,
                        '$' | '`' | '\\' | '!' if letter == '"' => return None,
                        inner => word.push(inner),
                    }
                }
            }
            letter if plain(letter) => word.get_or_insert_default().push(letter),
            _ => return None,
        }
    }
    words.extend(word);
    let program = words.first()?;
    let shells = program.is_empty() || program.contains('=') || SHELLS.contains(&program.as_str());
    (!shells && program != "while" && program != "wait").then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_leave_alone_is_words() {
        for (text, wanted) in [
            ("ls", vec!["ls"]),
            (
                "  git  log --format=%h\t-n 1 ",
                vec!["git", "log", "--format=%h", "-n", "1"],
            ),
            ("echo 'a b' \"c d\"e ''", vec!["echo", "a b", "c de", ""]),
            ("/usr/bin/grep '$x*' a.txt", vec!["/usr/bin/grep", "$x*", "a.txt"]),
        ] {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            assert_eq!(read(text).expect("a line"), Line::Words(wanted), "{text}");
        }
        for text in [
            "a | b",
            "a && b",
            "a; b",
            "a > b",
            "a < b",
            "echo $HOME",
            "echo \"$HOME\"",
            "echo `id`",
            "ls *.txt",
            "ls ~",
            "A=1 ls",
            "cd /tmp",
            "a\nb",
            "a &",
            "echo 'open",
            "a {b,c}",
            "! a",
            "'' a",
            "a \\b",
            "(a)",
            "a # b",
            "a ?",
        ] {
            assert_eq!(read(text).expect("a line"), Line::Shell(text.to_owned()), "{text}");
        }
        for text in ["", " \n", "a\0b"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
