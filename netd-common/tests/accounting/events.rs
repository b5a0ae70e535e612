//! Events of a conversation's life.

use netd_common::{
    account::fill_flow,
    flow::{class, nanoseconds},
    packet::{
        IPPROTO_ICMP, Packet,
        tcp::{ACK, FIN, RST, SYN},
    },
    record::{FlowEvent, FlowRecord, state},
};

use crate::bench::{ACTIVE, Bench, SECOND, Told, icmp, tcp, udp};

#[test]
fn the_first_packet_begins() {
    let mut bench = Bench::new();

    assert_eq!(bench.events(&tcp(1, 2, SYN, 1, 0)), [FlowEvent::Begin]);
    assert_eq!(bench.events(&tcp(2, 1, SYN | ACK, 1, 0)), []);
}

#[test]
fn a_fin_of_each_side_ends_once() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 1, 0));

    let events: Vec<_> = [(1, 2), (1, 2), (2, 1), (2, 1)]
        .into_iter()
        .map(|(from, to)| bench.events(&tcp(from, to, FIN | ACK, 2, 0)).len())
        .collect();

    assert_eq!(events, [1, 0, 1, 0]);
}

#[test]
fn a_connection_has_ended_when_both_sides_have() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 1, 0));
    bench.add(&tcp(1, 2, FIN | ACK, 2, 0));
    let half = bench.set.slots[0].state & state::ENDED;

    bench.add(&tcp(2, 1, FIN | ACK, 2, 0));

    assert_eq!(half, 0);
    assert_ne!(bench.set.slots[0].state & state::ENDED, 0);
    assert_eq!(bench.set.tags[0] & class::MASK, class::ENDED);
}

#[test]
fn a_reset_ends_at_once_and_once() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 1, 0));

    assert_eq!(bench.events(&tcp(2, 1, RST, 1, 0)), [FlowEvent::End]);
    assert_eq!(bench.events(&tcp(2, 1, RST, 1, 0)), []);
    assert_eq!(bench.set.slots[0].state & (state::RESET | state::ENDED), state::RESET | state::ENDED);
}

#[test]
fn another_syn_reuses_the_five_tuple() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));
    bench.add(&tcp(2, 1, SYN | ACK, 500, 0));

    let told = bench.tell(&tcp(1, 2, SYN, 900, 0));

    let [Told::Flow(FlowEvent::Reused, old), Told::Flow(FlowEvent::Begin, new)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((old.packets, new.packets), ([1, 1], [1, 0]));
    assert_eq!((bench.begun, bench.evicted), (2, 0));
}

#[test]
fn a_retransmitted_syn_reuses_nothing() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));

    assert_eq!(bench.events(&tcp(1, 2, SYN, 100, 0)), []);
}

#[test]
fn without_room_for_the_old_counters_the_two_go_on_as_one() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));
    bench.keeps = false;

    bench.add(&tcp(1, 2, SYN, 900, 0));

    assert_eq!((bench.begun, bench.set.slots[0].packets), (1, [2, 0]));
}

#[test]
fn udp_begins_anew_after_three_silent_minutes() {
    let mut bench = Bench::new();
    bench.add(&udp(1, 2, 5));

    assert_eq!(bench.wait(179 * SECOND).events(&udp(2, 1, 5)), []);
    assert_eq!(bench.wait(182 * SECOND).events(&udp(1, 2, 5)), [FlowEvent::Reused, FlowEvent::Begin]);
}

#[test]
fn tcp_never_begins_anew_by_silence() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));

    assert_eq!(bench.wait(250 * SECOND).events(&tcp(1, 2, ACK, 101, 0)), []);
}

#[test]
fn a_long_conversation_is_told_at_the_active_timeout() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));

    let early = bench.wait(nanoseconds(ACTIVE - 1)).events(&tcp(1, 2, ACK, 101, 0));
    let due = bench.wait(nanoseconds(1)).events(&tcp(1, 2, ACK, 101, 0));
    let again = bench.events(&tcp(1, 2, ACK, 101, 0));

    assert_eq!((early, due, again), (vec![], vec![FlowEvent::Active], vec![]));
}

#[test]
fn a_lost_record_is_not_tried_again_with_every_packet() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 100, 0));
    bench.keeps = false;
    bench.wait(nanoseconds(ACTIVE)).add(&tcp(1, 2, ACK, 101, 0));
    bench.keeps = true;

    assert_eq!(bench.events(&tcp(1, 2, ACK, 101, 0)), []);
}

#[test]
fn a_slot_is_taken_when_its_last_record_was_kept() {
    let mut bench = Bench::new();
    (1..=8).for_each(|number| assert!(bench.add(&udp(number, 100, 1))));

    let events = bench.wait(SECOND).events(&udp(9, 100, 1));

    assert_eq!(events, [FlowEvent::Evicted, FlowEvent::Begin]);
    assert_eq!((bench.begun, bench.evicted), (9, 1));
}

#[test]
fn a_newcomer_is_unaccounted_when_the_last_record_finds_no_room() {
    let mut bench = Bench::new();
    (1..=8).for_each(|number| assert!(bench.add(&udp(number, 100, 1))));
    bench.keeps = false;
    let before = bench.set;

    let accounted = bench.add(&udp(9, 100, 1));

    assert!(!accounted);
    assert_eq!((bench.set.tags, bench.set.last, bench.set.slots), (before.tags, before.last, before.slots));
}

#[test]
fn an_icmp_message_is_told_with_the_type_and_code_of_the_first() {
    let mut bench = Bench::new();
    let unreachable = |code| Packet { flags: 3, code, ..icmp(1, 2, 28) };

    let told = bench.tell(&unreachable(13));
    bench.add(&unreachable(4));

    let [Told::Flow(FlowEvent::Begin, slot)] = &told[..] else { panic!("{told:?}") };
    let mut record = FlowRecord::default();
    fill_flow(&mut record, slot, 0, FlowEvent::Begin, 0, 0, 0);
    assert_eq!((record.key.proto, record.flags[0], record.icmp_code), (IPPROTO_ICMP, 3, 13));
    assert_eq!((bench.set.slots[0].flags[0], bench.set.slots[0].icmp_code), (3, 13));
}
