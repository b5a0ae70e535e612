//! What comes out of the ring buffer of flows; payload has a file of its own.

use netd_common::{
    counter::Counter,
    flow::ticks,
    names::{TC_EGRESS, TC_INGRESS},
    record::{FlowEvent, FlowRecord, state},
};
use netd_lab::{
    frames::{Frame, flags},
    require_root,
};

use crate::{
    kernel::{Kernel, Record},
    pair, pairs, tcp_conversation, udp_conversation,
};

fn events(records: &[Record]) -> Vec<FlowEvent> {
    let event = |record: &Record| match record {
        Record::Flow(flow) => FlowEvent::from_number(flow.event),
        Record::Turn(_) | Record::Payload(..) => None,
    };
    records.iter().filter_map(event).collect()
}

fn the_flow(records: &[Record], event: FlowEvent) -> FlowRecord {
    let found: Vec<_> = records.iter().filter_map(|record| record.flow(event)).collect();
    assert_eq!(found.len(), 1, "{records:?}");
    *found[0]
}

#[test]
fn the_first_packet_begins_a_flow() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();
        let packet = Frame::tcp(local, other).flags(flags::SYN).vlan(9).build();

        kernel.run(TC_EGRESS, &packet);
        kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(2).build());

        let records = kernel.drain();
        assert_eq!(events(&records), [FlowEvent::Begin]);
        let begin = the_flow(&records, FlowEvent::Begin);
        assert_eq!(begin.key, tcp_conversation(local, other));
        assert_eq!(begin.bytes.iter().sum::<u64>(), packet.len() as u64);
        assert_eq!(begin.packets.iter().sum::<u32>(), 1);
        assert_eq!((begin.vlan, begin.ifindex), (9, 1));
        assert_eq!(usize::from(begin.header.cpu), kernel.cpu());
        assert_eq!(begin.first_ns, begin.last_ns);
        // The record's own clock is the precise one; the accounting's lags by some milliseconds at most.
        let lag = begin.header.time_ns - begin.first_ns;
        assert!(lag < 1_000_000_000, "{lag} ns");
    }
}

#[test]
fn the_fin_of_each_side_is_told_once() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    let fin = |from, to| Frame::tcp(from, to).flags(flags::FIN | flags::ACK).build();
    kernel.run(TC_EGRESS, &crate::tcp(local, other));
    kernel.drain();

    kernel.run(TC_EGRESS, &fin(local, other));
    kernel.run(TC_EGRESS, &fin(local, other));
    let first = kernel.drain();
    kernel.run(TC_INGRESS, &fin(other, local));
    kernel.run(TC_INGRESS, &fin(other, local));
    let second = kernel.drain();

    assert_eq!((events(&first), events(&second)), (vec![FlowEvent::End], vec![FlowEvent::End]));
    assert_eq!(the_flow(&first, FlowEvent::End).state & state::ENDED, 0);
    assert_ne!(the_flow(&second, FlowEvent::End).state & state::ENDED, 0);
}

#[test]
fn a_reset_ends_a_flow_once() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.run(TC_EGRESS, &crate::tcp(local, other));
    kernel.drain();

    for _ in 0..2 {
        kernel.run(TC_INGRESS, &Frame::tcp(other, local).flags(flags::RST).build());
    }

    let records = kernel.drain();
    assert_eq!(events(&records), [FlowEvent::End]);
    let ended = state::ENDED | state::RESET;
    assert_eq!(the_flow(&records, FlowEvent::End).state & ended, ended);
}

#[test]
fn a_flow_that_lives_on_is_told_after_the_active_timeout() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.run(TC_EGRESS, &crate::tcp(local, other));
    kernel.drain();

    kernel.age(&tcp_conversation(local, other), kernel.control().active_timeout);
    for _ in 0..3 {
        kernel.run(TC_EGRESS, &crate::tcp(local, other));
    }

    let records = kernel.drain();
    assert_eq!(events(&records), [FlowEvent::Active]);
    let active = the_flow(&records, FlowEvent::Active);
    assert_eq!(active.packets.iter().sum::<u32>(), 2);
    assert!(active.last_ns - active.first_ns >= 299_000_000_000);
}

#[test]
fn a_new_syn_begins_the_five_tuple_anew() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    let syn = |sequence| Frame::tcp(local, other).flags(flags::SYN).sequence(sequence).build();
    kernel.run(TC_EGRESS, &syn(100));
    kernel.drain();

    // Once more the same, then another.
    kernel.run(TC_EGRESS, &syn(100));
    kernel.run(TC_EGRESS, &syn(900));

    let records = kernel.drain();
    assert_eq!(events(&records), [FlowEvent::Reused, FlowEvent::Begin]);
    assert_eq!(the_flow(&records, FlowEvent::Reused).packets.iter().sum::<u32>(), 2);
    assert_eq!(the_flow(&records, FlowEvent::Begin).packets.iter().sum::<u32>(), 1);
}

#[test]
fn udp_begins_anew_after_three_silent_minutes() {
    require_root!();
    let (local, other) = pair();
    let packet = Frame::udp(local, other).payload(&[1]).build();
    for (silence, expected) in [(179, vec![]), (182, vec![FlowEvent::Reused, FlowEvent::Begin])] {
        let mut kernel = Kernel::load();
        kernel.run(TC_EGRESS, &packet);
        kernel.drain();

        kernel.age(&udp_conversation(local, other), ticks(silence * 1_000_000_000));
        kernel.run(TC_EGRESS, &packet);

        assert_eq!(events(&kernel.drain()), expected, "after {silence} s");
    }
}

#[test]
fn an_icmp_message_is_told_with_its_type_and_code() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_INGRESS, &Frame::icmp(other.ip(), local.ip(), 3, 13, [0; 4]).payload(&[0x45; 28]).build());

    let begin = the_flow(&kernel.drain(), FlowEvent::Begin);
    assert_eq!((begin.flags[0] | begin.flags[1], begin.icmp_code), (3, 13));
}

#[test]
fn every_record_is_counted() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::SYN).sequence(0).build());
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).payload(b"data").build());
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::RST).sequence(5).build());

    let records = kernel.drain();

    let kinds = [
        records.iter().filter(|record| matches!(record, Record::Flow(_))).count() as u64,
        records.iter().filter(|record| record.turn().is_some()).count() as u64,
        records.iter().filter(|record| record.payload().is_some()).count() as u64,
    ];
    assert_eq!(kinds, [2, 1, 1]);
    let counters = [Counter::FlowRecords, Counter::TurnRecords, Counter::PayloadRecords];
    assert_eq!(counters.map(|counter| kernel.count(counter)), kinds);
}
