//! What a daemon leaves behind, and its removal.

use std::net::SocketAddr;
use std::path::Path;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab, NOWHERE};
use netd_lab::require_root;
use netd_lab::traffic::probe::{Passage, datagrams};
use serde_json::json;

use crate::alone;

const PINS: &str = "/sys/fs/bpf/netd";

#[test]
fn a_kept_verdict_holds_without_a_daemon_until_netd_unload_removes_every_pin_and_program() {
    require_root!();
    let _alone = alone();
    let lab = Lab::gateway().unwrap();
    let mut daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let refused = daemon.netd(&["unload"]).unwrap();
    assert_eq!(refused.status.code(), Some(1), "unloaded below a running daemon: {refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another netd is using"), "{refused:?}");
    daemon.terminate().unwrap();
    assert_eq!((pinned(&lab), attached(&lab).len()), (false, 0), "a daemon that ends removes everything");
    daemon.again(&["--keep"]).unwrap();
    let tuple = (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    daemon.api().block(&json!({"target": {"address": NOWHERE}})).unwrap();
    daemon.terminate().unwrap();
    let programs = attached(&lab);

    assert_eq!((pinned(&lab), programs.len()), (true, 4));
    assert_eq!(datagrams(&lab, tuple.0, tuple.1).unwrap(), Passage::Cut);

    let unloaded = daemon.netd(&["unload"]).unwrap();

    assert!(unloaded.status.success(), "{unloaded:?}");
    assert_eq!((pinned(&lab), attached(&lab).len()), (false, 0));
    assert_eq!(datagrams(&lab, tuple.0, tuple.1).unwrap(), Passage::Free);
    let ids: Vec<u32> = loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect();
    assert!(programs.iter().all(|id| !ids.contains(id)), "programs are still loaded");
}

fn pinned(lab: &Lab) -> bool {
    lab.watched().run(|| Ok(Path::new(PINS).exists())).unwrap()
}

/// Returns the ids of the TC programs on the watched interfaces.
fn attached(lab: &Lab) -> Vec<u32> {
    let places = [TcAttachType::Ingress, TcAttachType::Egress];
    let all = || {
        let interfaces = lab.watched_interfaces().iter();
        let all = interfaces.flat_map(|interface| places.map(|place| SchedClassifier::query_tcx(interface, place)));
        Ok(all.flat_map(|found| found.unwrap().1).map(|program| program.id()).collect())
    };
    lab.watched().run(all).unwrap()
}
