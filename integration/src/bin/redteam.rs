//! The red team: plays reverse shells and their harmless look-alikes against netd, and says what was found and cut.
//!
//! `redteam matrix|benign|all|attribution [--short] [--only NAME] [--no-control] [--json] [--allow-missing]`

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use netd_lab::redteam::implant::agents;
use netd_lab::redteam::warden::{self, Warden};
use netd_lab::redteam::{benign, campaign, implant, matrix, report};

const USAGE: &str =
    "redteam matrix|benign|all|attribution [--short] [--only NAME] [--no-control] [--json] [--allow-missing]";

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else { bail!(USAGE) };
    match command.as_str() {
        // Hidden: the small programs that the red team runs.
        "implant" => implant::run(rest).map(|()| ExitCode::SUCCESS),
        "agent" => agents::connections(rest).map(|()| ExitCode::SUCCESS),
        "spawner" => agents::spawner(rest).map(|()| ExitCode::SUCCESS),
        "warden" => warden::watch(rest.first().context("whose?")?).map(|()| ExitCode::SUCCESS),
        "matrix" | "benign" | "all" | "attribution" => play(command, Arguments::read(rest)?),
        _ => bail!(USAGE),
    }
}

#[derive(Default)]
struct Arguments {
    options: matrix::Options,
    is_json: bool,
    /// A missed goal is said, and is no failure.
    allow_missing: bool,
}

impl Arguments {
    fn read(words: &[String]) -> Result<Self> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" => arguments.options.short = true,
                "--no-control" => arguments.options.no_control = true,
                "--only" => arguments.options.only = Some(words.next().context("--only NAME")?.clone()),
                "--json" => arguments.is_json = true,
                "--allow-missing" => arguments.allow_missing = true,
                other => bail!("what is {other}? {USAGE}"),
            }
        }
        Ok(arguments)
    }
}

fn play(command: &str, Arguments { options, is_json, allow_missing }: Arguments) -> Result<ExitCode> {
    let _warden = Warden::start()?;
    let begun = Instant::now();
    let missed = if command == "attribution" {
        let report = campaign::play(options.short)?;
        if is_json {
            println!("{:#}", report.json());
        } else {
            println!("{}", report.table());
        }
        report.missed()
    } else {
        let rows = if command == "benign" { Vec::new() } else { matrix::play(&options)? };
        let verdicts = if command == "matrix" { Vec::new() } else { benign::play(options.only.as_deref())? };
        if is_json {
            println!("{:#}", report::json(&rows, &verdicts));
        } else {
            if !rows.is_empty() {
                println!("{}", report::table(&rows));
            }
            if !verdicts.is_empty() {
                println!("{}", benign::table(&verdicts));
            }
        }
        report::missed(&rows, &verdicts)
    };
    if !is_json {
        println!("{:.0} s", begun.elapsed().as_secs_f64());
        for goal in &missed {
            println!("missed: {goal}");
        }
    }
    Ok(if missed.is_empty() || allow_missing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
