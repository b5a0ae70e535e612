//! The kernel's maps in memory, for tests: they can be read, they can refuse, and they judge packets by the contract's
//! own [`decide`].

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use netd_common::control::Mode;
use netd_common::key::{Address, Endpoint, FlowKey};
use netd_common::verdict::{FRONT_WORDS, Hits, Prefix, Rule, RuleId, Subject, Verdicts, decide, front_bit, near};
use netd_engine::verdict::Target;

use super::blocklist::Item;
use super::maps::{Coming, Error, MapKey, Maps, Place, Retire, Table};
use super::proof::Proof;

/// Clones share their content.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub keys: HashMap<MapKey, RuleId>,
    pub rules: BTreeMap<RuleId, Rule>,
    pub hits: BTreeMap<RuleId, Hits>,
    front: Vec<u64>,
    short_v6: bool,
    pub generation: u32,
    mode: Mode,
    kill_switch: bool,
    pub capacity: Option<u64>,
    /// Keys a table takes without another generation; `None` for as many as it can ever hold.
    pub room: Option<u64>,
    /// Writes that still succeed; `None` for all.
    pub writes_left: Option<u64>,
    pub destroyed: Vec<Target>,
    /// Its hook passes what a verdict names.
    pub is_silent: bool,
    /// Called before every write with the content as it is.
    pub watch: Option<Watch>,
    boot_ns: u64,
}

/// A generation being filled.
pub struct FakeComing {
    fake: Fake,
    room: u64,
    keys: HashMap<MapKey, RuleId>,
    front: Vec<u64>,
    is_ready: bool,
}

impl Coming for FakeComing {
    fn make(&mut self, hosts: u64, prefixes: u64) -> Result<(), Error> {
        let _write = self.fake.write()?;
        self.room = hosts.max(prefixes);
        Ok(())
    }

    fn stage(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), Error> {
        let _write = self.fake.write()?;
        self.keys.extend(entries.iter().copied());
        Ok(())
    }

    fn unstage(&mut self, keys: &[MapKey]) -> Result<(), Error> {
        let _write = self.fake.write()?;
        self.keys.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    fn stage_front(&mut self, words: &[(u32, u64)]) -> Result<(), Error> {
        let _write = self.fake.write()?;
        self.front.resize(FRONT_WORDS as usize, u64::MAX);
        for (index, word) in words {
            self.front[*index as usize] = *word;
        }
        Ok(())
    }

    fn ready(&mut self) -> Result<(), Error> {
        let _write = self.fake.write()?;
        self.is_ready = true;
        Ok(())
    }
}

type Watch = Box<dyn FnMut(&Judge) + Send>;

/// The maps as a program sees them at one moment.
pub struct Judge<'a> {
    inner: &'a Inner,
    boot_ns: u64,
}

impl Fake {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Sets what the front says of an address's neighbourhood, as somebody else's hand would.
    pub fn meddle_with_front(&self, address: &str, near: u8) {
        let bit = front_bit(&Address::from(address.parse::<IpAddr>().unwrap()));
        let word = &mut self.lock().front[bit as usize / 64];
        *word = *word & !(u64::from(near::ANYTHING) << (bit % 64)) | u64::from(near) << (bit % 64);
    }

    pub fn short_v6_prefixes(&self) -> bool {
        self.lock().short_v6
    }

    /// Sets the time by which [`Inner::watch`] judges.
    pub fn set_boot_ns(&self, boot_ns: u64) {
        self.lock().boot_ns = boot_ns;
    }

    /// Returns the rule that applies to a TCP packet at `boot_ns`, as the kernel would.
    pub fn rule(&self, src: &str, dst: &str, dst_port: u16, boot_ns: u64) -> Option<RuleId> {
        Judge { inner: &self.lock(), boot_ns }.rule(src, dst, dst_port)
    }

    fn write(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut inner = self.lock();
        if let Some(mut watch) = inner.watch.take() {
            watch(&Judge { boot_ns: inner.boot_ns, inner: &inner });
            inner.watch = Some(watch);
        }
        match &mut inner.writes_left {
            Some(0) => return Err(Error::Call { attempt: "write to a fake", source: "told to refuse".into() }),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(inner)
    }
}

impl Judge<'_> {
    pub fn rule(&self, src: &str, dst: &str, dst_port: u16) -> Option<RuleId> {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let key = FlowKey {
            src: address(src),
            dst: address(dst),
            src_port: 40_000_u16.to_be_bytes(),
            dst_port: dst_port.to_be_bytes(),
            proto: 6,
            pad: [0; 3],
        };
        decide(self, Subject { key: &key, has_ports: true })
    }

    fn holding(&self, key: &MapKey) -> Option<RuleId> {
        let rule = *self.inner.keys.get(key)?;
        self.inner.rules.get(&rule).filter(|r| r.holds(self.boot_ns)).map(|_| rule)
    }

    fn longest(&self, address: &Address, of: fn(Prefix) -> MapKey) -> Option<MapKey> {
        let host = Item::host(address.ip());
        let containing = |key: &&MapKey| match key {
            MapKey::Prefix(prefix) | MapKey::Allow(prefix) => {
                of(*prefix) == **key && Item::from_key(&MapKey::Prefix(*prefix)).unwrap().contains(&host)
            }
            MapKey::Host(_) | MapKey::Flow(_) | MapKey::Endpoint(_) => false,
        };
        self.inner
            .keys
            .keys()
            .filter(containing)
            .max_by_key(|key| match key {
                MapKey::Prefix(prefix) | MapKey::Allow(prefix) => prefix.bits,
                MapKey::Host(_) | MapKey::Flow(_) | MapKey::Endpoint(_) => 0,
            })
            .copied()
    }
}

impl Verdicts for Judge<'_> {
    fn near(&self, address: &Address) -> u8 {
        let bit = front_bit(address);
        let word = self.inner.front.get(bit as usize / 64).copied().unwrap_or(0);
        let covered = self.inner.short_v6 && !address.is_v4();
        (word >> (bit % 64)) as u8 & near::ANYTHING | if covered { near::PREFIX } else { 0 }
    }

    fn is_allowed(&self, address: &Address) -> bool {
        self.longest(address, MapKey::Allow).is_some()
    }

    fn five_tuple(&self, key: &FlowKey) -> Option<RuleId> {
        self.holding(&MapKey::Flow(*key))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Option<RuleId> {
        self.holding(&MapKey::Endpoint(*endpoint))
    }

    fn host(&self, address: &Address) -> Option<RuleId> {
        self.holding(&MapKey::Host(*address))
    }

    fn prefix(&self, address: &Address) -> Option<RuleId> {
        self.holding(&self.longest(address, MapKey::Prefix)?)
    }
}

impl Maps for Fake {
    type Coming = FakeComing;

    fn write_rule(&mut self, id: RuleId, rule: &Rule) -> Result<(), Error> {
        self.write()?.rules.insert(id, *rule);
        Ok(())
    }

    fn clear_rule(&mut self, id: RuleId) -> Result<(), Error> {
        self.write()?.rules.remove(&id);
        Ok(())
    }

    /// Like the kernel, it may stop half-way.
    fn insert(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), Error> {
        for (key, rule) in entries {
            let mut inner = self.write()?;
            let in_table = || inner.keys.keys().filter(|other| other.table() == key.table()).count() as u64;
            if inner.capacity.is_some_and(|capacity| in_table() >= capacity) && !inner.keys.contains_key(key) {
                return Err(Error::Full { table: key.table() });
            }
            inner.keys.insert(*key, *rule);
        }
        Ok(())
    }

    fn remove(&mut self, keys: &[MapKey]) -> Result<(), Error> {
        for key in keys {
            self.write()?.keys.remove(key);
        }
        Ok(())
    }

    fn for_each(&self, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), Error> {
        self.lock().keys.iter().for_each(|(key, rule)| visit(*key, *rule));
        Ok(())
    }

    fn read(&self, place: &mut Place, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), Error> {
        let inner = self.lock();
        inner
            .keys
            .iter()
            .filter(|(key, _)| Some(key.table()) == place.table)
            .for_each(|(key, rule)| visit(*key, *rule));
        *place = place.following();
        Ok(())
    }

    fn get(&self, key: &MapKey) -> Result<Option<RuleId>, Error> {
        Ok(self.lock().keys.get(key).copied())
    }

    fn rule(&self, id: RuleId) -> Result<Rule, Error> {
        Ok(self.lock().rules.get(&id).copied().unwrap_or_default())
    }

    fn room(&self, table: Table) -> u64 {
        let room = self.lock().room;
        room.unwrap_or_else(|| self.capacity(table))
    }

    fn coming(&self) -> Result<FakeComing, Error> {
        Ok(FakeComing { fake: self.clone(), room: 0, keys: HashMap::new(), front: Vec::new(), is_ready: false })
    }

    fn swap(&mut self, coming: FakeComing, short_v6: bool) -> Result<Retire, Error> {
        let mut inner = self.write()?;
        assert!(coming.is_ready, "swapped before it was ready");
        inner.keys.retain(|key, _| !matches!(key, MapKey::Host(_) | MapKey::Prefix(_)));
        inner.keys.extend(coming.keys);
        inner.front = coming.front;
        inner.short_v6 = short_v6;
        inner.room = inner.room.map(|room| room.max(coming.room));
        inner.generation += 1;
        Ok(Box::new(|| {}))
    }

    fn capacity(&self, _table: Table) -> u64 {
        self.lock().capacity.unwrap_or(4_000_000)
    }

    fn front(&self) -> Result<Vec<u64>, Error> {
        let mut front = self.lock().front.clone();
        front.resize(FRONT_WORDS as usize, 0);
        Ok(front)
    }

    fn restore_pins(&mut self) -> Result<u64, Error> {
        Ok(0)
    }

    fn read_front(&self, first: u32, words: &mut [u64]) -> Result<(), Error> {
        let inner = self.lock();
        let held = inner.front.iter().copied().skip(first as usize).chain(std::iter::repeat(0));
        words.iter_mut().zip(held).for_each(|(word, held)| *word = held);
        Ok(())
    }

    fn write_front(&mut self, words: &[(u32, u64)]) -> Result<(), Error> {
        let mut inner = self.write()?;
        inner.front.resize(FRONT_WORDS as usize, 0);
        for (index, word) in words {
            inner.front[*index as usize] = *word;
        }
        Ok(())
    }

    fn set_short_v6_prefixes(&mut self, on: bool) -> Result<(), Error> {
        self.write()?.short_v6 = on;
        Ok(())
    }

    fn bump_generation(&mut self) -> Result<(), Error> {
        self.write()?.generation += 1;
        Ok(())
    }

    fn hits(&self, id: RuleId) -> Result<Hits, Error> {
        Ok(self.lock().hits.get(&id).copied().unwrap_or_default())
    }

    fn clear_hits(&mut self, id: RuleId) -> Result<(), Error> {
        self.write()?.hits.remove(&id);
        Ok(())
    }

    fn prove(&self) -> Vec<Proof> {
        let inner = self.lock();
        let is_cut = inner.rules.values().any(|rule| rule.action != 0) && inner.mode == Mode::Enforce;
        let seen = if is_cut && !inner.is_silent { Ok(String::new()) } else { Err("it passed".to_owned()) };
        vec![Proof::new("tc_ingress", seen)]
    }

    fn mode(&self) -> Result<Mode, Error> {
        Ok(self.lock().mode)
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        self.write()?.mode = mode;
        Ok(())
    }

    fn kill_switch(&self) -> Result<bool, Error> {
        Ok(self.lock().kill_switch)
    }

    fn set_kill_switch(&mut self, on: bool) -> Result<(), Error> {
        self.write()?.kill_switch = on;
        Ok(())
    }

    fn destroy_sockets(&mut self, target: &Target, _spared: &dyn Fn(IpAddr) -> bool) -> Result<u64, Error> {
        self.write()?.destroyed.push(*target);
        Ok(1)
    }
}
