//! The accuracy report: prints it, writes it as Markdown and JSON, and fails when a measure is missed.
//!
//! `accuracy [--quick] [--day-seed N] [--only timing|captures|day] [--captures FOLDER] [--write FOLDER]`

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use netd_lab::accuracy::{self, DAY_SEED, Options};
use netd_lab::binary;

fn main() -> Result<ExitCode> {
    let begun = Instant::now();
    let (options, folder) = arguments()?;
    let report = accuracy::measure(&options)?;
    println!("{}", report.markdown());
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder)?;
        for (name, text) in [("accuracy.md", report.markdown()), ("accuracy.json", report.json()?)] {
            std::fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
        }
    }
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    let missed = report.missed();
    for measure in &missed {
        println!("missed: {}: {} instead of {}", measure.name, measure.seen, measure.goal);
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn arguments() -> Result<(Options, Option<PathBuf>)> {
    let captures =
        std::env::var_os("NETD_CAPTURES").map_or_else(|| binary::root().join("../shared/captures"), PathBuf::from);
    let mut options = Options { quick: false, day_seed: DAY_SEED, captures: Some(captures), timing: true, day: true };
    let mut folder = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => options.quick = true,
            "--day-seed" => options.day_seed = value()?.parse().context("a seed is a whole number")?,
            "--captures" => options.captures = Some(value()?.into()),
            "--write" => folder = Some(value()?.into()),
            "--only" => {
                let only = value()?;
                match only.as_str() {
                    "timing" | "captures" | "day" => {
                        (options.timing, options.day) = (only == "timing", only == "day");
                        options.captures = options.captures.filter(|_| only == "captures");
                    }
                    other => bail!("{other} is none of timing, captures, day"),
                }
            }
            other => {
                bail!("what is {other}? [--quick] [--day-seed N] [--only PART] [--captures FOLDER] [--write FOLDER]")
            }
        }
    }
    Ok((options, folder))
}
