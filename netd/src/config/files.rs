//! The operator's other files: services, weights, lists of threat intelligence, and the policies of their own room.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use netd_engine::intel::Intel;
use netd_engine::policy::Policies;
use netd_engine::services::Services;
use netd_engine::weights::Weights;
use serde::Deserialize;
use tracing::warn;

use super::{Config, policies};
use crate::time;

/// Such a file is a few kilobytes; a larger one is a mistake or an attack on the parser.
const MAX_FILE: u64 = 1 << 20;
/// A list of threat intelligence is at most this long.
const MAX_LIST: u64 = 256 << 20;

/// A list of threat intelligence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntelList {
    /// What findings call it.
    pub name: String,
    pub file: PathBuf,
}

/// Everything that the configuration refers to.
#[derive(Debug)]
pub struct Files {
    pub policies: Policies,
    pub services: Services,
    pub weights: Weights,
    pub intel: Intel,
}

/// Reads everything that a configuration refers to.
///
/// # Errors
/// With file, line and column, and what was expected.
pub fn read(config: &Config) -> anyhow::Result<Files> {
    Ok(Files {
        policies: policies::read(&config.policy)?,
        services: services(&config.services)?,
        weights: weights(&config.weights)?,
        intel: intel(&config.intel)?,
    })
}

/// Reads the benign services; an empty path is those netd ships.
///
/// # Errors
/// With file, line and column, and what was expected.
pub fn services(path: &Path) -> anyhow::Result<Services> {
    if path.as_os_str().is_empty() {
        return Ok(Services::default());
    }
    Services::read(&text(path)?).with_context(|| format!("{} does not name services", path.display()))
}

/// Reads the weights; an empty path is those netd ships.
///
/// # Errors
/// With file, line and column, and what was expected.
pub fn weights(path: &Path) -> anyhow::Result<Weights> {
    if path.as_os_str().is_empty() {
        return Ok(Weights::default());
    }
    let read = Weights::read(&text(path)?).map_err(anyhow::Error::msg);
    read.with_context(|| format!("{} does not state the weights", path.display()))
}

fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes(path, MAX_FILE)?).with_context(|| format!("{} is not UTF-8 text", path.display()))
}

fn bytes(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > most {
        bail!("{} has {length} bytes; at most {most} are read", path.display());
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads every list. Lines that are no indicators are left out and named in the log.
///
/// # Errors
/// When a list cannot be read, or holds lines and not one indicator: then it is some other file.
pub fn intel(lists: &[IntelList]) -> anyhow::Result<Intel> {
    let mut intel = Intel::default();
    for IntelList { name, file } in lists {
        let loaded = intel.add(name, &bytes(file, MAX_LIST)?, time::now());
        if let Some((line, why)) = loaded.refused.first() {
            if loaded.indicators == 0 {
                bail!("{}:{line}: {why}; no line of it is an indicator", file.display());
            }
            let refused = loaded.refused_total;
            warn!(list = name, file = %file.display(), line, %why, refused, "lines of the list were left out");
        }
    }
    Ok(intel)
}

/// What a file looked like when it was read: enough to see that it is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

impl Stamp {
    #[must_use]
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self(paths.into_iter().map(stamp).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_some_other_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.txt");
        std::fs::write(&file, "# a page\n<html>\n").unwrap();

        let error = intel(&[IntelList { name: "feed".into(), file }]).unwrap_err().to_string();

        assert!(error.contains("list.txt:2:"), "{error}");
    }
}
