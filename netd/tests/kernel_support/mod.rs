//! Two namespaces, one watched, and a verdict in the kernel's maps.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use netd::{
    kernel::{
        Kernel, Options, Totals, VerdictMaps, Xdp,
        interfaces::{Choice, Watch},
    },
    verdicts::{MapKey, Maps},
};
use netd_common::{
    control::Mode,
    counter::Counter,
    key::Address,
    verdict::{Action, Rule, front_bit},
};
use netd_lab::namespace::{End, Namespace, veth};

pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Another address of the other side, which nobody blocks.
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
pub(crate) const PORT: u16 = 4_444;

const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A watched host and one to talk to, on one wire.
pub(crate) struct Pair {
    pub(crate) here: Namespace,
    pub(crate) there: Namespace,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let here = Namespace::new("here").unwrap();
        let there = Namespace::new("there").unwrap();
        let one = End { namespace: &here, interface: "veth0", mac: HERE_MAC };
        let other = End { namespace: &there, interface: "veth0", mac: THERE_MAC };
        veth(one, other).unwrap();
        let settle = |namespace: &Namespace| {
            // No packet of the stack's own, so that counts are exact.
            namespace.sysctl("ipv6/conf/all/disable_ipv6", "1").unwrap();
        };
        settle(&here);
        settle(&there);
        here.ip(&[
            one.address(HERE.into(), 24),
            one.neighbour(THERE.into(), THERE_MAC),
            one.neighbour(NEIGHBOUR.into(), THERE_MAC),
        ])
        .unwrap();
        there
            .ip(&[
                other.address(THERE.into(), 24),
                other.address(NEIGHBOUR.into(), 24),
                other.neighbour(HERE.into(), HERE_MAC),
            ])
            .unwrap();
        Self { here, there }
    }

    /// A socket of the watched host.
    pub(crate) fn socket(&self) -> UdpSocket {
        bound(&self.here, SocketAddr::new(HERE.into(), 0))
    }

    /// A socket of the other side that counts what reaches it.
    pub(crate) fn sink(&self, address: Ipv4Addr) -> Sink {
        let socket = bound(&self.there, SocketAddr::new(address.into(), PORT));
        socket.set_nonblocking(true).unwrap();
        Sink { socket }
    }
}

fn bound(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    namespace.run(|| Ok(UdpSocket::bind(address)?)).unwrap()
}

pub(crate) struct Sink {
    socket: UdpSocket,
}

impl Sink {
    /// Sends a datagram to the watched host.
    pub(crate) fn send_to(&self, to: Ipv4Addr) {
        self.socket.send_to(b"hello", (to, PORT)).unwrap();
    }

    /// Counts what has arrived since the last look.
    pub(crate) fn arrived(&self) -> usize {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| self.socket.recv_from(&mut buffer).ok()).count()
    }
}

/// veth delivers from softirq: give it a moment, for as long as it is needed.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends `count` datagrams and returns how many came through.
pub(crate) fn send(socket: &UdpSocket, sink: &Sink, to: Ipv4Addr, count: usize) -> usize {
    sink.arrived();
    for _ in 0..count {
        // A verdict may refuse the send; what counts is what arrives.
        let _ = socket.send_to(b"hello", (to, PORT));
    }
    let mut arrived = 0;
    let deadline = Instant::now() + Duration::from_millis(300);
    while arrived < count && Instant::now() < deadline {
        arrived += sink.arrived();
        std::thread::sleep(Duration::from_millis(2));
    }
    arrived
}

pub(crate) fn options(directory: &str) -> Options {
    Options {
        bpffs: PathBuf::from("/sys/fs/bpf").join(directory),
        flows_per_cpu: 1_024,
        ring_bytes: 1 << 20,
        process_ring_bytes: 1 << 16,
        sockets: 1_024,
        hosts: 1 << 15,
        prefixes: 1_024,
        endpoints: 1_024,
        flow_verdicts: 1_024,
        allowed: 1_024,
        xdp: Xdp::Off,
        // The cgroup tree is the machine's, whatever namespace one is in.
        cgroup: false,
        processes: false,
        returns: false,
        offsets: true,
        force_clsact: false,
        layout: netd_common::names::ABI,
    }
}

/// Returns the names in a folder, in order.
pub(crate) fn entries(folder: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn watch() -> Watch {
    Watch::new(Choice::Auto).unwrap()
}

/// Loads and attaches, and insists that nothing is lacking.
pub(crate) fn run(options: &Options) -> Kernel {
    let (mut kernel, lacking) = Kernel::load(options).unwrap();
    assert_eq!(lacking, []);
    let degraded = kernel.attach(watch().current()).unwrap();
    assert!(degraded.iter().all(|degraded| degraded.what.starts_with("XDP")), "{degraded:?}");
    kernel
}

pub(crate) fn address(ip: Ipv4Addr) -> Address {
    Address::from(IpAddr::from(ip))
}

/// Drops everything to and from `ip`, for ever.
pub(crate) fn block(maps: &mut VerdictMaps, ip: Ipv4Addr) {
    let address = address(ip);
    let bit = front_bit(&address);
    let word = maps.front().unwrap()[(bit / 64) as usize] | 1 << (bit % 64);
    maps.write_rule(1, &Rule::new(Action::Drop, u64::MAX)).unwrap();
    maps.write_front(&[(bit / 64, word)]).unwrap();
    maps.insert(&[(MapKey::Host(address), 1)]).unwrap();
    maps.bump_generation().unwrap();
    maps.set_mode(Mode::Enforce).unwrap();
}

pub(crate) fn totals(kernel: &Kernel) -> Totals {
    kernel.counters().unwrap().read().unwrap()
}

/// Waits until the counter stands at `expected`.
pub(crate) fn count(kernel: &Kernel, counter: Counter, expected: u64) {
    let counters = kernel.counters().unwrap();
    eventually(&format!("{counter:?} is {expected}"), || counters.read().unwrap().of(counter) == expected);
}

/// Where the present layout is pinned.
pub(crate) fn pinned(what: &str) -> PathBuf {
    std::path::Path::new("/sys/fs/bpf/netd").join(format!("v{}", netd_common::names::ABI)).join(what)
}
