//! Floods: packets as fast as one thread sends them, of one tuple, of many, or each of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::frames::Frame;
use crate::lab::FirstHop;
use crate::namespace::Namespace;
use crate::traffic::{Clock, Running, Sent, Tally};

/// Packets of one system call.
pub(super) const BATCH: usize = 64;

/// A flood of UDP packets of one five-tuple. `Sent::packets` is what the kernel took, `Sent::failed` what it refused.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: usize,
    pub pace: Pace,
}

/// A flood of UDP packets of many flows, taken in turn: see [`FlowFlood::tuple`].
#[derive(Clone, Copy, Debug)]
pub struct FlowFlood {
    pub hop: FirstHop,
    pub from: IpAddr,
    /// The first destination; later ones count up from it. [`crate::lab::NOWHERE`] is made for it.
    pub to: IpAddr,
    /// The number of the first flow; two floods with ranges apart share no flow.
    pub first: u64,
    /// How many flows there are; then the first comes again. With `u64::MAX` every packet is a flow of its own.
    pub flows: u64,
    pub pace: Pace,
}

/// How much, how fast and how long; what comes first ends it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub packets: Option<u64>,
    pub per_second: Option<u64>,
    pub duration: Duration,
}

impl Pace {
    /// As many packets as go in `duration`.
    #[must_use]
    pub fn full(duration: Duration) -> Self {
        Self { packets: None, per_second: None, duration }
    }

    /// A number of packets, for at most `duration`.
    #[must_use]
    pub fn count(packets: u64, duration: Duration) -> Self {
        Self { packets: Some(packets), per_second: None, duration }
    }

    #[must_use]
    pub fn at(self, per_second: u64) -> Self {
        Self { per_second: Some(per_second), ..self }
    }
}

impl Flood {
    /// Starts sending.
    ///
    /// # Errors
    ///
    /// When the source cannot be bound.
    pub fn start(self, namespace: &Namespace) -> Result<Running<Sent>> {
        let socket = namespace.run(|| {
            let socket = UdpSocket::bind(self.from).with_context(|| format!("cannot send from udp {}", self.from))?;
            socket.connect(self.to).with_context(|| format!("cannot send to udp {}", self.to))?;
            Ok(OwnedFd::from(socket))
        })?;
        Running::start(namespace, "flood", self.pace.duration, move |clock, tally| {
            let mut batch = Batch::new(vec![vec![0x66; self.payload]; BATCH]);
            send_all(&socket, &mut batch, self.pace, clock, tally, |_, _| {});
            Ok(tally.sent())
        })
    }
}

/// The ports that a destination is reached from before the next one's turn comes.
const PORTS: u64 = 65_536 - FIRST_PORT as u64;
const FIRST_PORT: u16 = 1024;
const SERVICE: u16 = 4_000;

impl FlowFlood {
    /// Returns source and destination of flow `number`.
    #[must_use]
    pub fn tuple(&self, number: u64) -> (SocketAddr, SocketAddr) {
        let port = FIRST_PORT + (number % PORTS) as u16;
        let step = number / PORTS;
        let to = match self.to {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().wrapping_add(step as u32))),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().wrapping_add(u128::from(step)))),
        };
        (SocketAddr::new(self.from, port), SocketAddr::new(to, SERVICE))
    }

    /// Starts sending. The frames pass TC egress of the interface as those of a socket do.
    ///
    /// # Errors
    ///
    /// Without root, or when the interface does not exist.
    pub fn start(self, namespace: &Namespace) -> Result<Running<Sent>> {
        let socket = namespace.run(|| packet_socket(self.hop.interface))?;
        Running::start(namespace, "flood", self.pace.duration, move |clock, tally| {
            let template = Template::new(&self);
            let mut batch = Batch::new(vec![template.frame.clone(); BATCH]);
            send_all(&socket, &mut batch, self.pace, clock, tally, |number, frame| {
                template.write(self.tuple(self.first + number % self.flows.max(1)), frame);
            });
            Ok(tally.sent())
        })
    }
}

/// A frame in which the source port and the end of the destination are zero, so that they need only be added.
struct Template {
    frame: Vec<u8>,
    v6: bool,
}

impl Template {
    fn new(flood: &FlowFlood) -> Self {
        let (to, v6) = match flood.to {
            IpAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), false),
            IpAddr::V6(to) => (IpAddr::V6(Ipv6Addr::from_bits(to.to_bits() >> 32 << 32)), true),
        };
        let frame = Frame::udp((flood.from, 0), (to, SERVICE)).macs(flood.hop.source, flood.hop.destination);
        Self { frame: frame.payload(&[0x66; 18]).build(), v6 }
    }

    /// Writes what differs between two flows into `frame`, a copy of the template.
    fn write(&self, (from, to): (SocketAddr, SocketAddr), frame: &mut [u8]) {
        let address = match to.ip() {
            IpAddr::V4(to) => to.to_bits(),
            IpAddr::V6(to) => to.to_bits() as u32,
        };
        // Where the IP header, the end of the destination, and UDP begin.
        let (ip, end, udp) = if self.v6 { (14, 14 + 36, 14 + 40) } else { (14, 14 + 16, 14 + 20) };
        frame[end..end + 4].copy_from_slice(&address.to_be_bytes());
        frame[udp..udp + 2].copy_from_slice(&from.port().to_be_bytes());
        let halves = (address >> 16) + (address & 0xffff);
        // In UDP 0 means that there is no checksum; the other zero of one's complement stands for it.
        let sum = match self.checksum(udp + 6, halves + u32::from(from.port())) {
            0 => 0xffff,
            sum => sum,
        };
        frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
        if !self.v6 {
            frame[ip + 10..ip + 12].copy_from_slice(&self.checksum(ip + 10, halves).to_be_bytes());
        }
    }

    /// Returns the template's checksum at `at` with `words` added to what it sums.
    fn checksum(&self, at: usize, words: u32) -> u16 {
        let mut sum = u32::from(!u16::from_be_bytes([self.frame[at], self.frame[at + 1]])) + words;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// Sends batches until the pace or the clock ends it; `fill` makes each packet from its number.
pub(super) fn send_all(
    socket: &OwnedFd,
    batch: &mut Batch,
    pace: Pace,
    clock: &Clock,
    tally: &Tally,
    mut fill: impl FnMut(u64, &mut [u8]),
) {
    let start = Instant::now();
    let most = pace.packets.unwrap_or(u64::MAX);
    // A slow pace must not come in bursts of a second.
    let size = pace.per_second.map_or(BATCH as u64, |rate| (rate / 200).clamp(1, BATCH as u64));
    let mut number = 0;
    while number < most && !clock.is_over() {
        let size = size.min(most - number) as usize;
        for (index, packet) in batch.packets[..size].iter_mut().enumerate() {
            fill(number + index as u64, packet);
        }
        let (sent, bytes) = batch.send(socket, size, tally);
        tally.wrote_packets(sent, bytes);
        number += size as u64;
        if let Some(rate) = pace.per_second
            && !clock.sleep_until(start + Duration::from_secs_f64(number as f64 / rate.max(1) as f64))
        {
            return;
        }
    }
}

/// Packets that one `sendmmsg` sends.
pub(super) struct Batch {
    packets: Vec<Vec<u8>>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `parts` and `messages` lead to heap memory that the batch owns and moves with.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new(mut packets: Vec<Vec<u8>>) -> Self {
        // The buffers are never resized, so these pointers hold as long as the batch.
        let mut parts: Vec<libc::iovec> = packets
            .iter_mut()
            .map(|packet| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() })
            .collect();
        let messages = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: all zeroes is a message without address, parts, control data or flags.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Self { packets, parts, messages }
    }

    /// Sends the first `size` packets, each exactly once; returns how many, and their bytes.
    fn send(&mut self, socket: &OwnedFd, size: usize, tally: &Tally) -> (u64, u64) {
        let (mut sent, mut bytes, mut at) = (0, 0, 0);
        while at < size {
            // SAFETY: messages `at..size` exist and lead to parts and packets that are alive.
            let taken = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr().add(at), (size - at) as u32, 0)
            };
            if let Ok(taken) = usize::try_from(taken) {
                sent += taken as u64;
                bytes += self.parts[at..at + taken].iter().map(|part| part.iov_len as u64).sum::<u64>();
                at += taken;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // The first of the rest was refused: by a verdict, or by a full queue. It is not tried again.
                tally.end(false);
                at += 1;
            }
        }
        (sent, bytes)
    }
}

/// Returns a socket that sends whole frames out of `interface` and receives nothing.
pub(super) fn packet_socket(interface: &str) -> Result<OwnedFd> {
    // SAFETY: `socket` takes no pointer.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error()).context("cannot open a packet socket");
    }
    // SAFETY: the descriptor is fresh and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    bind_packet_socket(std::os::fd::AsFd::as_fd(&socket), interface, 0)?;
    Ok(socket)
}

/// Binds a packet socket to `interface` and the Ethernet type `protocol`; 0 is none.
pub(crate) fn bind_packet_socket(socket: BorrowedFd<'_>, interface: &str, protocol: u16) -> Result<()> {
    let index = nix::net::if_::if_nametoindex(interface).with_context(|| format!("there is no {interface}"))?;
    // SAFETY: all zeroes is an address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(index).context("an interface index beyond i32")?;
    // SAFETY: the address is alive and as long as stated.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            std::mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).with_context(|| format!("cannot bind a packet socket to {interface}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{IMPLANT, NOWHERE, NOWHERE_V6, v6};

    #[test]
    fn every_frame_of_a_flood_is_the_one_that_would_be_built_for_its_tuple() {
        let hop = FirstHop { interface: "eth0", source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2] };
        for (from, to) in [(IpAddr::from(IMPLANT), IpAddr::from(NOWHERE)), (v6(IMPLANT).into(), NOWHERE_V6.into())] {
            let flood = FlowFlood { hop, from, to, first: 0, flows: u64::MAX, pace: Pace::full(Duration::ZERO) };
            let template = Template::new(&flood);
            let mut frame = template.frame.clone();
            for number in (0..20_000_000).step_by(97) {
                let (from, to) = flood.tuple(number);

                template.write((from, to), &mut frame);

                let built = Frame::udp(from, to).macs(hop.source, hop.destination).payload(&[0x66; 18]);
                assert_eq!(frame, built.build(), "flow {number}");
            }
        }
    }
}
