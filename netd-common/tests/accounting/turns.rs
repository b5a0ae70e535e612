//! Turns: payload after an idle time of at least the gap.

use netd_common::{
    account::Elsewhere,
    flow::{nanoseconds, tick},
    key::Direction,
    packet::tcp::{ACK, SYN},
    record::state,
};

use crate::bench::{Bench, GAP, SECOND, tcp, udp};

const GAP_NS: u64 = nanoseconds(GAP);

/// A connection whose sides have said ten bytes and twenty.
fn connection() -> Bench {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 99, 0));
    bench.add(&tcp(2, 1, SYN | ACK, 499, 0));
    bench.add(&tcp(1, 2, ACK, 100, 10));
    bench.add(&tcp(2, 1, ACK, 500, 20));
    bench
}

#[test]
fn the_first_payload_is_a_turn_without_idle_time() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 99, 0));

    let turns = bench.wait(7 * SECOND).turns(&tcp(1, 2, ACK, 100, 10));

    assert_eq!(turns.len(), 1);
    assert_eq!((turns[0].is_first, turns[0].idle, turns[0].first_len, turns[0].payload), (true, 0, 10, [0, 0]));
}

#[test]
fn payload_in_the_first_packet_is_told_by_begin_alone() {
    let mut bench = Bench::new();

    let turns = [bench.turns(&udp(1, 2, 10)), bench.turns(&tcp(1, 2, SYN, 1, 10)), bench.turns(&tcp(3, 4, ACK, 1, 10))];

    assert!(turns.iter().all(Vec::is_empty), "{turns:?}");
    assert!(bench.live().all(|slot| slot.state & state::PAYLOAD != 0));
}

#[test]
fn either_side_starts_a_turn_after_the_gap() {
    for (packet, expected) in [(tcp(1, 2, ACK, 110, 5), 0), (tcp(2, 1, ACK, 520, 5), 1)] {
        let mut bench = connection();

        let turns = bench.wait(GAP_NS).turns(&packet);

        assert_eq!(turns.len(), 1);
        let starter = if expected == 0 { Direction::AToB } else { Direction::BToA };
        assert_eq!((turns[0].starter, turns[0].is_first, turns[0].first_len), (starter, false, 5));
        assert_eq!((turns[0].payload, turns[0].idle), ([10, 20], GAP));
    }
}

#[test]
fn payload_within_the_gap_is_no_turn() {
    let mut bench = connection();

    assert!(bench.wait(GAP_NS - nanoseconds(1)).turns(&tcp(1, 2, ACK, 110, 5)).is_empty());
}

#[test]
fn the_gap_is_counted_from_the_last_payload_of_either_side() {
    let mut bench = connection();
    bench.wait(GAP_NS - nanoseconds(1)).turns(&tcp(2, 1, ACK, 520, 5));

    assert!(bench.wait(GAP_NS - nanoseconds(1)).turns(&tcp(1, 2, ACK, 110, 5)).is_empty());
}

#[test]
fn acknowledgements_do_not_shorten_the_gap() {
    let mut bench = connection();
    bench.wait(GAP_NS / 2).turns(&tcp(1, 2, ACK, 110, 0));

    assert_eq!(bench.wait(GAP_NS / 2 + nanoseconds(1)).turns(&tcp(1, 2, ACK, 110, 5)).len(), 1);
}

#[test]
fn a_retransmission_is_no_turn() {
    let mut bench = connection();

    assert!(bench.wait(2 * GAP_NS).turns(&tcp(1, 2, ACK, 100, 10)).is_empty());
}

#[test]
fn a_keep_alive_probe_is_no_turn_and_shortens_no_gap() {
    let mut bench = connection();

    let probe = bench.wait(2 * GAP_NS).turns(&tcp(1, 2, ACK, 109, 1));
    let after = bench.wait(nanoseconds(5)).turns(&tcp(1, 2, ACK, 110, 5));

    assert!(probe.is_empty());
    assert_eq!((after.len(), after[0].idle), (1, 2 * GAP + 5));
}

#[test]
fn a_retransmission_with_new_bytes_behind_it_counts_those_alone() {
    let mut bench = connection();

    let turns = bench.wait(2 * GAP_NS).turns(&tcp(1, 2, ACK, 105, 25));

    assert_eq!((turns.len(), turns[0].first_len), (1, 20));
}

#[test]
fn sequence_numbers_may_wrap() {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, u32::MAX - 5, 0));
    bench.add(&tcp(1, 2, ACK, u32::MAX - 4, 10));

    let again = bench.wait(2 * GAP_NS).turns(&tcp(1, 2, ACK, u32::MAX - 4, 10));
    let next = bench.turns(&tcp(1, 2, ACK, 5, 10));

    assert_eq!((again.len(), next.len()), (0, 1));
}

#[test]
fn recent_payload_on_another_cpu_leaves_no_gap() {
    let mut bench = connection();
    bench.wait(GAP_NS);
    bench.elsewhere = Elsewhere { last_payload: Some(tick(bench.now_ns) - 3), payload: [1, 2] };

    assert!(bench.turns(&tcp(1, 2, ACK, 110, 5)).is_empty());
}

#[test]
fn a_turn_adds_what_other_cpus_hold() {
    let mut bench = connection();
    bench.wait(2 * GAP_NS);
    bench.elsewhere = Elsewhere { last_payload: Some(tick(bench.now_ns) - GAP - 1), payload: [1_000, 2_000] };

    let turns = bench.turns(&tcp(1, 2, ACK, 110, 5));

    assert_eq!((turns[0].payload, turns[0].idle), ([1_010, 2_020], GAP + 1));
}

#[test]
fn the_first_payload_here_is_no_first_turn_when_another_cpu_saw_some() {
    let mut bench = Bench::new();
    bench.elsewhere = Elsewhere { last_payload: Some(tick(bench.now_ns) - GAP), payload: [7, 0] };

    let turns = bench.turns(&tcp(2, 1, ACK, 500, 20));

    assert_eq!((turns.len(), turns[0].is_first, turns[0].idle), (1, false, GAP));
}
