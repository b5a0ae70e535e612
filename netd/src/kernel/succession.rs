//! Taking over from another layout of the maps: an upgrade, or the way back.
//!
//! Maps of another layout are never read: what they hold stands in the state directory too, from which this layout's
//! maps are filled before anything is attached. Then both enforce, and only when every hook has its program are the other
//! layout's links detached. A daemon that dies on the way leaves the one, or both; whichever version starts next
//! finishes in its own direction. A start that fails takes its own back and leaves the other's.
//!
//! XDP and clsact have room for one program. XDP is taken last: until then TC drops what it would have. A filter is
//! replaced in one step, by a program over maps that are already filled.

use super::{
    Degraded, Error, Kernel,
    attach::{Attached, Direction, Hook},
    chain,
};

impl Kernel {
    /// Returns whether programs over another layout of the maps may still be attached.
    #[must_use]
    pub fn succeeds(&self) -> bool {
        !self.pins.former().is_empty()
    }

    /// Detaches what another version left attached and removes its pins, where it left any. To be called once the maps
    /// hold everything that is to be enforced, and everything is attached.
    ///
    /// # Errors
    ///
    /// When a hook would be left without a program. Everything stays attached, and dropping this takes its part back.
    pub fn take_over(&mut self) -> Result<Vec<Degraded>, Error> {
        let mut degraded = Vec::new();
        if !self.succeeds() {
            return Ok(degraded);
        }
        if let Some(what) = self.uncovered()? {
            return Err(Error::NotTakenOver { what });
        }
        let former: Vec<String> = self.pins.former().iter().map(|path| path.display().to_string()).collect();
        for error in self.pins.remove_former() {
            degraded.push(Degraded::new(
                "another version's programs",
                chain(&error),
                "some are still attached, and enforce what they held; restart netd, or `netd unload` and start it",
            ));
        }
        self.detach_leftovers(&mut degraded);
        self.detach_superseded_filters(&mut degraded);
        self.attach_vacant_xdp(&mut degraded);
        tracing::info!(former = former.join(" "), "took over from another version");
        Ok(degraded)
    }

    /// Removes what this run has attached and pinned, if a former run of its layout had left nothing there.
    pub(super) fn give_back(&mut self) {
        if !self.pins.is_new {
            return;
        }
        self.attached.clear();
        match self.pins.withdraw() {
            Ok(()) => tracing::warn!("another version's programs go on enforcing"),
            Err(error) => {
                tracing::error!(error = chain(&error), "another version's programs and some of these enforce")
            }
        }
    }

    /// Returns a hook at which another version has a program and this one not.
    fn uncovered(&self) -> Result<Option<String>, Error> {
        for attached in self.attached.values() {
            for direction in Direction::BOTH {
                if !attached.holds(direction) {
                    return Ok(Some(format!("interface {}, {}", attached.interface.name, direction.name())));
                }
            }
        }
        if !self.cgroup {
            return Ok(None);
        }
        let links = self.pins.former_links()?;
        let names = links.iter().filter_map(|path| path.file_name()?.to_str());
        let lost = names.filter(|name| name.starts_with("cgroup-")).find(|name| !self.cgroup_links.contains_key(*name));
        Ok(lost.map(|name| format!("link {name}")))
    }

    /// Removes filters of another version where links do their work.
    fn detach_superseded_filters(&self, degraded: &mut Vec<Degraded>) {
        for attached in self.attached.values() {
            for hook in &attached.hooks {
                let Hook::Link { .. } = hook else { continue };
                for direction in Direction::BOTH.into_iter().filter(|direction| hook.is_tcx(*direction)) {
                    let index = attached.interface.index;
                    if let Err(source) = self.place.detach(index, direction) {
                        let error = Error::Filter { ifindex: index, source };
                        degraded.push(super::attach::leftover(&attached.interface.name, &error));
                    }
                }
            }
        }
    }
}

impl Attached {
    fn holds(&self, direction: Direction) -> bool {
        self.hooks.iter().any(|hook| match hook {
            Hook::Link { .. } => hook.is_tcx(direction),
            Hook::Filter(held) => *held == direction,
        })
    }
}
