//! Has each loaded program deny what a verdict names: packets of our own through `BPF_PROG_TEST_RUN`, and sockets of
//! our own at the cgroup's hooks. Nothing of it leaves this host as long as one hook denies.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::OwnedFd,
};

use netd_common::{names, packet::IPPROTO_UDP};

use super::{Error, Kernel, Xdp, sys};
use crate::verdicts::{NOBODY4, NOBODY6, NOBODYS_PORT, Proof};

/// The answers that deny: `TC_ACT_SHOT` and `XDP_DROP`.
const SHOT: u32 = 2;
const DROP: u32 = 1;

/// Who sends to [`NOBODY4`]. Its first two bytes are those of IPv4's EtherType: the kernel takes every test's packet for
/// one with a link layer and reads the protocol there, in a bare IPv4 header where its source is.
const SENDER: Ipv4Addr = Ipv4Addr::new(8, 0, 0, 9);

/// The programs that can deny.
#[derive(Debug)]
pub(super) struct Provers {
    packets: Vec<(&'static str, Option<OwnedFd>)>,
    cgroup: bool,
}

impl Kernel {
    pub(super) fn provers(&self) -> Result<Provers, Error> {
        let mut hooks = vec![names::TC_INGRESS, names::TC_EGRESS, names::TC_INGRESS_L3, names::TC_EGRESS_L3];
        hooks.extend((self.xdp != Xdp::Off).then_some(names::XDP_INGRESS));
        let packets = hooks.into_iter().map(|name| {
            let program = self.programs.get(name).map(OwnedFd::try_clone).transpose();
            program.map(|program| (name, program)).map_err(|source| Error::Pin {
                doing: "keep",
                path: name.into(),
                source,
            })
        });
        Ok(Provers { packets: packets.collect::<Result<_, _>>()?, cgroup: self.cgroup })
    }
}

impl Provers {
    /// Asks every hook, while [`NOBODY4`] and [`NOBODY6`] are cut.
    pub(super) fn prove(&self) -> Vec<Proof> {
        let bare = packet();
        let framed = [&[0; 12][..], &[0x08, 0x00], &bare].concat();
        let mut proofs: Vec<_> = self
            .packets
            .iter()
            .map(|(name, program)| {
                let is_bare = matches!(*name, names::TC_INGRESS_L3 | names::TC_EGRESS_L3);
                let denies = if *name == names::XDP_INGRESS { DROP } else { SHOT };
                Proof::new(name, run(program.as_ref(), if is_bare { &bare } else { &framed }, denies))
            })
            .collect();
        if self.cgroup {
            for (address, connects, sends) in [
                (IpAddr::from(NOBODY4), names::CONNECT4, names::SENDMSG4),
                (IpAddr::from(NOBODY6), names::CONNECT6, names::SENDMSG6),
            ] {
                // Without IPv6 there is nothing to deny.
                let Some(socket) = open(address) else { continue };
                let to = (address, NOBODYS_PORT);
                proofs.push(Proof::new(sends, refused(socket.send_to(&[], to).map(drop))));
                proofs.push(Proof::new(connects, refused(socket.connect(to))));
            }
        }
        proofs
    }
}

fn run(program: Option<&OwnedFd>, packet: &[u8], denies: u32) -> Result<String, String> {
    let program = program.ok_or("the kernel refused the program")?;
    match sys::test_run(program, packet) {
        Ok(answer) if answer == denies => Ok("a packet that a verdict names was dropped".to_owned()),
        Ok(answer) => Err(format!("a packet that a verdict names was answered with {answer}; {denies} drops it")),
        Err(error) => Err(format!("the kernel cannot test it: {error}")),
    }
}

fn refused(done: io::Result<()>) -> Result<String, String> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            Ok("a socket to an address that a verdict names was refused".to_owned())
        }
        Err(error) => Err(format!("a socket to an address that a verdict names was not refused by netd: {error}")),
        Ok(()) => Err("a socket to an address that a verdict names was not refused".to_owned()),
    }
}

fn open(address: IpAddr) -> Option<UdpSocket> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((any, 0)).ok()
}

/// Bytes of a datagram, its headers included: behind what the kernel takes for a link layer there must still be room for
/// an IPv4 header.
const LENGTH: u8 = 60;

/// A datagram of zeroes to the port that is cut, from its IPv4 header on.
fn packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, LENGTH, 0, 0, 0x40, 0, 64, IPPROTO_UDP, 0, 0];
    packet.extend(SENDER.octets());
    packet.extend(NOBODY4.octets());
    let sum = packet.chunks_exact(2).fold(0_u32, |sum, word| sum + u32::from(u16::from_be_bytes([word[0], word[1]])));
    let folded = (sum & 0xffff) + (sum >> 16);
    let [high, low] = (!(folded as u16)).to_be_bytes();
    (packet[10], packet[11]) = (high, low);
    for field in [40_000, NOBODYS_PORT, u16::from(LENGTH) - 20, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.resize(usize::from(LENGTH), 0);
    packet
}

#[cfg(test)]
mod tests {
    use netd_common::packet::Packet;

    use super::*;

    #[test]
    fn the_packet_is_one_to_the_address_that_is_cut() {
        let bare = packet();
        let parsed = Packet::from_network(&bare[..], 0x0800, 0, u32::from(LENGTH)).unwrap();

        let flow = parsed.flow();
        assert_eq!((flow.dst.ip(), flow.dst_port(), flow.proto), (NOBODY4.into(), NOBODYS_PORT, IPPROTO_UDP));
        assert_eq!(bare[12..14], [0x08, 0x00], "the source begins as IPv4's EtherType");
    }
}
