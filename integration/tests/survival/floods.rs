//! A flood of what is blocked, beside a stream of what is not, while the daemon comes and goes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab, NOWHERE, NOWHERE_V6, PEOPLE, v6};
use netd_lab::require_root;
use netd_lab::traffic::flood::{Flood, Pace};
use netd_lab::traffic::probe::tuple;
use netd_lab::traffic::sink::PacketCounter;
use serde_json::json;

use crate::alone;

/// Between two ends of the daemon.
const PERIOD: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(25 * 60);

#[test]
fn no_packet_leaks_and_none_is_lost_while_the_daemon_is_killed_every_3_seconds() {
    require_root!();
    let _alone = alone();

    survives("kill -9", |daemon| {
        daemon.kill().unwrap();
        daemon.again(&[]).unwrap();
    });
}

#[test]
fn no_packet_leaks_and_none_is_lost_while_the_daemon_is_restarted_and_keeps_enforcing() {
    require_root!();
    let _alone = alone();

    survives("SIGTERM, --keep", |daemon| {
        assert!(daemon.terminate().unwrap().success(), "{}", daemon.log());
        daemon.again(&["--keep"]).unwrap();
    });
}

fn survives(name: &str, mut restart: impl FnMut(&mut Daemon)) {
    let lab = Lab::gateway().unwrap();
    let mut daemon = Daemon::start(&lab, Setup::default()).unwrap();
    assert!(daemon.terminate().unwrap().success());
    daemon.again(&["--keep"]).unwrap();
    let blocked = [
        (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000))),
        (SocketAddr::from((v6(IMPLANT), 5_000)), SocketAddr::from((NOWHERE_V6, 6_000))),
    ];
    let allowed = (SocketAddr::from((PEOPLE[0], 5_000)), SocketAddr::from((NOWHERE, 6_001)));
    let api = daemon.api();
    api.block(&json!({"target": {"address": NOWHERE, "port": 6_000, "protocol": "udp"}})).unwrap();
    api.block(&json!({"target": {"address": NOWHERE_V6}})).unwrap();
    let count = |(from, to)| PacketCounter::start(lab.wan(), "eth0", tuple(from, to)).unwrap();
    let (leaks, passes) = (blocked.map(count), count(allowed));

    // So slow that a small flood lasts for several restarts.
    let wanted = std::env::var("NETD_FLOOD").map_or(1_000_000, |text| text.parse::<u64>().unwrap());
    let half = Pace { packets: Some(wanted / 2), per_second: None, duration: LONGEST };
    let half = if wanted > 10_000_000 { half } else { half.at(wanted / 2 / 18) };
    let started = |(from, to), pace| Flood { from, to, payload: 18, pace }.start(lab.lan()).unwrap();
    let floods = blocked.map(|tuple| started(tuple, half));
    let stream = started(allowed, Pace::full(LONGEST).at(10_000));
    let (mut ends, mut next) = (0, Instant::now() + PERIOD);
    while !floods.iter().all(netd_lab::traffic::Running::is_finished) {
        if Instant::now() >= next {
            restart(&mut daemon);
            ends += 1;
            next += PERIOD;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let flooded: u64 = floods.into_iter().map(|flood| flood.join().unwrap().packets).sum();
    let sent = stream.stop().unwrap().packets;
    let leaked: u64 = leaks.iter().map(|counter| counter.packets().unwrap()).sum();
    let lost = sent - passes.packets().unwrap();

    println!("{name}: {flooded} sent, {leaked} leaked; beside it {sent} sent, {lost} lost; {ends} ends of the daemon");
    assert!(flooded >= wanted && ends >= 3, "{flooded} packets, {ends} ends");
    assert_eq!((leaked, lost), (0, 0));
}
