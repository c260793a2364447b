//! Tables: aligned columns in a code block when they are narrow enough for a phone, else one bullet per row.

use super::parse::shows;

/// Widest grid, in characters.
const WIDEST: usize = 60;
const BETWEEN: &str = " | ";

/// A table while it is read, the head first.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Where the label of an open link starts in the current cell, and its address.
    links: Vec<(usize, String)>,
}

impl Table {
    pub(super) fn row(&mut self) {
        self.rows.push(Vec::new());
    }

    pub(super) fn cell(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.push(String::new());
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.extend(text.chars().map(|c| if c == '\n' { ' ' } else { c }));
        }
    }

    pub(super) fn open_link(&mut self, url: &str) {
        let at = self.rows.last().and_then(|row| row.last()).map_or(0, String::len);
        self.links.push((at, url.to_owned()));
    }

    pub(super) fn close_link(&mut self) {
        let Some((at, url)) = self.links.pop() else { return };
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            let label = cell.get(at..).unwrap_or_default();
            if !url.is_empty() && !shows(label, &url) {
                cell.push_str(&format!(" ({url})"));
            }
        }
    }

    /// Aligned columns, or `None` when they are too wide.
    pub(super) fn grid(&self) -> Option<String> {
        let columns = self.rows.first()?.len();
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.trim().chars().count().max(*width);
            }
        }
        let between = BETWEEN.len() * columns.saturating_sub(1);
        if widths.iter().sum::<usize>() + between > WIDEST {
            return None;
        }
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{:<width$}", cell.trim()))
                .collect();
            lines.push(cells.join(BETWEEN).trim_end().to_owned());
            if index == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                lines.push(rules.join("-+-"));
            }
        }
        Some(lines.join("\n"))
    }

    /// One bullet per row, each cell behind its column's name.
    pub(super) fn bullets(&self) -> String {
        let Some((head, rows)) = self.rows.split_first() else {
            return String::new();
        };
        if rows.is_empty() {
            return bullet(head.iter().map(|cell| cell.trim().to_owned()));
        }
        let lines: Vec<_> = rows
            .iter()
            .map(|row| {
                bullet(
                    row.iter()
                        .zip(head)
                        .filter(|(cell, _)| !cell.trim().is_empty())
                        .map(|(cell, name)| match name.trim() {
                            "" => cell.trim().to_owned(),
                            name => format!("{name}: {}", cell.trim()),
                        }),
                )
            })
            .filter(|line| line != "• ")
            .collect();
        lines.join("\n")
    }
}

fn bullet(cells: impl Iterator<Item = String>) -> String {
    format!("• {}", cells.collect::<Vec<_>>().join("; "))
}
