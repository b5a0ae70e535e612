//! Where the daemon under test is.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Returns the `netd` that `NETD_BIN` names, or the one that was built for release, or else for debugging.
///
/// # Errors
///
/// When there is none.
pub fn netd() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NETD_BIN") {
        return Ok(path.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("netd"));
    match built.into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => {
            bail!("there is no netd in {}: cargo build -p netd --release, or name one in NETD_BIN", target.display())
        }
    }
}

/// Returns the folder of the project, when cargo runs the caller; else the current one. The path is asked for at run time,
/// so that no binary holds the name of the folder that it was built in.
#[must_use]
pub fn root() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    crate_folder.as_deref().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned()
}
