//! Files made here byte by byte, and those of `shared/geoip` beside the project, left out where they are absent.

mod databases;
mod files;
mod layouts;

use std::path::{Path, PathBuf};

use crate::Database;
use crate::build::encode;

/// A file with a search tree of 24-bit records and a data section. Record numbers from `nodes.len()` on are as in the
/// format: that number itself is "no data", 16 more is the data section's first byte.
fn file(nodes: &[[usize; 2]], data: &[u8], ipv6: bool) -> Vec<u8> {
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        file.extend(&u32::try_from(*record).unwrap().to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(encode::METADATA);
    encode::metadata(&mut file, &[], nodes.len(), 24, ipv6, 1_767_225_600);
    file
}

/// An IPv4 file in which every address has the same record.
fn file_of(record: &[u8]) -> Vec<u8> {
    file(&[[17, 17]], record, false)
}

fn database(bytes: Vec<u8>) -> Result<Database, crate::Error> {
    Database::from_bytes(bytes, Path::new("test.mmdb"))
}

/// The folder of test databases of the format's authors, if it is there: `NETD_GEOIP`, or beside the project.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/geoip");
    let folder = std::env::var_os("NETD_GEOIP").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("left out: no test databases (name their folder in NETD_GEOIP)");
        return None;
    }
    Some(folder)
}
