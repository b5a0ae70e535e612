//! Alpine's database: one text file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::{Error, index::Builder, is_absent};

pub(super) const PATHS: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

const MAX_DATABASE: u64 = 256 * 1024 * 1024;

/// Reads lines of a letter and a value: a package (`P`), a directory of it (`F`), a file in that (`R`).
pub(super) fn read(root: &Path, index: &mut Builder) -> Result<(), Error> {
    let Some(path) = PATHS.iter().map(|path| root.join(path)).find(|path| path.exists()) else { return Ok(()) };
    let failed = |source| Error::Read { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let mut directory = Vec::new();
    for line in BufReader::new(file.take(MAX_DATABASE)).split(b'\n') {
        let line = line.map_err(failed)?;
        match line.as_slice() {
            [b'P', b':', name @ ..] => index.package(&String::from_utf8_lossy(name)),
            [b'F', b':', name @ ..] => directory = [b"/", name].concat(),
            [b'R', b':', name @ ..] if directory.len() > 1 => {
                index.file(&[&directory, b"/".as_slice(), name].concat())?
            }
            [b'R', b':', name @ ..] => index.file(&[b"/", name].concat())?,
            _ => {}
        }
    }
    Ok(())
}
