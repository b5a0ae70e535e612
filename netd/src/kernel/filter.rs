//! TC filters on the clsact qdisc, for kernels without TCX links.
//!
//! A filter stays where it is when its daemon dies, so it needs no pin; its place is its priority and handle. A later
//! daemon replaces the program at that place in one step. The qdisc is never deleted: others may use it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::attach::Direction;
use crate::host::netlink::{Message, Netlink, attribute};

/// Before the priorities that the kernel gives to filters without one (from 49152 down).
const PRIORITY: u32 = 10;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const DIRECT_ACTION: u32 = 1;

const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

/// `struct tcmsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct TrafficMessage {
    family: u8,
    pad: [u8; 3],
    ifindex: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

/// Where this daemon's filters are, and how they are called: both from its bpffs directory, so that two netds with
/// directories of their own keep out of each other's way.
#[derive(Clone, Debug)]
pub(super) struct Place {
    handle: u32,
    mark: String,
}

impl Place {
    pub(super) fn new(bpffs: &Path) -> Self {
        // FNV-1a: stable across versions and runs, and nobody gains from a collision.
        let hash = bpffs
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Self { handle: 0x6e74_0000 | hash >> 16, mark: format!("{hash:08x}") }
    }

    fn name(&self, program: &str) -> String {
        format!("netd/{program}/{}", self.mark)
    }

    fn is_our_name(&self, name: &[u8]) -> bool {
        name.starts_with(b"netd/") && name.strip_suffix(b"\0").unwrap_or(name).ends_with(self.mark.as_bytes())
    }

    /// Attaches `program`, or puts it in the place of a former run's.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when a stranger's filter is there.
    pub(super) fn attach(&self, ifindex: u32, direction: Direction, program: impl AsFd, name: &str) -> io::Result<()> {
        let mut netlink = Netlink::open(None)?;
        add_qdisc(&mut netlink, ifindex)?;
        match self.holder(&mut netlink, ifindex, direction)? {
            None | Some(Holder::Us) => {}
            Some(Holder::Stranger) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        let name = format!("{}\0", self.name(name));
        let fd = program.as_fd().as_raw_fd();
        // Without NLM_F_EXCL the kernel replaces what is at this priority and handle, without a gap.
        let message = Message::new(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE, &self.at(ifindex, direction))
            .attribute(TCA_KIND, b"bpf\0")
            .nested(
                TCA_OPTIONS,
                &[
                    (TCA_BPF_FD, fd.as_bytes()),
                    (TCA_BPF_NAME, name.as_bytes()),
                    (TCA_BPF_FLAGS, DIRECT_ACTION.as_bytes()),
                ],
            );
        netlink.request(&message)
    }

    /// Returns whether our filter is attached.
    pub(super) fn is_attached(&self, ifindex: u32, direction: Direction) -> io::Result<bool> {
        let mut netlink = Netlink::open(None)?;
        Ok(matches!(self.holder(&mut netlink, ifindex, direction)?, Some(Holder::Us)))
    }

    /// Removes our filter; false when there was none.
    pub(super) fn detach(&self, ifindex: u32, direction: Direction) -> io::Result<bool> {
        let mut netlink = Netlink::open(None)?;
        match self.holder(&mut netlink, ifindex, direction)? {
            Some(Holder::Us) => {}
            None | Some(Holder::Stranger) => return Ok(false),
        }
        netlink.request(&Message::new(libc::RTM_DELTFILTER, 0, &self.at(ifindex, direction)))?;
        Ok(true)
    }

    fn at(&self, ifindex: u32, direction: Direction) -> TrafficMessage {
        TrafficMessage {
            ifindex,
            handle: self.handle,
            parent: parent(direction),
            info: PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be()),
            ..TrafficMessage::default()
        }
    }

    /// Returns whose filter is at our place.
    fn holder(&self, netlink: &mut Netlink, ifindex: u32, direction: Direction) -> io::Result<Option<Holder>> {
        let place = TrafficMessage { ifindex, parent: parent(direction), ..TrafficMessage::default() };
        let mut holder = None;
        let dump = netlink.dump(&Message::new(libc::RTM_GETTFILTER, 0, &place), |kind, body| {
            if kind == libc::RTM_NEWTFILTER {
                holder = holder.take().or_else(|| self.judge(body));
            }
        });
        match dump {
            Ok(_) => Ok(holder),
            // No such interface, no clsact there, or a kernel without traffic control: no filter either.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EOPNOTSUPP)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn judge(&self, body: &[u8]) -> Option<Holder> {
        let (message, rest) = TrafficMessage::read_from_prefix(body).ok()?;
        if message.info >> 16 != PRIORITY || message.handle != self.handle {
            return None;
        }
        let is_bpf = attribute(rest, TCA_KIND).is_some_and(|kind| kind == b"bpf\0");
        let name = attribute(rest, TCA_OPTIONS).and_then(|options| attribute(options, TCA_BPF_NAME));
        let ours = is_bpf && name.is_some_and(|name| self.is_our_name(name));
        Some(if ours { Holder::Us } else { Holder::Stranger })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Us,
    Stranger,
}

const fn parent(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => 0xffff_fff2,
        Direction::Egress => 0xffff_fff3,
    }
}

fn add_qdisc(netlink: &mut Netlink, ifindex: u32) -> io::Result<()> {
    let qdisc = TrafficMessage { ifindex, handle: CLSACT_HANDLE, parent: CLSACT, ..TrafficMessage::default() };
    let message = Message::new(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &qdisc)
        .attribute(TCA_KIND, b"clsact\0");
    match netlink.request(&message) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_directory_is_not_ours() {
        let ours = Place::new(Path::new("/sys/fs/bpf/netd"));
        let theirs = Place::new(Path::new("/sys/fs/bpf/netd2"));

        assert!(ours.is_our_name(ours.name("tc_ingress").as_bytes()));
        assert!(!ours.is_our_name(theirs.name("tc_ingress").as_bytes()));
        assert!(!ours.is_our_name(b"cil_from_netdev\0"));
        assert_ne!(ours.handle, theirs.handle);
    }
}
