//! What each kind of target cuts, for how long, and what must not be cut.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{GATEWAY, IMPLANT, Lab, STORE};
use netd_lab::require_root;
use netd_lab::traffic::flood::{Flood, Pace};
use netd_lab::traffic::probe::{Passage, datagrams, tuple};
use netd_lab::traffic::sink::PacketCounter;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::families::{BOTH, Family};
use crate::nowhere_prefix;

#[test]
fn each_kind_of_target_cuts_what_it_names_and_nothing_else_until_it_is_released() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();

    for family in BOTH {
        for kind in kinds(family) {
            let id = api.block(&json!({"target": kind.target, "ttl": "1h"})).unwrap();
            for (from, to) in &kind.cut {
                assert_eq!(datagrams(&lab, *from, *to).unwrap(), Passage::Cut, "{from} to {to}: {}", kind.target);
            }
            for (from, to) in &kind.free {
                assert_eq!(datagrams(&lab, *from, *to).unwrap(), Passage::Free, "{from} to {to}: {}", kind.target);
            }
            let released = api.release(id).unwrap();
            assert!(released["hits"]["packets"].as_u64() > Some(0), "{released}");
            for (from, to) in &kind.cut {
                assert_eq!(datagrams(&lab, *from, *to).unwrap(), Passage::Free, "{from} to {to}: released");
            }
        }
    }
}

struct Kind {
    target: Value,
    cut: Vec<(SocketAddr, SocketAddr)>,
    free: Vec<(SocketAddr, SocketAddr)>,
}

fn kinds(family: Family) -> [Kind; 4] {
    let from = |port| family.at(IMPLANT, port);
    let to = |net, host, port| SocketAddr::new(family.nowhere(net, host), port);
    let (one, same_host) = ((from(5_000), to(0, 1, 6_000)), (from(5_000), to(0, 1, 6_001)));
    let (other_port, other_host) = ((from(5_001), to(0, 1, 6_000)), (from(5_000), to(0, 2, 6_000)));
    let other_net = (from(5_000), to(1, 1, 6_000));
    let address = family.nowhere(0, 1);
    [
        Kind {
            target: json!({"source": from(5_000).ip(), "source_port": 5_000, "destination": address,
                "destination_port": 6_000, "protocol": "udp"}),
            cut: vec![one],
            free: vec![same_host, other_port, other_host],
        },
        Kind {
            target: json!({"address": address, "port": 6_000, "protocol": "udp"}),
            cut: vec![one, other_port],
            free: vec![same_host, other_host],
        },
        Kind { target: json!({"address": address}), cut: vec![one, same_host], free: vec![other_host, other_net] },
        Kind {
            target: json!({"prefix": nowhere_prefix(family, 0)}),
            cut: vec![one, same_host, other_host],
            free: vec![other_net],
        },
    ]
}

#[test]
fn a_verdict_expires_in_the_kernel_to_the_second_also_while_the_daemon_hangs() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();

    for (hangs, family) in [(false, Family::V4), (true, Family::V6)] {
        let (from, to) = (family.at(IMPLANT, 5_000), SocketAddr::new(family.nowhere(0, 1), 6_000));
        let counter = PacketCounter::start(lab.wan(), "eth0", tuple(from, to)).unwrap();
        let pace = Pace::full(Duration::from_secs(10)).at(2_000);

        let asked = Instant::now();
        api.block(&json!({"target": {"address": to.ip()}, "ttl": "3s"})).unwrap();
        if hangs {
            daemon.signal(Signal::SIGSTOP).unwrap();
        }
        let flood = Flood { from, to, payload: 18, pace }.start(lab.lan()).unwrap();
        while counter.packets().unwrap() == 0 {
            assert!(asked.elapsed() < Duration::from_secs(8), "never released");
            std::thread::sleep(Duration::from_millis(2));
        }
        let held = asked.elapsed();
        drop(flood);
        daemon.signal(Signal::SIGCONT).unwrap();

        println!("ttl 3 s, daemon {}: held {:.3} s", if hangs { "stopped" } else { "running" }, held.as_secs_f64());
        assert!(held.abs_diff(Duration::from_secs(3)) < Duration::from_secs(1), "{held:?}");
    }
}

#[test]
fn what_is_protected_is_refused_with_the_reason_and_passes_inside_a_blocked_prefix() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let store = [Family::V4.of(STORE).to_string(), Family::V6.of(STORE).to_string()];
    let protect = [&*store[0], &*store[1]];
    let daemon = Daemon::start(&lab, Setup { protect: &protect, ..Setup::default() }).unwrap();
    let api = daemon.api();

    for family in BOTH {
        let (store, own) = (family.of(STORE), family.of(GATEWAY));
        for (target, reason) in [
            (json!({"address": store}), "protected by the configuration"),
            (json!({"address": store, "port": 443, "protocol": "tcp"}), "protected by the configuration"),
            (json!({"address": own}), "an address of this host"),
            (json!({"prefix": if family == Family::V4 { "127.0.0.0/8" } else { "fe80::/10" }}), "loopback"),
        ] {
            let answer = api.send_json("POST", "/api/v1/verdicts", &json!({"target": target})).unwrap();
            assert!((400..500).contains(&answer.status) && answer.body.contains(reason), "{answer:?}");
        }

        let around = if family == Family::V4 { "198.51.100.0/24" } else { "2001:db8:51::/64" };
        let answer = api.send_json("POST", "/api/v1/verdicts", &json!({"target": {"prefix": around}})).unwrap();
        assert!(answer.json().unwrap()["spared"].to_string().contains(&store.to_string()), "{answer:?}");
        // Nobody listens: what counts is what arrives. An answer of the wan's kernel may end a probe early.
        let passage = datagrams(&lab, family.at(IMPLANT, 5_000), SocketAddr::new(store, 7_000)).unwrap();
        assert_ne!(passage, Passage::Cut);
        let beside = datagrams(&lab, family.at(IMPLANT, 5_000), family.at(netd_lab::lab::WEB[0], 7_000)).unwrap();
        assert_eq!(beside, Passage::Cut);
    }
    assert_eq!(api.items("/api/v1/verdicts").unwrap().len(), 2);
}
