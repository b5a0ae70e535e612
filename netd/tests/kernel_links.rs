//! Programs attached for real, in namespaces of the test's own: what stays, what goes, and what passes meanwhile.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::{
    fs,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::Path,
    process::Command,
};

use kernel_support::{
    HERE, NEIGHBOUR, PORT, Pair, THERE, block, count, entries, eventually, options, pinned, run, send, totals, watch,
};
use netd::kernel::{
    Kernel, Options, Xdp,
    interfaces::{Choice, LinkLayer, Watch},
};
use netd_common::{
    control::Mode,
    counter::{Counter, Traffic},
};
use netd_lab::{namespace::Namespace, require_root};

/// Both ways to attach.
const WAYS: [bool; 2] = [false, true];

#[test]
fn what_is_loaded_is_pinned_for_us_alone_and_unloading_leaves_nothing() {
    require_root!();
    let pair = Pair::new();

    pair.here
        .run(|| {
            let kernel = run(&options("netd"));

            let root = Path::new("/sys/fs/bpf/netd");
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(root), 0o700);
            let maps = entries(pinned("maps"));
            assert!(maps.contains(&"FLOWS".to_owned()) && maps.contains(&"CONTROL".to_owned()), "{maps:?}");
            let links = entries(pinned("links"));
            assert_eq!(links.len(), 2, "{links:?}");
            for pin in maps
                .iter()
                .map(|name| pinned(&format!("maps/{name}")))
                .chain(links.iter().map(|name| pinned(&format!("links/{name}"))))
            {
                assert_eq!(mode(&pin), 0o600, "{}", pin.display());
            }

            let unloaded = kernel.unload().unwrap();

            assert_eq!((unloaded.links, unloaded.filters), (2, 0));
            assert!(!root.exists());
            Ok(())
        })
        .unwrap();
}

#[test]
fn packets_of_both_directions_are_counted_and_leave_with_the_programs() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        let (socket, sink) = (pair.socket(), pair.sink(THERE));
        pair.here
            .run(|| {
                let kernel = run(&Options { force_clsact, ..options("netd") });

                assert_eq!(send(&socket, &sink, THERE, 10), 10);
                count(&kernel, Counter::EgressPackets, 10);
                count(&kernel, Counter::AccountedPackets, 10);

                let counters = kernel.counters().unwrap();
                let slot = Traffic::slot(watch().current().next().unwrap().index);
                assert_eq!(counters.read().unwrap().traffic()[slot].packets, [0, 10]);
                drop(kernel);
                assert_eq!(send(&socket, &sink, THERE, 10), 10);
                assert_eq!(counters.read().unwrap().of(Counter::EgressPackets), 10);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_blocked_host_is_cut_its_neighbour_is_not_and_unloading_releases() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        let (socket, blocked, open) = (pair.socket(), pair.sink(THERE), pair.sink(NEIGHBOUR));
        pair.here
            .run(|| {
                let kernel = run(&Options { force_clsact, ..options("netd") });
                block(&mut kernel.verdict_maps().unwrap(), THERE);

                assert_eq!(send(&socket, &blocked, THERE, 10), 0);
                assert_eq!(send(&socket, &open, NEIGHBOUR, 10), 10);
                assert_eq!(totals(&kernel).of(Counter::TcDropped), 10);

                kernel.unload().unwrap();
                assert_eq!(send(&socket, &blocked, THERE, 10), 10);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_kill_switch_and_the_mode_are_obeyed_at_once() {
    require_root!();
    let pair = Pair::new();
    let (socket, sink) = (pair.socket(), pair.sink(THERE));
    pair.here
        .run(|| {
            let kernel = run(&options("netd"));
            block(&mut kernel.verdict_maps().unwrap(), THERE);
            let steering = kernel.steering();

            steering.set_kill_switch(true).unwrap();
            assert_eq!(send(&socket, &sink, THERE, 5), 5);
            steering.set_kill_switch(false).unwrap();
            assert_eq!(send(&socket, &sink, THERE, 5), 0);
            steering.set_mode(Mode::Shadow).unwrap();
            assert_eq!(send(&socket, &sink, THERE, 5), 5);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_interface_that_comes_back_is_watched_again() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        pair.here
            .run(|| {
                let mut watch = watch();
                let mut kernel = run(&Options { force_clsact, ..options("netd") });
                assert!(watch.changes().unwrap().is_empty());

                pair.here.ip(&["link del veth0"]).unwrap();
                let gone = watch.changes().unwrap();
                assert_eq!((gone.vanished.len(), gone.appeared.len()), (1, 0), "{gone:?}");
                assert_eq!(kernel.follow(&gone).unwrap(), []);
                assert_eq!(kernel.watched().count(), 0);

                pair.here.ip(&["link add veth0 type veth peer name veth1", "link set veth0 up"]).unwrap();
                let back = watch.changes().unwrap();
                assert_eq!((back.vanished.len(), back.appeared.len()), (0, 1), "{back:?}");
                assert_eq!(kernel.follow(&back).unwrap(), []);
                assert_eq!(kernel.watched().count(), 1);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn an_interface_made_anew_under_the_same_number_between_two_looks_is_watched_again() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            let mut watch = watch();
            let mut kernel = run(&options("netd"));
            let index = kernel.watched().next().unwrap().index;

            pair.here
                .ip(&[
                    "link del veth0".to_owned(),
                    format!("link add veth0 index {index} type veth peer name veth1"),
                    "link set veth0 up".to_owned(),
                    "link set veth1 up".to_owned(),
                ])
                .unwrap();
            let changes = watch.changes().unwrap();
            assert!(changes.vanished.iter().any(|interface| interface.index == index), "{changes:?}");
            assert_eq!(kernel.follow(&changes).unwrap(), []);

            assert_eq!(kernel.heal().unwrap(), [], "all is well already");
            assert_eq!(kernel.watched().count(), 2);
            assert_eq!(kernel.steering().current().forwards, 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_deleted_qdisc_is_noticed_and_healed_and_a_strangers_filter_is_left_alone() {
    require_root!();
    let pair = Pair::new();
    let (socket, sink) = (pair.socket(), pair.sink(THERE));
    pair.here
        .run(|| {
            let mut kernel = run(&Options { force_clsact: true, ..options("netd") });
            block(&mut kernel.verdict_maps().unwrap(), THERE);
            tc(&pair.here, &["qdisc", "del", "dev", "veth0", "clsact"]);
            assert_eq!(send(&socket, &sink, THERE, 5), 5, "nobody is there to drop");

            assert_eq!(kernel.heal().unwrap().len(), 1);

            assert_eq!(send(&socket, &sink, THERE, 5), 0);
            assert_eq!(kernel.heal().unwrap(), []);

            let strangers = ["pref", "5", "protocol", "ip", "u32", "match", "u32", "0", "0", "flowid", "1:1"];
            tc(&pair.here, &[&["filter", "add", "dev", "veth0", "egress"], &strangers[..]].concat());
            kernel.unload().unwrap();
            let left = tc(&pair.here, &["filter", "show", "dev", "veth0", "egress"]);
            assert!(left.contains("u32") && !left.contains("netd"), "{left}");
            Ok(())
        })
        .unwrap();
}

fn tc(namespace: &Namespace, arguments: &[&str]) -> String {
    let mut command = Command::new("tc");
    let output = namespace.command(command.args(arguments)).unwrap().output().unwrap();
    assert!(output.status.success(), "tc {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn links_and_filters_take_over_from_each_other() {
    require_root!();
    let pair = Pair::new();
    let (socket, sink) = (pair.socket(), pair.sink(THERE));
    pair.here
        .run(|| {
            for force_clsact in [false, true, false] {
                let mut kernel = run(&Options { force_clsact, ..options("netd") });
                kernel.keep(true);
                let before = totals(&kernel).of(Counter::EgressPackets);

                assert_eq!(send(&socket, &sink, THERE, 5), 5);

                eventually("five packets more", || totals(&kernel).of(Counter::EgressPackets) >= before + 5);
                assert_eq!(totals(&kernel).of(Counter::EgressPackets), before + 5, "counted once");
                let links = entries(pinned("links"));
                assert_eq!(links.len(), if force_clsact { 0 } else { 2 }, "{links:?}");
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_interface_not_chosen_any_more_is_let_go() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        pair.here
            .run(|| {
                pair.here.ip(&["link add other0 type veth peer name other1", "link set other0 up"]).unwrap();
                let mut kernel = run(&Options { force_clsact, ..options("netd") });
                kernel.keep(true);
                assert_eq!(kernel.watched().count(), 2);
                drop(kernel);

                let (mut kernel, _) = Kernel::load(&Options { force_clsact, ..options("netd") }).unwrap();
                let chosen = Watch::new(Choice::parse("other0")).unwrap();
                assert_eq!(kernel.attach(chosen.current()).unwrap(), []);

                let (links, filters) = if force_clsact { (0, 2) } else { (2, 0) };
                assert_eq!(kernel.steering().current().forwards, 0);
                let unloaded = kernel.unload().unwrap();
                assert_eq!((unloaded.links, unloaded.filters), (links, filters));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_listed_source_is_dropped_by_xdp_natively_and_generically_and_adopted() {
    require_root!();
    for xdp in [Xdp::Native, Xdp::Generic, Xdp::Auto] {
        let pair = Pair::new();
        let from = pair.sink(THERE);
        let to = pair.here.run(|| Ok(std::net::UdpSocket::bind((HERE, PORT))?)).unwrap();
        to.set_nonblocking(true).unwrap();
        pair.here
            .run(|| {
                let mut first = run(&Options { xdp, ..options("netd") });
                first.keep(true);
                block(&mut first.verdict_maps().unwrap(), THERE);
                drop(first);
                let second = run(&Options { xdp, ..options("netd") });

                for _ in 0..10 {
                    from.send_to(HERE);
                }

                count(&second, Counter::XdpDropped, 10);
                assert_eq!(totals(&second).of(Counter::TcDropped), 0, "{xdp:?}");
                assert_eq!(entries(pinned("links")).len(), 3, "{xdp:?}");
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn xdp_changes_its_mode_and_can_be_turned_off() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            for (xdp, expected) in [
                (Xdp::Native, Some("native")),
                (Xdp::Generic, Some("generic")),
                (Xdp::Auto, Some("generic")),
                (Xdp::Off, None),
            ] {
                let (mut kernel, _) = Kernel::load(&Options { xdp, ..options("netd") }).unwrap();
                kernel.keep(true);
                assert_eq!(kernel.attach(watch().current()).unwrap(), [], "{xdp:?}");

                let links = entries(pinned("links"));
                let found = links.iter().find_map(|link| link.split_once("xdp-").map(|(_, mode)| mode));
                assert_eq!(found, expected, "{links:?}");
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_device_without_a_link_layer_is_watched_by_programs_of_its_own() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace.ip(&["tuntap add mode tun name tun0", "link set tun0 up", "address add 10.9.0.1/24 dev tun0"]).unwrap();
    namespace.sysctl("ipv6/conf/all/disable_ipv6", "1").unwrap();
    namespace
        .run(|| {
            let mut wire = tun("tun0");
            let chosen = Watch::new(Choice::parse("tun0")).unwrap();
            assert_eq!(chosen.current().next().unwrap().link_layer, LinkLayer::None);
            let (mut kernel, _) = Kernel::load(&options("netd")).unwrap();
            assert_eq!(kernel.attach(chosen.current()).unwrap(), []);
            let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();

            let mut packet = [0; 128];
            for _ in 0..5 {
                socket.send_to(b"hello", "10.9.0.2:7").unwrap();
                let len = wire.read(&mut packet).unwrap();
                assert_eq!(len, 20 + 8 + 5, "an IP packet without anything before it");
                // Back to where it came from: addresses and ports change places, which no checksum minds.
                packet[12..20].rotate_left(4);
                packet[20..24].rotate_left(2);
                assert_eq!(wire.write(&packet[..len]).unwrap(), len);
                assert_eq!(socket.recv(&mut packet).unwrap(), 5);
            }

            count(&kernel, Counter::EgressPackets, 5);
            count(&kernel, Counter::IngressPackets, 5);
            count(&kernel, Counter::AccountedPackets, 10);
            assert_eq!(totals(&kernel).of(Counter::UnparsedNotIp), 0);
            Ok(())
        })
        .unwrap();
}

/// Opens the other end of a tun device.
fn tun(name: &str) -> fs::File {
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    // `struct ifreq`: a name of 16 bytes, the flags, room for the union's longest.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is as long as the kernel's `struct ifreq`, and lives until the call returns.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    tun
}

#[test]
fn nothing_attached_at_all_is_an_error_that_names_the_interface() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            let (mut kernel, _) = Kernel::load(&options("netd")).unwrap();
            let ghost = netd::kernel::interfaces::Interface {
                index: 4_242,
                name: "ghost0".to_owned(),
                link_layer: LinkLayer::Ethernet,
            };

            let error = kernel.attach([&ghost]).unwrap_err().to_string();

            assert!(error.contains("ghost0"), "{error}");
            Ok(())
        })
        .unwrap();
}
