//! The captures that the project ships: what is in them, and what must and must not be found.

mod beacons;
mod formats;
mod ordinary;
mod shells;
mod sidecar;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::capture::{Format, Packet, gzip};
pub use sidecar::{Expected, Found, Others, Rhythm};

/// A capture and its expectations.
#[derive(Clone, Debug)]
pub struct Capture {
    /// Of both files, without their endings.
    pub name: &'static str,
    format: Format,
    gzipped: bool,
    packets: Vec<Packet>,
    expected: Expected,
}

/// Returns all captures.
#[must_use]
pub fn all() -> Vec<Capture> {
    [beacons::all(), ordinary::all(), formats::all(), shells::all()].concat()
}

/// Returns what the folder must hold, by file name: each capture, and its sidecar.
#[must_use]
pub fn files() -> BTreeMap<String, Vec<u8>> {
    all().iter().flat_map(|capture| [(capture.file_name(), capture.file()), capture.sidecar()]).collect()
}

/// Writes all files to `folder`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, bytes) in files() {
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Compares `folder` with what it must hold; returns a line for each difference. A README may be there.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn differences(folder: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let wanted = files();
    for (name, bytes) in &wanted {
        match std::fs::read(folder.join(name)) {
            Ok(there) if there == *bytes => {}
            Ok(_) => lines.push(format!("{name} differs from what its generator makes")),
            Err(e) => lines.push(format!("{name}: {e}")),
        }
    }
    let there = file_names(folder)?;
    let strange = there.iter().filter(|name| !wanted.contains_key(*name) && *name != "README.md");
    lines.extend(strange.map(|name| format!("{name} is made by no generator")));
    Ok(lines)
}

/// Returns the names of captures without a sidecar and of sidecars without a capture.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn orphans(folder: &Path) -> Result<Vec<String>> {
    let names = file_names(folder)?;
    let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let is_sidecar = |name: &&String| name.ends_with(".toml");
    let sidecars: BTreeSet<String> = names.iter().filter(is_sidecar).map(|name| stem(name)).collect();
    let captures: BTreeSet<String> =
        names.iter().filter(|name| name.contains(".pcap")).map(|name| stem(name)).collect();
    Ok(sidecars.symmetric_difference(&captures).cloned().collect())
}

fn file_names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

impl Capture {
    fn new(name: &'static str, format: Format, packets: Vec<Packet>, expected: Expected) -> Self {
        let snaplen = format.snaplen as usize;
        let packets = packets.into_iter().map(|packet| packet.snap(snaplen)).collect();
        Self { name, format, gzipped: false, packets, expected }
    }

    fn gzipped(self) -> Self {
        Self { gzipped: true, ..self }
    }

    /// Returns the name of the capture's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let gz = if self.gzipped { ".gz" } else { "" };
        format!("{}.{}{gz}", self.name, self.format.ending())
    }

    /// Returns what was captured, for tests that need packets and no file.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Returns the LINKTYPE number of the packets.
    #[must_use]
    pub fn link_type(&self) -> u16 {
        self.format.link_type
    }

    /// Returns the capture's file.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let file = self.format.write(&self.packets);
        if self.gzipped { gzip(&file) } else { file }
    }

    fn sidecar(&self) -> (String, Vec<u8>) {
        let bytes: usize = self.packets.iter().map(|packet| packet.length).sum();
        let text = self.expected.to_toml(&self.file_name(), self.packets.len(), bytes);
        (format!("{}.toml", self.name), text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_stay_small_enough_to_ship() {
        let files = files();

        for (name, bytes) in &files {
            assert!(bytes.len() < 200_000, "{name}: {}", bytes.len());
        }
        let all: usize = files.values().map(Vec::len).sum();
        assert!(all < 1_500_000, "{all}");
    }

    #[test]
    fn a_capture_is_the_same_every_time() {
        assert_eq!(files(), files());
    }

    #[test]
    fn names_are_taken_once() {
        let names: BTreeSet<_> = all().iter().map(|capture| capture.name).collect();

        assert_eq!(names.len(), all().len());
    }
}
