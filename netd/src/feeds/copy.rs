//! The last good copy of a feed, and what is known of it.

use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::disk::{Error, File, StateDir};
use crate::verdicts::blocklist::ListName;

/// What is known of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where it came from: of another place neither tag nor date say anything.
    pub url: String,
    pub etag: Option<String>,
    pub modified: Option<String>,
    pub serial: Option<u64>,
    pub entries: u64,
    /// When it was last found to be the present one.
    pub fetched: Timestamp,
}

/// A copy with its content, without the signed first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub head: Head,
    pub content: Vec<u8>,
}

/// Reads a feed's copy; a damaged one is set aside, and there is none.
#[must_use]
pub fn read(disk: &StateDir, feed: &ListName) -> Option<Copy> {
    disk.read_or_set_aside(File::Feed(feed), |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, content) = bytes.split_at(end);
        Some(Copy { head: serde_json::from_slice(head).ok()?, content: content.get(1..)?.to_vec() })
    })
}

/// Replaces a feed's copy.
///
/// # Errors
/// When it cannot be written.
pub fn write(disk: &StateDir, feed: &ListName, copy: &Copy) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec(&copy.head)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&copy.content);
    disk.write(File::Feed(feed), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = StateDir::open(folder.path()).unwrap();
        let feed = "drop".parse().unwrap();
        let head = Head { url: "https://x.example/".into(), serial: Some(7), entries: 1, ..Head::default() };
        let copy = Copy { head, content: b"192.0.2.1\n\n".to_vec() };

        assert_eq!(read(&disk, &feed), None);
        write(&disk, &feed, &copy).unwrap();

        assert_eq!(read(&disk, &feed), Some(copy));
    }
}
