//! What outlives a daemon that is killed, and whose directory is whose.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kernel_support::{NEIGHBOUR, PORT, Pair, THERE, block, options, pinned, run, send, totals};
use netd::kernel::{Error, Kernel, Options};
use netd_common::{control::Mode, counter::Counter};
use netd_lab::{namespace::Namespace, require_root};

/// Both ways to attach.
const WAYS: [bool; 2] = [false, true];

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
