//! The databases a daemon holds: replaced while they are asked, and only by good ones.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use netd_engine::region::{Geography, Region};

use crate::database::Stamp;
use crate::{Database, Error, Info, Kind};

/// Where the databases are; one file may answer both questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    pub country: Option<PathBuf>,
    pub asn: Option<PathBuf>,
}

/// An optional database of countries and an optional one of AS numbers.
#[derive(Debug, Default)]
pub struct Databases {
    slots: Vec<Slot>,
}

/// What an attempt to load a file came to.
#[derive(Debug)]
pub struct Loaded {
    pub kind: Kind,
    pub result: Result<Info, Error>,
    /// Whether a database of this kind, read earlier, goes on answering.
    pub kept: bool,
}

/// One database as status and metrics tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub kind: Kind,
    pub path: PathBuf,
    /// The database that answers, if there is one.
    pub info: Option<Info>,
    /// Attempts that failed.
    pub failures: u64,
    /// Why the last attempt failed, unless it succeeded.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    path: PathBuf,
    current: ArcSwapOption<Database>,
    failures: AtomicU64,
    /// Held while the file is read: of two attempts the later one sees the newer file.
    loading: Mutex<()>,
    /// Held for a moment only: status asks while a file is read.
    tried: Mutex<Tried>,
}

/// The last attempt.
#[derive(Debug, Default)]
struct Tried {
    stamp: Option<Stamp>,
    error: Option<String>,
}

impl Databases {
    /// Prepares the databases; nothing is read before [`Self::reload`].
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        let slot = |kind, path: Option<PathBuf>| {
            path.map(|path| Slot {
                kind,
                path,
                current: ArcSwapOption::empty(),
                failures: AtomicU64::new(0),
                loading: Mutex::new(()),
                tried: Mutex::new(Tried::default()),
            })
        };
        let slots = [slot(Kind::Country, paths.country), slot(Kind::Asn, paths.asn)];
        Self { slots: slots.into_iter().flatten().collect() }
    }

    /// Whether no file was named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Reads and verifies every file, and puts the good ones in place. What cannot be used replaces nothing.
    pub fn reload(&self) -> Vec<Loaded> {
        self.slots.iter().map(Slot::load).collect()
    }

    /// The same for files that are others than at the last attempt, by device, inode, size or time of change.
    pub fn reload_changed(&self) -> Vec<Loaded> {
        self.slots.iter().filter(|slot| slot.changed()).map(Slot::load).collect()
    }

    /// Returns what status and metrics tell.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        self.slots.iter().map(Slot::state).collect()
    }

    /// Returns what is known of an address. Each question is answered by its own database, or else by the other.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Region> {
        let mut known = Region::default();
        for slot in &self.slots {
            let Some(region) = slot.current.load().as_ref().and_then(|database| database.lookup(address)) else {
                continue;
            };
            if known.country.is_none() {
                known.country = region.country;
            }
            // A number and a name of different databases may speak of different systems: both come from one.
            if region.asn.is_some() && (known.asn.is_none() || slot.kind == Kind::Asn) {
                known.asn = region.asn;
                known.as_name = region.as_name;
            }
        }
        Some(known).filter(|region| !region.is_empty())
    }
}

impl Geography for Databases {
    fn region(&self, address: IpAddr) -> Option<Region> {
        self.lookup(address)
    }
}

impl Slot {
    fn changed(&self) -> bool {
        Stamp::of(&self.path) != self.tried().stamp
    }

    fn load(&self) -> Loaded {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before reading: what is written meanwhile differs from it, and is read the next time.
        let before = Stamp::of(&self.path);
        let opened = Database::open_at(&self.path).and_then(|(database, stamp)| {
            let info = database.info();
            if !info.kinds.contains(&self.kind) {
                return Err(Error::Kind {
                    path: self.path.clone(),
                    wanted: self.kind.plural(),
                    database_type: info.database_type.clone(),
                });
            }
            Ok((database, stamp))
        });
        let mut stamp = before;
        let result = opened.map(|(database, read)| {
            let info = database.info().clone();
            stamp = Some(read);
            self.current.store(Some(database.into()));
            info
        });
        *self.tried() = Tried { stamp, error: result.as_ref().err().map(ToString::to_string) };
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let kept = result.is_err() && self.current.load().is_some();
        Loaded { kind: self.kind, result, kept }
    }

    fn state(&self) -> State {
        State {
            kind: self.kind,
            path: self.path.clone(),
            info: self.current.load().as_ref().map(|database| database.info().clone()),
            failures: self.failures.load(Ordering::Relaxed),
            error: self.tried().error.clone(),
        }
    }

    /// A panic elsewhere leaves a whole value behind: each field is written at once.
    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
