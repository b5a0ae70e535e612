//! What a verdict means: the order of look-ups against a list read from the top, and the rate of a throttle.

use netd_common::{
    key::{Address, Direction, Endpoint, FlowKey},
    verdict::{Rule, RuleId, Subject, Verdicts, conform, decide, near},
};
use proptest::prelude::*;

const ENDS: u8 = 4;
const PORTS: u8 = 3;

/// What one entry of a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Allowed(Address),
    /// Either direction.
    Flow(FlowKey),
    Endpoint(Endpoint),
    Host(Address),
    /// The addresses whose last octet is of one half.
    Half(u8),
}

/// A list read from the top for each question: slow, and hard to get wrong.
#[derive(Clone, Debug)]
struct Naive {
    entries: Vec<(Named, RuleId)>,
    /// What else is listed near every address: the front is coarse.
    neighbours: u8,
}

fn address(last: u8) -> Address {
    Address::v4([192, 0, 2, last])
}

fn half(address: &Address) -> u8 {
    address.0[15] / 2
}

impl Naive {
    fn first(&self, named: impl Fn(Named) -> bool) -> Option<RuleId> {
        self.entries.iter().find(|(entry, _)| named(*entry)).map(|(_, rule)| *rule)
    }

    /// The same question as [`decide`]'s, answered by the documented order alone.
    fn answer(&self, key: &FlowKey, has_ports: bool) -> Option<RuleId> {
        let open = |end: &Address| !self.is_allowed(end);
        let ends = [(key.dst, key.dst_port), (key.src, key.src_port)];
        let open_ends = || ends.into_iter().filter(|(end, _)| open(end));
        if has_ports {
            let five_tuple = |named| matches!(named, Named::Flow(flow) if flow == *key || flow == key.reversed());
            if let Some(rule) = self.first(five_tuple)
                && open(&key.src)
                && open(&key.dst)
            {
                return Some(rule);
            }
            for (end, port) in open_ends() {
                if let Some(rule) = self.first(|named| named == Named::Endpoint(Endpoint::new(end, port, key.proto))) {
                    return Some(rule);
                }
            }
        }
        for (end, _) in open_ends() {
            let host = self.first(|named| named == Named::Host(end));
            if let Some(rule) = host.or_else(|| self.first(|named| named == Named::Half(half(&end)))) {
                return Some(rule);
            }
        }
        None
    }
}

impl Verdicts for Naive {
    fn near(&self, address: &Address) -> u8 {
        let named = self.entries.iter().map(|(named, _)| match named {
            Named::Flow(flow) if flow.src == *address || flow.dst == *address => near::ANYTHING,
            Named::Endpoint(endpoint) if endpoint.address == *address => near::ANYTHING,
            Named::Host(host) if host == address => near::HOST,
            Named::Half(number) if half(address) == *number => near::PREFIX,
            Named::Allowed(_) | Named::Flow(_) | Named::Endpoint(_) | Named::Host(_) | Named::Half(_) => 0,
        });
        named.fold(self.neighbours, |sum, near| sum | near)
    }

    fn is_allowed(&self, address: &Address) -> bool {
        self.first(|named| named == Named::Allowed(*address)).is_some()
    }

    fn five_tuple(&self, key: &FlowKey) -> Option<RuleId> {
        // As the map holds them: from a to b.
        self.first(|named| matches!(named, Named::Flow(flow) if flow.conversation().0.flow(Direction::AToB) == *key))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Option<RuleId> {
        self.first(|named| named == Named::Endpoint(*endpoint))
    }

    fn host(&self, address: &Address) -> Option<RuleId> {
        self.first(|named| named == Named::Host(*address))
    }

    fn prefix(&self, address: &Address) -> Option<RuleId> {
        self.first(|named| named == Named::Half(half(address)))
    }
}

fn flow_key() -> impl Strategy<Value = FlowKey> {
    (0..ENDS, 0..ENDS, 0..PORTS, 0..PORTS, prop::sample::select(vec![6_u8, 17])).prop_map(
        |(src, dst, src_port, dst_port, proto)| FlowKey {
            src: address(src),
            dst: address(dst),
            src_port: [0, src_port],
            dst_port: [0, dst_port],
            proto,
            pad: [0; 3],
        },
    )
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![
        1 => (0..ENDS).prop_map(|last| Named::Allowed(address(last))),
        4 => flow_key().prop_map(Named::Flow),
        3 => flow_key().prop_map(|key| Named::Endpoint(Endpoint::new(key.dst, key.dst_port, key.proto))),
        1 => (0..ENDS).prop_map(|last| Named::Host(address(last))),
        1 => (0..ENDS / 2).prop_map(Named::Half),
    ]
}

fn lists() -> impl Strategy<Value = Naive> {
    (prop::collection::vec(named(), 0..10), 0..=near::ANYTHING)
        .prop_map(|(entries, neighbours)| Naive { entries: entries.into_iter().zip(1..).collect(), neighbours })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_narrowest_verdict_of_an_end_that_is_not_allowed_applies(
        lists in lists(), key in flow_key(), has_ports in any::<bool>(),
    ) {
        // A fragment's key holds no ports.
        let key = if has_ports { key } else { FlowKey { src_port: [0; 2], dst_port: [0; 2], ..key } };

        let decided = decide(&lists, Subject { key: &key, has_ports });

        prop_assert_eq!(decided, lists.answer(&key, has_ports));
    }

    #[test]
    fn a_packet_between_allowed_ends_meets_no_verdict(lists in lists(), key in flow_key(), has_ports in any::<bool>()) {
        let mut lists = lists;
        lists.entries.extend([(Named::Allowed(key.src), 0), (Named::Allowed(key.dst), 0)]);

        prop_assert_eq!(decide(&lists, Subject { key: &key, has_ports }), None);
    }

    #[test]
    fn a_five_tuple_is_cut_in_both_directions(key in flow_key()) {
        let lists = Naive { entries: vec![(Named::Flow(key), 1)], neighbours: 0 };

        for key in [key, key.reversed()] {
            prop_assert_eq!(decide(&lists, Subject { key: &key, has_ports: true }), Some(1));
        }
    }
}

/// Sends packets of `bytes` every `every_ns` for ten minutes; returns the bytes that conform.
fn conforming(rule: &Rule, bytes: u64, every_ns: u64) -> u64 {
    const DURATION: u64 = 600_000_000_000;
    let (mut arrival, mut passed, mut now) = (0, 0, 1_000_000_000_000_u64);
    let until = now + DURATION;
    while now < until {
        if let Some(next) = conform(rule, arrival, now, bytes) {
            arrival = next;
            passed += bytes;
        }
        now += every_ns;
    }
    passed
}

#[test]
fn the_rate_in_the_long_run_is_the_rules_to_a_hundredth() {
    for rate in [1_000_u64, 125_000, 12_500_000, 1_250_000_000] {
        for bytes in [64, 1_500] {
            let rule = Rule::throttle(rate, 10 * bytes, u64::MAX);
            // Three times what is allowed, at an odd pace.
            let every_ns = (bytes * 1_000_000_000 / (3 * rate)).max(400) | 1;
            let every_ns = every_ns.max(600_000_000_000 / 3_000_000);

            let passed = conforming(&rule, bytes, every_ns) as f64;

            let offered = bytes as f64 * 600e9 / every_ns as f64;
            let allowed = (rate as f64 * 600.0).min(offered);
            let error = (passed - allowed).abs() / allowed;
            assert!(error < 0.01 + 11.0 * bytes as f64 / allowed, "{rate} B/s of {bytes}: off by {error}");
        }
    }
}

#[test]
fn a_pace_below_the_rate_always_conforms() {
    let rule = Rule::throttle(10_000, 0, u64::MAX);

    // A hundred bytes every hundredth of a second, and a thousandth later.
    assert_eq!(conforming(&rule, 100, 10_100_000), 600_000_000_000_u64.div_ceil(10_100_000) * 100);
}

#[test]
fn a_burst_conforms_once_and_again_after_it_is_paid_for() {
    let rule = Rule::throttle(1_000, 4_000, u64::MAX);
    let burst_at = |now: u64, mut arrival: u64| {
        let passed = (0..20).filter(|_| {
            conform(&rule, arrival, now, 1_000).is_some_and(|next| {
                arrival = next;
                true
            })
        });
        (passed.count(), arrival)
    };

    // The packet that meets the edge of the burst conforms.
    let (first, arrival) = burst_at(1_000_000_000, 0);
    let (at_once, arrival) = burst_at(1_000_000_000, arrival);
    let (later, _) = burst_at(3_000_000_000, arrival);
    let (much_later, _) = burst_at(60_000_000_000, arrival);

    assert_eq!((first, at_once, later, much_later), (5, 0, 2, 5));
}

#[test]
fn a_rate_of_nothing_is_a_byte_a_second() {
    let rule = Rule::throttle(0, 0, u64::MAX);

    assert_eq!(conform(&rule, 0, 0, 1), Some(1_000_000_000));
}

#[test]
fn a_rule_holds_up_to_its_expiry_and_not_at_it() {
    let rule = Rule { expires_ns: 100, ..Rule::default() };

    assert!(rule.holds(99) && !rule.holds(100));
    assert!(Rule { expires_ns: u64::MAX, ..rule }.holds(u64::MAX - 1));
    assert!(!Rule::default().holds(0));
}
