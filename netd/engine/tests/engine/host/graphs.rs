//! Graphs: what is one end and what is none, and what hostile processes can make of them.

use netd_engine::streams::{
    Access, Descriptor, InetSocket, MOST_DEPTH, MOST_EDGES, MOST_NODES, Object, Opened, Snapshot, Socket, trace,
};
use proptest::prelude::*;

use super::support::{Host, stdio};

#[test]
fn the_same_end_after_a_fork_is_no_other_end() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/curl", "curl");
    // Both read the one pipe; nobody writes to it.
    host.pipe(&[], &[(9, 0), (11, 0)]);
    host.connected(&[(11, 5)]);

    assert_eq!(host.graph(9).ends, []);
}

#[test]
fn a_known_program_is_not_walked_through() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/sbin/sshd", "sshd");
    host.run(12, "/usr/bin/nc.openbsd", "nc");
    host.pipe(&[(11, 4)], &[(9, 0)]);
    host.pipe(&[(12, 1)], &[(11, 5)]);
    host.connected(&[(12, 3)]);

    assert_eq!(host.graph(9).ends, []);
}

#[test]
fn a_chain_longer_than_any_relay_is_cut_and_said_so() {
    let mut host = Host::default();
    host.sh(9);
    for pid in 10..20 {
        host.run(pid, "/usr/bin/cat", "cat");
        host.pipe(&[(pid, 1)], &[(pid - 1, 0)]);
    }
    host.connected(&[(19, 3)]);

    let graph = host.graph(9);

    assert!(graph.is_cut && graph.ends.is_empty() && graph.edges.len() == MOST_DEPTH);
}

#[test]
fn many_holders_are_cut_and_said_so() {
    let mut host = Host::default();
    host.sh(9);
    let writers: Vec<_> = (100..1_000).map(|pid| (pid, 1)).collect();
    host.pipe(&writers, &[(9, 0)]);

    let graph = host.graph(9);

    assert!(graph.is_cut && graph.nodes.len() == MOST_NODES);
}

#[test]
fn a_graph_is_written_for_programs_too() {
    let mut host = Host::default();
    host.sh(9);
    host.connected(&stdio(9));

    let text = toml::to_string(&host.graph(9)).unwrap();

    assert!(text.contains("remote = \"198.51.100.7:4444\"") && text.contains("opened = \"connected\""), "{text}");
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        (0..6_u64).prop_map(|inode| Object::Pipe { inode }),
        (0..3_u64).prop_map(|inode| Object::Fifo { device: 1, inode }),
        (0..3_u32).prop_map(|index| Object::Terminal { device: 1, index }),
        (0..3_u32).prop_map(|index| Object::TerminalMaster { device: u64::from(index % 2), index }),
        (0..8_u64).prop_map(|inode| Object::Socket { inode }),
        Just(Object::Console),
        Just(Object::Other),
    ]
}

fn socket() -> impl Strategy<Value = Socket> {
    let opened =
        prop_oneof![Just(Opened::Connected), Just(Opened::Accepted), Just(Opened::Listening), Just(Opened::Unknown)];
    let inet = (opened, any::<[u8; 2]>(), any::<[u8; 2]>(), prop_oneof![Just(6), Just(17)], any::<bool>()).prop_map(
        |(opened, src_port, dst_port, proto, is_loopback)| {
            let address = if is_loopback { [127, 0, 0, 1] } else { [198, 51, 100, 7] };
            let address = std::net::IpAddr::from(address).into();
            let key = netd_common::key::FlowKey { src: address, dst: address, src_port, dst_port, proto, pad: [0; 3] };
            Socket::Inet(InetSocket { key, netns: 1, cookie: 0, opened })
        },
    );
    prop_oneof![proptest::option::of(0..8_u64).prop_map(|peer| Socket::Unix { peer }), inet]
}

proptest! {
    #[test]
    fn no_snapshot_panics_loops_or_leaves_the_bounds(
        held in proptest::collection::vec((0..80_u32, 0..6_u32, object(), 0..3_u8), 0..400),
        sockets in proptest::collection::hash_map(0..8_u64, socket(), 0..8),
    ) {
        let access = |number| [Access::Read, Access::Write, Access::Both][usize::from(number)];
        let descriptors = held
            .into_iter()
            .map(|(pid, fd, object, number)| Descriptor { pid, fd, object, access: access(number) })
            .collect();
        let snapshot = Snapshot { descriptors, sockets, ..Snapshot::default() };

        let graph = trace(&snapshot, 0, &|_| false);

        prop_assert!(graph.nodes.len() <= MOST_NODES && graph.edges.len() <= MOST_EDGES);
        prop_assert!(graph.ends.iter().all(|end| graph.path(end).len() <= MOST_DEPTH));
        prop_assert_eq!(graph.lines().len(), graph.ends.len().min(32));
        // Whatever it shows is judged without a panic.
        let mut world = crate::support::World::new(netd_engine::config::Config::default());
        Host { snapshot, ..Host::default() }.look(&mut world, 0);
    }
}
