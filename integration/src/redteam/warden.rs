//! What is left when the red team itself is killed: a small process that waits for its end and kills what it started.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::tree::{end_marked, run_mark};

/// The warden of this process; it ends after it.
#[derive(Debug)]
pub struct Warden {
    _child: Child,
}

impl Warden {
    /// Starts the warden.
    ///
    /// # Errors
    ///
    /// When this program cannot be started once more.
    pub fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["warden", &run_mark()]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start the warden")?;
        Ok(Self { _child: child })
    }
}

/// The warden's own life: its input ends when the red team does.
///
/// # Errors
///
/// When its input cannot be read.
pub fn watch(mark: &str) -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    end_marked(mark);
    Ok(())
}
