//! `make bench`: starts the release binary, the floor and the mock world, drives all of them, prints one table.
//!
//! It builds nothing and ends only what it started. Options: `--clawcentral FILE` (the release binary),
//! `--rows B4,B7` (default: all), `--databases sqlite,postgres`, `--tenants N`, `--sessions N`, `--repeats N`,
//! `--floor-workers N`, `--verbose`, and of B2 and B3:
//!
//! - `--clients N` (default 1,000): idle gateway clients that B2 weighs. Beyond a few hundred each needs a file
//!   descriptor here and one in the server: the soft limit is raised to the hard one, which must allow for it.
//! - `--paired`: each of them is a device of its own that was paired.
//! - `--peer-openclaw DIR`: the `openclaw` package (`node_modules/openclaw`), whose gateway is started on a loopback port
//!   and measured beside ours. A Node that was installed beside it is used, else the one in `PATH`.
//!
//! of B6, B7, B8 and B12:
//!
//! - `--waiting N` (default 10,000): the largest crowd of B6. Each who waits takes a file descriptor in two processes.
//! - `--flooders N` (default 1,000): tenants that flood in B7; making them takes most of the row's time.
//! - `--histories N` (default 20): sleeping sessions of B8 that are woken in one repeat, each with 10,000 turns.
//! - `--schedules N` (default 100,000): jobs in the database of B12; `--due N` (default 2,000): those of them that are
//!   due at one tick, and as many again one after another. `--due 100000` has all of them due at once and takes as long as
//!   that many turns take.

mod budget;
mod child;
mod crowd;
mod fairness;
mod floor;
mod history;
mod limits;
mod memory;
mod original;
#[path = "../../../../it/support/port.rs"]
mod port;
mod postgres;
mod product;
mod rows;
mod schedules;
mod sockets;
mod store;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
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
    /// Most concurrent sessions of B6 with a fast model, and users made for it.
    pub sessions: usize,
    pub repeats: usize,
    pub floor_workers: usize,
    /// Idle clients of B2.
    pub clients: usize,
    /// Are they paired devices?
    pub paired: bool,
    /// The package of the original gateway, if it is to be measured as well.
    pub original: Option<PathBuf>,
    /// Most sessions of B6 that wait for a slow model.
    pub waiting: usize,
    /// Tenants that flood in B7.
    pub flooders: usize,
    /// Sessions of B8 that are woken in a repeat.
    pub histories: usize,
    /// Jobs of B12, and those that are due at one tick.
    pub schedules: usize,
    pub due: usize,
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
            "waiting",
            "flooders",
            "histories",
            "schedules",
            "due",
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
        let known: Vec<_> = rows::SHARED.into_iter().chain(rows::OWN).collect();
        let wanted: Vec<String> = list("rows", &known.join(","));
        if let Some(row) = wanted.iter().find(|row| !known.contains(&row.as_str())) {
            bail!("there is no row {row}; there are {}", known.join(", "));
        }
        let (schedules, due) = (args.get("schedules", 100_000), args.get("due", 2000));
        ensure!((1..=schedules).contains(&due), "--due {due}: of {schedules} schedules");
        Ok(Self {
            clawcentral: clawcentral.canonicalize()?,
            tools,
            rows: wanted,
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
            waiting: args.get("waiting", 10_000),
            flooders: args.get("flooders", 1000),
            histories: args.get("histories", 20),
            schedules,
            due,
            verbose: args.get("verbose", false),
        })
    }

    /// Sockets that one process holds at the most.
    fn sockets(&self) -> usize {
        let weighed = if self.wants("B2") { self.clients } else { 0 };
        let waiting = if self.wants("B6") { self.waiting } else { 0 };
        weighed.max(waiting)
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.iter().any(|wanted| wanted == row)
    }
}

fn main() -> Result<()> {
    let wishes = Wishes::read()?;
    limits::open_files(wishes.sockets())?;
    let before = process::load_average();
    let mut table = Table::default();
    for database in &wishes.databases {
        rows::measure(&wishes, database, &mut table);
    }
    println!("{table}");
    println!("load average before {before} | after {}", process::load_average());
    Ok(())
}
