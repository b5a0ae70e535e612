//! What becomes of an uploaded list before it is put in force: screened, merged, named by its tag, compared with what it
//! replaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use netd_engine::time::Timestamp;

use super::claims::HeldList;
use super::confirm::{Promise, Undo, Waiting};
use super::room::Room;
use super::saved::{self, SavedEntry};
use crate::verdicts::blocklist::{Difference, Item, List, ListName};
use crate::verdicts::protect::Protected;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{ListChange, ListOptions, REMARKS, Remark};

/// A list to be prepared, and what it is measured against.
pub(super) struct Prepare {
    pub(super) name: ListName,
    pub(super) source: Source,
    pub(super) options: ListOptions,
    pub(super) before: Option<HeldList>,
    /// Single entries that go with the old content.
    pub(super) singles: u64,
    /// `None` where the list was screened before.
    pub(super) protected: Option<Protected>,
    pub(super) room: Room,
    /// Up to how many changes they are named one by one.
    pub(super) small: u64,
    /// With the single entries that the undo brings back.
    pub(super) promise: Option<(Promise, Vec<SavedEntry>)>,
    pub(super) updated: Timestamp,
}

/// Where a list's content comes from.
pub(super) enum Source {
    Given(List),
    /// What a list held before a change that is undone, with what it did.
    Former(Arc<Waiting>),
}

/// A list that can be put in force.
pub(super) struct Prepared {
    pub(super) name: ListName,
    pub(super) keeps_entries: bool,
    /// Its rule is yet to be chosen.
    pub(super) new: HeldList,
    pub(super) change: ListChange,
    /// What differs, where that is little.
    pub(super) difference: Option<Difference>,
    /// How the change is undone unless it is confirmed; written to disk.
    pub(super) waiting: Option<(u64, Waiting)>,
}

/// What is to say of a list's entries.
#[derive(Debug, Default)]
struct Screened {
    refused: Vec<(Item, String)>,
    refused_total: u64,
    spared: Vec<Remark>,
}

impl Screened {
    fn refuse(&mut self, item: &Item, reason: impl FnOnce() -> String) {
        self.refused_total += 1;
        if self.refused.len() < REMARKS {
            self.refused.push((*item, reason()));
        }
    }
}

impl Prepare {
    /// Returns how many entries have to be looked at.
    pub(super) fn size(&self) -> usize {
        let coming = match &self.source {
            Source::Given(list) => list.entries() as usize,
            Source::Former(waiting) => waiting.former_size(),
        };
        coming + self.before.as_ref().map_or(0, |before| before.list.entries() as usize)
    }

    pub(super) fn run(self) -> Result<Prepared, Refusal> {
        let Self { name, source, options, before, singles, protected, room, small, promise, updated } = self;
        let ListOptions { force, dry_run, aggregate, keeps_entries, .. } = options;
        let (mut list, response, shadow) = match source {
            Source::Given(list) => (list, options.response, options.shadow),
            Source::Former(waiting) => match waiting.former_list() {
                Some(former) => (Arc::unwrap_or_clone(former.list), former.response, former.shadow),
                None => {
                    tracing::error!(%name, "what the list held before cannot be read; it is left empty");
                    (List::default(), options.response, options.shadow)
                }
            },
        };
        let screened = protected.map(|protected| screen(&protected, &mut list, force)).unwrap_or_default();
        let Screened { mut refused, refused_total, spared } = screened;
        refused.sort_unstable();
        let named = |(item, reason): (Item, String)| Remark { entry: item.to_string(), reason };
        let merged = match aggregate {
            true => list.aggregate(|item| !force && target::too_wide(item).is_some()) as u64,
            false => 0,
        };
        let tag = list.tag(response, shadow);
        let nothing = List::default();
        let old = before.as_ref().map_or(&nothing, |before| &*before.list);
        let amount = old.compare(&list);
        let (names_added, names_removed, names_unchanged) = old.names().difference(list.names());
        let changed = before.as_ref().is_none_or(|before| before.tag != tag) || singles > 0;
        let difference = (amount.added + amount.removed <= small).then(|| old.difference(&list));
        let change = ListChange {
            entries: list.entries(),
            added: amount.added + names_added,
            removed: amount.removed + names_removed + singles,
            unchanged: amount.unchanged + names_unchanged,
            changed,
            dry_run,
            tag: tag.clone(),
            refused: refused.into_iter().map(named).collect(),
            refused_total,
            spared,
            merged,
            saved: true,
            would_hold: dry_run.then(|| list.clone()),
            confirmation: None,
        };
        let new = HeldList { rule: 0, list: Arc::new(list), response, shadow, updated, tag };
        room.check(Some(&new))?;
        let waiting = match promise.filter(|_| changed && !dry_run) {
            Some((promise, singles)) => {
                let before = before.as_ref().and_then(|held| saved::list_to_text(held).ok());
                Some(promise.write(Undo::BlockList { list: name.to_string(), before, singles })?)
            }
            None => None,
        };
        Ok(Prepared { name, keeps_entries, new, change, difference, waiting })
    }
}

/// Takes out of `list` what must not be cut or is too wide, and says why; says what will keep passing inside of what
/// stays.
fn screen(protected: &Protected, list: &mut List, force: bool) -> Screened {
    let mut screened = Screened::default();
    for (widest, guard) in protected.widest() {
        for item in list.take_within(widest) {
            screened.refuse(&item, || format!("protected: {guard}"));
        }
    }
    if !force {
        for item in list.take_prefixes(|item| target::too_wide(item).is_some()) {
            let widest = target::too_wide(&item).unwrap_or_default();
            screened.refuse(&item, || format!("wider than /{widest}; force accepts it"));
        }
    }
    let mut inside = BTreeMap::<Item, Vec<String>>::new();
    for (widest, _) in protected.widest() {
        for item in widest.enclosing().filter(|item| list.lists(item)) {
            inside.entry(item).or_default().push(widest.to_string());
        }
    }
    let spared = |(item, inside): (Item, Vec<String>)| Remark {
        entry: item.to_string(),
        reason: format!("{} inside keeps passing", inside.join(", ")),
    };
    // It takes effect when the allow-list lets go of it.
    let allowed = protected.allowed().flat_map(|allowed| list.within(allowed));
    let passing =
        |item: Item| Remark { entry: item.to_string(), reason: "it is allow-listed and keeps passing".into() };
    screened.spared = inside.into_iter().map(spared).chain(allowed.take(REMARKS).map(passing)).collect();
    screened
}
