//! Another version of netd takes over: its maps have another layout, so they are filled anew while the former ones
//! enforce.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::fs;
use std::path::Path;

use kernel_support::{NEIGHBOUR, Pair, THERE, block, entries, options, run, send, watch};
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
