//! An rpm header: tags with arrays, of which a package's name and its files are read.
//!
//! ```text
//! u32 entries, u32 bytes, entries * { u32 tag, u32 type, u32 offset, u32 count }, bytes
//! ```
//!
//! All big-endian. A path is a base name behind one of the directories.

/// `RPMTAG_NAME`, and the three arrays that make paths.
const NAME: u32 = 1_000;
const DIRECTORY_INDEXES: u32 = 1_116;
const BASE_NAMES: u32 = 1_117;
const DIRECTORIES: u32 = 1_118;

/// rpm's own limits.
const MAX_ENTRIES: usize = 65_535;
const MAX_FILES: usize = 1_000_000;

/// A package of the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) files: Vec<Vec<u8>>,
}

struct Header<'a> {
    entries: &'a [[u8; 16]],
    data: &'a [u8],
}

/// Reads a header; `None` when its lengths do not fit or it has no name.
pub(super) fn package(blob: &[u8]) -> Option<Package> {
    let (entries, rest) = number(blob)?;
    let (length, rest) = number(rest)?;
    let entries = (entries as usize <= MAX_ENTRIES).then_some(entries as usize)?;
    let (entries, data) = rest.split_at_checked(entries * 16)?;
    let header = Header { entries: entries.as_chunks().0, data: data.get(..length as usize)? };
    let name = String::from_utf8_lossy(header.strings(NAME)?.next()?).into_owned();
    Some(Package { name, files: header.files().unwrap_or_default() })
}

impl<'a> Header<'a> {
    fn files(&self) -> Option<Vec<Vec<u8>>> {
        let directories: Vec<&[u8]> = self.strings(DIRECTORIES)?.collect();
        let (at, count) = self.find(DIRECTORY_INDEXES)?;
        let (indexes, _) = at.get(..count.checked_mul(4)?)?.as_chunks::<4>();
        let paths = self.strings(BASE_NAMES)?.zip(indexes).map(|(name, index)| {
            let directory = directories.get(u32::from_be_bytes(*index) as usize)?;
            Some([directory, name].concat())
        });
        Some(paths.flatten().collect())
    }

    /// Iterates over an array of strings, each with a zero behind it.
    fn strings(&self, tag: u32) -> Option<impl Iterator<Item = &'a [u8]>> {
        let (at, count) = self.find(tag)?;
        Some(at.split(|byte| *byte == 0).take(count))
    }

    /// Returns the data from where a tag's array begins, and how many it has.
    fn find(&self, tag: u32) -> Option<(&'a [u8], usize)> {
        let entry = self.entries.iter().find(|entry| entry.starts_with(&tag.to_be_bytes()))?;
        let (offset, rest) = number(entry.get(8..)?)?;
        let (count, _) = number(rest)?;
        Some((self.data.get(offset as usize..)?, (count as usize).min(MAX_FILES)))
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*first), rest))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a header with some files, each a directory and a base name.
    pub(crate) fn written(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut data = Vec::new();
        let mut push = |tag: u32, kind: u32, count: usize, bytes: &[u8]| {
            while kind == 4 && data.len() % 4 != 0 {
                data.push(0);
            }
            for number in [tag, kind, data.len() as u32, count as u32] {
                entries.extend_from_slice(&number.to_be_bytes());
            }
            data.extend_from_slice(bytes);
        };
        let strings =
            |strings: Vec<&str>| strings.iter().flat_map(|s| [s.as_bytes(), b"\0"].concat()).collect::<Vec<_>>();
        let indexes: Vec<u8> = (0..files.len() as u32).flat_map(u32::to_be_bytes).collect();
        push(NAME, 6, 1, &strings(vec![name]));
        push(DIRECTORY_INDEXES, 4, files.len(), &indexes);
        push(BASE_NAMES, 8, files.len(), &strings(files.iter().map(|(_, base)| *base).collect()));
        push(DIRECTORIES, 8, files.len(), &strings(files.iter().map(|(directory, _)| *directory).collect()));
        let lengths = [(entries.len() / 16) as u32, data.len() as u32].map(u32::to_be_bytes).concat();
        [lengths, entries, data].concat()
    }

    #[test]
    fn a_headers_files_are_its_base_names_in_their_directories() {
        let blob = written("bash", &[("/usr/bin/", "bash"), ("/etc/", "bashrc")]);

        let files = vec![b"/usr/bin/bash".to_vec(), b"/etc/bashrc".to_vec()];
        assert_eq!(package(&blob), Some(Package { name: "bash".into(), files }));
    }

    #[test]
    fn a_package_without_files_has_none() {
        assert_eq!(package(&written("gpg-pubkey", &[])).unwrap().files, Vec::<Vec<u8>>::new());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = package(&bytes);
        }

        #[test]
        fn no_damage_makes_the_reader_panic(at in 0_usize..400, byte in any::<u8>()) {
            let mut blob = written("bash", &[("/usr/bin/", "bash"), ("/etc/", "bashrc")]);
            let at = at % blob.len();
            blob[at] = byte;
            let _ = package(&blob);
        }
    }
}
