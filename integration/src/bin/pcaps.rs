//! Writes the captures that the project ships, or compares them with what would be written.

#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use netd_lab::pcaps;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (folder, check) = match arguments[..] {
        [folder] if !folder.starts_with('-') => (folder, false),
        [folder, "--check"] | ["--check", folder] => (folder, true),
        [..] => bail!("usage: pcaps FOLDER [--check]"),
    };
    let folder = Path::new(folder);
    if !check {
        pcaps::write(folder)?;
        let files = pcaps::files();
        let bytes: usize = files.values().map(Vec::len).sum();
        println!("{} files, {} KB, in {}", files.len(), bytes / 1_000, folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    let differences = pcaps::differences(folder)?;
    for line in &differences {
        println!("{line}");
    }
    if differences.is_empty() {
        println!("{} is what its generators make", folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!("write them again: cargo run -p netd-lab --bin pcaps -- {}", folder.display());
    Ok(ExitCode::FAILURE)
}
