//! The torture table: faults done to netd on purpose, each with what must happen and what did.
//!
//! A row is one function. It makes its own namespaces and folders, bounds its traffic, cleans up, and measures.

pub mod continuity;
pub mod control;
pub mod detection;
pub mod disks;
pub mod exhaustion;
pub mod feed;
pub mod group;
pub mod lists;
pub mod loading;
pub mod outputs;
pub mod overload;
pub mod policy;
pub mod surroundings;
pub mod upgrade;

use std::time::{Duration, Instant};

use anyhow::Result;

/// A fault and its goal.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `T01`: its number in the published table.
    pub id: &'static str,
    pub fault: &'static str,
    pub goal: &'static str,
    pub play: fn(Setting) -> Result<Outcome>,
}

/// How far a row goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// Seconds instead of minutes; the goal stays.
    pub short: bool,
}

impl Setting {
    /// Returns the one or the other amount.
    #[must_use]
    pub fn amount<T>(self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}

/// What a row saw.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub measured: String,
    /// Whether the goal is met.
    pub holds: bool,
}

/// A row that was played.
#[derive(Debug)]
pub struct Played {
    pub row: Row,
    pub took: Duration,
    /// `Err` when it could not be played to its end, which meets no goal.
    pub outcome: Result<Outcome>,
}

impl Played {
    /// Returns whether the row's goal is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(&self.outcome, Ok(outcome) if outcome.holds)
    }
}

/// Returns every row, by number. Each room of faults adds its own.
#[must_use]
pub fn rows() -> Vec<Row> {
    let rooms: &[&[Row]] = &[
        continuity::ROWS,
        control::ROWS,
        detection::ROWS,
        disks::ROWS,
        exhaustion::ROWS,
        lists::ROWS,
        loading::ROWS,
        outputs::ROWS,
        overload::ROWS,
        policy::ROWS,
        surroundings::ROWS,
        upgrade::ROWS,
    ];
    let mut rows: Vec<_> = rooms.concat();
    rows.sort_by_key(|row| row.id);
    rows
}

/// Plays one row.
#[must_use]
pub fn play(row: Row, setting: Setting) -> Played {
    let begun = Instant::now();
    let outcome = (row.play)(setting);
    Played { row, took: begun.elapsed(), outcome }
}

/// Returns the table's head and its rule.
#[must_use]
pub const fn head() -> &'static str {
    "| row | fault | measured | goal | met | time |\n|---|---|---|---|---|---|"
}

/// Returns a row's line.
#[must_use]
pub fn line(played: &Played) -> String {
    let measured = match &played.outcome {
        Ok(outcome) => outcome.measured.clone(),
        Err(error) => format!("could not be played: {error:#}"),
    };
    let (row, seconds) = (played.row, played.took.as_secs_f64());
    let met = if played.holds() { "yes" } else { "**no**" };
    format!("| {} | {} | {measured} | {} | {met} | {seconds:.1} s |", row.id, row.fault, row.goal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(play: fn(Setting) -> Result<Outcome>) -> Row {
        Row { id: "T00", fault: "none", goal: "0 lost", play }
    }

    #[test]
    fn what_could_not_be_played_meets_no_goal() {
        let played = play(row(|_| anyhow::bail!("no namespace")), Setting::default());

        assert!(!played.holds());
        assert!(line(&played).starts_with("| T00 | none | could not be played: no namespace | 0 lost | **no** |"));
    }

    #[test]
    fn a_row_is_told_how_far_to_go() {
        let measured = |setting: Setting| {
            Ok(Outcome { measured: format!("{} lost", setting.amount(60, 3)), holds: setting.short })
        };

        assert!(line(&play(row(measured), Setting { short: true })).contains("| 3 lost | 0 lost | yes |"));
        assert!(!play(row(measured), Setting::default()).holds());
    }

    #[test]
    fn no_row_stands_twice() {
        let ids: Vec<_> = rows().iter().map(|row| row.id).collect();

        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
}
