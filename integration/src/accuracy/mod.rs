//! The accuracy report: simulated timing, captures, a simulated network day; netd beside what others publish.
//!
//! `make accuracy` prints it and keeps it in `docs/`. Everything is a function of seeds, apart from how long it takes.

pub mod connection;
pub mod cv;
pub(crate) mod day;
pub mod document;
mod parallel;
pub mod rita;
pub mod statistics;
mod timing;
mod wire;

pub fn try_day(seed: u64, quick: bool) -> String {
    let population = if quick { day::THIRTY } else { day::TWO_HUNDRED };
    let mut day = day::play(population, seed);
    let section = day::section(&mut day, seed);
    format!("{}{}", section.markdown(), document::measures(&section.measures.iter().collect::<Vec<_>>()))
}

pub fn try_timing(quick: bool) -> String {
    let section = timing::section(if quick { timing::QUICK } else { timing::FULL });
    format!("{}{}", section.markdown(), document::measures(&section.measures.iter().collect::<Vec<_>>()))
}
