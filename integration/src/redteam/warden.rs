//! What is left when the red team itself is killed: a small process that waits for its end, kills what it
//! started and removes its folders.

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
/// When its input cannot be read, or a folder not removed.
pub fn watch(mark: &str) -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    end_marked(mark);
    let pid = mark.trim_end_matches('.');
    let prefixes = [format!("netd-redteam-{pid}-"), format!("netd-lab-{pid}-")];
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
