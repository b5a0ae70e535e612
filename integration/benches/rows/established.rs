//! A packet of a known flow: parse, account, the remembered verdict, with long lists loaded.

use anyhow::Result;
use netd_common::names::TC_INGRESS;
use netd_lab::frames::{Frame, flags};

use crate::support::{
    kernel::{Flows, LIMITS, Object, Order, TC},
    lists::Lists,
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Number, Report, Stable},
};

const PACKETS: u32 = 200_000;
/// Each exports its message: as many as the ring buffer holds.
const MESSAGES: u32 = 40_000;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let mut netd = Netd::load(options, DEFAULT_FLOWS)?;
    netd.list(&Lists::random(1_000_000, 10_000))?;
    let mut limits = Object::load(LIMITS.as_ref(), &["lru_in_place", "empty", TC.program], &[])?;

    for (name, frame, packets, goal) in frames() {
        let race = Race::<3>::run(options.effort(packets), |contestant, packets| match contestant {
            0 => {
                netd.drain();
                netd.object.cost(TC_INGRESS, &frame, packets)
            }
            1 => limits.cost("lru_in_place", &frame, packets),
            _ => limits.cost("empty", &frame, packets),
        })?;
        let [ours, bare, empty] = race.smallest().map(Number);
        let raw = format!("{ours} / {bare} ns, empty {empty}");
        report.row(format!("{name} / bare per-CPU LRU in place"), raw).ratio(
            race.figure(|[ours, bare, _]| ours / bare),
            goal,
            Stable,
        );
    }
    new_payload(options, report, &netd, &mut limits)
}

/// A repeated packet is a retransmission; here each has payload of its own.
fn new_payload(options: &Options, report: &mut Report, netd: &Netd, limits: &mut Object) -> Result<()> {
    let frame = tcp().build();
    TC.steer(limits, Flows { order: Order::InTurn, count: 1, advance: 74 })?;
    let race = Race::<3>::run(options.effort(PACKETS), |contestant, packets| {
        match contestant {
            0 => TC.aim(limits, netd.object.program(TC_INGRESS)?)?,
            1 => TC.aim_at_limit(limits, "lru_in_place")?,
            _ => TC.aim_at_limit(limits, TC.empty)?,
        }
        limits.cost(TC.program, &frame, packets)
    })?;
    let [ours, bare, driver] = race.smallest().map(Number);
    let raw = format!("{ours} / {bare} ns, driver {driver}");
    // The driver takes the place of the empty program.
    report.row("the same, TCP 128 B, each packet with new payload", raw).ratio(
        race.figure(|[ours, bare, driver]| (ours - driver) / (bare - driver)),
        Goal::AtMost(1.4),
        Stable,
    );
    Ok(())
}

fn frames() -> [(&'static str, Vec<u8>, u32, Goal); 5] {
    let query = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7][..], b"example\x03com\0", &[0, 1, 0, 1]].concat();
    let goal = Goal::AtMost(1.4);
    [
        ("TC whole, established, TCP 128 B IPv4", tcp().build(), PACKETS, goal),
        ("the same, IPv6", Frame::tcp((V6_HERE, 40_000), (V6_THERE, 443)).payload(&[0; 54]).build(), PACKETS, goal),
        ("the same, SYN 64 B", Frame::tcp(HERE, THERE).flags(flags::SYN).trailer(10).build(), PACKETS, goal),
        ("the same, UDP 128 B", Frame::udp(HERE, THERE).payload(&[0; 86]).build(), PACKETS, goal),
        (
            "the same, DNS query, its message exported",
            Frame::udp(HERE, ([9, 9, 9, 9], 53)).payload(&query).build(),
            MESSAGES,
            Goal::None,
        ),
    ]
}

fn tcp() -> Frame {
    Frame::tcp(HERE, THERE).payload(&[0; 74])
}

const HERE: ([u8; 4], u16) = ([10, 0, 0, 7], 40_000);
const THERE: ([u8; 4], u16) = ([198, 51, 100, 9], 443);
const V6_HERE: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7];
const V6_THERE: [u16; 8] = [0x2001, 0xdb8, 1, 0, 0, 0, 0, 9];
