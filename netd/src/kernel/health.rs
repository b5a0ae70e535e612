//! Whether every program still is where it was put: attached again where somebody has taken it away or gone in front.
//!
//! What others attached is never removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
};

use super::{
    Degraded, Error, Kernel, Xdp,
    attach::{Attached, Direction, Hook},
    interfaces::{self, Interface, LinkLayer},
    sys,
};

/// Looks between two attempts at one hook that somebody else claims: whoever fights us for a place gets it for so long.
const BACK_OFF: u32 = 15;

/// What the looks have shown.
#[derive(Debug, Default)]
pub(super) struct Health {
    look: u32,
    missing: u64,
    repinned: BTreeMap<&'static str, u64>,
    reattached: BTreeMap<&'static str, u64>,
    /// By hook, the look before which it is left alone.
    rests: BTreeMap<String, u32>,
}

impl Health {
    /// Returns whether `hook` may be tried at this look; the next time is a while off.
    fn may_try(&mut self, hook: String) -> bool {
        let rested = !self.rests(&hook);
        if rested {
            self.rests.insert(hook, self.look + BACK_OFF);
        }
        rested
    }

    /// Returns whether `hook` is left alone for a while.
    fn rests(&self, hook: &str) -> bool {
        self.rests.get(hook).is_some_and(|until| *until > self.look)
    }

    fn count(&mut self, hook: &'static str, reattached: u64) {
        *self.reattached.entry(hook).or_default() += reattached;
    }
}

impl Kernel {
    /// Attaches again where somebody has detached us or attached in front of us: a deleted qdisc, a forced detach, another
    /// tool's program. Returns what was found and how it went; nothing when all is well.
    ///
    /// # Errors
    ///
    /// When the interfaces cannot be listed.
    pub fn heal(&mut self) -> Result<Vec<Degraded>, Error> {
        self.health.look += 1;
        let existing: BTreeSet<u32> = interfaces::indices()?.into_iter().collect();
        let mut degraded = Vec::new();
        self.heal_pins(&mut degraded);
        let mut missing = 0;
        for attached in self.attached.values().filter(|attached| existing.contains(&attached.interface.index)) {
            missing += attached.hooks.iter().filter(|hook| !self.holds(&attached.interface, hook)).count();
        }
        if missing > 0 {
            self.heal_detached(&existing, &mut degraded);
        }
        self.heal_order(&existing, &mut degraded);
        self.heal_xdp(&existing);
        missing += self.heal_cgroup(&mut degraded);
        self.health.missing = missing as u64;
        let health = &mut self.health;
        health.rests.retain(|_, until| *until > health.look);
        Ok(degraded)
    }

    /// Returns how many hooks the last look found without their program.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.health.missing
    }

    /// Returns how often programs were attached again since loading, by kind of hook.
    #[must_use]
    pub const fn reattached(&self) -> &BTreeMap<&'static str, u64> {
        &self.health.reattached
    }

    /// Returns how often something was pinned again since loading: `link`, `map`.
    #[must_use]
    pub const fn repinned(&self) -> &BTreeMap<&'static str, u64> {
        &self.health.repinned
    }

    /// Pins again what somebody has unpinned: without its pin a link would end with this daemon, and a successor would not
    /// find the maps.
    fn heal_pins(&mut self, degraded: &mut Vec<Degraded>) {
        let hooks = self.attached.values().flat_map(|attached| &attached.hooks);
        let links = hooks.filter_map(|hook| match hook {
            Hook::Link { pin, link } => Some((pin, link)),
            Hook::Filter(_) => None,
        });
        let links = links.chain(&self.cgroup_links).map(|(pin, link)| ("link", self.pins.link(pin), link));
        let maps = self.maps.iter().map(|(name, map)| ("map", self.pins.map(name), map));
        let lost: Vec<_> = links.chain(maps).filter(|(_, path, _)| !path.exists()).collect();
        if lost.is_empty() || self.health.rests("pins") {
            return;
        }
        let repinned = self.pins.restore_directories().and_then(|()| {
            lost.into_iter().try_for_each(|(kind, path, object)| match sys::object_pin(object, &path) {
                Ok(()) => {
                    tracing::warn!(pin = %path.display(), "somebody removed a pin; made again");
                    *self.health.repinned.entry(kind).or_default() += 1;
                    Ok(())
                }
                Err(source) => Err(Error::Pin { doing: "make again", path, source }),
            })
        });
        if let Err(error) = repinned {
            self.health.may_try("pins".to_owned());
            let consequence = "what is not pinned ends with this daemon";
            degraded.push(Degraded::new("pins", super::chain(&error), consequence));
        }
    }

    fn holds(&self, interface: &Interface, hook: &Hook) -> bool {
        match hook {
            Hook::Link { link, .. } => sys::link_info(link).is_ok_and(|info| info.ifindex() == interface.index),
            // When the kernel does not answer, suspect nobody.
            Hook::Filter(direction) => self.place.is_attached(interface.index, *direction).unwrap_or(true),
        }
    }

    fn heal_detached(&mut self, existing: &BTreeSet<u32>, degraded: &mut Vec<Degraded>) {
        let is_broken = |attached: &&Attached| {
            existing.contains(&attached.interface.index)
                && attached.hooks.iter().any(|hook| !self.holds(&attached.interface, hook))
        };
        let broken: Vec<_> = self
            .attached
            .values()
            .filter(is_broken)
            .map(|attached| {
                let lost = attached.hooks.iter().filter(|hook| !self.holds(&attached.interface, hook));
                (attached.interface.clone(), lost.map(kind).collect::<Vec<_>>())
            })
            .collect();
        for (interface, lost) in broken {
            tracing::warn!(interface = interface.name, hooks = ?lost, "somebody detached netd; attaching again");
            let failure = self.attach_interface(&interface, degraded).err();
            if failure.is_none() {
                lost.iter().for_each(|hook| self.health.count(hook, 1));
            }
            degraded.push(Degraded::new(
                format!("interface {}", interface.name),
                "somebody detached netd's programs",
                failure.map_or_else(
                    || "packets passed unseen until they were attached again".to_owned(),
                    |error| format!("packets pass unseen: {}", super::chain(&error)),
                ),
            ));
        }
    }

    /// Goes first again where another program has been put in front: one that passes a packet ends the chain.
    fn heal_order(&mut self, existing: &BTreeSet<u32>, degraded: &mut Vec<Degraded>) {
        if !self.tcx {
            return;
        }
        for interface in self.interfaces_in(existing) {
            for direction in Direction::BOTH {
                let pin = self.pin(interface.index, &format!("tcx-{}", direction.name()));
                if !self.is_displaced(&interface, direction, &pin) || !self.health.may_try(pin.clone()) {
                    continue;
                }
                tracing::warn!(
                    interface = interface.name,
                    hook = direction.name(),
                    "another program goes first; netd again"
                );
                let moved = self.pins.detach(&pin).and_then(|()| self.attach_interface(&interface, degraded));
                if moved.is_ok() {
                    self.health.count("tcx", 1);
                }
                degraded.push(Degraded::new(
                    format!("interface {}, {}", interface.name, direction.name()),
                    "another program was attached in front of netd's",
                    moved.err().map_or_else(
                        || "what it passed was neither seen nor judged until netd went first again".to_owned(),
                        |error| format!("what it passes is neither seen nor judged: {}", super::chain(&error)),
                    ),
                ));
            }
        }
    }

    fn is_displaced(&self, interface: &Interface, direction: Direction, pin: &str) -> bool {
        let hooks = self.attached.get(&interface.index).map_or(&[][..], |attached| &attached.hooks);
        let ours = hooks.iter().find_map(|hook| match hook {
            Hook::Link { pin: held, link } if held == pin => sys::link_info(link).ok(),
            Hook::Link { .. } | Hook::Filter(_) => None,
        });
        let first = sys::first_link(interface.index, direction.tcx());
        matches!((ours, first), (Some(ours), Ok(Some(first))) if ours.ifindex() == interface.index && ours.id != first)
    }

    /// Takes XDP's place where whoever had it has gone.
    fn heal_xdp(&mut self, existing: &BTreeSet<u32>) {
        if self.xdp == Xdp::Off {
            return;
        }
        for interface in self.interfaces_in(existing) {
            let has_xdp = self
                .attached
                .get(&interface.index)
                .is_some_and(|attached| attached.hooks.iter().any(|hook| kind(hook) == "xdp"));
            let is_wanted = interface.link_layer == LinkLayer::Ethernet && !has_xdp;
            if !is_wanted || !self.health.may_try(self.pin(interface.index, "xdp")) {
                continue;
            }
            // Why not was said when it was first tried.
            let hook = self.attach_xdp(&interface, &mut Vec::new());
            if let (Some(hook), Some(attached)) = (hook, self.attached.get_mut(&interface.index)) {
                attached.hooks.push(hook);
                self.health.count("xdp", 1);
            }
        }
    }

    /// Attaches to the cgroup tree again; returns how many links were gone.
    fn heal_cgroup(&mut self, degraded: &mut Vec<Degraded>) -> usize {
        // When the kernel does not answer, suspect nobody.
        let is_gone = |link: &&OwnedFd| sys::link_info(link).is_ok_and(|info| info.cgroup() == 0);
        let gone = self.cgroup_links.values().filter(is_gone).count();
        if gone > 0 && self.health.may_try("cgroup".to_owned()) {
            tracing::warn!(gone, "somebody detached netd from the cgroup tree; attaching again");
            self.attach_cgroup(degraded);
            self.health.count("cgroup", gone as u64);
        }
        gone
    }

    fn interfaces_in(&self, existing: &BTreeSet<u32>) -> Vec<Interface> {
        let interfaces = self.attached.values().map(|attached| &attached.interface);
        interfaces.filter(|interface| existing.contains(&interface.index)).cloned().collect()
    }
}

/// Returns the kind of a hook, as metrics call it.
fn kind(hook: &Hook) -> &'static str {
    match hook {
        Hook::Link { .. } if hook.is_xdp() => "xdp",
        Hook::Link { .. } => "tcx",
        Hook::Filter(_) => "clsact",
    }
}
