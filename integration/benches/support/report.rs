//! The table.

use std::fmt;

use super::race::Figure;

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Stands for comparison.
    None,
}

/// Whether a figure is the same on a busy machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stability {
    /// `--gate` counts it.
    Stable,
    Noisy,
}

pub(crate) use Stability::{Noisy, Stable};

#[derive(Clone, Debug)]
struct Row {
    name: String,
    /// The times behind the figure.
    raw: String,
    figure: Figure,
    unit: &'static str,
    goal: Goal,
    stability: Stability,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    faults: Vec<String>,
}

/// A row but for its figure.
#[derive(Debug)]
pub(crate) struct Entry<'r> {
    pub(crate) report: &'r mut Report,
    pub(crate) name: String,
    pub(crate) raw: String,
}

impl Report {
    /// Begins a row.
    pub(crate) fn row(&mut self, name: impl Into<String>, raw: impl Into<String>) -> Entry<'_> {
        Entry { report: self, name: name.into(), raw: raw.into() }
    }

    /// Notes what could not be measured.
    pub(crate) fn fault(&mut self, group: &str, error: &anyhow::Error) {
        self.faults.push(format!("{group}: {error:#}"));
    }

    /// Returns whether everything was measured and every stable figure meets its goal.
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty() && self.rows.iter().all(|row| row.stability == Noisy || row.meets() != Some(false))
    }
}

impl Entry<'_> {
    /// Ends a row whose figure is a ratio.
    pub(crate) fn ratio(self, figure: Figure, goal: Goal, stability: Stability) {
        self.end(figure, "", goal, stability);
    }

    /// Ends a row whose figure has a unit.
    pub(crate) fn end(self, figure: Figure, unit: &'static str, goal: Goal, stability: Stability) {
        let Self { report, name, raw } = self;
        report.rows.push(Row { name, raw, figure, unit, goal, stability });
    }

    /// Ends a row whose figure was counted.
    pub(crate) fn count(self, value: f64, unit: &'static str, goal: Goal) {
        self.end(Figure { value, median: value }, unit, goal, Stable);
    }
}

impl Row {
    fn meets(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(limit) => Some(self.figure.value <= limit),
            Goal::AtLeast(limit) => Some(self.figure.value >= limit),
            Goal::None => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, raw, figure, unit, goal, .. } = self;
        let (value, median) = (Number(figure.value), Number(figure.median));
        write!(f, "| {name} | {raw} | {value}{unit} | {median}{unit} |")?;
        match goal {
            Goal::AtMost(limit) => write!(f, " <= {limit}{unit} |")?,
            Goal::AtLeast(limit) => write!(f, " >= {limit}{unit} |")?,
            Goal::None => write!(f, " |")?,
        }
        writeln!(f, " {} |", self.meets().map_or("", |meets| if meets { "pass" } else { "**miss**" }))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | measured | value | median of rounds | goal | |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            write!(f, "{row}")?;
        }
        for fault in &self.faults {
            writeln!(f, "\nnot measured: {fault}")?;
        }
        Ok(())
    }
}

/// A number with as many digits as mean anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            whole if whole >= 100.0 || whole == 0.0 => write!(f, "{:.0}", self.0),
            tens if tens >= 10.0 => write!(f, "{:.1}", self.0),
            _ => write!(f, "{:.2}", self.0),
        }
    }
}
