//! What is printed and kept: measures, tables, paragraphs; as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// Something that was promised, and what was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    pub name: String,
    pub goal: String,
    pub seen: String,
    pub met: Verdict,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    Missed,
    /// What it needs is not here.
    LeftOut,
}

impl Measure {
    #[must_use]
    pub(crate) fn new(name: impl Into<String>, goal: impl Into<String>, seen: impl Into<String>, met: bool) -> Self {
        let met = if met { Verdict::Met } else { Verdict::Missed };
        Self { name: name.into(), goal: goal.into(), seen: seen.into(), met }
    }

    #[must_use]
    pub(crate) fn left_out(name: impl Into<String>, goal: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), goal: goal.into(), seen: why.into(), met: Verdict::LeftOut }
    }
}

/// A table; every row has as many cells as there are columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table with columns that line up in plain text, too.
    fn write(&self, out: &mut String) {
        let escaped = |cell: &String| cell.replace('|', "\\|");
        let all: Vec<Vec<String>> =
            std::iter::once(&self.columns).chain(&self.rows).map(|row| row.iter().map(escaped).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
            .map(|width| width.unwrap_or(0).max(3))
            .collect();
        if !self.title.is_empty() {
            let _ = writeln!(out, "**{}**\n", self.title);
        }
        for (number, row) in all.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                let _ = writeln!(out, "| {} |", rules.join(" | "));
            }
        }
        out.push('\n');
    }
}

/// The last column of a table with reasons is long: it is not padded.
fn pad(cell: &str, width: usize) -> String {
    const LONGEST: usize = 90;
    let missing = width.min(LONGEST).saturating_sub(cell.chars().count());
    format!("{cell}{}", " ".repeat(missing))
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Text(String),
    Table(Table),
}

/// One room of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    pub title: String,
    pub parts: Vec<Part>,
    /// Too long for people; in JSON only.
    pub details: Vec<Table>,
    pub measures: Vec<Measure>,
}

impl Section {
    #[must_use]
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), parts: Vec::new(), details: Vec::new(), measures: Vec::new() }
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }

    /// Returns the section as Markdown.
    #[must_use]
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.title);
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    let _ = writeln!(out, "{text}\n");
                }
                Part::Table(table) => table.write(&mut out),
            }
        }
        out
    }
}

/// Returns the table of measures as Markdown.
#[must_use]
pub(crate) fn measures(measures: &[&Measure]) -> String {
    let mut table = Table::new("", &["measure", "goal", "seen", "met"]);
    for measure in measures {
        let met = match measure.met {
            Verdict::Met => "yes",
            Verdict::Missed => "**NO**",
            Verdict::LeftOut => "left out",
        };
        table.row([measure.name.clone(), measure.goal.clone(), measure.seen.clone(), met.to_owned()]);
    }
    let mut out = String::new();
    table.write(&mut out);
    out
}
