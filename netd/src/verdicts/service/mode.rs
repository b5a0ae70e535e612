//! How far the programs go: mode, kill switch, the proof that they act, and what the service says of itself.

use netd_common::control::Mode;

use super::Service;
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{Maps, Table};
use crate::verdicts::proof;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::rules::Rules;
use crate::verdicts::view::{ResolvedCounts, Status, TableFill};

impl<M: Maps> Service<M> {
    /// Sets the kill switch.
    pub fn set_kill_switch(&mut self, on: bool, now: Now) -> Result<Status, Refusal> {
        self.maps.set_kill_switch(on)?;
        self.kill_switch = on;
        self.pending.verdicts = true;
        self.save(now);
        if self.proofs.is_empty() {
            self.prove(now)?;
        }
        self.status()
    }

    /// Sets the mode. Enforcing is held back where a hook does not prove that it denies.
    pub fn set_mode(&mut self, mode: Mode, now: Now) -> Result<Status, Refusal> {
        self.maps.set_mode(mode)?;
        self.settings.mode = mode;
        (self.held, self.proofs) = (None, Vec::new());
        self.maps.bump_generation()?;
        self.prove(now)?;
        self.status()
    }

    /// Has every hook prove that it denies what a verdict names, where enforcing was asked for and the kill switch is
    /// off. Where one does not, netd observes, unless the settings accept that.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing is proved.
    pub fn prove(&mut self, now: Now) -> Result<(), Refusal> {
        if self.settings.mode != Mode::Enforce || self.kill_switch {
            return Ok(());
        }
        let mut cut = Vec::new();
        for verdict in proof::verdicts(now) {
            match self.add(verdict, false, now) {
                Ok(added) => cut.push(added.id),
                Err(refusal) => tracing::warn!(%refusal, "no verdict to prove the hooks with"),
            }
        }
        self.proofs = self.maps.prove();
        for id in cut {
            self.release(id, now)?;
        }
        let silent: Vec<_> = self.proofs.iter().filter(|proof| !proof.denies).map(|proof| proof.hook).collect();
        if !silent.is_empty() && !self.settings.accept_degraded {
            let hooks = silent.join(", ");
            self.held = Some(format!("no proof that these hooks deny: {hooks}; accept_degraded is false"));
            self.maps.set_mode(Mode::Observe)?;
            self.maps.bump_generation()?;
        }
        Ok(())
    }

    /// Returns the service as a whole.
    pub fn status(&self) -> Result<Status, Refusal> {
        let kill_switch = self.maps.kill_switch()?;
        let effective = if kill_switch { Mode::Observe } else { self.maps.mode()? };
        let tables = Table::ALL.map(|table| TableFill {
            table,
            entries: match table {
                Table::Allow => self.protected.keys().len() as u64,
                Table::Flows | Table::Endpoints | Table::Hosts | Table::Prefixes => self.claims.fill(table),
            },
            capacity: self.maps.capacity(table),
        });
        Ok(Status {
            requested: self.settings.mode,
            effective,
            kill_switch,
            held: self.held.clone(),
            proofs: self.proofs.clone(),
            verdicts: self.claims.verdicts().len() as u64,
            lists: self.claims.lists().len() as u64,
            rules_used: u64::from(self.rules.used()),
            rules_capacity: u64::from(Rules::LIMIT),
            tables: tables.to_vec(),
            desired: self.claims.len(),
            reading: self.audit.reading(),
            unsaved: self.pending.error.clone(),
            out_of_step: self.out_of_step.clone(),
            allow_lists: self.allows.len() as u64,
            resolved: ResolvedCounts { addresses: self.names.addresses(), ..self.names.counts },
        })
    }
}
