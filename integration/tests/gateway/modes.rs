//! How far netd goes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab};
use netd_lab::require_root;
use netd_lab::traffic::probe::{Passage, datagrams};
use serde_json::json;

use crate::families::{BOTH, Family};

#[test]
fn observe_passes_shadow_counts_and_passes_enforce_cuts() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup { mode: "observe", ..Setup::default() }).unwrap();
    let api = daemon.api();
    let set = |mode: &str| {
        let answer = api.send_json("PUT", "/api/v1/mode", &json!({"mode": mode})).unwrap().accepted().unwrap();
        assert_eq!(answer["mode"]["effective"], mode);
    };

    for family in BOTH {
        let (from, to) = tuple(family);
        let id = api.block(&json!({"target": {"address": to.ip(), "port": 6_000, "protocol": "udp"}})).unwrap();
        let hits = |name: &str| api.get(&format!("/api/v1/verdicts/{id}")).unwrap()["hits"][name].as_u64().unwrap();

        set("observe");
        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Free);
        assert_eq!(hits("packets"), 0);

        set("shadow");
        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Free);
        assert_eq!((hits("packets"), hits("shadow_packets")), (0, 20));

        set("enforce");
        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Cut);
        assert_eq!((hits("packets"), hits("shadow_packets")), (20, 20));
    }
}

#[test]
fn a_shadow_verdict_counts_and_passes_though_netd_enforces() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();

    for family in BOTH {
        let (from, to) = tuple(family);
        let id = daemon.api().block(&json!({"target": {"address": to.ip()}, "shadow": true})).unwrap();

        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Free);

        let verdict = daemon.api().get(&format!("/api/v1/verdicts/{id}")).unwrap();
        assert_eq!((&verdict["hits"]["packets"], &verdict["hits"]["shadow_packets"]), (&json!(0), &json!(20)));
    }
}

#[test]
fn the_kill_switch_passes_everything_within_a_second_survives_a_restart_and_off_cuts_again() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let mut daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let set = |daemon: &Daemon, state: &str| {
        let began = Instant::now();
        let output = daemon.netd(&["kill-switch", state]).unwrap();
        assert!(output.status.success(), "{output:?}");
        began
    };
    for family in BOTH {
        daemon.api().block(&json!({"target": {"address": tuple(family).1.ip()}})).unwrap();
    }
    let all = |expected: Passage| {
        for (from, to) in BOTH.map(tuple) {
            assert_eq!(datagrams(&lab, from, to).unwrap(), expected);
        }
    };
    all(Passage::Cut);

    let began = set(&daemon, "on");
    all(Passage::Free);
    println!("kill switch: everything passes after {:.3} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(1));

    daemon.kill().unwrap();
    daemon.again(&[]).unwrap();
    all(Passage::Free);
    assert!(daemon.terminate().unwrap().success());
    daemon.again(&[]).unwrap();
    all(Passage::Free);
    assert_eq!(daemon.api().get("/api/v1/kill-switch").unwrap()["on"], true);

    set(&daemon, "off");
    all(Passage::Cut);
}

fn tuple(family: Family) -> (SocketAddr, SocketAddr) {
    (family.at(IMPLANT, 5_000), SocketAddr::new(family.nowhere(0, 1), 6_000))
}
