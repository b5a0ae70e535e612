//! The flow table, mapped into this process: what is in it that no record has told yet.

use std::{
    io,
    mem::offset_of,
    os::fd::AsFd,
    ptr::{self, NonNull},
};

use netd_common::flow::{Set, Slot, Tick, WAYS};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::{FromZeros, IntoBytes};

use super::Error;

const SET: usize = size_of::<Set>();
const SLOT_WORDS: usize = size_of::<Slot>() / 8;

/// A conversation in the table, as one CPU sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSlot {
    pub cpu: u16,
    pub tag: u32,
    /// Of its last packet.
    pub last: Tick,
    pub slot: Slot,
}

/// The table, read-only.
#[derive(Debug)]
pub struct FlowTable {
    base: NonNull<u8>,
    len: usize,
    sets: usize,
    sets_per_cpu: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and stays until drop.
unsafe impl Send for FlowTable {}
// SAFETY: it is only read, and only by volatile loads, which any thread may do at any time.
unsafe impl Sync for FlowTable {}

impl FlowTable {
    /// Maps the table of `sets` sets.
    pub(super) fn map(fd: impl AsFd, sets: u32, cpus: usize) -> Result<Self, Error> {
        let sets = sets as usize;
        let len = sets * SET;
        let failed = |source: io::Error| Error::Map { doing: "mapping", name: "FLOWS", source };
        // SAFETY: a new mapping at an address the kernel chooses touches no memory of ours.
        let base = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, fd, 0) }
            .map_err(|errno| failed(errno.into()))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| failed(io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { base, len, sets, sets_per_cpu: (sets / cpus.max(1)).max(1) })
    }

    /// Returns how many conversations the table can hold, all CPUs together.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.sets * WAYS
    }

    /// Returns how many slots hold a conversation. Reads the tag lines alone.
    #[must_use]
    pub fn occupied(&self) -> u64 {
        let tags = (0..self.sets).flat_map(|set| (0..WAYS).map(move |way| set * SET + offset_of!(Set, tags) + way * 4));
        tags.filter(|tag| self.load::<u32>(*tag) != 0).count() as u64
    }

    /// Calls `each` for every conversation in the table.
    ///
    /// The kernel writes meanwhile: a slot that is given to another conversation under our eyes is left out, and a
    /// counter may be a packet older than the next. When nothing moves, the reading is exact.
    pub fn for_each(&self, each: impl FnMut(&LiveSlot)) {
        self.for_each_met(|_| true, each);
    }

    /// Calls `each` for the conversations whose last packet came at a tick that `wanted` accepts. Of the others only
    /// the tag lines are read.
    pub fn for_each_met(&self, wanted: impl Fn(Tick) -> bool, mut each: impl FnMut(&LiveSlot)) {
        for set in 0..self.sets {
            let cpu = (set / self.sets_per_cpu) as u16;
            for way in 0..WAYS {
                if let Some(live) = self.read(set, way, cpu, &wanted) {
                    each(&live);
                }
            }
        }
    }

    fn read(&self, set: usize, way: usize, cpu: u16, wanted: impl Fn(Tick) -> bool) -> Option<LiveSlot> {
        let at = set * SET;
        let tag_at = at + offset_of!(Set, tags) + way * 4;
        let tag = self.load::<u32>(tag_at);
        if tag == 0 {
            return None;
        }
        let last = self.load::<u32>(at + offset_of!(Set, last) + way * 4);
        if !wanted(last) {
            return None;
        }
        let slot_at = at + offset_of!(Set, slots) + way * size_of::<Slot>();
        let mut words = [0_u64; SLOT_WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.load::<u64>(slot_at + index * 8);
        }
        let mut slot = Slot::new_zeroed();
        slot.as_mut_bytes().copy_from_slice(words.as_bytes());
        let same = |now: u32| now & !netd_common::flow::class::MASK == tag & !netd_common::flow::class::MASK;
        same(self.load::<u32>(tag_at)).then_some(LiveSlot { cpu, tag, last, slot })
    }

    /// Reads what the kernel may be writing.
    fn load<T: Copy>(&self, offset: usize) -> T {
        debug_assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: every caller's offset is of an aligned field of a set below `sets`, so inside the mapping, which
        // lives as long as `self`. The load is volatile, because another CPU may store at the same time; such a
        // load gives some value of the field.
        unsafe { self.base.as_ptr().add(offset).cast::<T>().read_volatile() }
    }
}

impl Drop for FlowTable {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our mapping; nothing borrowed from it is left, as loads copy.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
