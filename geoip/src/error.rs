use std::io;
use std::path::PathBuf;

use maxminddb::MaxMindDbError;

use crate::tree::Flaw;

/// Why a file cannot be used as a database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} has {size} bytes; a database has at most {limit}", path.display())]
    Size { path: PathBuf, size: u64, limit: u64 },
    #[error("{} was written to while it was read", path.display())]
    Changed { path: PathBuf },
    /// Includes half-written files, whose end, where the metadata is, is missing.
    #[error("{} is not a valid MMDB file: {source}", path.display())]
    Invalid { path: PathBuf, source: MaxMindDbError },
    #[error("{} is not a valid MMDB file: {flaw}", path.display())]
    Tree { path: PathBuf, flaw: Flaw },
    #[error("{} holds neither countries nor AS numbers in a known layout (its type is {database_type:?})", path.display())]
    Nothing { path: PathBuf, database_type: String },
    #[error("{} holds no {wanted} (its type is {database_type:?})", path.display())]
    Kind { path: PathBuf, wanted: &'static str, database_type: String },
}
