//! `make bench`: starts the release binary, the floor and the mock world, drives all of them, prints one table.
//!
//! It builds nothing and ends only what it started. Options: `--clawcentral FILE` (the release binary),
//! `--rows B1,B2,B3,B4,B5,B6,B9,B11,B14`, `--databases sqlite,postgres`, `--tenants N`, `--sessions N`, `--repeats N`,
//! `--floor-workers N`, `--verbose`, and of B2 and B3:
//!
//! - `--clients N` (default 1,000): idle gateway clients that B2 weighs. Beyond a few hundred each needs a file
//!   descriptor here and one in the server: the soft limit is raised to the hard one, which must allow for it.
//! - `--paired`: each of them is a device of its own that was paired.
//! - `--peer-openclaw DIR`: the `openclaw` package (`node_modules/openclaw`), whose gateway is started on a loopback port
//!   and measured beside ours. A Node that was installed beside it is used, else the one in `PATH`.

mod child;
mod floor;
mod limits;
mod original;
#[path = "../../../../it/support/port.rs"]
mod port;
mod postgres;
mod product;
mod rows;
mod sockets;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use claw_bench::args::Args;
use claw_bench::process;

use crate::table::Table;

/// What the person asked for.
pub struct Wishes {
    /// The product's binary.
    pub clawcentral: PathBuf,
    /// Where `floor`, `load` and `mockllm` lie.
    pub tools: PathBuf,
    pub rows: Vec<String>,
    pub databases: Vec<String>,
    pub tenants: usize,
    /// Most concurrent sessions of B6, and users made for it.
    pub sessions: usize,
    pub repeats: usize,
    pub floor_workers: usize,
    /// Idle clients of B2.
    pub clients: usize,
    /// Are they paired devices?
    pub paired: bool,
    /// The package of the original gateway, if it is to be measured as well.
    pub original: Option<PathBuf>,
    pub verbose: bool,
}

impl Wishes {
    fn read() -> Result<Self> {
        let args = Args::parse();
        args.only(&[
            "clawcentral",
            "rows",
            "databases",
            "tenants",
            "sessions",
            "repeats",
            "floor-workers",
            "clients",
            "paired",
            "peer-openclaw",
            "verbose",
        ])?;
        let tools = std::env::current_exe()?
            .parent()
            .context("the program has a folder")?
            .to_owned();
        let clawcentral = PathBuf::from(args.text("clawcentral", "target/release/clawcentral"));
        ensure!(
            clawcentral.is_file(),
            "no binary at {}: build it with `cargo build --release --workspace`, or name it with --clawcentral",
            clawcentral.display()
        );
        let list = |name: &str, default: &str| args.text(name, default).split(',').map(str::to_owned).collect();
        Ok(Self {
            clawcentral: clawcentral.canonicalize()?,
            tools,
            rows: list("rows", "B1,B2,B3,B4,B5,B6,B9,B11,B14"),
            databases: list("databases", "sqlite,postgres"),
            tenants: args.get("tenants", 100),
            sessions: args.get("sessions", 64),
            repeats: args.get("repeats", 3),
            floor_workers: args.get("floor-workers", 1),
            clients: args.get("clients", 1000),
            paired: args.get("paired", false),
            original: Some(args.text("peer-openclaw", ""))
                .filter(|path| !path.is_empty())
                .map(|path| PathBuf::from(path).canonicalize())
                .transpose()
                .context("--peer-openclaw: there is no such folder")?,
            verbose: args.get("verbose", false),
        })
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.iter().any(|wanted| wanted == row)
    }
}

fn main() -> Result<()> {
    let wishes = Wishes::read()?;
    limits::open_files(wishes.clients)?;
    let before = process::load_average();
    let mut table = Table::default();
    for database in &wishes.databases {
        // One database's trouble must not cost the other's numbers.
        if let Err(error) = rows::measure(&wishes, database, &mut table) {
            table.note(format!("{database}: stopped early: {error:#}"));
        }
    }
    println!("{table}");
    println!("load average before {before} | after {}", process::load_average());
    Ok(())
}
