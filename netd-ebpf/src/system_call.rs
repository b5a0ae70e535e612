//! A system call that returns to its process.

use aya_ebpf::{EbpfContext, helpers::generated, programs::TracePointContext};
use netd_common::offsets::group;

use crate::memory::{knows, offset, read};

/// Returns what the call returns.
#[inline(always)]
pub fn result(ctx: &TracePointContext) -> i64 {
    // SAFETY: the context of `syscalls:sys_exit_*` is a common word, the call's number and its result, each eight
    // bytes, and outlives the program's run. Volatile, because the verifier wants the load as it is.
    unsafe { ctx.as_ptr().cast::<i64>().add(2).read_volatile() }
}

/// Returns the call's second argument, all ones where the registers' layout is not known.
#[inline(always)]
pub fn second_argument() -> u64 {
    if !knows(group::ARGUMENT) {
        return u64::MAX;
    }
    // SAFETY: the helpers take and give addresses of the kernel's own; registers are only read by a checked read.
    let registers = unsafe { generated::bpf_task_pt_regs(generated::bpf_get_current_task_btf()) } as u64;
    read(registers, offset!(regs_second))
}
