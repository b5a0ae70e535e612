//! The kernel's maps through the daemon's eyes: verdicts in and out, flows and events read exactly.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::{net::Ipv4Addr, time::Duration};

use kernel_support::{Pair, THERE, address, count, options, run, send, totals};
use netd::{
    kernel::{Event, Kernel, VerdictMaps},
    verdicts::{Coming as _, MapKey, Maps, MapsError, Place, Table},
};
use netd_common::{
    control::Mode,
    counter::Counter,
    key::{Address, Endpoint, FlowKey},
    record::FlowEvent,
    verdict::{Action, FRONT_WORDS, Hits, Prefix, Rule},
};
use netd_lab::{namespace::Namespace, require_root};

fn with_maps(test: impl FnOnce(&Kernel) + Send) {
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            let (kernel, _) = Kernel::load(&options("netd")).unwrap();
            test(&kernel);
            Ok(())
        })
        .unwrap();
}

fn host(number: u32) -> MapKey {
    MapKey::Host(address(Ipv4Addr::from(0x0a00_0000 + number)))
}

fn prefix(number: u32) -> Prefix {
    Prefix { bits: 120, address: address(Ipv4Addr::from(0x0a00_0000 + (number << 8))).0 }
}

fn all(maps: &impl Maps) -> Vec<(MapKey, u32)> {
    let mut found = Vec::new();
    maps.for_each(&mut |key, rule| found.push((key, rule))).unwrap();
    found.sort_unstable();
    found
}

#[test]
fn every_kind_of_key_is_read_back_as_written_and_gone_when_removed() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        let flow = FlowKey { src: Address([1; 16]), dst: Address([2; 16]), proto: 6, ..FlowKey::default() };
        let end = Endpoint { address: Address([3; 16]), port: [1, 187], proto: 6, ..Endpoint::default() };
        let mut entries = vec![
            (MapKey::Flow(flow), 7),
            (MapKey::Endpoint(end), 8),
            (host(1), 9),
            (MapKey::Prefix(prefix(1)), 10),
            (MapKey::Allow(prefix(2)), 1),
        ];
        entries.sort_unstable();

        maps.insert(&entries).unwrap();
        assert_eq!(all(&maps), entries);

        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        maps.remove(&keys).unwrap();
        maps.remove(&keys).unwrap();
        assert_eq!(all(&maps), []);
    });
}

#[test]
fn more_keys_than_a_batch_holds_go_in_and_out_and_those_that_are_not_there_do_no_harm() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        let entries: Vec<_> = (0..20_000).map(|number| (host(number), number % 100 + 1)).collect();
        let prefixes: Vec<_> = (0..1_000).map(|number| (MapKey::Prefix(prefix(number)), 5)).collect();

        maps.insert(&entries).unwrap();
        maps.insert(&prefixes).unwrap();
        let mut expected: Vec<_> = entries.iter().chain(&prefixes).copied().collect();
        expected.sort_unstable();
        assert!(all(&maps) == expected, "not what was inserted");

        // Every second one, and as many that never were.
        let gone: Vec<_> = (0..20_000).map(|number| host(number * 2)).collect();
        maps.remove(&gone).unwrap();

        let left = all(&maps).into_iter().filter(|(key, _)| key.table() == Table::Hosts).count();
        assert_eq!(left, 10_000);
    });
}

#[test]
fn a_full_table_says_which_and_keeps_what_it_holds() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        assert_eq!(maps.capacity(Table::Prefixes), 1_024);
        let entries: Vec<_> = (0..1_025).map(|number| (MapKey::Prefix(prefix(number)), 1)).collect();

        let error = maps.insert(&entries).unwrap_err();

        assert!(matches!(error, MapsError::Full { table: Table::Prefixes }), "{error:?}");
        assert_eq!(all(&maps).len(), 1_024);
    });
}

#[test]
fn a_generation_answers_once_it_is_swapped_and_not_before() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        let old = vec![(host(1), 7), (host(2), 7), (MapKey::Prefix(prefix(1)), 8)];
        maps.insert(&old).unwrap();
        let generation = kernel.steering().current().generation;

        let new: Vec<_> = (2..30_000).map(|number| (host(number), 9)).collect();
        let mut coming = maps.coming().unwrap();
        coming.make(new.len() as u64, 0).unwrap();
        coming.stage(&new).unwrap();
        coming.unstage(&[host(2)]).unwrap();
        coming.stage_front(&[(5, 6)]).unwrap();
        coming.ready().unwrap();
        assert!(all(&maps) == old, "the former generation answers until the swap");
        assert_eq!(maps.front().unwrap()[5], 0);

        maps.swap(coming, true).unwrap()();

        assert!(all(&maps) == new[1..], "not what was staged");
        assert_eq!((maps.get(&host(1)).unwrap(), maps.get(&host(3)).unwrap()), (None, Some(9)));
        assert_eq!(maps.front().unwrap()[5], 6);
        let control = kernel.steering().current();
        assert_eq!((control.lists, control.short_v6_prefixes), (1, 2));
        assert_ne!(control.generation, generation);

        // There and back again: the place of the first is free.
        let mut coming = maps.coming().unwrap();
        coming.make(1, 1).unwrap();
        coming.stage(&old).unwrap();
        coming.stage_front(&[(5, 0)]).unwrap();
        coming.ready().unwrap();
        maps.swap(coming, false).unwrap()();
        assert_eq!(all(&maps), old);
        assert_eq!(kernel.steering().current().lists, 0);
    });
}

#[test]
fn a_daemon_takes_over_the_generation_that_answers_and_clears_a_half_made_one_away() {
    require_root!();
    Namespace::new("lone")
        .unwrap()
        .run(|| {
            let options = options("netd");
            let (mut kernel, _) = Kernel::load(&options).unwrap();
            let mut maps = kernel.verdict_maps().unwrap();
            let made = |maps: &VerdictMaps, number| {
                let mut coming = maps.coming().unwrap();
                coming.make(1, 0).unwrap();
                coming.stage(&[(host(number), 7)]).unwrap();
                coming.ready().unwrap();
                coming
            };
            let first = made(&maps, 1);
            maps.swap(first, false).unwrap()();
            // As if killed right before the swap: nothing is cleared away.
            std::mem::forget(made(&maps, 2));
            kernel.keep(true);
            drop((maps, kernel));

            let (kernel, _) = Kernel::load(&options).unwrap();

            let maps = kernel.verdict_maps().unwrap();
            assert_eq!(all(&maps), [(host(1), 7)]);
            assert_eq!(kernel.steering().current().lists, 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn all_tables_are_read_back_piece_by_piece() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        let mut entries: Vec<_> = (0..10_000).map(|number| (host(number), 9)).collect();
        entries.extend((0..500).map(|number| (MapKey::Prefix(prefix(number)), 5)));
        entries.sort_unstable();
        maps.insert(&entries).unwrap();

        let (mut place, mut found, mut pieces) = (Place::default(), Vec::new(), 0);
        while place.table.is_some() {
            maps.read(&mut place, &mut |key, rule| found.push((key, rule))).unwrap();
            pieces += 1;
        }

        found.sort_unstable();
        assert!(found == entries, "{} read", found.len());
        assert!(pieces >= 7, "{pieces}");
    });
}

#[test]
fn the_front_is_read_back_word_for_word() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        let words: Vec<_> = (0..10_000).map(|index| (index * 50, u64::from(index) + 1)).collect();

        maps.write_front(&words).unwrap();

        let front = maps.front().unwrap();
        assert_eq!(front.len(), FRONT_WORDS as usize);
        assert!(words.iter().all(|(index, word)| front[*index as usize] == *word));
        assert_eq!(front.iter().filter(|word| **word != 0).count(), words.len());
    });
}

#[test]
fn rules_hits_and_control_are_kept() {
    require_root!();
    with_maps(|kernel| {
        let mut maps = kernel.verdict_maps().unwrap();
        maps.write_rule(65_535, &Rule::throttle(1_000, 2_000, 42)).unwrap();
        maps.clear_rule(65_535).unwrap();
        assert!(maps.write_rule(65_536, &Rule::new(Action::Drop, 1)).is_err(), "beyond the last rule");

        maps.clear_hits(3).unwrap();
        assert_eq!(maps.hits(3).unwrap(), Hits::default());

        maps.set_mode(Mode::Shadow).unwrap();
        maps.set_kill_switch(true).unwrap();
        maps.set_short_v6_prefixes(true).unwrap();
        maps.bump_generation().unwrap();
        let control = kernel.steering().current();
        assert_eq!((control.mode, control.kill_switch, control.short_v6_prefixes, control.generation), (1, 1, 1, 1));
        assert_eq!((maps.mode().unwrap(), maps.kill_switch().unwrap()), (Mode::Shadow, true));
    });
}

#[test]
fn hits_of_a_rule_are_added_up_over_the_cpus() {
    require_root!();
    let pair = Pair::new();
    let (socket, sink) = (pair.socket(), pair.sink(THERE));
    pair.here
        .run(|| {
            let kernel = run(&options("netd"));
            let mut maps = kernel.verdict_maps().unwrap();
            kernel_support::block(&mut maps, THERE);

            assert_eq!(send(&socket, &sink, THERE, 10), 0);

            let hits = maps.hits(1).unwrap();
            assert_eq!(hits.packets, 10);
            // Ethernet, IPv4, UDP and five bytes.
            assert_eq!(hits.bytes, 10 * (14 + 20 + 8 + 5));
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_was_accounted_is_in_the_table_or_was_reported() {
    require_root!();
    let pair = Pair::new();
    let sink = pair.sink(THERE);
    let sockets: Vec<_> = (0..50).map(|_| pair.socket()).collect();
    pair.here
        .run(|| {
            let kernel = run(&options("netd"));

            for (number, socket) in sockets.iter().enumerate() {
                assert_eq!(send(socket, &sink, THERE, number + 1), number + 1);
            }

            let sent = (1..=50).sum::<u64>();
            count(&kernel, Counter::AccountedPackets, sent);
            let (mut packets, mut slots) = (0, 0);
            kernel.flows().unwrap().for_each(|live| {
                packets += live.slot.packets.iter().map(|packets| u64::from(*packets)).sum::<u64>();
                slots += 1;
            });
            assert_eq!(packets, sent);
            assert_eq!(totals(&kernel).of(Counter::FlowsEvicted), 0);
            assert_eq!(totals(&kernel).of(Counter::FlowsBegun), slots);
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_flow_that_begins_is_told_and_wakes_or_outwaits_its_reader() {
    require_root!();
    let pair = Pair::new();
    let sink = pair.sink(THERE);
    let sockets: Vec<_> = (0..20).map(|_| pair.socket()).collect();
    pair.here
        .run(|| {
            let kernel = run(&options("netd"));
            let mut events = kernel.events().unwrap();
            for socket in &sockets {
                assert_eq!(send(socket, &sink, THERE, 1), 1);
            }

            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let begun = runtime.block_on(async {
                let mut begun = Vec::new();
                for _ in 0..100 {
                    events.wait(Duration::from_millis(20)).await.unwrap();
                    // Smaller than what is there: the rest must not be forgotten.
                    events.poll_batch(7, |event| begun.push(Event::from(event)));
                }
                begun
            });

            let ports: std::collections::BTreeSet<_> = begun
                .iter()
                .filter_map(|event| match event {
                    Event::Flow(record) if record.event == FlowEvent::Begin as u8 => {
                        Some([record.key.a_port, record.key.b_port])
                    }
                    Event::Flow(_)
                    | Event::Turn(_)
                    | Event::Payload(..)
                    | Event::Socket(_)
                    | Event::Process(..)
                    | Event::Exit(_) => None,
                })
                .collect();
            assert_eq!(ports.len(), sockets.len());
            assert_eq!(events.undecoded(), 0);
            Ok(())
        })
        .unwrap();
}
