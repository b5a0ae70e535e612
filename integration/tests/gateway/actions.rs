//! What each action does to packets.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{C2, IMPLANT, Lab};
use netd_lab::require_root;
use netd_lab::traffic::flood::{Flood, Pace};
use netd_lab::traffic::probe::{Passage, connects, datagrams, tuple};
use netd_lab::traffic::server::Server;
use netd_lab::traffic::sink::PacketCounter;
use serde_json::json;

use crate::families::BOTH;

#[test]
fn a_reset_ends_a_connect_at_once_and_a_drop_lets_it_wait() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();

    for family in BOTH {
        let (from, to) = (family.of(IMPLANT), family.at(C2, 443));
        let _server = Server::tcp(lab.wan(), to).unwrap();
        connects(&lab, from, to).unwrap().unwrap();
        for target in [json!({"address": to.ip()}), json!({"address": to.ip(), "port": 443, "protocol": "tcp"})] {
            let id = api.block(&json!({"target": target, "action": "reset"})).unwrap();
            let began = Instant::now();
            let error = connects(&lab, from, to).unwrap().unwrap_err();
            assert!([ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset].contains(&error.kind()), "{error:?}");
            assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
            api.release(id).unwrap();

            let id = api.block(&json!({"target": target, "action": "drop"})).unwrap();
            let error = connects(&lab, from, to).unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
            api.release(id).unwrap();
            connects(&lab, from, to).unwrap().unwrap();
        }
    }
}

#[test]
fn a_throttle_lets_its_rate_pass_within_15_percent() {
    require_root!();
    const RATE: f64 = 200_000.0;
    const BURST: f64 = 5_000.0;
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();

    for family in BOTH {
        let (from, to) = (family.at(IMPLANT, 5_000), SocketAddr::new(family.nowhere(0, 1), 6_000));
        let counter = PacketCounter::start(lab.wan(), "eth0", tuple(from, to)).unwrap();
        let verdict = json!({"target": {"address": to.ip()}, "action": "throttle",
            "bytes_per_second": RATE as u64, "burst_bytes": BURST as u64});
        daemon.api().block(&verdict).unwrap();

        let (payload, began) = (200, Instant::now());
        let pace = Pace::full(Duration::from_secs(4)).at(10_000);
        let sent = Flood { from, to, payload, pace }.start(lab.lan()).unwrap().join().unwrap();
        let seconds = began.elapsed().as_secs_f64();

        let headers = if to.is_ipv4() { 14 + 20 + 8 } else { 14 + 40 + 8 };
        let arrived = counter.packets().unwrap() as f64 * (payload + headers) as f64;
        let rate = (arrived - BURST) / seconds;
        println!("throttle {family:?}: {rate:.0} of {RATE} bytes a second, {} packets offered", sent.packets);
        assert!((rate / RATE - 1.0).abs() < 0.15, "{rate} bytes a second");
    }
}

#[test]
fn an_observing_verdict_counts_every_packet_and_lets_it_pass() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();

    for family in BOTH {
        let (from, to) = (family.at(IMPLANT, 5_000), SocketAddr::new(family.nowhere(0, 1), 6_000));
        let id = api.block(&json!({"target": {"address": to.ip()}, "action": "observe"})).unwrap();

        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Free);

        let verdict = api.get(&format!("/api/v1/verdicts/{id}")).unwrap();
        assert_eq!(verdict["hits"]["packets"], 20, "{verdict}");
    }
}
