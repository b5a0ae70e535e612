//! What per-CPU records add up to.

use netd_common::record::{FlowEvent, state};
use netd_engine::config::Config;
use netd_engine::flow::EndReason;
use proptest::prelude::*;

use super::support::{Flow, TCP, UDP, World, at, ip};

const HERE: &str = "10.0.0.7:40000";
const THERE: &str = "198.51.100.9:443";

#[test]
fn a_conversation_knows_who_began_and_what_it_carried() {
    let mut world = World::with_flows();
    world.connection(HERE, THERE, 5.0, 300, 2_000);
    world.engine.finish();

    let ended = world.ended();

    let flow = &ended[0];
    assert_eq!((flow.originator, flow.originator_port), (ip("10.0.0.7"), 40_000));
    assert_eq!((flow.responder, flow.responder_port), (ip("198.51.100.9"), 443));
    assert_eq!((flow.originated.payload, flow.responded.payload), (300, 2_000));
    assert_eq!((flow.start, flow.end), (at(5.0), at(5.2)));
    assert_eq!(flow.end_reason, EndReason::Closed);
    assert_eq!(flow.community_id.as_deref().map(|id| &id[..2]), Some("1:"));
    assert_eq!(ended.len(), 1);
}

#[test]
fn a_lost_record_loses_nothing() {
    let mut flow = Flow::new(HERE, THERE, UDP, 0.0);
    let mut world = World::with_flows();
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    for _ in 0..10 {
        flow.carry(100, 50);
    }
    // Nine records are never seen.
    world.engine.observe_flow(&flow.record(FlowEvent::Active, 9.0));
    world.engine.finish();

    assert_eq!(world.ended()[0].originated.payload, 1_000);
}

#[test]
fn a_slot_that_was_evicted_goes_on_in_the_next() {
    let mut world = World::with_flows();
    let mut before = Flow::new(HERE, THERE, UDP, 0.0);
    before.carry(100, 10);
    world.engine.observe_flow(&before.record(FlowEvent::Begin, 0.0));
    before.carry(100, 10);
    world.engine.observe_flow(&before.record(FlowEvent::Evicted, 3.0));
    let mut after = Flow::new(HERE, THERE, UDP, 4.0);
    after.carry(1, 1);
    world.engine.observe_flow(&after.record(FlowEvent::Begin, 4.0));
    world.engine.finish();

    let ended = world.ended();

    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].originated.payload, ended[0].responded.payload), (201, 21));
}

#[test]
fn a_five_tuple_that_begins_anew_is_another_conversation() {
    let mut world = World::with_flows();
    world.connection(HERE, THERE, 0.0, 300, 200);
    world.connection(HERE, THERE, 40.0, 70, 30);
    world.engine.finish();

    let payloads: Vec<u64> = world.ended().iter().map(|flow| flow.originated.payload).collect();

    assert_eq!(payloads, [300, 70]);
}

#[test]
fn an_idle_conversation_ends_after_its_timeout() {
    let mut world = World::with_flows();
    let flow = Flow::new(HERE, THERE, UDP, 0.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));

    world.engine.tick(at(179.0));
    assert!(world.ended().is_empty());

    world.engine.tick(at(181.0));
    assert_eq!(world.ended()[0].end_reason, EndReason::Idle);
}

#[test]
fn what_a_slot_counted_before_it_was_idle_is_not_counted_again() {
    let mut world = World::with_flows();
    let mut flow = Flow::new(HERE, THERE, UDP, 0.0);
    flow.carry(100, 10);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    world.engine.tick(at(200.0));
    flow.carry(7, 3);
    world.engine.observe_flow(&flow.record(FlowEvent::Reused, 210.0));
    world.engine.finish();

    let payloads: Vec<u64> = world.ended().iter().map(|flow| flow.originated.payload).collect();

    assert_eq!(payloads, [100, 7]);
}

#[test]
fn a_full_table_gives_room_to_the_newcomer_and_counts_it() {
    let mut config = Config::default();
    config.flows.limit = 10;
    config.flows.report = true;
    let mut world = World::new(config);
    for n in 0..50 {
        let flow = Flow::new(&format!("10.0.0.7:{}", 40_000 + n), THERE, TCP, f64::from(n));
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, f64::from(n)));
    }

    assert_eq!(world.engine.counts().conversations, 10);
    assert_eq!(world.engine.counts().conversations_evicted, 40);
    let ended = world.ended();
    assert_eq!(ended.len(), 40);
    assert!(ended.iter().all(|flow| flow.end_reason == EndReason::LackOfRoom));
    assert_eq!(ended[0].originator_port, 40_000, "the one silent longest goes first");
}

#[test]
fn fins_on_two_cpus_end_a_connection() {
    let mut world = World::with_flows();
    let mut here = Flow::new(HERE, THERE, TCP, 0.0);
    here.state |= state::FIN_A;
    let mut there = Flow::new(HERE, THERE, TCP, 0.01);
    there.cpu = 1;
    there.state |= state::FIN_B;
    world.engine.observe_flow(&here.record(FlowEvent::End, 1.0));
    world.engine.observe_flow(&there.record(FlowEvent::End, 1.1));

    world.engine.tick(at(60.0));

    assert_eq!(world.ended()[0].end_reason, EndReason::Closed);
}

#[test]
fn one_turn_seen_by_two_cpus_is_one_turn() {
    let mut world = World::new(Config::default());
    let flow = Flow::new(HERE, THERE, TCP, 0.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    let mut other = flow.clone();
    other.cpu = 1;
    world.engine.observe_turn(&flow.turn(true, 300, 1.0));
    world.engine.observe_turn(&other.turn(false, 900, 1.02));

    assert_eq!(world.engine.counts().turns, 1);
    assert_eq!(world.engine.counts().turns_merged, 1);
}

#[test]
fn connection_states_are_zeeks() {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let table = [
        ([SYN, 0], [1, 0], "S0"),
        ([SYN, RST | ACK], [1, 1], "REJ"),
        ([SYN | ACK, SYN | ACK], [3, 3], "S1"),
        ([SYN | ACK | FIN, SYN | ACK | FIN], [4, 4], "SF"),
        ([SYN | ACK | RST, SYN | ACK], [4, 4], "RSTO"),
        ([SYN | ACK, SYN | ACK | RST], [4, 4], "RSTR"),
        ([SYN | RST, 0], [2, 0], "RSTOS0"),
        ([ACK, ACK], [9, 9], "OTH"),
    ];
    for (flags, packets, expected) in table {
        let mut world = World::with_flows();
        let mut flow = Flow::new(HERE, THERE, TCP, 0.0);
        (flow.flags, flow.packets) = (flags, packets);
        flow.bytes = packets.map(|packets| 60 * u64::from(packets));
        world.engine.observe_flow(&flow.record(FlowEvent::Active, 1.0));
        world.engine.finish();

        assert_eq!(world.ended()[0].state, expected, "{flags:?}");
    }
}

proptest! {
    /// It is one conversation, whichever CPUs its packets met and whichever records were lost.
    #[test]
    fn any_split_over_cpus_gives_the_same_totals(
        packets in prop::collection::vec((0u16..4, 0u64..2_000, 0u64..2_000, any::<bool>()), 1..60)
    ) {
        let mut world = World::with_flows();
        let mut expected = [0, 0];
        let mut parts: Vec<Option<Flow>> = vec![None; 4];
        for (n, (cpu, originated, responded, is_reported)) in packets.iter().enumerate() {
            let at_s = n as f64 * 0.1;
            let part = parts[usize::from(*cpu)].get_or_insert_with(|| {
                let mut flow = Flow::new(HERE, THERE, UDP, at_s);
                flow.cpu = *cpu;
                flow
            });
            part.carry(*originated, *responded);
            expected[0] += originated;
            expected[1] += responded;
            if *is_reported {
                world.engine.observe_flow(&part.record(FlowEvent::Active, at_s));
            }
        }
        for part in parts.iter().flatten() {
            world.engine.observe_flow(&part.record(FlowEvent::Active, 10.0));
        }
        world.engine.finish();

        let ended = world.ended();
        prop_assert_eq!(ended.len(), 1);
        prop_assert_eq!([ended[0].originated.payload, ended[0].responded.payload], expected);
        prop_assert_eq!(ended[0].originated.packets, packets.len() as u64);
        prop_assert_eq!(world.engine.counts().packets, 2 * packets.len() as u64);
    }
}
