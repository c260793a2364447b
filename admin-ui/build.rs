//! Builds the Admin UI into `$OUT_DIR/dist`, which `src/lib.rs` embeds.
//!
//! Order: a prebuilt folder (`CLAW_UI_DIST`), a placeholder page (`CLAW_UI_SKIP=1`, or no Node in a debug build), npm.
//! Writes nothing into the source tree but `node_modules`. npm's output is shown only when a step fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

/// First Node release that Vite 8 runs on.
const NODE_MIN: (u32, u32) = (20, 19);
/// Copy of the lock file that `node_modules` was installed from.
const STAMP: &str = "node_modules/.claw-installed-lock";
const SOURCES: [&str; 6] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("Admin UI: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    for name in SOURCES
        .into_iter()
        .chain(["tsconfig.json", ".npmrc", "placeholder.html", "build.rs"])
    {
        println!("cargo:rerun-if-changed={name}");
    }
    for name in ["CLAW_UI_DIST", "CLAW_UI_SKIP"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let dist = PathBuf::from(variable("OUT_DIR")?).join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(|error| format!("cannot empty {}: {error}", dist.display()))?;
    }

    if let Some(prebuilt) = env::var_os("CLAW_UI_DIST").filter(|value| !value.is_empty()) {
        let prebuilt = PathBuf::from(prebuilt);
        println!("cargo:rerun-if-changed={}", prebuilt.display());
        if !prebuilt.join("index.html").is_file() {
            return Err(format!("CLAW_UI_DIST={} has no index.html", prebuilt.display()));
        }
        return copy_tree(&prebuilt, &dist).map_err(|error| format!("cannot copy CLAW_UI_DIST: {error}"));
    }
    if env::var("CLAW_UI_SKIP").is_ok_and(|value| value == "1") {
        return placeholder(&root, &dist);
    }
    if let Err(reason) = node_is_usable() {
        if variable("PROFILE")? == "release" {
            return Err(format!(
                "{reason}. A release build needs Node {}.{} or newer with npm; CLAW_UI_SKIP=1 builds without the UI.",
                NODE_MIN.0, NODE_MIN.1
            ));
        }
        println!("cargo:warning=Admin UI replaced by a placeholder page: {reason}. The API and the gateway work.");
        return placeholder(&root, &dist);
    }

    install(&root)?;
    step(
        &root,
        Command::new("node").args(["node_modules/typescript/bin/tsc", "--noEmit"]),
        "type check",
    )?;
    step(
        &root,
        Command::new("node")
            .args(["node_modules/vite/bin/vite.js", "build", "--emptyOutDir", "--outDir"])
            .arg(&dist),
        "vite build",
    )
}

/// `npm ci`, unless `node_modules` already holds what the lock file asks for.
fn install(root: &Path) -> Result<(), String> {
    let lock = fs::read(root.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    let stamp = root.join(STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    step(
        root,
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
        "npm ci",
    )?;
    fs::write(&stamp, lock).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Runs one step quietly; a failure carries everything it printed.
fn step(root: &Path, command: &mut Command, name: &str) -> Result<(), String> {
    let output = command
        .current_dir(root)
        .output()
        .map_err(|error| format!("{name} did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{name} failed ({}); CLAW_UI_SKIP=1 builds without the UI.\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn node_is_usable() -> Result<(), String> {
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|_| "Node.js is not installed".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = text
        .trim_start_matches('v')
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < NODE_MIN {
        return Err(format!("Node.js {text} is older than {}.{}", NODE_MIN.0, NODE_MIN.1));
    }
    Command::new("npm")
        .arg("--version")
        .output()
        .map_err(|_| "npm is not installed".to_owned())?;
    Ok(())
}

fn placeholder(root: &Path, dist: &Path) -> Result<(), String> {
    fs::create_dir_all(dist)
        .and_then(|()| fs::copy(root.join("placeholder.html"), dist.join("index.html")))
        .map(|_| ())
        .map_err(|error| format!("cannot write the placeholder page: {error}"))
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
