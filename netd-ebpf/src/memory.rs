//! The kernel's own structures, read by the offsets that the loader found.
//!
//! Every read is checked by the kernel: what cannot be read is zero, so a chain that ends in a null pointer ends in
//! zeros.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated;
use netd_common::offsets::Offsets;

/// Written by the loader. Read-only and frozen, so that the verifier knows every value, and does not even look at what
/// needs an offset that is not known.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNKNOWN;

/// Returns the offsets' place: only their fields are read, and each volatile, as the loader changes what the compiler
/// takes for zero.
#[inline(always)]
pub const fn offsets() -> *const Offsets {
    &raw const OFFSETS
}

/// Reads one offset.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: the field lies in a live static.
        unsafe { (&raw const (*$crate::memory::offsets()).$field).read_volatile() as u64 }
    };
}
pub(crate) use offset;

/// Returns whether all of `groups` are known.
#[inline(always)]
pub fn knows(groups: u32) -> bool {
    offset!(groups) as u32 & groups == groups
}

/// What a read may yield: every bit pattern is one.
pub trait Number: Copy {}

impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}

/// Reads a number of the kernel's memory at `base + offset`, zero where there is none.
#[inline(always)]
pub fn read<T: Number>(base: u64, offset: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the source and fills the destination with zeros where it cannot be read; every bit
    // pattern is a number.
    unsafe {
        generated::bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset) as *const core::ffi::c_void,
        );
        value.assume_init()
    }
}

/// Fills `destination` from the kernel's memory, with zeros where it cannot be read.
#[inline(always)]
pub fn fill<T>(destination: &mut T, from: u64) {
    // SAFETY: the helper writes at most the destination's length, and callers pass plain bytes and words.
    unsafe {
        generated::bpf_probe_read_kernel(
            core::ptr::from_mut(destination).cast(),
            size_of::<T>() as u32,
            from as *const core::ffi::c_void,
        )
    };
}

/// Copies a zero-ended string of the kernel's memory; returns its length without the zero, 0 where it cannot be read.
#[inline(always)]
pub fn text(destination: *mut u8, room: u32, from: u64) -> u32 {
    // SAFETY: callers pass `room` bytes of live memory; the helper checks the source.
    let copied =
        unsafe { generated::bpf_probe_read_kernel_str(destination.cast(), room, from as *const core::ffi::c_void) };
    if copied <= 0 { 0 } else { (copied as u32 - 1).min(room - 1) }
}

/// Fills a value of words with zeros: by words, because the compiler would call a loop over bytes.
#[inline(always)]
pub fn clear<T>(value: &mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let words = core::ptr::from_mut(value).cast::<u64>();
    let mut index = 0;
    while index < size_of::<T>() / 8 {
        // SAFETY: the word lies in the value, and callers pass plain bytes and words.
        unsafe { words.add(index).write_volatile(0) };
        index += 1;
    }
}
