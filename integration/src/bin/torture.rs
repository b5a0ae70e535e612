//! Plays the torture table and prints row, measured, goal. `torture [--short] [--only T01,T02] [--list]`; exit 1 while a
//! goal is missed.

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use netd_lab::torture::{self, Setting};

const USAGE: &str = "torture [--short] [--only T01,T02] [--list]";

fn main() -> Result<ExitCode> {
    let (mut setting, mut only, mut lists) = (Setting::default(), None::<Vec<String>>, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => setting.short = true,
            "--list" => lists = true,
            "--only" => {
                let rows = words.next().context(USAGE)?;
                only = Some(rows.split(',').map(str::to_owned).collect());
            }
            other => bail!("what is {other}? {USAGE}"),
        }
    }
    let mut rows = torture::rows();
    if let Some(only) = &only {
        if let Some(unknown) = only.iter().find(|id| rows.iter().all(|row| !row.id.eq_ignore_ascii_case(id))) {
            bail!("there is no row {unknown}; --list names them");
        }
        rows.retain(|row| only.iter().any(|id| id.eq_ignore_ascii_case(row.id)));
    }
    if lists {
        for row in &rows {
            println!("{}  {} ({})", row.id, row.fault, row.goal);
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", torture::head());
    let mut missed = Vec::new();
    for row in rows {
        let played = torture::play(row, setting);
        println!("{}", torture::line(&played));
        if !played.holds() {
            missed.push(row.id);
        }
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nmissed: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}
