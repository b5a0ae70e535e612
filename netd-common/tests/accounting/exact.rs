//! Whatever packets come and whatever records are lost: accounted = reported + in the table, seen = accounted +
//! unaccounted.

use netd_common::{
    flow::{Slot, WAYS},
    packet::{
        Packet,
        tcp::{ACK, FIN, RST, SYN},
    },
    record::FlowEvent,
};
use proptest::prelude::*;

use crate::bench::{Bench, SECOND, Told, tcp, udp};

/// A packet, the wait before it, its segments, and whether the records it causes find room.
type Step = (Packet, u64, u32, bool);

fn any_packet() -> impl Strategy<Value = Packet> {
    // Three times as many conversations as a set has ways.
    let ends = (1..=6_u8, 7..=10_u8, any::<bool>());
    let flags = prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST]);
    (ends, any::<bool>(), flags, 0..50_u32, prop_oneof![Just(0_u32), 1..40_u32]).prop_map(
        |((one, other, is_reversed), is_tcp, flags, seq, len)| {
            let (from, to) = if is_reversed { (other, one) } else { (one, other) };
            if is_tcp { tcp(from, to, flags, seq, len) } else { udp(from, to, len) }
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![6 => Just(0), 3 => 0..10 * SECOND, 1 => 100 * SECOND..400 * SECOND];
    prop::collection::vec((any_packet(), wait, 1..4_u32, prop::bool::weighted(0.7)), 0..300)
}

fn sum(slots: impl Iterator<Item = Slot>) -> (u64, u64) {
    slots.fold((0, 0), |(packets, bytes), slot| {
        let here = slot.packets.iter().map(|n| u64::from(*n)).sum::<u64>();
        (packets + here, bytes + slot.bytes.iter().sum::<u64>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_packet_is_reported_in_the_table_or_unaccounted(steps in steps()) {
        let mut bench = Bench::new();
        let (mut seen, mut unaccounted) = (0, 0);
        for (packet, wait, segments, keeps) in steps {
            bench.keeps = keeps;
            seen += u64::from(segments);
            if !bench.wait(wait).add_segments(&packet, segments) {
                unaccounted += u64::from(segments);
            }
        }

        let last = |told: &Told| match told {
            Told::Flow(FlowEvent::Evicted | FlowEvent::Reused, slot) => Some(*slot),
            Told::Flow(..) | Told::Turn(_) | Told::Payload(_) => None,
        };
        let final_records: Vec<Slot> = bench.told.iter().filter_map(last).collect();
        let reported = sum(final_records.iter().copied());
        let in_table = sum(bench.live().copied());
        prop_assert_eq!(reported.0 + in_table.0 + unaccounted, seen);
        prop_assert_eq!(reported.1 + in_table.1, (seen - unaccounted) * 100);
        prop_assert_eq!(bench.begun, (final_records.len() + bench.live().count()) as u64);
    }

    #[test]
    fn a_conversation_has_one_slot(steps in steps()) {
        let mut bench = Bench::new();
        for (packet, wait, segments, keeps) in steps {
            bench.keeps = keeps;
            bench.wait(wait).add_segments(&packet, segments);

            let mut keys: Vec<_> = bench.live().map(|slot| slot.key).collect();
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(keys.len(), bench.live().count());
            prop_assert!(keys.len() <= WAYS);
        }
    }

    #[test]
    fn counters_of_a_conversation_only_grow_until_its_last_record(steps in steps()) {
        let mut bench = Bench::new();
        for (packet, wait, segments, keeps) in steps {
            bench.keeps = keeps;
            bench.wait(wait).add_segments(&packet, segments);
        }

        let mut records: Vec<(FlowEvent, Slot)> = Vec::new();
        for told in &bench.told {
            let Told::Flow(event, slot) = told else { continue };
            let before = records.iter().rev().find(|(_, earlier)| earlier.key == slot.key);
            if let Some((earlier_event, earlier)) = before
                && !matches!(earlier_event, FlowEvent::Evicted | FlowEvent::Reused)
                && *event != FlowEvent::Begin
            {
                prop_assert!(slot.packets[0] >= earlier.packets[0] && slot.packets[1] >= earlier.packets[1]);
                prop_assert!(slot.payload[0] >= earlier.payload[0] && slot.payload[1] >= earlier.payload[1]);
            }
            records.push((*event, *slot));
        }
    }
}
