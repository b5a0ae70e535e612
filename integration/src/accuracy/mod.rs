//! The accuracy report: simulated timing, captures, a simulated network day; netd beside what others publish.
//!
//! `make accuracy` prints it and keeps it in `docs/`. Everything is a function of seeds, apart from how long it takes.

pub(crate) mod captures;
mod connection;
mod cv;
pub(crate) mod day;
pub(crate) mod document;
pub(crate) mod parallel;
mod rita;
mod statistics;
mod timing;
mod wire;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

pub use document::{Measure, Section, Verdict};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Fewer keys, and a network of thirty hosts: a minute instead of many.
    pub quick: bool,
    /// The day that is drawn.
    pub day_seed: u64,
    /// A folder with captures and their `INDEX.tsv`, where they are to be read.
    pub captures: Option<PathBuf>,
    /// Whether timing, and whether the day are simulated.
    pub timing: bool,
    pub day: bool,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    quick: bool,
    day_seed: u64,
    sections: Vec<Section>,
}

/// Measures everything that is asked for.
///
/// # Errors
///
/// When a capture cannot be replayed.
pub fn measure(options: &Options) -> Result<Report> {
    let (effort, population) =
        if options.quick { (timing::QUICK, day::THIRTY) } else { (timing::FULL, day::TWO_HUNDRED) };
    let sections = std::thread::scope(|scope| {
        let played = options.day.then(|| {
            scope.spawn(move || {
                let mut day = day::play(population, options.day_seed);
                day::section(&mut day, options.day_seed)
            })
        });
        let mut sections = Vec::new();
        if options.timing {
            sections.push(timing::section(effort));
        }
        if let Some(folder) = &options.captures {
            sections.push(captures::section(folder)?);
        }
        if let Some(played) = played {
            sections.push(played.join().ok().context("the simulation of a day panicked")?);
        }
        Ok::<_, anyhow::Error>(sections)
    })?;
    Ok(Report { quick: options.quick, day_seed: options.day_seed, sections })
}

impl Report {
    pub fn measures(&self) -> impl Iterator<Item = &Measure> {
        self.sections.iter().flat_map(|section| &section.measures)
    }

    /// Returns the measures that were missed.
    #[must_use]
    pub fn missed(&self) -> Vec<&Measure> {
        self.measures().filter(|measure| measure.met == Verdict::Missed).collect()
    }

    /// Returns the report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let command = match (self.quick, self.day_seed) {
            (false, DAY_SEED) => "make accuracy".to_owned(),
            (false, seed) => format!("make accuracy DAY_SEED={seed}"),
            (true, seed) => format!("cargo run --release -p netd-lab --bin accuracy -- --quick --day-seed {seed}"),
        };
        let measures: Vec<&Measure> = self.measures().collect();
        let sections: String = self.sections.iter().map(Section::markdown).collect();
        format!(
            "{}\nMade by `{command}`.\n\n## Measures\n\n{}{sections}",
            include_str!("preamble.md"),
            document::measures(&measures)
        )
    }

    /// Returns the report as JSON, with details that the Markdown leaves out.
    ///
    /// # Errors
    ///
    /// None that this report can cause.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The day that is kept in the repository.
pub const DAY_SEED: u64 = 1;
