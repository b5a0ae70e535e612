//! The two generations of listed hosts and prefixes: one answers, the other is filled, one word swaps them.
//!
//! ```text
//! BLOCK_HOSTS     [0] -> hash (pinned BLOCK_HOSTS_0)     [1] -> none, or the one being made
//! BLOCK_PREFIXES  [0] -> trie (pinned BLOCK_PREFIXES_0)  [1] -> likewise
//! ```
//! Order of a swap: inner maps into the outer ones, pins, `Control::lists`. A daemon that dies anywhere in between leaves
//! the generation that `Control::lists` names, whole; its successor clears the other away.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
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

/// The generation that answers, and the one being filled.
#[derive(Debug)]
pub(super) struct Lists {
    outer: Outer,
    homes: Homes,
    limits: Limits,
    steering: Steering,
    present: Generation,
    coming: Option<Generation>,
}

/// One generation's inner maps.
#[derive(Debug)]
pub(super) struct Generation {
    number: u32,
    pub(super) hosts: Table<Address, u32>,
    pub(super) prefixes: Table<Prefix, u32>,
}

impl Generation {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

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
        let lists = Self { outer, homes, limits, steering, present, coming: None };
        lists.clear_away(1 - number);
        Ok(lists)
    }

    pub(super) const fn present(&self) -> &Generation {
        &self.present
    }

    /// Returns the generation being filled.
    pub(super) const fn coming(&self) -> Option<&Generation> {
        self.coming.as_ref()
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes an empty generation with room for so many. Nothing is changed for packets.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] before anything is made, [`Error::MapFull`] when the kernel itself refuses.
    pub(super) fn begin(&mut self, hosts: u64, prefixes: u64) -> Result<(), Error> {
        self.abandon();
        let room = room_for(hosts, self.limits.hosts);
        let needed = hosts_bytes(room) + prefixes_bytes(prefixes);
        if let Some(available) = memory::available()
            && available < needed + RESERVE
        {
            let (needed, available) = ((needed + RESERVE) >> 20, available >> 20);
            return Err(Error::NoMemory { name: maps::BLOCK_HOSTS, wanted: hosts + prefixes, needed, available });
        }
        let number = 1 - self.present.number;
        let (hosts, prefixes) = (make_hosts(room)?, make_prefixes(self.limits.prefixes)?);
        self.coming = Some(Generation { number, hosts, prefixes });
        Ok(())
    }

    /// Lets the generation being filled answer from here on. Returns when no packet is judged by the former one.
    ///
    /// # Errors
    ///
    /// Before the swap; the former generation then goes on answering.
    pub(super) fn swap(&mut self) -> Result<(), Error> {
        let Some(coming) = self.coming.take() else { return Ok(()) };
        let at = coming.number as usize;
        let installed = self
            .outer
            .install(&coming)
            .and_then(|()| pin(&coming.hosts, &self.homes.hosts[at]))
            .and_then(|()| pin(&coming.prefixes, &self.homes.prefixes[at]))
            .and_then(|()| self.steering.update(|control| control.lists = coming.number));
        if let Err(error) = installed {
            self.clear_away(coming.number);
            return Err(error);
        }
        let former = std::mem::replace(&mut self.present, coming);
        self.steering.bump_generation()?;
        // A program may have read the former number and not yet its tables: the kernel waits for such programs after a
        // write to an outer map, not before. So one is written that changes nothing.
        self.outer.install(&self.present)?;
        self.clear_away(former.number);
        // One of those programs may have remembered its answer under the new number.
        self.steering.bump_generation()
    }

    /// Pins the generation that answers where somebody has unpinned it; returns how many pins were gone. Without them a
    /// successor would begin with empty lists.
    ///
    /// # Errors
    ///
    /// When it cannot be pinned.
    pub(super) fn restore_pins(&self) -> Result<u64, Error> {
        let at = self.present.number as usize;
        let mut restored = 0;
        for (map, home) in [
            (self.present.hosts.as_fd(), &self.homes.hosts[at]),
            (self.present.prefixes.as_fd(), &self.homes.prefixes[at]),
        ] {
            if !home.exists() {
                pin(&map, home)?;
                restored += 1;
            }
        }
        Ok(restored)
    }

    /// Gives up the generation being filled.
    pub(super) fn abandon(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.clear_away(coming.number);
        }
    }

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
