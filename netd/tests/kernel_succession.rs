//! Another version of netd takes over: its maps have another layout, so they are filled anew while the former ones
//! enforce.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use kernel_support::{NEIGHBOUR, PORT, Pair, THERE, block, entries, eventually, options, run, send, watch};
use netd::kernel::{Error, Kernel, Options, Xdp};
use netd_common::names::ABI;
use netd_lab::require_root;

const PINS: &str = "/sys/fs/bpf/netd";

/// Every way of attaching, and XDP beside.
fn ways() -> [Options; 3] {
    [options("netd"), Options { force_clsact: true, ..options("netd") }, Options { xdp: Xdp::Auto, ..options("netd") }]
}

/// Leaves a version's programs attached, cutting `THERE`.
fn former(options: &Options) {
    let mut kernel = run(options);
    kernel.keep(true);
    block(&mut kernel.verdict_maps().unwrap(), THERE);
}

#[test]
fn a_version_takes_over_with_its_maps_filled_and_leaves_nothing_of_the_other() {
    require_root!();
    for old in ways() {
        let pair = Pair::new();
        pair.here
            .run(|| {
                former(&old);
                let (blocked, open, socket) = (pair.sink(THERE), pair.sink(NEIGHBOUR), pair.socket());
                let links = entries(format!("{PINS}/v{ABI}/links"));

                for layout in [ABI + 1, ABI] {
                    let (mut kernel, _) = Kernel::load(&Options { layout, ..old.clone() }).unwrap();
                    kernel.keep(true);
                    assert!(kernel.succeeds());
                    assert_eq!(send(&socket, &blocked, THERE, 5), 0, "loaded");
                    block(&mut kernel.verdict_maps().unwrap(), THERE);
                    kernel.attach(watch().current()).unwrap();
                    assert_eq!(send(&socket, &blocked, THERE, 5), 0, "attached");
                    assert_eq!(kernel.take_over().unwrap(), []);

                    assert!(!kernel.succeeds());
                    assert_eq!(send(&socket, &blocked, THERE, 5), 0, "taken over");
                    assert_eq!(send(&socket, &open, NEIGHBOUR, 5), 5);
                    assert_eq!(entries(PINS), [format!("v{layout}")]);
                    assert_eq!(entries(format!("{PINS}/v{layout}/links")), links);
                }
                netd::kernel::unload(&old.bpffs).unwrap();
                assert_eq!(send(&socket, &blocked, THERE, 5), 5);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn connects_and_sends_are_refused_throughout_a_takeover() {
    require_root!();
    let old = Options { cgroup: true, ..options("netd") };
    let pair = Pair::new();
    pair.here
        .run(|| {
            former(&old);
            let links = cgroup_links(ABI);
            assert!(links.iter().any(|link| link.contains("connect4")), "{links:?}");

            for layout in [ABI + 1, ABI] {
                let asking = Asking::start();
                let (mut kernel, _) = Kernel::load(&Options { layout, ..old.clone() }).unwrap();
                kernel.keep(true);
                block(&mut kernel.verdict_maps().unwrap(), THERE);
                kernel.attach(watch().current()).unwrap();
                assert_eq!(kernel.take_over().unwrap(), []);
                asking.a_little_more();
                let asked = asking.stop();

                assert!(asked.refused > 0 && asked.passed == 0, "to layout {layout}: {asked:?}");
                assert_eq!(entries(PINS), [format!("v{layout}")]);
                assert_eq!(cgroup_links(layout), links);
            }
            netd::kernel::unload(&old.bpffs).unwrap();
            assert_eq!(UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"hello", (THERE, PORT)).unwrap(), 5);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_start_that_fails_leaves_the_other_versions_refusals_as_they_were() {
    require_root!();
    let old = Options { cgroup: true, ..options("netd") };
    let pair = Pair::new();
    pair.here
        .run(|| {
            former(&old);
            let links = cgroup_links(ABI);
            let asking = Asking::start();

            let (mut kernel, _) = Kernel::load(&Options { layout: ABI + 1, ..old.clone() }).unwrap();
            block(&mut kernel.verdict_maps().unwrap(), THERE);
            kernel.attach(watch().current()).unwrap();
            drop(kernel);
            asking.a_little_more();
            let asked = asking.stop();

            assert!(asked.refused > 0 && asked.passed == 0, "{asked:?}");
            assert_eq!(entries(PINS), [format!("v{ABI}")]);
            assert_eq!(cgroup_links(ABI), links);
            Ok(())
        })
        .unwrap();
}

fn cgroup_links(layout: u32) -> Vec<String> {
    let links = entries(format!("{PINS}/v{layout}/links"));
    links.into_iter().filter(|link| link.starts_with("cgroup-")).collect()
}

/// A process that never stops asking for what is refused: datagrams sent (`sendmsg4`) and sockets connected (`connect4`).
struct Asking {
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    refused: u64,
    passed: u64,
}

impl Asking {
    fn start() -> Self {
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, ends) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut asked = Asked::default();
            let sending = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            while !ends.load(Ordering::Relaxed) {
                let connecting = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                // A packet that TC drops is sent without an error: only a program on the cgroup refuses.
                for result in [sending.send_to(b"hello", (THERE, PORT)).map(drop), connecting.connect((THERE, PORT))] {
                    match result {
                        Err(error) if error.kind() == ErrorKind::PermissionDenied => asked.refused += 1,
                        Ok(()) | Err(_) => asked.passed += 1,
                    }
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
            asked
        });
        Self { asked, stop, thread }
    }

    /// Waits until it has asked some times more.
    fn a_little_more(&self) {
        let before = self.asked.load(Ordering::Relaxed);
        eventually("it goes on asking", || self.asked.load(Ordering::Relaxed) > before + 100);
    }

    fn stop(self) -> Asked {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("asking does not panic")
    }
}

#[test]
fn a_start_that_fails_on_the_way_leaves_the_other_versions_as_they_were() {
    require_root!();
    for old in ways() {
        let pair = Pair::new();
        pair.here
            .run(|| {
                former(&old);
                let (blocked, socket) = (pair.sink(THERE), pair.socket());

                let (mut kernel, _) = Kernel::load(&Options { layout: ABI + 1, ..old.clone() }).unwrap();
                block(&mut kernel.verdict_maps().unwrap(), THERE);
                kernel.attach(watch().current()).unwrap();
                drop(kernel);

                assert_eq!(entries(PINS), [format!("v{ABI}")]);
                assert_eq!(send(&socket, &blocked, THERE, 5), 0);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_version_does_not_take_over_hooks_that_it_does_not_hold() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            former(&options("netd"));
            let (blocked, socket) = (pair.sink(THERE), pair.socket());

            let (mut kernel, _) = Kernel::load(&Options { layout: ABI + 1, ..options("netd") }).unwrap();
            block(&mut kernel.verdict_maps().unwrap(), THERE);
            let interfaces: Vec<_> = watch().current().cloned().collect();
            let ghost =
                netd::kernel::interfaces::Interface { index: 4_000, name: "ghost".into(), ..interfaces[0].clone() };
            let refused = kernel.attach(interfaces.iter().chain([&ghost]));

            assert!(matches!(refused, Err(Error::Attach { .. })), "{refused:?}");
            drop(kernel);
            assert_eq!(entries(PINS), [format!("v{ABI}")]);
            assert_eq!(send(&socket, &blocked, THERE, 5), 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_layout_of_unknown_shape_is_refused_and_goes_on_enforcing() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            former(&options("netd"));
            let (blocked, socket) = (pair.sink(THERE), pair.socket());
            fs::create_dir(format!("{PINS}/v9000")).unwrap();
            fs::create_dir(format!("{PINS}/v9000/programs")).unwrap();

            let refused = Kernel::load(&options("netd")).unwrap_err();

            assert!(matches!(refused, Error::UnknownLayout { .. }), "{refused}");
            assert_eq!(send(&socket, &blocked, THERE, 5), 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn maps_on_their_way_out_are_removed_by_the_next_start_and_by_unloading() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            former(&options("netd"));
            fs::create_dir_all(format!("{PINS}/gone-v1/maps")).unwrap();
            former(&options("netd"));
            assert_eq!(entries(PINS), [format!("v{ABI}")]);
            fs::create_dir_all(format!("{PINS}/gone-v1/maps")).unwrap();

            netd::kernel::unload(Path::new(PINS)).unwrap();

            assert!(!Path::new(PINS).exists());
            Ok(())
        })
        .unwrap();
}
