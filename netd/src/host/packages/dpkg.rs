//! Debian's database: a list of paths for each package, the diversions between them, and the form that images without
//! dpkg have (`status.d`).

use std::{collections::HashMap, fs, fs::File, io::Read as _, path::Path};

use super::{Error, index::Builder, is_absent};

/// What changes whenever a package does.
pub(super) const PATHS: [&str; 4] =
    ["var/lib/dpkg/info", "var/lib/dpkg/status", "var/lib/dpkg/diversions", "var/lib/dpkg/status.d"];

/// Longest list read; the longest of Debian's has some megabytes.
const MAX_LIST: u64 = 32 * 1024 * 1024;

/// Where a diverted path really lies, and the package that keeps the path itself.
type Diversions = HashMap<Vec<u8>, (Vec<u8>, String)>;

pub(super) fn read(root: &Path, index: &mut Builder) -> Result<(), Error> {
    let diversions = root.join("var/lib/dpkg/diversions");
    let diversions = diverted(&bytes(&diversions)?.unwrap_or_default());
    lists(&root.join("var/lib/dpkg/info"), ".list", index, |package, content, index| {
        content.split(|byte| *byte == b'\n').filter(|path| path.len() > 1).try_for_each(|path| {
            let moved = diversions.get(path).filter(|(_, by)| by != package);
            index.file(moved.map_or(path, |(to, _)| to))
        })
    })?;
    // Of `<sum>  usr/bin/true`; beside it lies the package's paragraph under the same name.
    lists(&root.join("var/lib/dpkg/status.d"), ".md5sums", index, |_, content, index| {
        content.split(|byte| *byte == b'\n').filter_map(|line| line.get(34..)).try_for_each(|path| {
            let path = path.strip_prefix(b"./").unwrap_or(path);
            index.file(&[b"/", path].concat())
        })
    })
}

/// Reads all files of a directory that end in `suffix`, named after their package.
fn lists(
    directory: &Path,
    suffix: &str,
    index: &mut Builder,
    mut each: impl FnMut(&str, &[u8], &mut Builder) -> Result<(), Error>,
) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(source) => return Err(Error::Read { path: directory.to_owned(), source }),
    };
    for entry in entries {
        let entry = entry.map_err(|source| Error::Read { path: directory.to_owned(), source })?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(suffix)) else { continue };
        // `libc6:amd64` where packages of several architectures may be installed together.
        let package = name.split(':').next().unwrap_or(name);
        // A package that is removed under our eyes is none.
        let Some(content) = bytes(&entry.path())? else { continue };
        index.package(package);
        each(package, &content, index)?;
    }
    Ok(())
}

/// Reads paragraphs of three lines: the path, where it was moved to, and for whom.
fn diverted(content: &[u8]) -> Diversions {
    let lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
    let (paragraphs, _) = lines.as_chunks::<3>();
    let entry = |[from, to, package]: &[&[u8]; 3]| {
        let package = String::from_utf8_lossy(package);
        (from.to_vec(), (to.to_vec(), package.split(':').next().unwrap_or_default().to_owned()))
    };
    paragraphs.iter().map(entry).collect()
}

/// Reads a file; `None` when it is not there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|file| file.take(MAX_LIST).read_to_end(&mut bytes));
    match result {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}
