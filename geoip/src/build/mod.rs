//! MMDB files from CSV.
//!
//! Rows say `start,end,…` or `network,…`; see [`rows`] for the columns. The same rows, build time and kind give the
//! same bytes. Records are flat: `country_code`, `autonomous_system_number`, `autonomous_system_organization`.

mod csv;
pub(crate) mod encode;
mod ranges;
mod rows;
mod trie;
mod write;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use netd_engine::region::Region;

use crate::Kind;

pub use write::write;

/// Most rows of a file, and most nodes of a tree (8 bytes each on disk, 16 in memory).
const MAX_ROWS: usize = 1 << 24;
const MAX_NODES: usize = 1 << 26;

/// How a database is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What is taken from the rows; `None`: all they have.
    pub kind: Option<Kind>,
    /// Build time written to the metadata, Unix time in seconds.
    pub build_epoch: u64,
}

/// A database that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub bytes: Vec<u8>,
    /// Rows with data, and rows without: unrouted, unknown, or reserved.
    pub rows: usize,
    pub empty_rows: usize,
    /// The first and last address of each row with data, and what its record says: what a look-up must give.
    pub(crate) expected: Vec<(std::ops::RangeInclusive<u128>, Region)>,
}

/// Why no database could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {what}", path.display())]
    Line { path: PathBuf, line: u64, what: csv::Flaw },
    #[error("{}:{line}: {column} {got:?} is not {wanted}", path.display())]
    Field { path: PathBuf, line: u64, column: &'static str, got: String, wanted: &'static str },
    #[error("{}:{line}: {what}", path.display())]
    Columns { path: PathBuf, line: u64, what: String },
    #[error("{}:{second}: its addresses overlap those of line {first}", path.display())]
    Overlap { path: PathBuf, first: u64, second: u64 },
    #[error("{} has no row with {wanted}", path.display())]
    Nothing { path: PathBuf, wanted: &'static str },
    #[error("{} has more than {MAX_ROWS} rows", path.display())]
    TooManyRows { path: PathBuf },
    #[error("{} gives a tree of more than {MAX_NODES} nodes", path.display())]
    TooManyNodes { path: PathBuf },
    #[error("the database made from {} does not read back: {source}", path.display())]
    ReadBack { path: PathBuf, source: crate::Error },
    #[error("the database made from {} gives another answer for {address} than its row", path.display())]
    Differs { path: PathBuf, address: std::net::IpAddr },
}

/// Makes a database from CSV; `path` is what errors call the input.
///
/// # Errors
/// When a row cannot be read, overlaps another, or there is none with data. The error names file, line and column.
pub fn build(input: impl BufRead, path: &Path, options: &Options) -> Result<Built, Error> {
    let mut table = rows::read(input, path, options.kind)?;
    if table.ranges.is_empty() {
        let wanted = options.kind.map_or("countries or AS numbers", Kind::plural);
        return Err(Error::Nothing { path: path.to_owned(), wanted });
    }
    table.ranges.sort_unstable_by_key(|range| (range.first, range.line));
    if let Some([first, second]) = table.ranges.windows(2).find_map(|pair| match pair {
        [a, b] if b.first <= a.last => Some([a.line.min(b.line), a.line.max(b.line)]),
        _ => None,
    }) {
        return Err(Error::Overlap { path: path.to_owned(), first, second });
    }
    let ipv6 = table.ranges.last().is_some_and(|range| range.last > u128::from(u32::MAX));
    let bits = if ipv6 { 128 } else { 32 };
    let mut trie = trie::Trie::new();
    for prefix in ranges::merged(&table.ranges).flat_map(|range| ranges::prefixes(range, bits)) {
        trie.insert(&prefix, bits).map_err(|_| Error::TooManyNodes { path: path.to_owned() })?;
    }
    let bytes = encode::database(&trie, &table.regions, ipv6, options.build_epoch);
    let expected =
        table.ranges.iter().map(|range| (range.first..=range.last, table.regions[range.region as usize].clone()));
    Ok(Built { bytes, rows: table.ranges.len(), empty_rows: table.empty, expected: expected.collect() })
}

#[cfg(test)]
mod tests;
