//! The maps that hold verdicts, as [`crate::verdicts`] asks for them.

use std::net::IpAddr;

use netd_common::{
    control::Mode,
    key::{Address, Endpoint, FlowKey},
    verdict::{FRONT_WORDS, Hits, Prefix, Rule, RuleId},
};
use netd_engine::verdict::Target;
use zerocopy::FromZeros;

use super::{
    Error, Steering, chain,
    lists::{self, Generation, Lists},
    proof::Provers,
    table::{Plain, Table},
};
use crate::{
    host::sockets,
    verdicts::{Coming, MapKey, Maps, MapsError, Place, Proof, Retire, Table as Name},
};

/// The verdict maps.
#[derive(Debug)]
pub struct VerdictMaps {
    pub(super) rules: Table<u32, Rule>,
    pub(super) buckets: Table<u32, u64>,
    pub(super) hits: Table<u32, Hits>,
    pub(super) front: Table<u32, u64>,
    pub(super) allow: Table<Prefix, u32>,
    pub(super) flows: Table<FlowKey, u32>,
    pub(super) endpoints: Table<Endpoint, u32>,
    pub(super) lists: Lists,
    pub(super) steering: Steering,
    pub(super) provers: Provers,
}

/// Keys of one call, by table: each goes to the kernel in batches.
#[derive(Default)]
struct Sorted {
    allow: Vec<Prefix>,
    flows: Vec<FlowKey>,
    endpoints: Vec<Endpoint>,
    hosts: Vec<Address>,
    prefixes: Vec<Prefix>,
}

impl Sorted {
    fn push(&mut self, key: &MapKey) {
        match *key {
            MapKey::Allow(key) => self.allow.push(key),
            MapKey::Flow(key) => self.flows.push(key),
            MapKey::Endpoint(key) => self.endpoints.push(key),
            MapKey::Host(key) => self.hosts.push(key),
            MapKey::Prefix(key) => self.prefixes.push(key),
        }
    }
}

/// Rules of one call, by table, beside [`Sorted`].
#[derive(Default)]
struct SortedRules {
    allow: Vec<RuleId>,
    flows: Vec<RuleId>,
    endpoints: Vec<RuleId>,
    hosts: Vec<RuleId>,
    prefixes: Vec<RuleId>,
}

impl SortedRules {
    fn push(&mut self, table: Name, rule: RuleId) {
        match table {
            // Being there is all that an allowed prefix says.
            Name::Allow => self.allow.push(1),
            Name::Flows => self.flows.push(rule),
            Name::Endpoints => self.endpoints.push(rule),
            Name::Hosts => self.hosts.push(rule),
            Name::Prefixes => self.prefixes.push(rule),
        }
    }
}

impl Maps for VerdictMaps {
    type Coming = ComingLists;

    fn write_rule(&mut self, id: RuleId, rule: &Rule) -> Result<(), MapsError> {
        self.buckets.set(&id, &0).map_err(failed("empty a throttle's bucket in BUCKETS"))?;
        self.rules.set(&id, rule).map_err(failed("write to RULES"))
    }

    fn clear_rule(&mut self, id: RuleId) -> Result<(), MapsError> {
        self.rules.set(&id, &Rule::new_zeroed()).map_err(failed("clear a slot of RULES"))
    }

    fn insert(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), MapsError> {
        let (mut keys, mut rules) = (Sorted::default(), SortedRules::default());
        for (key, rule) in entries {
            keys.push(key);
            rules.push(key.table(), *rule);
        }
        insert(&self.allow, Name::Allow, &keys.allow, &rules.allow)?;
        insert(&self.flows, Name::Flows, &keys.flows, &rules.flows)?;
        insert(&self.endpoints, Name::Endpoints, &keys.endpoints, &rules.endpoints)?;
        insert_lists(self.lists.present(), &keys, &rules)
    }

    fn remove(&mut self, keys: &[MapKey]) -> Result<(), MapsError> {
        let mut sorted = Sorted::default();
        for key in keys {
            sorted.push(key);
        }
        remove(&self.allow, Name::Allow, &sorted.allow)?;
        remove(&self.flows, Name::Flows, &sorted.flows)?;
        remove(&self.endpoints, Name::Endpoints, &sorted.endpoints)?;
        remove_lists(self.lists.present(), &sorted)
    }

    fn coming(&self) -> Result<ComingLists, MapsError> {
        let front = self.front.try_clone().map_err(failed("open FRONT once more"))?;
        Ok(ComingLists { lists: self.lists.coming(), front })
    }

    fn swap(&mut self, coming: ComingLists, short_v6: bool) -> Result<Retire, MapsError> {
        let number = coming.lists.number();
        self.steering
            .update(|control| set_bit(&mut control.short_v6_prefixes, number, short_v6))
            .map_err(failed("set the short IPv6 prefixes flag in CONTROL"))?;
        let former = self.lists.swap(coming.lists).map_err(failed("swap the generations of lists"))?;
        Ok(Box::new(move || {
            if let Some(Err(error)) = former.map(lists::Former::retire) {
                tracing::warn!(
                    error = chain(&error),
                    "a former generation of lists could not be cleared away in order"
                );
            }
        }))
    }

    fn restore_pins(&mut self) -> Result<u64, MapsError> {
        self.lists.restore_pins().map_err(failed("pin BLOCK_HOSTS and BLOCK_PREFIXES again"))
    }

    fn room(&self, table: Name) -> u64 {
        match table {
            Name::Hosts => u64::from(self.lists.present().hosts.capacity()),
            Name::Allow | Name::Flows | Name::Endpoints | Name::Prefixes => self.capacity(table),
        }
    }

    fn get(&self, key: &MapKey) -> Result<Option<RuleId>, MapsError> {
        let lists = self.lists.present();
        let read = match key {
            MapKey::Allow(key) => self.allow.get(key).map(|held| held.map(|_| 1)),
            MapKey::Flow(key) => self.flows.get(key),
            MapKey::Endpoint(key) => self.endpoints.get(key),
            MapKey::Host(key) => lists.hosts.get(key),
            MapKey::Prefix(key) => lists.prefixes.get(key),
        };
        read.map_err(failed("read back a verdict's key"))
    }

    fn read(&self, place: &mut Place, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), MapsError> {
        let Place { table, at } = place;
        let Some(name) = *table else { return Ok(()) };
        let lists = self.lists.present();
        let more = match name {
            Name::Allow => self.allow.read(at, |key, _| visit(MapKey::Allow(key), 1)),
            Name::Flows => self.flows.read(at, |key, rule| visit(MapKey::Flow(key), rule)),
            Name::Endpoints => self.endpoints.read(at, |key, rule| visit(MapKey::Endpoint(key), rule)),
            Name::Hosts => lists.hosts.read(at, |key, rule| visit(MapKey::Host(key), rule)),
            Name::Prefixes => lists.prefixes.read(at, |key, rule| visit(MapKey::Prefix(key), rule)),
        };
        if !more.map_err(failed("read a table of verdicts back"))? {
            *place = place.following();
        }
        Ok(())
    }

    fn rule(&self, id: RuleId) -> Result<Rule, MapsError> {
        Ok(self.rules.get(&id).map_err(failed("read a slot of RULES"))?.unwrap_or_default())
    }

    fn for_each(&self, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), MapsError> {
        self.allow.for_each(|key, _| visit(MapKey::Allow(key), 1)).map_err(failed("read ALLOW"))?;
        self.flows.for_each(|key, rule| visit(MapKey::Flow(key), rule)).map_err(failed("read BLOCK_FLOWS"))?;
        self.endpoints
            .for_each(|key, rule| visit(MapKey::Endpoint(key), rule))
            .map_err(failed("read BLOCK_ENDPOINTS"))?;
        let lists = self.lists.present();
        lists.hosts.for_each(|key, rule| visit(MapKey::Host(key), rule)).map_err(failed("read BLOCK_HOSTS"))?;
        lists.prefixes.for_each(|key, rule| visit(MapKey::Prefix(key), rule)).map_err(failed("read BLOCK_PREFIXES"))
    }

    fn capacity(&self, table: Name) -> u64 {
        u64::from(match table {
            Name::Allow => self.allow.capacity(),
            Name::Flows => self.flows.capacity(),
            Name::Endpoints => self.endpoints.capacity(),
            Name::Hosts => self.lists.limits().hosts,
            Name::Prefixes => self.lists.limits().prefixes,
        })
    }

    fn front(&self) -> Result<Vec<u64>, MapsError> {
        let mut words = vec![0; FRONT_WORDS as usize];
        let first = self.lists.present().front_word(0);
        let read = self.front.for_each(|index: u32, word| {
            if let Some(slot) = index.checked_sub(first).and_then(|index| words.get_mut(index as usize)) {
                *slot = word;
            }
        });
        read.map_err(failed("read FRONT"))?;
        Ok(words)
    }

    fn read_front(&self, first: u32, words: &mut [u64]) -> Result<(), MapsError> {
        self.front.read_from(self.lists.present().front_word(first), words).map_err(failed("read FRONT"))
    }

    fn write_front(&mut self, words: &[(u32, u64)]) -> Result<(), MapsError> {
        self.write_words(self.lists.present(), words)
    }

    fn set_short_v6_prefixes(&mut self, on: bool) -> Result<(), MapsError> {
        self.steering
            .update(|control| set_bit(&mut control.short_v6_prefixes, control.lists & 1, on))
            .map(drop)
            .map_err(failed("set the short IPv6 prefixes flag in CONTROL"))
    }

    fn bump_generation(&mut self) -> Result<(), MapsError> {
        self.steering.bump_generation().map_err(failed("change the generation in CONTROL"))
    }

    fn hits(&self, id: RuleId) -> Result<Hits, MapsError> {
        let mut cpus = Vec::new();
        self.hits.get_all(&id, &mut cpus).map_err(failed("read HITS"))?;
        Ok(cpus.iter().fold(Hits::default(), |sum, cpu| Hits {
            packets: sum.packets.wrapping_add(cpu.packets),
            bytes: sum.bytes.wrapping_add(cpu.bytes),
            shadow_packets: sum.shadow_packets.wrapping_add(cpu.shadow_packets),
            shadow_bytes: sum.shadow_bytes.wrapping_add(cpu.shadow_bytes),
        }))
    }

    fn clear_hits(&mut self, id: RuleId) -> Result<(), MapsError> {
        self.hits.set_all(&id, Hits::default()).map_err(failed("clear a slot of HITS"))
    }

    fn prove(&self) -> Vec<Proof> {
        self.provers.prove()
    }

    fn mode(&self) -> Result<Mode, MapsError> {
        Ok(Mode::from_number(self.steering.current().mode))
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), MapsError> {
        self.steering.set_mode(mode).map_err(failed("set the mode in CONTROL"))
    }

    fn kill_switch(&self) -> Result<bool, MapsError> {
        Ok(self.steering.current().kill_switch != 0)
    }

    fn set_kill_switch(&mut self, on: bool) -> Result<(), MapsError> {
        self.steering.set_kill_switch(on).map_err(failed("set the kill switch in CONTROL"))
    }

    fn destroy_sockets(&mut self, target: &Target, spared: &dyn Fn(IpAddr) -> bool) -> Result<u64, MapsError> {
        let named = |socket: &sockets::Socket| socket.is_named_by(target) && !spared(socket.key.dst.ip());
        let outcome = sockets::destroy(named).map_err(failed("destroy TCP sockets"))?;
        Ok(outcome.destroyed as u64)
    }
}

impl VerdictMaps {
    fn write_words(&self, generation: &Generation, words: &[(u32, u64)]) -> Result<(), MapsError> {
        write_words(&self.front, generation, words)
    }
}

/// A generation of lists with its front.
#[derive(Debug)]
pub struct ComingLists {
    lists: lists::Coming,
    front: Table<u32, u64>,
}

impl Coming for ComingLists {
    fn make(&mut self, hosts: u64, prefixes: u64) -> Result<(), MapsError> {
        match self.lists.make(hosts, prefixes) {
            Err(Error::NoMemory { wanted, needed, available, .. }) => {
                Err(MapsError::NoMemory { wanted, needed, available })
            }
            Err(error @ Error::MapFull { .. }) => {
                tracing::warn!(error = chain(&error), "the kernel has no memory for another generation of lists");
                Err(MapsError::Full { table: Name::Hosts })
            }
            other => other.map_err(failed("make another generation of BLOCK_HOSTS and BLOCK_PREFIXES")),
        }
    }

    fn stage(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), MapsError> {
        let Some(generation) = self.lists.generation() else { return Ok(()) };
        let (mut keys, mut rules) = (Sorted::default(), SortedRules::default());
        for (key, rule) in entries {
            keys.push(key);
            rules.push(key.table(), *rule);
        }
        insert_lists(generation, &keys, &rules)
    }

    fn unstage(&mut self, keys: &[MapKey]) -> Result<(), MapsError> {
        let Some(generation) = self.lists.generation() else { return Ok(()) };
        let mut sorted = Sorted::default();
        for key in keys {
            sorted.push(key);
        }
        remove_lists(generation, &sorted)
    }

    fn stage_front(&mut self, words: &[(u32, u64)]) -> Result<(), MapsError> {
        let Some(generation) = self.lists.generation() else { return Ok(()) };
        write_words(&self.front, generation, words)
    }

    fn ready(&mut self) -> Result<(), MapsError> {
        self.lists.ready().map_err(failed("put another generation of lists beside the present one"))
    }
}

fn write_words(front: &Table<u32, u64>, generation: &Generation, words: &[(u32, u64)]) -> Result<(), MapsError> {
    // The kernel copies a word by whatever store it likes. That is as good as one store, because bits that do
    // not change are the same before and after, in whichever bytes a reader meets.
    let (indices, words): (Vec<_>, Vec<_>) =
        words.iter().map(|(index, word)| (generation.front_word(*index), *word)).unzip();
    front.set_many(&indices, &words).map_err(|(_, error)| failed("write to FRONT")(error))
}

fn set_bit(bits: &mut u32, number: u32, on: bool) {
    *bits = *bits & !(1 << number) | u32::from(on) << number;
}

fn insert_lists(lists: &Generation, keys: &Sorted, rules: &SortedRules) -> Result<(), MapsError> {
    insert(&lists.hosts, Name::Hosts, &keys.hosts, &rules.hosts)?;
    insert(&lists.prefixes, Name::Prefixes, &keys.prefixes, &rules.prefixes)
}

fn remove_lists(lists: &Generation, keys: &Sorted) -> Result<(), MapsError> {
    remove(&lists.hosts, Name::Hosts, &keys.hosts)?;
    remove(&lists.prefixes, Name::Prefixes, &keys.prefixes)
}

fn insert<K: Plain>(map: &Table<K, u32>, name: Name, keys: &[K], rules: &[RuleId]) -> Result<(), MapsError> {
    let Err((_, error)) = map.set_many(keys, rules) else { return Ok(()) };
    if let Error::MapFull { .. } = error {
        return Err(MapsError::Full { table: name });
    }
    Err(failed(insertion(name))(error))
}

fn remove<K: Plain>(map: &Table<K, u32>, name: Name, keys: &[K]) -> Result<(), MapsError> {
    map.remove_many(keys).map(drop).map_err(failed(removal(name)))
}

const fn insertion(name: Name) -> &'static str {
    match name {
        Name::Allow => "insert into ALLOW",
        Name::Flows => "insert into BLOCK_FLOWS",
        Name::Endpoints => "insert into BLOCK_ENDPOINTS",
        Name::Hosts => "insert into BLOCK_HOSTS",
        Name::Prefixes => "insert into BLOCK_PREFIXES",
    }
}

const fn removal(name: Name) -> &'static str {
    match name {
        Name::Allow => "remove from ALLOW",
        Name::Flows => "remove from BLOCK_FLOWS",
        Name::Endpoints => "remove from BLOCK_ENDPOINTS",
        Name::Hosts => "remove from BLOCK_HOSTS",
        Name::Prefixes => "remove from BLOCK_PREFIXES",
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(attempt: &'static str) -> impl FnOnce(E) -> MapsError {
    move |source| MapsError::Call { attempt, source: Box::new(source) }
}
