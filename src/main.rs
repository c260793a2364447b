//! The `clawcentral` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    clawcentral::cli::run()
}
