//! Prints the cost of a turn by kind of key.
//!
//! `cargo run --release -p netd-engine --example beacon_cost`

#[path = "../tests/simulation/mod.rs"]
#[expect(dead_code, reason = "the table and the tests use the rest")]
mod simulation;

use std::hint::black_box;
use std::io::Write;

use netd_engine::detect::beacon::Timing;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulation::GATE_NS;

/// Gap in seconds from a uniform draw.
type Law = fn(f64) -> f64;

const TURNS: usize = 300;
const KEYS: u64 = 2000;

fn main() -> std::io::Result<()> {
    let out = &mut std::io::stdout().lock();
    let laws: [(&str, Law); 7] = [
        ("fixed", |_| 60.0),
        ("jitter 25 %", |u| 60.0 * (0.75 + 0.25 * u)),
        ("jitter 75 %", |u| 60.0 * (0.25 + 0.75 * u)),
        ("Poisson", |u| -60.0 * (1.0 - u).ln()),
        ("heavy tail", |u| 0.75 + 10.0 * (1.0 - u).powf(-1.0 / 1.2) - 10.0),
        ("two timers", |u| if u < 0.5 { 23.0 } else { 37.0 }),
        ("two clusters", |u| if u < 0.85 { 0.75 + 12.0 * u } else { 4000.0 * u }),
    ];
    for (name, law) in laws {
        let keys: Vec<Vec<u64>> = (0..KEYS).map(|seed| turns(seed, law)).collect();
        let start = cpu_ns();
        for key in &keys {
            let mut timing = Timing::new();
            for at_ns in key {
                timing.observe(*at_ns, GATE_NS);
            }
            black_box(timing.ln_e());
        }
        let per_turn_ns = (cpu_ns() - start) as f64 / (KEYS as f64 * TURNS as f64);
        writeln!(out, "{name:14} {per_turn_ns:8.0} ns per turn")?;
    }
    writeln!(out, "Timing: {} bytes", size_of::<Timing>())
}

/// Returns the CPU time this process had, in nanoseconds: other programs on the machine do not count.
fn cpu_ns() -> u64 {
    let spent = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    spent.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn turns(seed: u64, law: Law) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut at_s = 0.0;
    let mut next = || {
        at_s += law(random.random());
        (at_s * 1e9) as u64
    };
    (0..TURNS).map(|_| next()).collect()
}
