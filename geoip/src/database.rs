//! One MMDB file, read into memory and verified.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use maxminddb::{Reader, WithinOptions};
use netd_engine::region::Region;

use crate::record::Record;
use crate::{Error, Kind, tree};

/// Largest file, bytes. Country and ASN files have 4 to 20 MB, city files up to 150 MB.
pub const MAX_FILE: u64 = 256 << 20;
/// Records looked at to learn a file's layout, and networks passed on the way to them.
const SAMPLED_RECORDS: usize = 1_024;
const SAMPLED_NETWORKS: usize = 65_536;

/// A verified database in memory.
#[derive(Debug)]
pub struct Database {
    reader: Reader<Vec<u8>>,
    info: Info,
}

/// What a database says of itself, and what was found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub path: PathBuf,
    /// The maker's name for it: `GeoLite2-Country`.
    pub database_type: String,
    /// When it was built, Unix time in seconds.
    pub build_epoch: u64,
    /// 4 or 6.
    pub ip_version: u16,
    /// Networks with data.
    pub networks: u64,
    pub nodes: u32,
    /// Bits: 24, 28 or 32.
    pub record_size: u16,
    /// Size of the file, bytes.
    pub bytes: u64,
    pub layout: Layout,
    /// The fields that are read.
    pub fields: Vec<&'static str>,
    /// Which questions it answers.
    pub kinds: Vec<Kind>,
}

/// How records hold a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `country_code`, and every file with AS numbers only.
    Flat,
    /// `country.iso_code`.
    Nested,
}

impl Layout {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Nested => "nested",
        }
    }
}

impl Info {
    /// Returns how old the database is, seconds; 0 when it is from the future.
    #[must_use]
    pub const fn age_s(&self, now_s: u64) -> u64 {
        now_s.saturating_sub(self.build_epoch)
    }
}

impl Database {
    /// Reads a file and verifies all of it.
    ///
    /// # Errors
    /// When it cannot be read, is too large, changes meanwhile, is damaged, or holds nothing that is asked for.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_at(path).map(|(database, _)| database)
    }

    /// The same, and what the file was when it was read.
    pub(crate) fn open_at(path: &Path) -> Result<(Self, Stamp), Error> {
        let (bytes, stamp) = read(path)?;
        Self::from_bytes(bytes, path).map(|database| (database, stamp))
    }

    /// Verifies what was read; `path` is what errors call it.
    ///
    /// # Errors
    /// When it is damaged, or holds nothing that is asked for.
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self, Error> {
        let invalid = |source| Error::Invalid { path: path.to_owned(), source };
        let size = bytes.len() as u64;
        let networks = {
            let reader = Reader::from_source(bytes.as_slice()).map_err(invalid)?;
            tree::check(&bytes, reader.metadata()).map_err(|flaw| Error::Tree { path: path.to_owned(), flaw })?
        };
        let reader = Reader::from_source(bytes).map_err(invalid)?;
        reader.verify().map_err(invalid)?;
        let metadata = reader.metadata();
        let (fields, nested, kinds) = sample(&reader).map_err(invalid)?;
        if kinds.is_empty() {
            let database_type = shown(&metadata.database_type);
            return Err(Error::Nothing { path: path.to_owned(), database_type });
        }
        let info = Info {
            path: path.to_owned(),
            database_type: shown(&metadata.database_type),
            build_epoch: metadata.build_epoch,
            ip_version: metadata.ip_version,
            networks,
            nodes: metadata.node_count,
            record_size: metadata.record_size,
            bytes: size,
            layout: if nested { Layout::Nested } else { Layout::Flat },
            fields,
            kinds,
        };
        Ok(Self { reader, info })
    }

    /// Returns what the database says of itself.
    #[must_use]
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Returns what is known of an address. An IPv4-mapped IPv6 address is the IPv4 address.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Region> {
        let address = address.to_canonical();
        if address.is_ipv6() && self.info.ip_version == 4 {
            return None;
        }
        let found = self.reader.lookup(address).ok()?;
        if !found.has_data() {
            return None;
        }
        // In a tree without IPv4 the answer can be that of an IPv6 network around `::`, which is none for IPv4.
        if address.is_ipv4() {
            let network = found.network().ok()?;
            if network.is_ipv6() && network.prefix() < 96 {
                return None;
            }
        }
        let record: Record<'_> = found.decode().ok()??;
        Some(record.region()).filter(|region| !region.is_empty())
    }
}

/// What tells whether a file is another than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Returns the file's stamp, or `None` when there is no such file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &fs::Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), modified }
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Stamp), Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    // Asked before opening, because opening a named pipe waits for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let before = Stamp::new(&file.metadata().map_err(failed)?);
    let too_large = |size| Error::Size { path: path.to_owned(), size, limit: MAX_FILE };
    if before.size > MAX_FILE {
        return Err(too_large(before.size));
    }
    let mut bytes = Vec::new();
    let expected = usize::try_from(before.size).unwrap_or_default();
    bytes.try_reserve_exact(expected + 1).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    (&file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large(bytes.len() as u64));
    }
    match Stamp::new(&file.metadata().map_err(failed)?) == before && bytes.len() as u64 == before.size {
        true => Ok((bytes, before)),
        false => Err(Error::Changed { path: path.to_owned() }),
    }
}

type Sample = (Vec<&'static str>, bool, Vec<Kind>);

/// Returns the fields that records hold, whether their country is nested, and what can be asked for.
fn sample(reader: &Reader<Vec<u8>>) -> Result<Sample, maxminddb::MaxMindDbError> {
    let (mut fields, mut nested, mut kinds) = (Vec::new(), false, BTreeSet::new());
    let mut seen = HashSet::new();
    for network in reader.networks(WithinOptions::default())?.take(SAMPLED_NETWORKS) {
        let network = network?;
        if seen.len() >= SAMPLED_RECORDS {
            break;
        }
        if !network.offset().is_some_and(|offset| seen.insert(offset)) {
            continue;
        }
        // A record that is no map holds nothing, and says nothing of its neighbours.
        let Ok(Some(record)) = network.decode::<Record<'_>>() else { continue };
        let (names, is_nested) = record.fields();
        nested |= is_nested;
        fields.extend(names.into_iter().filter(|name| !fields.contains(name)).collect::<Vec<_>>());
        let region = record.region();
        kinds.extend(region.country.map(|_| Kind::Country));
        kinds.extend(region.asn.map(|_| Kind::Asn));
    }
    Ok((fields, nested, kinds.into_iter().collect()))
}

/// A text of the file, fit to be printed.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
