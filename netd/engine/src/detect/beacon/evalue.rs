//! The e-process: the evidence of one sequence of gaps against "irregular".
//!
//! Over a block of gaps, with predictive densities q and the null's likelihood ([`super::null`]),
//! ```text
//! E = prod q(y_i | past) / sup_{p in H0} prod p(y_i)
//! ```
//! is at most a test martingale under each p of H0 (universal inference: Wasserman, Ramdas, Balakrishnan 2020), so by Ville's
//! inequality it ever reaches 1/a with probability at most a, at any time at which one looks.
//!
//! *Bounded memory.* The supremum needs every value, so a block ends after [`Window::LEN`] gaps and its E is kept as a
//! factor. Since `sup` of a sum is at most the sum of `sup`s, the product of blocks is below the E of the whole, and it
//! stays an e-process even when the irregular law changes from block to block.
//!
//! *Late starts.* A key may turn into a beacon after weeks. The reported E is the mixture over the block j in which scoring begins,
//! ```text
//! E = sum_{j <= b} w_j prod_{j <= i <= b} E_i + sum_{j > b} w_j,   w_1 = 0.9,   w_j = 0.1 / (j (j - 1))
//! ```
//! again an e-process, as its weights sum to one. It costs a beacon from the start 0.1 nat, and
//! no irregular past can press E below 0.1/b.
//!
//! *Guarantee.* For one key whose gaps, beyond the gate, are independent given the block, from any law of the null that may differ
//! between blocks: P(E ever reaches 1/a) <= a. Dependent gaps are outside of it and are tested by simulation.

use serde::{Deserialize, Serialize};

use super::null;
use super::predictor::Predictor;
use super::window::Window;
use super::{GATE_CELL, RESOLUTION_S, Shape};

/// The null's supremum is not computed while E cannot exceed e^this.
const WORTH_PROVING: f64 = 2.0;
/// An open block below this is given up.
const HOPELESS: f64 = -9.0;

/// The e-process of one key and starter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Evidence {
    predictor: Predictor,
    /// Gaps of the open block, which are the window's last.
    open: u8,
    /// Of the open block, gaps too close to the gate to have a density.
    cells: u8,
    /// How many blocks, this one included, began since the key was seen.
    block: u32,
    /// ln of the capital at the start of the open block.
    ln_stake: f64,
    /// ln q of the open block.
    ln_q: f64,
    /// Mean and squared deviations of the open block's y.
    mean: f64,
    squares: f64,
    /// ln E of the open block when its supremum was last computed, and what it was below the cheap bound then.
    proven: f64,
    shortfall: f64,
    since_proven: u8,
    ln_e: f64,
}

impl Evidence {
    /// Begins scoring with block `block` (counted from 1) of a key.
    pub(super) fn new(block: u32) -> Self {
        let mut evidence = Self {
            predictor: Predictor::new(),
            open: 0,
            cells: 0,
            block: block.max(1),
            ln_stake: 0.0,
            ln_q: 0.0,
            mean: 0.0,
            squares: 0.0,
            proven: 0.0,
            shortfall: 0.0,
            since_proven: 0,
            ln_e: 0.0,
        };
        evidence.ln_stake = weight(evidence.block).ln();
        evidence
    }

    /// Learns from a gap that came before scoring; `past` does not hold it yet.
    pub(super) fn learn(&mut self, x: f32, past: &Window) {
        self.predictor.learn(x, past);
    }

    /// Returns the kind of schedule that explains the gaps best.
    pub(super) fn shape(&self) -> Shape {
        self.predictor.shape()
    }

    /// Takes the gap `x = ln d` into account; `past` does not hold it yet.
    pub(super) fn observe(&mut self, x: f32, past: &mut Window, gate_s: f32) {
        if usize::from(self.open) >= Window::LEN {
            self.close(past, gate_s);
        }
        let density = f64::from(self.predictor.observe(x, past));
        past.push(x);
        self.open += 1;
        let d = x.exp();
        let excess = d - gate_s;
        if excess < RESOLUTION_S {
            // The null may put all its mass on this cell, so the bound on its likelihood is 1.
            self.cells += 1;
            self.ln_q += GATE_CELL.ln();
        } else {
            let y = f64::from(excess.ln());
            // q is a density of x; dx/dy = (d - g)/d. The rest of its mass is the cell's.
            self.ln_q += (density * (1.0 - GATE_CELL) * f64::from(excess / d)).ln();
            let n = f64::from(self.open - self.cells);
            let from = y - self.mean;
            self.mean += from / n;
            self.squares += from * (y - self.mean);
        }
        let ln_open = self.ln_open(past, gate_s);
        self.ln_e = ln_add(self.ln_stake + ln_open, reserve(self.block).ln());
    }

    pub(super) fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// Whether the open block is so irregular that its capital is lost.
    pub(super) fn is_hopeless(&self) -> bool {
        self.open > 8 && self.ln_stake + self.cheap_bound().min(self.proven) < HOPELESS
    }

    pub(super) fn block(&self) -> u32 {
        self.block
    }

    /// At least ln E of the open block.
    fn cheap_bound(&self) -> f64 {
        self.ln_q - null::lower_bound(f64::from(self.open - self.cells), self.squares)
    }

    /// Returns ln E of the open block, or less.
    fn ln_open(&mut self, past: &Window, gate_s: f32) -> f64 {
        let most = self.cheap_bound();
        if self.ln_stake + most < WORTH_PROVING {
            // Unproven, so it counts for no more than E = 1.
            return most.min(-self.ln_stake);
        }
        // Where the null has a much better member than one normal, it will have it after the next gap, too.
        self.since_proven += 1;
        let likely = most - self.shortfall;
        let patience = if self.ln_stake + likely < WORTH_PROVING { 16 } else { 4 };
        if self.shortfall > 3.0 && self.since_proven < patience {
            return self.proven.min(likely);
        }
        self.prove(past, gate_s)
    }

    fn prove(&mut self, past: &Window, gate_s: f32) -> f64 {
        let mut y = [0.0_f32; Window::LEN];
        let mut n = 0;
        for x in past.last(usize::from(self.open)) {
            let excess = x.exp() - gate_s;
            if excess >= RESOLUTION_S {
                y[n] = excess.ln();
                n += 1;
            }
        }
        self.proven = self.ln_q - null::upper_bound(&y[..n]);
        self.shortfall = self.cheap_bound() - self.proven;
        self.since_proven = 0;
        self.proven
    }

    fn close(&mut self, past: &Window, gate_s: f32) {
        let factor = self.prove(past, gate_s);
        self.block = self.block.saturating_add(1);
        self.ln_stake = ln_add(self.ln_stake + factor, weight(self.block).ln());
        (self.open, self.cells) = (0, 0);
        (self.ln_q, self.mean, self.squares) = (0.0, 0.0, 0.0);
        (self.proven, self.shortfall, self.since_proven) = (0.0, 0.0, 0);
    }
}

/// The share of the capital that waits for block `block`.
fn weight(block: u32) -> f64 {
    let block = f64::from(block);
    if block < 2.0 { 0.9 } else { 0.1 / (block * (block - 1.0)) }
}

/// The capital that waits for blocks after `block`.
fn reserve(block: u32) -> f64 {
    0.1 / f64::from(block)
}

fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}
