//! Why history could not be written or read.

use std::io;
use std::path::{Path, PathBuf};

/// An error about one file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Sqlite { attempt: &'static str, path: PathBuf, source: rusqlite::Error },
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is of version {version}, this netd reads {reads}", path.display())]
    Version { path: PathBuf, version: i64, reads: i64 },
    #[error("{} is no file of netd's; move it elsewhere", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot write a finding as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("the question took too long; a shorter period, or a field with an index (ip, port, proc, name) narrows it")]
    Late,
    #[error("there are more than {limit} groups; a shorter period or a filter narrows it")]
    TooManyGroups { limit: usize },
}

impl Error {
    pub(super) fn sqlite(attempt: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::Late,
            Some(_) | None => Self::Sqlite { attempt, path, source },
        }
    }

    pub(super) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { attempt, path, source }
    }

    /// Returns whether the file itself is broken, so that trying again cannot help.
    pub(super) fn is_damage(&self) -> bool {
        let Self::Sqlite { source, .. } = self else { return false };
        matches!(
            source.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        )
    }
}
