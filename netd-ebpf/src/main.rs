//! netd's kernel programs, one file a hook over shared rooms.
//!
//! `tc` accounts every packet and applies verdicts, `xdp` drops listed hosts early, `cgroup` says who opens a socket
//! and refuses it when a verdict says so, `bind` and `accept` say who serves, `sock_ops` joins socket and five-tuple,
//! `processes` says what runs and where its standard streams lead. What a packet is, how it is accounted and what a
//! verdict means stands in `netd-common`, which the host runs too.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the target has atomic addition, but `core` offers it with compare-and-swap only"
)]

mod accept;
mod bind;
mod cgroup;
mod context;
mod maps;
mod memory;
mod processes;
mod reader;
mod reset;
mod sink;
mod sock_ops;
mod sockets;
mod stream;
mod system_call;
mod task;
mod tc;
mod verdicts;
mod xdp;

/// The verifier refuses a program that can reach an endless loop: a panic path is a load error, not undefined
/// behaviour.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
