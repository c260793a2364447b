//! The `clawcentral` binary.

use std::process::ExitCode;

/// A turn is made of small allocations on several threads (docs/adr/012).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    clawcentral::cli::run()
}
