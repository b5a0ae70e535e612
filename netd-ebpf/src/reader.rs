//! The kernel's reader: direct packet access, one bounds check a block.

use netd_common::bytes::Bytes;

/// The linear part of a packet.
#[derive(Clone, Copy)]
pub struct Linear {
    start: usize,
    end: usize,
    cell: *mut u32,
}

impl Linear {
    /// Takes the context's fields of the packet's start and end. `cell` lies in a map: see [`joined`].
    #[inline(always)]
    pub fn new(data: *const u32, data_end: *const u32, cell: *mut u32) -> Self {
        // SAFETY: both are fields of the program's context. Volatile, so that they are loaded here and as they are:
        // the verifier turns the loads into pointers, which the compiler must not take for 32-bit numbers.
        let (start, end) = unsafe { (data.read_volatile() as usize, data_end.read_volatile() as usize) };
        Self { start, end, cell }
    }

    /// Returns how many bytes there are.
    #[inline(always)]
    pub const fn len(&self) -> u32 {
        (self.end - self.start) as u32
    }
}

/// Returns `value` as the verifier knows nothing of it: it follows what is on the stack, not what is in a map.
#[inline(always)]
pub fn joined(cell: *mut u32, value: u32) -> u32 {
    // SAFETY: the cell is this CPU's element of a map, used by nobody else while this program runs.
    unsafe {
        cell.write_volatile(value);
        cell.read_volatile()
    }
}

/// No packet offset is larger: what the walk of eight extension headers can reach, rounded up.
const MAX_OFFSET: u32 = 0x7fff;

impl Bytes for Linear {
    #[inline(always)]
    fn joined(&self, offset: usize) -> usize {
        (joined(self.cell, offset as u32) & MAX_OFFSET) as usize
    }

    #[inline(always)]
    fn block<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let block = self.start + offset;
        if block + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie between the packet's start and end, checked above in the form the verifier follows;
        // the packet outlives the program's run, and an array of bytes has no alignment.
        Some(unsafe { &*(block as *const [u8; N]) })
    }
}
