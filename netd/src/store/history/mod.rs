//! History: what happened, in SQLite files that outlive the daemon.
//!
//! ```text
//! history/flows-2026-11-22.db     ended conversations, by the day they were written; part 2 is flows-2026-11-22.2.db
//! history/control.db              findings with their triage, changes of verdicts
//! ```
//! One writer, which only ever adds to the newest file of flows; any number of readers with connections of their own.
//! What is too old, or too much, goes by unlinking a whole file.

mod base64;
mod control;
mod days;
mod error;
mod flow;
mod health;
mod insert;
mod interrupt;
mod reader;
mod saved;
mod schema;
mod segments;
mod sql;
mod statistics;
mod writer;

#[cfg(test)]
mod tests;

pub use control::{Control, Opened};
pub use days::{Day, Days, Limits, Span};
pub use error::Error;
pub use flow::{Flow, Live, RegionView, Scores, pair};
pub use health::{Health, Report};
pub use interrupt::Interrupt;
pub use reader::{Page, Reader};
pub use statistics::{Cell, Group, Statistics, Tally};
pub use writer::Writer;

use std::path::Path;
use std::sync::Arc;

/// What readers of history share.
#[derive(Debug)]
pub struct History {
    pub reader: Reader,
    pub control: Control,
    pub health: Arc<Health>,
    days: Days,
}

impl History {
    /// Opens history in `folder`, and returns it with its writer. `run` is a number that no former run had.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or listed.
    pub fn open(
        folder: &Path,
        limits: Limits,
        geography: Option<Arc<dyn netd_engine::region::Geography>>,
        run: u64,
    ) -> Result<(Self, Writer), Error> {
        let health = Arc::new(Health::default());
        let days = Days::open(folder, &health)?;
        let writer = Writer::new(days.clone(), limits, geography, Arc::clone(&health), run);
        let reader = Reader::new(days.clone(), Arc::clone(&health), run);
        let control = Control::new(folder, Arc::clone(&health));
        Ok((Self { reader, control, health, days }, writer))
    }

    /// Returns the highest id of any flow kept.
    #[must_use]
    pub fn most_id(&self) -> u64 {
        self.days.most_id()
    }

    /// Returns how history fares.
    #[must_use]
    pub fn report(&self) -> Report {
        let days = self.days.list();
        Report {
            files: days.len() as u64,
            flows: days.iter().map(|day| day.span.flows).sum(),
            bytes: days.iter().map(|day| day.bytes).sum(),
            ..self.health.report()
        }
    }
}
