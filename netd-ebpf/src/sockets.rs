//! What is remembered and told of sockets that a process acts on.

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

/// Remembers the process at hand as a socket's owner.
#[inline(never)]
pub fn remember(cookie: u64, netns_cookie: u64, side: Side) {
    let mut socket = Socket::default();
    task::describe(&mut socket.owner, netns_cookie);
    socket.side = side as u32;
    if SOCKETS.insert(&cookie, &socket, 0).is_err()
        && let Some(count) = Count::new()
    {
        count.add_in(Context::Process, Counter::OwnersLost, 1);
    }
}

/// What a socket record says besides its owner.
pub struct Told<'a> {
    pub event: SocketEvent,
    pub key: &'a FlowKey,
    pub cookie: u64,
    /// The rule that refused, 0 otherwise.
    pub rule: u32,
}

/// Writes a socket record whose owner is the process at hand.
#[inline(never)]
pub fn tell(told: &Told<'_>, netns_cookie: u64) {
    write(told, |owner| task::describe(owner, netns_cookie));
}

/// Writes a socket record of a known owner.
#[inline(never)]
pub fn tell_of(told: &Told<'_>, known: &Owner) {
    write(told, |owner| *owner = *known);
}

#[inline(always)]
fn write(told: &Told<'_>, fill: impl FnOnce(&mut Owner)) {
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
    fill(&mut record.owner);
    record.rtt_us = 0;
    record.rule = told.rule;
    record.event = told.event as u8;
    record.pad = [0; 7];
    entry.submit(0);
    count.add_in(Context::Process, Counter::SocketRecords, 1);
}
