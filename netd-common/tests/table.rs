//! The flow table: who gives way, and how evenly flows spread.

use netd_common::{
    flow::{HashKeys, Set, WAYS, class, tag},
    key::{Address, ConversationKey, FlowKey},
};

const NOW: u32 = 1 << 30;

/// Returns a set whose ways were last used `idle` ticks ago, each of the class named beside it.
fn set(ways: [(u32, u32); WAYS]) -> Set {
    let mut set = Set::EMPTY;
    for (way, (class, idle)) in ways.into_iter().enumerate() {
        set.tags[way] = (way as u32 + 1) << 2 | class;
        set.last[way] = NOW - idle;
    }
    set
}

fn key(number: u32, port: u16) -> ConversationKey {
    let flow = FlowKey {
        src: Address::v4(number.to_be_bytes()),
        dst: Address::v4([198, 51, 100, 9]),
        src_port: port.to_be_bytes(),
        dst_port: 443_u16.to_be_bytes(),
        proto: 6,
        pad: [0; 3],
    };
    flow.conversation().0
}

#[test]
fn a_free_way_is_taken_before_any_other() {
    let mut set = set([(class::ENDED, 1 << 28); WAYS]);
    set.tags[5] = 0;

    assert_eq!(set.victim(NOW), 5);
}

#[test]
fn an_ended_conversation_gives_way_before_one_that_goes_on() {
    let mut ways = [(class::ONE_WAY, 10_000_000); WAYS];
    ways[3] = (class::ENDED, 0);

    assert_eq!(set(ways).victim(NOW), 3);
}

#[test]
fn an_unanswered_conversation_gives_way_before_a_two_way_one_idle_for_minutes() {
    let mut ways = [(class::TWO_WAY, 500_000); WAYS];
    ways[6] = (class::ONE_WAY, 0);

    assert_eq!(set(ways).victim(NOW), 6);
}

#[test]
fn a_two_way_conversation_idle_for_long_gives_way_before_a_fresh_unanswered_one() {
    let mut ways = [(class::ONE_WAY, 0); WAYS];
    ways[2] = (class::TWO_WAY, 700_000);

    assert_eq!(set(ways).victim(NOW), 2);
}

#[test]
fn the_longest_idle_of_a_class_gives_way() {
    for class in [class::ONE_WAY, class::TWO_WAY, class::ENDED] {
        for oldest in 0..WAYS {
            let mut ways = [(class, 0); WAYS];
            for (way, entry) in ways.iter_mut().enumerate() {
                entry.1 = way as u32 * 10;
            }
            ways[oldest].1 = 1_000;

            assert_eq!(set(ways).victim(NOW), oldest);
        }
    }
}

#[test]
fn the_oldest_is_found_across_the_wrap_of_the_clock() {
    let mut set = set([(class::TWO_WAY, 0); WAYS]);
    set.last = [u32::MAX - 5; WAYS];
    set.last[4] = u32::MAX - 50;
    set.last[1] = 3;

    assert_eq!(set.victim(10), 4);
}

#[test]
fn a_conversation_is_found_by_tag_and_key_and_not_by_tag_alone() {
    let mut set = Set::EMPTY;
    set.tags[2] = 8 | class::TWO_WAY;
    set.slots[2].key = key(1, 1);

    assert_eq!(set.find(8, &key(1, 1)), Some(2));
    assert_eq!((set.find(8, &key(1, 2)), set.find(12, &key(1, 1))), (None, None));
}

#[test]
fn no_tag_is_that_of_a_free_way() {
    for hash in [0, 1, 2, 3, 4, u32::MAX] {
        assert_ne!(tag(hash), 0);
        assert_eq!(tag(hash) & class::MASK, 0);
    }
}

#[test]
fn neighbouring_flows_spread_evenly_over_the_sets() {
    const SETS: u32 = 1 << 10;
    const FLOWS: u32 = 1 << 16;
    for seed in 1..=20 {
        let keys = HashKeys::from_seed(seed);
        let families: [fn(u32) -> ConversationKey; 3] = [
            // A scan of neighbours, the ports of one host, both at once.
            |number| key(0x0a00_0000 + number, 40_000),
            |number| key(0x0a00_0007, number as u16),
            |number| key(0x0a00_0000 + (number >> 8), 1024 + (number & 255) as u16),
        ];
        for family in families {
            let mut load = vec![0_u32; SETS as usize];
            for number in 0..FLOWS {
                load[(keys.hash(&family(number)) & (SETS - 1)) as usize] += 1;
            }

            // On average 64 in a set; beyond ten standard deviations is no chance.
            let worst = load.iter().max().unwrap();
            assert!(*worst < 64 + 80, "seed {seed}: {worst} in one set");
        }
    }
}

#[test]
fn a_flip_of_any_bit_of_a_key_changes_half_of_the_hash_on_average() {
    let mut flipped = 0;
    let mut flips = 0;
    for seed in 1..=200 {
        let keys = HashKeys::from_seed(seed);
        let base = key(0x0a00_0007, 40_000);
        for bit in 0..16 {
            let other = ConversationKey { a_port: (u16::from_be_bytes(base.a_port) ^ 1 << bit).to_be_bytes(), ..base };
            flipped += (keys.hash(&base) ^ keys.hash(&other)).count_ones();
            flips += 32;
        }
    }

    let share = f64::from(flipped) / f64::from(flips);
    assert!((0.45..0.55).contains(&share), "{share}");
}

#[test]
fn other_secrets_make_other_collisions() {
    let (one, other) = (HashKeys::from_seed(1), HashKeys::from_seed(2));
    let target = one.hash(&key(0, 0)) & 0xff;
    let colliding: Vec<_> = (1..100_000).filter(|number| one.hash(&key(*number, 0)) & 0xff == target).collect();
    assert!(colliding.len() > 200);

    let expected = other.hash(&key(0, 0)) & 0xff;
    let still = colliding.iter().filter(|number| other.hash(&key(**number, 0)) & 0xff == expected).count();

    assert!(still * 20 < colliding.len(), "{still} of {}", colliding.len());
}
