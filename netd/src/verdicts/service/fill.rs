//! Fills the next generation with what lists hold.

use netd_common::verdict::{FRONT_WORDS, RuleId};

use super::claims::HeldList;
use super::room::Room;
use crate::verdicts::blocklist::{Item, Position};
use crate::verdicts::front::Front;
use crate::verdicts::maps::{Coming, MapKey};
use crate::verdicts::refusal::Refusal;

/// Keys written in one go.
const BATCH: usize = 4_096;
/// Words of the front written in one go.
const FRONT_BATCH: u32 = 16_384;

/// A generation to be filled.
pub(super) struct Fill<C> {
    pub(super) coming: C,
    pub(super) room: Room,
    /// The list that changes, as it will be.
    pub(super) new: Option<HeldList>,
}

/// A generation that holds the lists, and lacks what verdicts make of it.
pub(super) struct Filled<C> {
    pub(super) coming: C,
    pub(super) front: Front,
    /// How many hosts and prefixes the lists hold, each once.
    pub(super) hosts: u64,
    pub(super) prefixes: u64,
}

impl<C: Coming> Fill<C> {
    pub(super) fn run(self) -> Result<Filled<C>, Refusal> {
        let Self { mut coming, room, new } = self;
        let (hosts, prefixes) = room.check(new.as_ref())?;
        coming.make(hosts, prefixes)?;
        let mut merged = Merged::new(room.lists(new.as_ref()).collect());
        let (mut front, mut batch) = (Front::empty(), Vec::with_capacity(BATCH));
        loop {
            batch.extend(merged.by_ref().map(|(item, rule)| (item.key(), rule)).take(BATCH));
            if batch.is_empty() {
                break;
            }
            front.plan(batch.iter().map(|(key, _): &(MapKey, RuleId)| key));
            coming.stage(&batch)?;
            batch.clear();
        }
        for first in (0..FRONT_WORDS).step_by(FRONT_BATCH as usize) {
            coming.stage_front(&front.numbered(first..FRONT_WORDS.min(first + FRONT_BATCH)))?;
        }
        coming.ready()?;
        Ok(Filled { coming, front, hosts: merged.hosts, prefixes: merged.prefixes })
    }
}

/// Several lists as one: what they hold, in order, each once, with the rule that leads among them.
#[derive(Debug)]
pub(super) struct Merged<'a> {
    lists: Vec<&'a HeldList>,
    positions: Vec<Position>,
    /// Met so far.
    pub(super) hosts: u64,
    pub(super) prefixes: u64,
}

impl<'a> Merged<'a> {
    pub(super) fn new(lists: Vec<&'a HeldList>) -> Self {
        let positions = vec![Position::default(); lists.len()];
        Self { lists, positions, hosts: 0, prefixes: 0 }
    }
}

impl Iterator for Merged<'_> {
    type Item = (Item, RuleId);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.lists.iter().zip(&self.positions);
        let least = heads.filter_map(|(held, position)| held.list.at(*position)).min()?;
        let mut leader: Option<&HeldList> = None;
        for (held, position) in self.lists.iter().zip(&mut self.positions) {
            if held.list.at(*position) == Some(least) {
                held.list.pass(position, &least);
                if leader.is_none_or(|leader| held.strength() > leader.strength()) {
                    leader = Some(held);
                }
            }
        }
        *(if least.is_host() { &mut self.hosts } else { &mut self.prefixes }) += 1;
        leader.map(|leader| (least, leader.rule))
    }
}
