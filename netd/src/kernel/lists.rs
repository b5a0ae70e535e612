//! The two generations of listed hosts and prefixes: one answers, the other is filled, one word swaps them.
//!
//! ```text
//! BLOCK_HOSTS     [0] -> hash (pinned BLOCK_HOSTS_0)     [1] -> none, or the one being made
//! BLOCK_PREFIXES  [0] -> trie (pinned BLOCK_PREFIXES_0)  [1] -> likewise
//! ```
//! Order of a swap: inner maps into the outer ones, pins, `Control::lists`. A daemon that dies anywhere in between leaves
//! the generation that `Control::lists` names, whole; its successor clears the other away. A write to an outer map waits for
//! the programs at it, so only the write to `Control` is the service's; all before and after is for any thread.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use netd_common::{
    key::Address,
    names::maps,
    verdict::{FRONT_WORDS, GENERATIONS, Prefix},
};

use super::{
    Error, Steering,
    load::{HASH, LPM_TRIE},
    pins::{Pins, open_pin},
    sys::{self, MapShape},
    table::{Plain, Table},
};
use crate::host::memory;

/// `BPF_F_NO_PREALLOC`: there are no other tries.
const NO_PREALLOC: u32 = 1;

/// Hosts that a hash has room for at least.
const LEAST_ROOM: u32 = 1 << 16;

/// What is left to everybody else when a generation is made.
const RESERVE: u64 = 32 << 20;

/// Most entries there can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) hosts: u32,
    pub(super) prefixes: u32,
}

/// The outer maps.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) hosts: OwnedFd,
    pub(super) prefixes: OwnedFd,
}

/// Where each generation's inner maps are pinned.
#[derive(Debug)]
pub(super) struct Homes {
    hosts: [PathBuf; GENERATIONS as usize],
    prefixes: [PathBuf; GENERATIONS as usize],
}

impl Homes {
    pub(super) fn of(pins: &Pins) -> Self {
        let homes = |name: &str| [0, 1].map(|generation| pins.map(&format!("{name}_{generation}")));
        Self { hosts: homes(maps::BLOCK_HOSTS), prefixes: homes(maps::BLOCK_PREFIXES) }
    }
}

/// The generation that answers.
#[derive(Debug)]
pub(super) struct Lists {
    places: Arc<Places>,
    limits: Limits,
    steering: Steering,
    present: Generation,
}

/// Where generations are put.
#[derive(Debug)]
struct Places {
    outer: Outer,
    homes: Homes,
}

/// A generation that does not answer yet.
#[derive(Debug)]
pub(super) struct Coming {
    places: Arc<Places>,
    limits: Limits,
    number: u32,
    generation: Option<Generation>,
    is_ready: bool,
}

/// A generation that was replaced.
#[derive(Debug)]
pub(super) struct Former {
    places: Arc<Places>,
    steering: Steering,
    generation: Generation,
}

/// One generation's inner maps.
#[derive(Debug)]
pub(super) struct Generation {
    number: u32,
    pub(super) hosts: Table<Address, u32>,
    pub(super) prefixes: Table<Prefix, u32>,
}

impl Generation {
    /// Returns where a word of this generation's front lies in `FRONT`.
    pub(super) const fn front_word(&self, word: u32) -> u32 {
        self.number * FRONT_WORDS + word
    }
}

impl Lists {
    /// Takes over the generation that a former run left, or makes the first.
    ///
    /// # Errors
    ///
    /// When another version's maps are pinned, or there is no memory for the first.
    pub(super) fn open(outer: Outer, homes: Homes, limits: Limits, steering: Steering) -> Result<Self, Error> {
        let number = steering.current().lists & 1;
        let at = number as usize;
        let hosts = match open_pin(&homes.hosts[at])? {
            Some(map) => Table::open(maps::BLOCK_HOSTS, map)?,
            None => pinned(make_hosts(LEAST_ROOM.min(limits.hosts))?, &homes.hosts[at])?,
        };
        let prefixes = match open_pin(&homes.prefixes[at])? {
            Some(map) => Table::open(maps::BLOCK_PREFIXES, map)?,
            None => pinned(make_prefixes(limits.prefixes)?, &homes.prefixes[at])?,
        };
        let present = Generation { number, hosts, prefixes };
        outer.install(&present)?;
        let places = Arc::new(Places { outer, homes });
        places.clear_away(1 - number);
        Ok(Self { places, limits, steering, present })
    }

    pub(super) const fn present(&self) -> &Generation {
        &self.present
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the generation beside the present one, yet to be made.
    pub(super) fn coming(&self) -> Coming {
        let (places, number) = (Arc::clone(&self.places), 1 - self.present.number);
        Coming { places, limits: self.limits, number, generation: None, is_ready: false }
    }

    /// Lets a generation that is ready answer from here on; one that was never made changes nothing.
    ///
    /// # Errors
    ///
    /// The former generation then goes on answering.
    pub(super) fn swap(&mut self, mut coming: Coming) -> Result<Option<Former>, Error> {
        let number = coming.number;
        let Some(generation) = coming.generation.take() else { return Ok(None) };
        self.steering.update(|control| control.lists = number)?;
        coming.is_ready = false;
        let generation = std::mem::replace(&mut self.present, generation);
        if let Err(error) = self.steering.bump_generation() {
            // What retires the former generation does the same once more.
            tracing::warn!(%error, "flows keep what they know of the former lists a moment longer");
        }
        Ok(Some(Former { places: Arc::clone(&self.places), steering: self.steering.clone(), generation }))
    }

    /// Pins the generation that answers where somebody has unpinned it; returns how many pins were gone. Without them a
    /// successor would begin with empty lists.
    ///
    /// # Errors
    ///
    /// When it cannot be pinned.
    pub(super) fn restore_pins(&self) -> Result<u64, Error> {
        let (homes, at) = (&self.places.homes, self.present.number as usize);
        let mut restored = 0;
        for (map, home) in
            [(self.present.hosts.as_fd(), &homes.hosts[at]), (self.present.prefixes.as_fd(), &homes.prefixes[at])]
        {
            if !home.exists() {
                pin(&map, home)?;
                restored += 1;
            }
        }
        Ok(restored)
    }
}

impl Coming {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Returns its inner maps once they are made.
    pub(super) const fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// Makes empty inner maps with room for so many. Nothing is changed for packets.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] before anything is made, [`Error::MapFull`] when the kernel itself refuses.
    pub(super) fn make(&mut self, hosts: u64, prefixes: u64) -> Result<(), Error> {
        let room = room_for(hosts, self.limits.hosts);
        let needed = hosts_bytes(room) + prefixes_bytes(prefixes);
        if let Some(available) = memory::available()
            && available < needed + RESERVE
        {
            let (needed, available) = ((needed + RESERVE) >> 20, available >> 20);
            return Err(Error::NoMemory { name: maps::BLOCK_HOSTS, wanted: hosts + prefixes, needed, available });
        }
        let (hosts, prefixes) = (make_hosts(room)?, make_prefixes(self.limits.prefixes)?);
        self.generation = Some(Generation { number: self.number, hosts, prefixes });
        Ok(())
    }

    /// Puts the inner maps where programs look once `Control::lists` names them, and pins them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; dropping it undoes what was done.
    pub(super) fn ready(&mut self) -> Result<(), Error> {
        let Some(generation) = &self.generation else { return Ok(()) };
        let Places { outer, homes } = &*self.places;
        let at = self.number as usize;
        self.is_ready = true;
        outer.install(generation)?;
        pin(&generation.hosts, &homes.hosts[at])?;
        pin(&generation.prefixes, &homes.prefixes[at])
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if self.is_ready {
            self.places.clear_away(self.number);
        }
    }
}

impl Former {
    /// Waits until no packet is judged by it, and clears it away.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; the present generation answers all the same.
    pub(super) fn retire(self) -> Result<(), Error> {
        // A program may have read the former number and not yet its tables: the kernel waits for such programs after a
        // write to an outer map, not before. So one is written that changes nothing.
        self.places.outer.install(&self.generation)?;
        self.places.clear_away(self.generation.number);
        // One of those programs may have remembered its answer under the new number.
        self.steering.bump_generation()
    }
}

impl Places {
    /// Removes what is left of a generation that does not answer.
    fn clear_away(&self, number: u32) {
        for (outer, home) in [
            (&self.outer.hosts, &self.homes.hosts[number as usize]),
            (&self.outer.prefixes, &self.homes.prefixes[number as usize]),
        ] {
            // SAFETY: the outer maps are arrays, whose keys are four bytes.
            let cleared = unsafe { sys::delete(outer, &number.to_ne_bytes()) }.map(drop);
            if let Err(error) = cleared.and_then(|()| unpin(home)) {
                // Its memory is held a little longer; nothing reads it.
                tracing::warn!(%error, pin = %home.display(), "cannot clear a former generation of lists away");
            }
        }
    }
}

impl Outer {
    fn install(&self, generation: &Generation) -> Result<(), Error> {
        put(&self.hosts, maps::BLOCK_HOSTS, generation.number, &generation.hosts)?;
        put(&self.prefixes, maps::BLOCK_PREFIXES, generation.number, &generation.prefixes)
    }
}

fn put(outer: &OwnedFd, name: &'static str, number: u32, inner: &impl AsFd) -> Result<(), Error> {
    use std::os::fd::AsRawFd as _;
    let inner = inner.as_fd().as_raw_fd();
    // SAFETY: the outer maps are arrays of maps: keys of four bytes, a descriptor as the value.
    unsafe { sys::update(outer, &number.to_ne_bytes(), &inner.to_ne_bytes()) }.map_err(|source| Error::Map {
        doing: "putting a generation into",
        name,
        source,
    })
}

fn pinned<K, V>(map: Table<K, V>, home: &Path) -> Result<Table<K, V>, Error> {
    pin(&map, home)?;
    Ok(map)
}

/// Pins a map in the place of whatever is pinned there.
fn pin(map: &impl AsFd, home: &Path) -> Result<(), Error> {
    unpin(home).and_then(|()| sys::object_pin(map, home)).map_err(|source| Error::Pin {
        doing: "make",
        path: home.to_owned(),
        source,
    })
}

fn unpin(home: &Path) -> io::Result<()> {
    match fs::remove_file(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A hash allocated as a whole: memory is refused here or not at all.
fn make_hosts(room: u32) -> Result<Table<Address, u32>, Error> {
    make(maps::BLOCK_HOSTS, HASH, room, 0)
}

/// A trie takes memory when it is filled.
fn make_prefixes(limit: u32) -> Result<Table<Prefix, u32>, Error> {
    make(maps::BLOCK_PREFIXES, LPM_TRIE, limit, NO_PREALLOC)
}

fn make<K: Plain>(name: &'static str, map_type: u32, max_entries: u32, flags: u32) -> Result<Table<K, u32>, Error> {
    let shape = MapShape { map_type, key_size: size_of::<K>(), value_size: size_of::<u32>(), max_entries, flags };
    let map = sys::map_create(name, shape).map_err(|source| Error::MapFull { name, capacity: max_entries, source })?;
    Table::open(name, map)
}

/// Returns the size of a hash that is to hold so many: a quarter more, so that single verdicts and small changes find
/// room in it.
fn room_for(hosts: u64, limit: u32) -> u32 {
    let wanted = hosts + (hosts / 4).max(u64::from(LEAST_ROOM / 2));
    u32::try_from(wanted).unwrap_or(u32::MAX).max(LEAST_ROOM).min(limit)
}

/// Returns the memory of a hash of so many: 48 bytes of the kernel's beside key and value, and 16 for each bucket.
fn hosts_bytes(room: u32) -> u64 {
    const ELEMENT: u64 = 48 + size_of::<Address>() as u64 + 8;
    u64::from(room) * ELEMENT + u64::from(room).next_power_of_two() * 16
}

/// Returns the most memory a trie of so many takes: a node each of 64 bytes, and nearly as many between them.
const fn prefixes_bytes(prefixes: u64) -> u64 {
    prefixes * 2 * 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_a_quarter_to_spare_within_the_limit() {
        assert_eq!(room_for(0, 1 << 24), LEAST_ROOM);
        assert_eq!(room_for(1_000_000, 1 << 24), 1_250_000);
        assert_eq!(room_for(1_000_000, 1_100_000), 1_100_000);
        assert_eq!(room_for(u64::MAX / 2, 4_096), 4_096);
    }

    #[test]
    fn ten_million_hosts_take_about_a_gigabyte() {
        let gigabytes = hosts_bytes(room_for(10_000_000, 1 << 24)) as f64 / 1e9;

        assert!((1.0..1.3).contains(&gigabytes), "{gigabytes}");
    }
}
