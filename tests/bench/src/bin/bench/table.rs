//! The one table: ours, floor, ratio, goal.

use std::fmt;

/// What a number must reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Nothing; the number is for people.
    None,
    AtMost(f64),
    AtLeast(f64),
    /// At least this part of the floor's.
    OfFloor(f64),
    /// At most the larger of a number and a multiple of the floor's.
    AtMostOr(f64, f64),
}

struct Line {
    row: String,
    what: String,
    unit: &'static str,
    ours: Vec<f64>,
    floor: Vec<f64>,
    /// The original's, where it was asked for.
    original: Vec<f64>,
    goal: Goal,
    /// Is a larger number a better one.
    rising: bool,
}

/// Collected lines and remarks.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Table {
    /// One line; `ours` and `floor` hold one number a repeat.
    pub fn add(
        &mut self,
        row: &str,
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        floor: &[f64],
        goal: Goal,
    ) {
        self.beside(row, what, unit, ours, floor, &[], goal);
    }

    /// As [`Table::add`], with what the original gateway did in the same run.
    #[expect(clippy::too_many_arguments, reason = "one cell of the table each")]
    pub fn beside(
        &mut self,
        row: &str,
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        floor: &[f64],
        original: &[f64],
        goal: Goal,
    ) {
        self.lines.push(Line {
            row: row.to_owned(),
            what: what.into(),
            unit,
            ours: ours.to_vec(),
            floor: floor.to_vec(),
            original: original.to_vec(),
            goal,
            rising: unit.starts_with('/') || matches!(goal, Goal::AtLeast(_)),
        });
        if let Some(line) = self.lines.last() {
            // Numbers as they come: a long run that is cut short has shown something.
            eprintln!("{}", line.render(!original.is_empty()));
        }
    }

    pub fn note(&mut self, text: String) {
        eprintln!("{text}");
        self.notes.push(text);
    }
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The cell of the column that is only there with an original.
fn cell(text: &str) -> String {
    format!(" {text:>19} |")
}

impl Line {
    fn worst(&self, numbers: &[f64]) -> Option<f64> {
        let pick = if self.rising { f64::min } else { f64::max };
        numbers.iter().copied().reduce(pick)
    }

    fn cell(&self, numbers: &[f64]) -> String {
        match (median(numbers), self.worst(numbers)) {
            (Some(median), Some(worst)) if numbers.len() > 1 => format!("{} ({})", number(median), number(worst)),
            (Some(median), _) => number(median),
            (None, _) => "-".to_owned(),
        }
    }

    fn verdict(&self) -> (String, &'static str) {
        let (ours, floor) = (median(&self.ours), median(&self.floor));
        let judge = |met: bool| if met { "met" } else { "MISSED" };
        match (self.goal, ours, floor) {
            (Goal::AtMost(limit), Some(ours), _) => (format!("<= {}", number(limit)), judge(ours <= limit)),
            (Goal::AtLeast(limit), Some(ours), _) => (format!(">= {}", number(limit)), judge(ours >= limit)),
            (Goal::OfFloor(part), Some(ours), Some(floor)) => (
                format!(">= {:.0} % of floor", part * 100.0),
                judge(ours >= part * floor),
            ),
            (Goal::AtMostOr(limit, times), Some(ours), Some(floor)) => {
                let limit = limit.max(times * floor);
                (format!("<= {}", number(limit)), judge(ours <= limit))
            }
            (Goal::AtMostOr(limit, _), Some(ours), None) => (format!("<= {}", number(limit)), judge(ours <= limit)),
            _ => (String::new(), ""),
        }
    }

    fn render(&self, with_original: bool) -> String {
        let ratio = match (median(&self.ours), median(&self.floor)) {
            (Some(ours), Some(floor)) if floor > 0.0 => format!("{:.2}", ours / floor),
            _ => "-".to_owned(),
        };
        let (goal, verdict) = self.verdict();
        let original = if with_original {
            cell(&self.cell(&self.original))
        } else {
            String::new()
        };
        format!(
            "| {:<4} | {:<58} | {:<6} | {:>19} | {:>19} |{original} {:>6} | {:<16} | {:<6} |",
            self.row,
            self.what,
            self.unit,
            self.cell(&self.ours),
            self.cell(&self.floor),
            ratio,
            goal,
            verdict
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_original = self.lines.iter().any(|line| !line.original.is_empty());
        let original = if with_original { cell("original") } else { String::new() };
        writeln!(formatter)?;
        writeln!(
            formatter,
            "| {:<4} | {:<58} | {:<6} | {:>19} | {:>19} |{original} {:>6} | {:<16} | {:<6} |",
            "row", "what (median, worst in brackets)", "unit", "ours", "floor", "ratio", "goal", ""
        )?;
        let widths: &[usize] = if with_original {
            &[4, 58, 6, 19, 19, 19, 6, 16, 6]
        } else {
            &[4, 58, 6, 19, 19, 6, 16, 6]
        };
        let dashes: Vec<_> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(formatter, "|{}|", dashes.join("|"))?;
        for line in &self.lines {
            writeln!(formatter, "{}", line.render(with_original))?;
        }
        for note in &self.notes {
            writeln!(formatter, "{note}")?;
        }
        Ok(())
    }
}
