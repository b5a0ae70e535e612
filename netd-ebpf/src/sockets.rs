//! What is remembered and told of sockets that a process acts on.

use core::mem::MaybeUninit;

use netd_common::{
    counter::Counter,
    key::FlowKey,
    process::Side,
    record::{Header, Kind, Owner, Socket, SocketEvent, SocketRecord},
};

use crate::{
    context::{Context, Count, cpu, precise_ns},
    maps::{EVENTS, SOCKETS},
    task,
};

/// What a socket record says besides its owner.
pub struct Told<'a> {
    pub event: SocketEvent,
    pub key: &'a FlowKey,
    pub cookie: u64,
    /// The rule that refused, 0 otherwise.
    pub rule: u32,
}

/// Tells of a socket that the process at hand acts on, and, with a side, remembers the process as its owner. A network
/// namespace's cookie of 0 is looked up.
#[inline(never)]
pub fn tell(told: &Told<'_>, netns_cookie: u64, side: Option<Side>) {
    let mut socket = MaybeUninit::<Socket>::uninit();
    // SAFETY: every field is written before anything is read.
    let socket = unsafe { &mut *socket.as_mut_ptr() };
    task::describe(&mut socket.owner, netns_cookie);
    if let Some(side) = side {
        socket.side = side as u32;
        socket.pad = 0;
        if SOCKETS.insert(&told.cookie, &*socket, 0).is_err()
            && let Some(count) = Count::new()
        {
            count.add_in(Context::Process, Counter::OwnersLost, 1);
        }
    }
    tell_of(told, &socket.owner);
}

/// Tells of a socket whose owner is known.
#[inline(always)]
pub fn tell_of(told: &Told<'_>, owner: &Owner) {
    let Some(count) = Count::new() else { return };
    let Some(mut entry) = EVENTS.reserve::<SocketRecord>(0) else {
        count.add_in(Context::Process, Counter::SocketRecordsLost, 1);
        return;
    };
    // SAFETY: every field is written before the record is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = Header {
        kind: Kind::Socket as u16,
        cpu: cpu() as u16,
        len: size_of::<SocketRecord>() as u32,
        time_ns: precise_ns(),
    };
    record.key = *told.key;
    record.cookie = told.cookie;
    record.owner = *owner;
    record.rtt_us = 0;
    record.rule = told.rule;
    record.event = told.event as u8;
    record.pad = [0; 7];
    entry.submit(0);
    count.add_in(Context::Process, Counter::SocketRecords, 1);
}
