//! A map's descriptor with the types of its keys and values: the only way this room reads and writes maps.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Error, sys};

/// What may be a key or a value: no padding, every bit pattern valid.
pub(super) trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Plain for T {}

/// Entries a batch carries: large enough that the system call does not count, small enough for 100 KB of buffers.
const BATCH: usize = 4_096;

/// A map of `K` to `V`. For a per-CPU map the values are those of every possible CPU, see [`Table::open_per_cpu`].
#[derive(Debug)]
pub(super) struct Table<K, V> {
    name: &'static str,
    fd: OwnedFd,
    capacity: u32,
    /// Values an entry has: 1, or the number of possible CPUs.
    values: usize,
    types: PhantomData<(K, V)>,
}

/// Where the reading of a map stands; the default is its beginning.
pub(super) use crate::verdicts::Cursor;

impl<K: Plain, V: Plain> Table<K, V> {
    /// Takes over a map's descriptor.
    ///
    /// # Errors
    ///
    /// When the kernel's map has other sizes than `K` and `V`.
    pub(super) fn open(name: &'static str, fd: OwnedFd) -> Result<Self, Error> {
        Self::with_values(name, fd, 1)
    }

    /// Takes over a per-CPU map's descriptor.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub(super) fn open_per_cpu(name: &'static str, fd: OwnedFd, possible_cpus: usize) -> Result<Self, Error> {
        // The kernel rounds each CPU's value up to eight bytes; ours are multiples of it, so that `[V]` is the layout.
        const { assert!(size_of::<V>().is_multiple_of(8) || size_of::<V>() < 8) };
        Self::with_values(name, fd, possible_cpus)
    }

    fn with_values(name: &'static str, fd: OwnedFd, values: usize) -> Result<Self, Error> {
        let info = sys::map_info(&fd).map_err(|source| Error::Map { doing: "asking about", name, source })?;
        let (key, value) = (info.key_size as usize, info.value_size as usize);
        if key != size_of::<K>() || value != size_of::<V>() {
            return Err(Error::MapLayout {
                name,
                found: format!("{key}-byte keys and {value}-byte values"),
                expected: format!("{} and {}", size_of::<K>(), size_of::<V>()),
            });
        }
        Ok(Self { name, fd, capacity: info.max_entries, values, types: PhantomData })
    }

    /// Returns another descriptor of the same map.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left.
    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|source| self.error("opening once more", source))?;
        Ok(Self { fd, ..*self })
    }

    /// Returns how many entries the map can hold.
    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn get(&self, key: &K) -> Result<Option<V>, Error> {
        debug_assert_eq!(self.values, 1);
        let mut value = V::new_zeroed();
        // SAFETY: `open` made sure of the sizes.
        let found = unsafe { sys::lookup(&self.fd, key.as_bytes(), value.as_mut_bytes()) };
        match found {
            Ok(found) => Ok(found.then_some(value)),
            Err(source) => Err(self.error("reading", source)),
        }
    }

    /// Reads the values of every CPU into `values`, which becomes as long as there are possible CPUs.
    pub(super) fn get_all(&self, key: &K, values: &mut Vec<V>) -> Result<bool, Error> {
        values.clear();
        values.resize(self.values, V::new_zeroed());
        // SAFETY: `open_per_cpu` made sure of the sizes, and of the number of CPUs.
        unsafe { sys::lookup(&self.fd, key.as_bytes(), values.as_mut_slice().as_mut_bytes()) }
            .map_err(|source| self.error("reading", source))
    }

    pub(super) fn set(&self, key: &K, value: &V) -> Result<(), Error> {
        debug_assert_eq!(self.values, 1);
        // SAFETY: `open` made sure of the sizes.
        unsafe { sys::update(&self.fd, key.as_bytes(), value.as_bytes()) }
            .map_err(|source| self.error("writing to", source))
    }

    /// Sets every CPU's value of `key` to `value`.
    pub(super) fn set_all(&self, key: &K, value: V) -> Result<(), Error> {
        let values = vec![value; self.values];
        // SAFETY: `open_per_cpu` made sure of the sizes, and of the number of CPUs.
        unsafe { sys::update(&self.fd, key.as_bytes(), values.as_slice().as_bytes()) }
            .map_err(|source| self.error("writing to", source))
    }

    /// Deletes `key`; false when it was not there.
    pub(super) fn remove(&self, key: &K) -> Result<bool, Error> {
        // SAFETY: `open` made sure of the sizes.
        unsafe { sys::delete(&self.fd, key.as_bytes()) }.map_err(|source| self.error("deleting from", source))
    }

    /// Sets many entries, stopping at the first that is refused.
    ///
    /// # Errors
    ///
    /// The number of entries set, and why the next was not: [`Error::MapFull`] when there is no room.
    pub(super) fn set_many(&self, keys: &[K], values: &[V]) -> Result<(), (usize, Error)> {
        debug_assert_eq!(keys.len(), values.len());
        let mut done = 0;
        let mut batches = true;
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            let mut at = 0;
            while batches && at < keys.len() {
                let (keys, values) = (&keys[at..], &values[at..]);
                // SAFETY: `open` made sure of the sizes; both slices have this many elements.
                let step =
                    unsafe { sys::update_batch(&self.fd, keys.as_bytes(), values.as_bytes(), keys.len() as u32) };
                at += step.done as usize;
                match step.result {
                    Ok(()) => {}
                    Err(error) if unsupported(&error) => batches = false,
                    Err(error) => return Err((done + at, self.error("writing to", error))),
                }
            }
            for (key, value) in keys.iter().zip(values).skip(at) {
                self.set(key, value).map_err(|error| (done + at, error))?;
                at += 1;
            }
            done += at;
        }
        Ok(())
    }

    /// Deletes many keys, whether they are there or not; returns how many were.
    pub(super) fn remove_many(&self, keys: &[K]) -> Result<usize, Error> {
        let mut removed = 0;
        let mut batches = true;
        for keys in keys.chunks(BATCH) {
            let mut at = 0;
            while batches && at < keys.len() {
                let keys = &keys[at..];
                // SAFETY: `open` made sure of the sizes; the slice has this many elements.
                let step = unsafe { sys::delete_batch(&self.fd, keys.as_bytes(), keys.len() as u32) };
                at += step.done as usize;
                removed += step.done as usize;
                match step.result {
                    Ok(()) => {}
                    Err(error) if unsupported(&error) => batches = false,
                    // This one is not there: go on behind it.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => at += 1,
                    Err(error) => return Err(self.error("deleting from", error)),
                }
            }
            for key in keys.get(at..).unwrap_or_default() {
                removed += usize::from(self.remove(key)?);
            }
        }
        Ok(removed)
    }

    /// Calls `each` for every entry. Entries that come or go meanwhile may or may not be met.
    pub(super) fn for_each(&self, mut each: impl FnMut(K, V)) -> Result<(), Error> {
        if self.for_each_batched(&mut each)? {
            return Ok(());
        }
        let mut key = None;
        while let Some(next) = self.key_after(key.as_ref())? {
            if let Some(value) = self.get(&next)? {
                each(next, value);
            }
            key = Some(next);
        }
        Ok(())
    }

    /// Calls `each` for the next entries, a batch of them at most, and returns whether there are more. Entries that come or
    /// go meanwhile may or may not be met; a place that is gone begins anew.
    pub(super) fn read(&self, cursor: &mut Cursor, mut each: impl FnMut(K, V)) -> Result<bool, Error> {
        debug_assert_eq!(self.values, 1);
        let mut keys = vec![K::new_zeroed(); BATCH];
        let mut values = vec![V::new_zeroed(); BATCH];
        let mut next = vec![0_u8; size_of::<K>().max(4)];
        let chunk = sys::Chunk {
            cursor_in: cursor.0.as_deref(),
            cursor_out: &mut next,
            keys: keys.as_mut_slice().as_mut_bytes(),
            values: values.as_mut_slice().as_mut_bytes(),
            count: BATCH as u32,
        };
        // SAFETY: `open` made sure of the sizes; the buffers hold `BATCH` elements, the cursors a key or four bytes.
        let step = unsafe { sys::lookup_batch(&self.fd, chunk) };
        if let Err(error) = &step.result
            && unsupported(error)
        {
            // Older kernels: all of it at once.
            *cursor = Cursor::default();
            return self.for_each(each).map(|()| false);
        }
        for (key, value) in keys.iter().zip(&values).take(step.done as usize) {
            each(*key, *value);
        }
        match step.result {
            Ok(()) => {
                cursor.0 = Some(next);
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                *cursor = Cursor::default();
                Ok(false)
            }
            Err(error) => {
                *cursor = Cursor::default();
                Err(self.error("reading", error))
            }
        }
    }

    /// Returns false, having called nobody, when the kernel has no batches for this map.
    fn for_each_batched(&self, each: &mut impl FnMut(K, V)) -> Result<bool, Error> {
        debug_assert_eq!(self.values, 1);
        let mut keys = vec![K::new_zeroed(); BATCH];
        let mut values = vec![V::new_zeroed(); BATCH];
        // A hash map's cursor is four bytes, every other map's a key.
        let mut cursor = vec![0_u8; size_of::<K>().max(4)];
        let mut next = cursor.clone();
        let mut begun = false;
        loop {
            let chunk = sys::Chunk {
                cursor_in: begun.then_some(cursor.as_slice()),
                cursor_out: &mut next,
                keys: keys.as_mut_slice().as_mut_bytes(),
                values: values.as_mut_slice().as_mut_bytes(),
                count: BATCH as u32,
            };
            // SAFETY: `open` made sure of the sizes; the buffers hold `BATCH` elements, the cursors a key or four bytes.
            let step = unsafe { sys::lookup_batch(&self.fd, chunk) };
            if let Err(error) = &step.result
                && unsupported(error)
                && !begun
            {
                return Ok(false);
            }
            for (key, value) in keys.iter().zip(&values).take(step.done as usize) {
                each(*key, *value);
            }
            match step.result {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(true),
                Err(error) => return Err(self.error("reading", error)),
            }
            std::mem::swap(&mut cursor, &mut next);
            begun = true;
        }
    }

    fn key_after(&self, key: Option<&K>) -> Result<Option<K>, Error> {
        let mut next = K::new_zeroed();
        // SAFETY: `open` made sure of the sizes.
        match unsafe { sys::next_key(&self.fd, key.map(IntoBytes::as_bytes), next.as_mut_bytes()) } {
            Ok(found) => Ok(found.then_some(next)),
            Err(source) => Err(self.error("reading", source)),
        }
    }

    fn error(&self, doing: &'static str, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM) => {
                Error::MapFull { name: self.name, capacity: self.capacity, source }
            }
            _ => Error::Map { doing, name: self.name, source },
        }
    }
}

impl<V: Plain> Table<u32, V> {
    /// Reads an array's values from `first` on, as many as `values` has room for.
    pub(super) fn read_from(&self, first: u32, values: &mut [V]) -> Result<(), Error> {
        debug_assert_eq!(self.values, 1);
        // The cursor of an array is the index before.
        let before = first.checked_sub(1).map(u32::to_ne_bytes);
        let (mut keys, mut next) = (vec![0_u32; values.len()], [0_u8; 4]);
        let count = values.len() as u32;
        let chunk = sys::Chunk {
            cursor_in: before.as_ref().map(<[u8; 4]>::as_slice),
            cursor_out: &mut next,
            keys: keys.as_mut_slice().as_mut_bytes(),
            values: values.as_mut_bytes(),
            count,
        };
        // SAFETY: `open` made sure of the sizes; the buffers hold `count` elements, the cursors a key.
        let step = unsafe { sys::lookup_batch(&self.fd, chunk) };
        match step.result {
            Ok(()) => {}
            // The end of the array, or a kernel without batches: one by one from there.
            Err(error) if unsupported(&error) || error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(self.error("reading", error)),
        }
        for (index, value) in (first..).zip(values).skip(step.done as usize) {
            *value = self.get(&index)?.unwrap_or_else(V::new_zeroed);
        }
        Ok(())
    }
}

impl<K, V> AsFd for Table<K, V> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the kernel does not have a command for this kind of map (an older kernel says `EINVAL`).
fn unsupported(error: &io::Error) -> bool {
    /// The kernel's own `ENOTSUPP`, which it leaks to user space.
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}
