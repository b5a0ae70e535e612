//! Programs attached for real, in namespaces of the test's own: what stays, what goes, and what passes meanwhile.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{PermissionsExt, chown},
    },
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kernel_support::{
    HERE, NEIGHBOUR, PORT, Pair, THERE, block, count, eventually, options, pinned, run, send, totals, watch,
};
use netd::kernel::{
    Error, Kernel, Options, Xdp,
    interfaces::{Choice, LinkLayer, Watch},
};
use netd_common::{control::Mode, counter::Counter};
use netd_lab::{namespace::Namespace, require_root};

/// Both ways to attach.
const WAYS: [bool; 2] = [false, true];

fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

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
            let maps = entries(&pinned("maps"));
            assert!(maps.contains(&"FLOWS".to_owned()) && maps.contains(&"CONTROL".to_owned()), "{maps:?}");
            let links = entries(&pinned("links"));
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

/// Sends to the blocked and to the open address until told to stop; returns how many of the latter were sent.
fn flood(pair: &Pair, stop: &Arc<AtomicBool>, sent: &Arc<AtomicU64>) -> std::thread::JoinHandle<anyhow::Result<()>> {
    let socket = pair.socket();
    let (stop, sent) = (Arc::clone(stop), Arc::clone(sent));
    pair.here
        .spawn("flood", move || {
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..64 {
                    let _ = socket.send_to(b"blocked", (THERE, PORT));
                }
                sent.fetch_add(64, Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap()
}

const DAEMON: &str = "NETD_TEST_DAEMON";

/// Not a test: what a killed daemon was. Loads, attaches, blocks, says so, and waits for its end.
#[test]
fn daemon() {
    let Ok(way) = std::env::var(DAEMON) else { return };
    let mut kernel = run(&Options { force_clsact: way == "clsact", ..options("netd") });
    kernel.keep(true);
    block(&mut kernel.verdict_maps().unwrap(), THERE);
    println!("attached");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

/// Starts a daemon in `namespace`, and kills it once it is attached.
fn kill_a_daemon(namespace: &Namespace, force_clsact: bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "daemon", "--nocapture"])
        .env(DAEMON, if force_clsact { "clsact" } else { "tcx" })
        .stdout(Stdio::piped());
    let mut child = namespace.command(&mut command).unwrap().spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let attached = output.lines().any(|line| line.unwrap().contains("attached"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(attached, "the daemon did not get so far");
}

#[test]
fn no_packet_leaks_while_daemons_are_killed_and_their_followers_adopt() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        kill_a_daemon(&pair.here, force_clsact);
        let (blocked, open) = (pair.sink(THERE), pair.sink(NEIGHBOUR));
        let (stop, sent) = (Arc::default(), Arc::default());
        let flood = flood(&pair, &stop, &sent);
        let neighbour = pair.socket();

        for round in 0..6 {
            if round % 3 == 2 {
                kill_a_daemon(&pair.here, force_clsact);
            }
            pair.here
                .run(|| {
                    let mut kernel = run(&Options { force_clsact, ..options("netd") });
                    kernel.keep(true);
                    Ok(())
                })
                .unwrap();
            assert_eq!(send(&neighbour, &open, NEIGHBOUR, 5), 5);
        }

        stop.store(true, Ordering::Relaxed);
        flood.join().unwrap().unwrap();
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent > 1_000, "{sent}");
        assert_eq!(blocked.arrived(), 0, "of {sent}, by {}", if force_clsact { "clsact" } else { "TCX" });
        pair.here
            .run(|| {
                let kernel = run(&Options { force_clsact, ..options("netd") });
                // The maps are the first daemon's: nothing that was counted is lost.
                assert_eq!(totals(&kernel).of(Counter::TcDropped), sent);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_follower_finds_kill_switch_mode_hash_keys_and_sizes_as_they_were() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            let mut first = run(&options("netd"));
            first.keep(true);
            first.steering().set_kill_switch(true).unwrap();
            first.steering().set_mode(Mode::Enforce).unwrap();
            let before = first.steering().current();
            let capacity = first.flows().unwrap().capacity();
            drop(first);

            let second = run(&Options { flows_per_cpu: 65_536, ring_bytes: 4 << 20, ..options("netd") });

            assert_eq!(second.steering().current(), before);
            assert_eq!(second.flows().unwrap().capacity(), capacity);
            Ok(())
        })
        .unwrap();
}

#[test]
fn two_netds_with_directories_of_their_own_stay_out_of_each_others_way() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        let (socket, one, other) = (pair.socket(), pair.sink(THERE), pair.sink(NEIGHBOUR));
        pair.here
            .run(|| {
                let first = run(&Options { force_clsact, ..options("netd") });
                let second = run(&Options { force_clsact, ..options("netd2") });
                block(&mut first.verdict_maps().unwrap(), THERE);
                block(&mut second.verdict_maps().unwrap(), NEIGHBOUR);

                assert_eq!(send(&socket, &one, THERE, 5), 0, "first, clsact {force_clsact}");
                assert_eq!(send(&socket, &other, NEIGHBOUR, 5), 0, "second, clsact {force_clsact}");

                first.unload().unwrap();
                assert_eq!(send(&socket, &one, THERE, 5), 5);
                assert_eq!(send(&socket, &other, NEIGHBOUR, 5), 0);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_directory_has_one_daemon_at_a_time() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            let kernel = run(&options("netd"));

            assert!(matches!(Kernel::load(&options("netd")), Err(Error::InUse { .. })));
            assert!(matches!(netd::kernel::unload(Path::new("/sys/fs/bpf/netd")), Err(Error::InUse { .. })));

            drop(kernel);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_unload_verb_removes_what_a_killed_daemon_left() {
    require_root!();
    for force_clsact in WAYS {
        let pair = Pair::new();
        kill_a_daemon(&pair.here, force_clsact);
        let (socket, sink) = (pair.socket(), pair.sink(THERE));
        assert_eq!(send(&socket, &sink, THERE, 5), 0);

        pair.here
            .run(|| {
                let unloaded = netd::kernel::unload(Path::new("/sys/fs/bpf/netd")).unwrap();

                assert_eq!((unloaded.links, unloaded.filters), if force_clsact { (0, 2) } else { (2, 0) });
                assert!(!Path::new("/sys/fs/bpf/netd").exists());
                Ok(())
            })
            .unwrap();
        assert_eq!(send(&socket, &sink, THERE, 5), 5);
    }
}

#[test]
fn a_directory_that_another_user_made_is_refused() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            fs::create_dir("/sys/fs/bpf/netd").unwrap();
            chown("/sys/fs/bpf/netd", Some(65_534), Some(65_534)).unwrap();

            assert!(matches!(Kernel::load(&options("netd")), Err(Error::ForeignDirectory { .. })));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_place_outside_bpffs_is_refused() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            let elsewhere = Options { bpffs: "/tmp/netd-not-bpffs".into(), ..options("netd") };

            assert!(matches!(Kernel::load(&elsewhere), Err(Error::NotBpffs { .. })));
            assert!(!Path::new("/tmp/netd-not-bpffs").exists());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_missing_bpffs_is_mounted() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            nix::mount::umount2("/sys/fs/bpf", nix::mount::MntFlags::MNT_DETACH).unwrap();
            // Whatever lay below the laboratory's own is the machine's: hide it too.
            nix::mount::mount(Some("tmpfs"), "/sys/fs/bpf", Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
                .unwrap();

            let (kernel, _) = Kernel::load(&options("netd")).unwrap();

            assert!(pinned("maps/FLOWS").exists());
            drop(kernel);
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
                let links = entries(&pinned("links"));
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
                assert_eq!(entries(&pinned("links")).len(), 3, "{xdp:?}");
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

                let links = entries(&pinned("links"));
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
