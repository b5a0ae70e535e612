//! The ledger, flow by flow: what was seen is reported, in the table, or counted as lost. The row T20 of
//! `netd_lab::torture` counts packets alone.

use std::collections::HashMap;
use std::time::Duration;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab, NOWHERE};
use netd_lab::require_root;
use netd_lab::torture::overload::Ledger;
use netd_lab::traffic::flood::{FlowFlood, Pace};
use netd_lab::traffic::sink::{Match, PacketCounter, interface_counters};
use nix::sys::signal::Signal;

use crate::alone;

const FLOWS_PER_CPU: u32 = 1_024;
const FLOOD: u64 = 150_000;
/// More than any table of a test, so that they push all others out of it.
const SWEEP: u64 = 40_000;

#[test]
fn in_a_flood_of_flows_past_table_and_ring_every_packet_is_reported_or_counted_as_lost() {
    require_root!();
    let _alone = alone();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup { flows_per_cpu: FLOWS_PER_CPU, ..Setup::default() }).unwrap();
    let arrivals = PacketCounter::start(lab.wan(), "eth0", Match::v4(17)).unwrap();
    let flood = |first: u64, packets: u64| {
        let pace = Pace::count(packets, Duration::from_secs(30));
        let (from, to) = (IMPLANT.into(), NOWHERE.into());
        let flood = FlowFlood { hop: lab.first_hop(), from, to, first, flows: u64::MAX, pace };
        assert_eq!(flood.start(lab.lan()).unwrap().join().unwrap().packets, packets);
    };
    let settled = || Ledger::settled(&daemon).unwrap();
    let (before, met_before) = (settled(), met(&lab));

    daemon.signal(Signal::SIGSTOP).unwrap();
    flood(0, FLOOD);
    daemon.signal(Signal::SIGCONT).unwrap();
    let after_flood = settled();
    flood(FLOOD, SWEEP);
    let after = settled();
    let met = met(&lab) - met_before;

    // Packets: every one that the interfaces met is in exactly one counter.
    let Ledger([seen, accounted, unaccounted, unparsed, twice]) = after.since(&before);
    println!(
        "packets: {seen} seen = {accounted} accounted + {unaccounted} unaccounted + {unparsed} unparsed + {twice} forwarded"
    );
    assert_eq!(seen, accounted + unaccounted + unparsed + twice);
    assert_eq!(seen, met, "the interfaces met another number");
    assert!(accounted + unaccounted >= FLOOD + SWEEP && twice >= FLOOD + SWEEP);
    assert!(unaccounted > 0, "the ring never was full");
    assert_eq!(arrivals.packets().unwrap(), FLOOD + SWEEP, "the flood passes whatever becomes of its records");

    // Flows: by now no flow of the flood is in the table, so that each is reported or counted as unaccounted.
    let Ledger([_, _, unaccounted, ..]) = after_flood.since(&before);
    let reported: HashMap<(String, u64), u64> = flows(&daemon);
    let tuples = FlowFlood {
        hop: lab.first_hop(),
        from: IMPLANT.into(),
        to: NOWHERE.into(),
        first: 0,
        flows: u64::MAX,
        pace: Pace::full(Duration::ZERO),
    };
    let packets = |number: u64| {
        let (from, to) = tuples.tuple(number);
        reported.get(&(to.ip().to_string(), from.port().into())).copied().unwrap_or(0)
    };
    let (reported, twice) = (0..FLOOD).map(packets).fold((0, 0), |(sum, twice), n| (sum + n, twice + u64::from(n > 1)));
    println!("flows: {FLOOD} sent = {reported} reported + {unaccounted} unaccounted");
    assert_eq!((reported + unaccounted, twice), (FLOOD, 0));
}

/// Returns what the watched interfaces received and sent.
fn met(lab: &Lab) -> u64 {
    let counters = lab.watched_interfaces().iter().map(|name| interface_counters(lab.watched(), name).unwrap());
    counters.map(|counters| counters.received + counters.sent).sum()
}

/// Returns the packets of every flow by its responder and the originator's port.
fn flows(daemon: &Daemon) -> HashMap<(String, u64), u64> {
    let mut packets = HashMap::new();
    for flow in daemon.api().items("/api/v1/flows?proto=udp").unwrap() {
        let key = (flow["responder"].as_str().unwrap().to_owned(), flow["originator_port"].as_u64().unwrap());
        *packets.entry(key).or_insert(0) += flow["originated"]["packets"].as_u64().unwrap();
    }
    packets
}
