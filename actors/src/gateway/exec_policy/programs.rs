//! Programs and the variables around them: what a path on an allowlist can stand for.

/// Longest path that is compared, bytes: a node says what it is, and comparing takes as long as path and pattern multiplied.
pub(super) const LONGEST_PATH: usize = 1024;

/// Programs whose arguments are programs: a word about them says nothing about what will run.
const WRAPPERS: [&str; 75] = [
    "ash",
    "awk",
    "bash",
    "bun",
    "bunx",
    "busybox",
    "chroot",
    "cmd",
    "command",
    "cscript",
    "csh",
    "dash",
    "deno",
    "doas",
    "docker",
    "env",
    "eval",
    "exec",
    "expect",
    "find",
    "fish",
    "flock",
    "gawk",
    "genv",
    "gtimeout",
    "gxargs",
    "ionice",
    "ksh",
    "lua",
    "make",
    "mawk",
    "mksh",
    "mshta",
    "nawk",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "npm",
    "npx",
    "nsenter",
    "osascript",
    "parallel",
    "perl",
    "php",
    "pkexec",
    "podman",
    "powershell",
    "pwsh",
    "pypy",
    "python",
    "rbash",
    "ruby",
    "rundll32",
    "script",
    "setsid",
    "sh",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "tclsh",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "unshare",
    "uv",
    "watch",
    "wscript",
    "wsl",
    "xargs",
    "zsh",
];

/// Can a path stand on an allowlist: absolute, without detours, wildcards or the means to run something else.
pub(super) fn storable(path: &str) -> bool {
    let slashed = path.replace('\\', "/");
    let mut parts = slashed.split('/');
    let root = parts.next().unwrap_or_default();
    let absolute = slashed.contains('/') && (root.is_empty() || (root.len() == 2 && root.ends_with(':')));
    let straight = parts.all(|part| !matches!(part, "" | "." | ".."));
    let name = slashed.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    // `python3.12` is python.
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    let short = path.len() <= LONGEST_PATH;
    short && absolute && straight && !path.contains(['*', '?', '[']) && !WRAPPERS.contains(&name)
}

/// `*` and `?` stay within a folder, `**` does not; case does not matter.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    if path.len() > LONGEST_PATH {
        return false;
    }
    let fold = |text: &str| -> Vec<char> { text.replace('\\', "/").to_lowercase().chars().collect() };
    glob(&fold(pattern), &fold(path))
}

fn glob(pattern: &[char], path: &[char]) -> bool {
    // Which prefixes of the path the pattern read so far can stand for.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    let mut at = 0;
    while let Some(letter) = pattern.get(at) {
        let deep = *letter == '*' && pattern.get(at + 1) == Some(&'*');
        at += if deep { 2 } else { 1 };
        let mut next = vec![false; path.len() + 1];
        for (end, seen) in path.iter().enumerate() {
            match letter {
                '*' => {
                    next[end] = next[end] || reach[end];
                    next[end + 1] = next[end] && (deep || *seen != '/');
                }
                '?' => next[end + 1] = reach[end] && *seen != '/',
                letter => next[end + 1] = reach[end] && letter == seen,
            }
        }
        if *letter == '*' {
            let last = path.len();
            next[last] = next[last] || reach[last];
        }
        reach = next;
    }
    reach.last() == Some(&true)
}

/// Variables that change how a program speaks, not what it does: a word about the program covers them.
pub(crate) fn is_harmless(name: &str) -> bool {
    ["LANG", "LANGUAGE", "TERM", "TZ", "NO_COLOR", "COLUMNS", "LINES"].contains(&name) || name.starts_with("LC_")
}

/// Variables that would change which program runs, or what it runs first.
pub(crate) fn is_protected(name: &str) -> bool {
    const NAMES: [&str; 40] = [
        "BASHOPTS",
        "BASH_ENV",
        "BROWSER",
        "CDPATH",
        "DOTNET_STARTUP_HOOKS",
        "EDITOR",
        "ENV",
        "GCONV_PATH",
        "HOME",
        "IFS",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "LESSCLOSE",
        "LESSOPEN",
        "LUA_INIT",
        "MANPAGER",
        "NODE_OPTIONS",
        "NODE_PATH",
        "OPENSSL_CONF",
        "PAGER",
        "PATH",
        "PERL5DB",
        "PERL5LIB",
        "PERL5OPT",
        "PERLLIB",
        "PHPRC",
        "PROMPT_COMMAND",
        "PS4",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "RUBYLIB",
        "RUBYOPT",
        "RUSTC_WRAPPER",
        "SHELLOPTS",
        "VISUAL",
        "XDG_CONFIG_HOME",
        "ZDOTDIR",
        "_JAVA_OPTIONS",
    ];
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str())
        || ["LD_", "DYLD_", "BASH_FUNC_", "GIT_"]
            .iter()
            .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_change_nothing_are_harmless() {
        for (name, harmless) in [
            ("LANG", true),
            ("LC_ALL", true),
            ("LESSOPEN", false),
            ("FOO", false),
            ("lang", false),
        ] {
            assert_eq!(is_harmless(name), harmless, "{name}");
        }
        assert!(is_protected("lessopen") && is_protected("GIT_SSH_COMMAND") && !is_protected("FOO"));
    }

    #[test]
    fn globs() {
        for (pattern, path, expected) in [
            ("/usr/bin/*", "/usr/bin/git", true),
            ("/usr/*", "/usr/bin/git", false),
            ("/usr/**", "/usr/bin/git", true),
            ("/usr/**/git", "/usr/a/b/git", true),
            ("/usr/bin/g?t", "/usr/bin/git", true),
            ("/usr/bin?git", "/usr/bin/git", false),
            ("/usr/bin/git", "/usr/bin/gitk", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn variables_that_change_the_program() {
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "GIT_SSH_COMMAND",
        ] {
            assert!(is_protected(name), "{name}");
        }
        assert!(!is_protected("LANG"));
    }
}
