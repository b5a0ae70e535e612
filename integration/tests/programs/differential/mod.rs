//! The same packets through the kernel's programs and through the host's parser, accounting and decision.
//!
//! After every packet the answers, the flow table's set, the records and what could not be parsed must be the same,
//! field by field. The host takes the kernel's clock from the table; only a record's own time and the socket's cookie
//! are the kernel's alone. `NETD_DIFFERENTIAL=n` sends n packets, `NETD_DIFFERENTIAL_SEED=n` others.

mod corpus;
mod exchange;
mod model;

use std::{env, io::Write as _, time::Instant};

use corpus::{Corpus, Sent};
use model::Model;
use netd_common::{
    counter::Counter,
    flow::{Set, tag},
    names::{TC_EGRESS, TC_INGRESS},
    packet::{Packet, ParseError},
};
use netd_lab::require_root;

use crate::kernel::{Kernel, PASS, REDIRECT, Record, SHOT, Sizes, SkBuff, XDP_DROP};

/// In the ordinary test; a tenth of them is cut too short for a test run.
const PACKETS: u64 = 225_000;
/// The lists change, and all counters are compared, this many times.
const ROUNDS: u64 = 45;

#[test]
fn kernel_and_host_agree_on_every_packet() {
    require_root!();
    let packets = number("NETD_DIFFERENTIAL").unwrap_or(PACKETS);
    let seed = number("NETD_DIFFERENTIAL_SEED").unwrap_or(1);
    let start = Instant::now();
    // Few sets, so that flows evict each other all the time.
    let mut kernel = Kernel::with_sizes(Sizes { sets: 8, events: 1 << 16 });
    let mut model = Model::new(*kernel.control());
    let mut corpus = Corpus::new(seed);
    let (mut refused, mut packets_seen, mut continued) = (0, 0, 0);
    for at in 0..packets {
        if at.is_multiple_of(packets.div_ceil(ROUNDS)) {
            compare_counters(&kernel, &model, at);
            model.change_lists(&mut kernel, at / packets.div_ceil(ROUNDS));
        }
        let sent = corpus.next();
        let frame = &sent.frame;
        if is_refused(frame) {
            let truncated = [ParseError::TruncatedLink, ParseError::TruncatedNetwork];
            let parsed = Packet::from_ethernet(frame.as_slice(), frame.len() as u32);
            assert!(parsed.is_err_and(|error| truncated.contains(&error)), "{parsed:?}: {frame:02x?}");
            refused += 1;
            continue;
        }
        packets_seen += u64::from(if Packet::from_ethernet(frame.as_slice(), frame.len() as u32).is_ok() {
            sent.segments.max(1)
        } else {
            1
        });
        continued += compare(&mut kernel, &mut model, &sent, at);
    }
    compare_counters(&kernel, &model, packets);

    let sum = |counters: &[Counter]| counters.iter().map(|counter| kernel.count(*counter)).sum::<u64>();
    let seen = sum(&[Counter::IngressPackets, Counter::EgressPackets]);
    let _ = writeln!(
        std::io::stderr(),
        "differential: {seen} packets, 0 differences, {} accounted, {} unparsed, {} dropped by TC, {} by XDP, \
         {} flows begun, {} evicted, {continued} records continue a packet's payload, {refused} refused by test runs as too short; {:.1} s",
        sum(&[Counter::AccountedPackets]),
        seen - sum(&[Counter::AccountedPackets]),
        sum(&[Counter::TcDropped]),
        sum(&[Counter::XdpDropped]),
        sum(&[Counter::FlowsBegun]),
        sum(&[Counter::FlowsEvicted]),
        start.elapsed().as_secs_f64(),
    );
    assert_eq!(seen, packets_seen);
    // A corpus that never meets a part of the programs proves nothing of it.
    assert!(packets < PACKETS || continued > 1_000, "{continued} records continue a packet's payload");
    for counter in model::COMPARED {
        assert!(packets < PACKETS || kernel.count(counter) > 0, "the corpus never counts {counter:?}");
    }
}

/// Returns whether a test run refuses a packet: one that ends in its Ethernet header, or in an untagged IP header.
fn is_refused(frame: &[u8]) -> bool {
    let shortest = match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, ..] => 34,
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] => 54,
        _ => 14,
    };
    frame.len() < shortest
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Sends a packet both ways and compares everything that can be told. Returns how many records of payload were not
/// their packet's first.
fn compare(kernel: &mut Kernel, model: &mut Model, sent: &Sent, at: u64) -> usize {
    let frame = sent.frame.as_slice();
    let context = SkBuff { gso_segs: sent.segments, gso_size: sent.segment, ..SkBuff::default() };
    let early = kernel.run_xdp(frame) == XDP_DROP;
    let program = if at.is_multiple_of(2) { TC_INGRESS } else { TC_EGRESS };
    let action = kernel.answer_with(program, frame, &context);
    let action = action.unwrap_or_else(|| panic!("packet {at} is refused: {frame:02x?}"));
    let parsed = Packet::from_ethernet(frame, frame.len() as u32);
    let set = parsed.ok().map(|packet| kernel.set_of(&packet.conversation));
    if let (Ok(packet), Some(set)) = (&parsed, &set) {
        let wanted = tag(kernel.control().hash_keys.hash(&packet.conversation));
        let way = set.find(wanted, &packet.conversation);
        let way = way.unwrap_or_else(|| panic!("packet {at}: the kernel has no slot for {packet:?}: {frame:02x?}"));
        model.set_clock(set.last[way]);
    }

    let expected_early = model.xdp(frame);
    let expected = model.classify(sent, program == TC_EGRESS);

    assert_eq!(early, expected_early, "packet {at}, XDP: {frame:02x?}");
    let allowed: &[u32] = match expected {
        model::Answer::Pass => &[PASS],
        model::Answer::Drop => &[SHOT],
        model::Answer::Reset => &[SHOT, REDIRECT],
    };
    assert!(allowed.contains(&action), "packet {at}: {action}, not {expected:?}: {frame:02x?}");
    let records: Vec<Record> = kernel.drain().into_iter().map(timeless).collect();
    let expected: Vec<Record> = model.records.drain(..).map(timeless).collect();
    assert_eq!(records, expected, "packet {at}: {frame:02x?}");
    let is_continued = |record: &&Record| record.payload().is_some_and(|(head, _)| head.offset != 0);
    let continued = records.iter().filter(is_continued).count();
    if let (Ok(packet), Some(set)) = (parsed, set) {
        let expected = model.set_of(&packet.conversation);
        assert_eq!(
            (set.tags, set.last, without_cookies(&set).slots),
            (expected.tags, expected.last, without_cookies(expected).slots),
            "packet {at}: {frame:02x?}"
        );
    }
    continued
}

fn compare_counters(kernel: &Kernel, model: &Model, at: u64) {
    let counters = kernel.counters();
    for counter in model::COMPARED {
        assert_eq!(counters[counter as usize], model.counters[counter as usize], "{counter:?} after {at} packets");
    }
    for (rule, hits) in &model.hits {
        assert_eq!(&kernel.hits(*rule), hits, "hits of rule {rule} after {at} packets");
    }
}

/// Returns a record without what the kernel alone knows.
fn timeless(record: Record) -> Record {
    match record {
        Record::Flow(mut flow) => {
            (flow.header.time_ns, flow.cookie) = (0, 0);
            Record::Flow(flow)
        }
        Record::Turn(mut turn) => {
            turn.header.time_ns = 0;
            Record::Turn(turn)
        }
        Record::Payload(mut head, data) => {
            head.header.time_ns = 0;
            Record::Payload(head, data)
        }
    }
}

fn without_cookies(set: &Set) -> Set {
    let mut set = *set;
    set.slots.iter_mut().for_each(|slot| slot.cookie = 0);
    set
}
