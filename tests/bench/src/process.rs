//! What Linux tells about a process: CPU time, memory, load of the machine.

use std::fs;

/// The kernel counts CPU time of `/proc/<pid>/stat` in ticks of this many per second (USER_HZ, fixed on Linux).
const TICKS: f64 = 100.0;

/// User and system CPU seconds of the process so far; 0 for process 0 or one that is gone.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces: count fields behind it.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return 0.0;
    };
    let ticks: u64 = rest
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / TICKS
}

/// Proportional set size in KiB: shared pages count by their share. Falls back to the resident set.
pub fn memory_kib(pid: u32) -> u64 {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
        .or_else(|| field_kib(&format!("/proc/{pid}/status"), "VmRSS:"))
        .unwrap_or(0)
}

fn field_kib(file: &str, name: &str) -> Option<u64> {
    fs::read_to_string(file)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Number of threads of the process.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task"))
        .map(Iterator::count)
        .unwrap_or(0)
}

/// CPUs the process may use, as Linux prints them, e.g. `0-1`.
pub fn allowed_cpus(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            Some(line.trim().to_owned())
        })
        .unwrap_or_default()
}

/// The machine's load averages, `1 min 5 min 15 min`.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
