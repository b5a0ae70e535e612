//! The red team: plays reverse shells and their harmless look-alikes against netd, and says what was found and cut.
//!
//! `redteam matrix|benign|all|attribution [--short] [--only NAME] [--no-control] [--json] [--allow-missing]`

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use netd_lab::redteam::warden::{self, Warden};
use netd_lab::redteam::{implant, matrix, report};

const USAGE: &str =
    "redteam matrix|benign|all|attribution [--short] [--only NAME] [--no-control] [--json] [--allow-missing]";

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // Hidden: the small programs that the matrix runs.
        Some("implant") => implant::run(&words[1..]).map(|()| ExitCode::SUCCESS),
        Some("warden") => warden::watch(words.get(1).context("whose?")?).map(|()| ExitCode::SUCCESS),
        Some("matrix") => {
            let _warden = Warden::start()?;
            let mut options = matrix::Options::default();
            let (mut is_json, mut allow) = (false, false);
            let mut rest = words[1..].iter();
            while let Some(word) = rest.next() {
                match word.as_str() {
                    "--short" => options.short = true,
                    "--no-control" => options.no_control = true,
                    "--json" => is_json = true,
                    "--allow-missing" => allow = true,
                    "--only" => options.only = Some(rest.next().context("--only NAME")?.clone()),
                    other => bail!("what is {other}? {USAGE}"),
                }
            }
            let rows = matrix::play(&options)?;
            if is_json {
                println!("{:#}", report::json(&rows, &[]));
            } else {
                println!("{}", report::table(&rows));
            }
            let missed = report::missed(&rows, &[]);
            for goal in &missed {
                println!("missed: {goal}");
            }
            Ok(if missed.is_empty() || allow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => bail!(USAGE),
    }
}
