//! `make bench`: starts the release binary, the floor and the mock world, drives all of them, prints one table.
//!
//! It builds nothing and ends only what it started. Options: `--clawcentral FILE` (the release binary),
//! `--rows B1,B2,B3,B4,B5,B6,B9,B11,B14`, `--databases sqlite,postgres`, `--tenants N`, `--sessions N`, `--repeats N`,
//! `--floor-workers N`, `--verbose`.

mod child;
mod floor;
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
            verbose: args.get("verbose", false),
        })
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.iter().any(|wanted| wanted == row)
    }
}

fn main() -> Result<()> {
    let wishes = Wishes::read()?;
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
