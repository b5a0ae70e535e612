//! Counts packets where they arrive, without reading them.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::namespace::Namespace;
use crate::traffic::flood::bind_packet_socket;

/// Counts the packets that arrive at an interface and match, each exactly once, at any rate.
///
/// It is a packet socket with a filter whose packets nobody reads: the kernel counts those that it drops for want of
/// room too. It counts before the address and the port are asked for, so nobody need listen there. A TCP segment that
/// the sender left to be cut later counts as one.
#[derive(Debug)]
pub struct PacketCounter {
    socket: OwnedFd,
    counted: AtomicU64,
}

/// What to count; what is not said may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Match {
    /// IPv6 if true, IPv4 otherwise.
    pub v6: bool,
    /// IANA protocol number; 6 is TCP, 17 UDP.
    pub protocol: u8,
    pub source: Option<IpAddr>,
    pub source_port: Option<u16>,
    pub destination: Option<IpAddr>,
    pub destination_port: Option<u16>,
}

impl Match {
    /// Everything of a protocol in IPv4.
    #[must_use]
    pub fn v4(protocol: u8) -> Self {
        Self { v6: false, protocol, source: None, source_port: None, destination: None, destination_port: None }
    }

    /// Everything of a protocol in IPv6.
    #[must_use]
    pub fn v6(protocol: u8) -> Self {
        Self { v6: true, ..Self::v4(protocol) }
    }

    #[must_use]
    pub fn from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    #[must_use]
    pub fn from_port(self, port: u16) -> Self {
        Self { source_port: Some(port), ..self }
    }

    #[must_use]
    pub fn to(self, destination: IpAddr) -> Self {
        Self { destination: Some(destination), ..self }
    }

    #[must_use]
    pub fn to_port(self, port: u16) -> Self {
        Self { destination_port: Some(port), ..self }
    }
}

impl PacketCounter {
    /// Starts counting what arrives at `interface` of `namespace`.
    ///
    /// # Errors
    ///
    /// Without root, when the interface does not exist, or when an address is not of the stated family.
    pub fn start(namespace: &Namespace, interface: &str, what: Match) -> Result<Self> {
        let filter = filter(what)?;
        let socket = namespace.run(|| {
            // SAFETY: `socket` takes no pointer.
            let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
            if socket < 0 {
                return Err(io::Error::last_os_error()).context("cannot open a packet socket");
            }
            // SAFETY: the descriptor is fresh and ours.
            let socket = unsafe { OwnedFd::from_raw_fd(socket) };
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            set_option(&socket, libc::SO_ATTACH_FILTER, &program)?;
            // The least room: what is queued takes memory and is never read.
            set_option(&socket, libc::SO_RCVBUF, &0_i32)?;
            // Bound last, so that nothing is counted before the filter stands.
            let kind = if what.v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
            bind_packet_socket(socket.as_fd(), interface, kind as u16)?;
            Ok(socket)
        })?;
        Ok(Self { socket, counted: AtomicU64::new(0) })
    }

    /// Returns how many packets matched so far. Ask at least once in 2^32 packets.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn packets(&self) -> Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = std::mem::size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the structure is alive and as long as stated.
        let answer = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if answer != 0 {
            return Err(io::Error::last_os_error()).context("cannot read the statistics of a packet socket");
        }
        // Reading sets the kernel's counter to zero; `tp_packets` has the dropped ones in it.
        let new = u64::from(statistics.tp_packets);
        Ok(self.counted.fetch_add(new, Ordering::Relaxed) + new)
    }
}

/// The UDP counters of a namespace: datagrams that arrived for IPv4 and IPv6, wanted or not.
///
/// # Errors
///
/// When `/proc/net` cannot be read.
pub fn udp_datagrams(namespace: &Namespace) -> Result<u64> {
    namespace.run(|| {
        let v4 = std::fs::read_to_string("/proc/thread-self/net/snmp").context("cannot read /proc/net/snmp")?;
        let v6 = std::fs::read_to_string("/proc/thread-self/net/snmp6").context("cannot read /proc/net/snmp6")?;
        Ok(sum_snmp(&v4) + sum_snmp6(&v6))
    })
}

/// Packets that an interface received, and packets that it or its queue dropped, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceCounters {
    pub received: u64,
    pub sent: u64,
    pub dropped: u64,
}

/// Reads the counters of `interface`.
///
/// # Errors
///
/// When it does not exist.
pub fn interface_counters(namespace: &Namespace, interface: &str) -> Result<InterfaceCounters> {
    let table =
        namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").context("cannot read /proc/net/dev"))?;
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let row = row.with_context(|| format!("there is no {interface} in {}", namespace.name()))?;
    let numbers: Vec<u64> = row.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [_, received, _, in_drop, _, _, _, _, _, sent, _, out_drop, ..] = numbers[..] else {
        bail!("/proc/net/dev has another shape: {row}");
    };
    Ok(InterfaceCounters { received, sent, dropped: in_drop + out_drop })
}

const UDP_ARRIVALS: [&str; 3] = ["InDatagrams", "NoPorts", "InErrors"];

fn sum_snmp(table: &str) -> u64 {
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (rows.next(), rows.next()) else { return 0 };
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.filter(|(name, _)| UDP_ARRIVALS.contains(name)).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

fn sum_snmp6(table: &str) -> u64 {
    let rows = table.lines().filter_map(|line| line.strip_prefix("Udp6")?.split_once(char::is_whitespace));
    rows.filter(|(name, _)| UDP_ARRIVALS.contains(name)).filter_map(|(_, value)| value.trim().parse::<u64>().ok()).sum()
}

fn set_option<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> Result<()> {
    // SAFETY: the value is alive and as long as stated.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            std::mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("cannot set a socket option") }
}

/// One comparison of the filter: how to load a value, and what it must be.
struct Check {
    load: u16,
    offset: u32,
    value: u32,
}

/// Builds a classic BPF program over the packet from its IP header on.
fn filter(what: Match) -> Result<Vec<libc::sock_filter>> {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_W};
    let (word, half, byte) = ((BPF_W | BPF_ABS) as u16, (BPF_H | BPF_ABS) as u16, (BPF_B | BPF_ABS) as u16);
    let indirect = (BPF_H | BPF_IND) as u16;
    let mut checks = Vec::new();
    let (protocol_at, source_at, destination_at) = if what.v6 { (6, 8, 24) } else { (9, 12, 16) };
    checks.push(Check { load: byte, offset: protocol_at, value: u32::from(what.protocol) });
    for (address, at) in [(what.source, source_at), (what.destination, destination_at)] {
        let Some(address) = address else { continue };
        if address.is_ipv6() != what.v6 {
            bail!("{address} is not of the family to be counted");
        }
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        for (index, part) in bytes.chunks_exact(4).enumerate() {
            let value = part.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
            checks.push(Check { load: word, offset: at + 4 * index as u32, value });
        }
    }
    let mut ports = Vec::new();
    for (port, at) in [(what.source_port, 0), (what.destination_port, 2)] {
        let Some(port) = port else { continue };
        // IPv6 here has no extension headers; IPv4 options are stepped over through the index register.
        let (load, offset) = if what.v6 { (half, 40 + at) } else { (indirect, at) };
        ports.push(Check { load, offset, value: u32::from(port) });
    }
    Ok(assemble(&checks, &ports, what.v6))
}

fn assemble(checks: &[Check], ports: &[Check], v6: bool) -> Vec<libc::sock_filter> {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET};
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // A comparison that fails steps over the "no" that follows one that holds; so jumps stay short.
    let mut program = Vec::new();
    let require = |program: &mut Vec<libc::sock_filter>, check: &Check| {
        program.push(libc::sock_filter { code: BPF_LD as u16 | check.load, jt: 0, jf: 0, k: check.offset });
        program.push(libc::sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 1, jf: 0, k: check.value });
        program.push(statement(BPF_RET | BPF_K, 0));
    };
    for check in checks {
        require(&mut program, check);
    }
    if !ports.is_empty() && !v6 {
        // Later fragments have no ports.
        program.push(statement(BPF_LD | BPF_H | BPF_ABS, 6));
        program.push(libc::sock_filter { code: (BPF_JMP | BPF_JSET | BPF_K) as u16, jt: 0, jf: 1, k: 0x1fff });
        program.push(statement(BPF_RET | BPF_K, 0));
        program.push(statement(BPF_LDX | BPF_B | BPF_MSH, 0));
    }
    for check in ports {
        require(&mut program, check);
    }
    program.push(statement(BPF_RET | BPF_K, 1));
    program
}
