//! Latencies of one measurement, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Ten minutes at three digits: what a single operation may take at most.
const CEILING_US: u64 = 600_000_000;

/// A growing set of latencies.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, CEILING_US, 3).expect("constant bounds are valid"))
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(CEILING_US);
        self.0.saturating_record(micros.clamp(1, CEILING_US));
    }

    pub fn absorb(&mut self, other: &Self) {
        self.0.add(&other.0).expect("same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// What a load run hands back, one JSON line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Operations that ended well.
    pub done: u64,
    /// Operations that did not.
    pub failed: u64,
    /// First failure, for a person.
    #[serde(default)]
    pub failure: String,
    /// Wall-clock seconds of the measured part.
    pub wall_s: f64,
    /// Milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// CPU seconds of the measured process within the measured part; 0 without `--pid`.
    pub cpu_s: f64,
    /// Text frames that arrived, and their bytes; 0 where nobody counts them.
    #[serde(default)]
    pub frames: u64,
    #[serde(default)]
    pub bytes: u64,
    /// Operations of each person that ended well; empty where nobody counts them apart.
    #[serde(default)]
    pub each: Vec<u64>,
    /// Proportional memory of the measured process, KiB, before and after.
    pub memory_before_kib: u64,
    pub memory_after_kib: u64,
}

impl Report {
    pub fn new(latencies: &Latencies, wall: Duration) -> Self {
        Self {
            done: latencies.count(),
            wall_s: wall.as_secs_f64(),
            p50_ms: latencies.at(0.5),
            p99_ms: latencies.at(0.99),
            max_ms: latencies.at(1.0),
            ..Self::default()
        }
    }

    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        if self.wall_s > 0.0 {
            self.done as f64 / self.wall_s
        } else {
            0.0
        }
    }

    /// Operations per second of one core's time.
    pub fn per_core(&self) -> f64 {
        if self.cpu_s > 0.0 {
            self.done as f64 / self.cpu_s
        } else {
            0.0
        }
    }

    /// Frames per second of one core's time.
    pub fn frames_per_core(&self) -> f64 {
        if self.cpu_s > 0.0 {
            self.frames as f64 / self.cpu_s
        } else {
            0.0
        }
    }

    /// CPU microseconds of one operation.
    pub fn cpu_us(&self) -> f64 {
        if self.done > 0 {
            self.cpu_s * 1e6 / self.done as f64
        } else {
            0.0
        }
    }
}
