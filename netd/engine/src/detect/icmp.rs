//! ICMP tunnels: echo replies that do not repeat their requests (RFC 792: "the data received in the echo message must
//! be returned").

use netd_common::key::Address;
use serde::Deserialize;

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::engine::EchoTraffic;
use crate::flow::{SizedTurn, Totals};
use crate::pool::{Pool, Worth};
use crate::score::Ledger;
use crate::weights::Term;

/// Pairs remembered at once, about 100 bytes each.
const LIMIT: usize = 8_192;

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub least_unlike: u32,
    pub most_unlike: u32,
    pub least_sizes: u32,
    pub unasked_share: f64,
    pub volume: u64,
}

/// Echo traffic of one originator with one responder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Echo {
    /// Turns with an answer, and those whose answer is of another length than what was sent.
    pub(crate) answered: u32,
    pub(crate) unlike: u32,
    /// Sketch of the lengths of unlike answers.
    sizes: u64,
    /// Of the conversation that was last heard: packets, payload.
    totals: Totals,
    /// By which end of `totals` the originator speaks.
    originator: usize,
    last_ns: u64,
    judged: u32,
}

impl Worth for Echo {
    fn worth(&self) -> (f32, u64) {
        (self.unlike as f32, self.last_ns)
    }
}

#[derive(Debug)]
pub(crate) struct Echoes {
    pool: Pool<(Address, Address), Echo>,
}

impl Echoes {
    pub(crate) fn new() -> Self {
        Self { pool: Pool::new(LIMIT) }
    }

    /// Returns the pairs whose echoes were unlike.
    pub(crate) fn traffic(&self) -> impl Iterator<Item = EchoTraffic> {
        let unlike = self.pool.iter().filter(|(_, echo)| echo.unlike > 0);
        unlike.map(|((originator, responder), echo)| {
            let Totals { payload, .. } = echo.totals;
            EchoTraffic {
                originator: originator.ip(),
                responder: responder.ip(),
                answered: echo.answered,
                unlike: echo.unlike,
                bytes: [payload[echo.originator], payload[1 - echo.originator]],
            }
        })
    }

    /// Takes a turn into account; returns the pair's traffic where it is worth judging.
    pub(crate) fn observe(
        &mut self,
        ends: (Address, Address),
        originator: usize,
        turn: &SizedTurn,
        totals: &Totals,
        thresholds: &Thresholds,
    ) -> Option<Echo> {
        let echo = self.pool.get_or_insert_with(ends, Echo::default)?;
        (echo.totals, echo.originator, echo.last_ns) = (*totals, originator, turn.at_ns);
        if turn.answer == 0 || turn.request == 0 {
            return None;
        }
        echo.answered = echo.answered.saturating_add(1);
        // Lost packets of `ping -f` make turns unlike, but no packet.
        if turn.answer == turn.request || is_one_size(totals) {
            return None;
        }
        echo.unlike = echo.unlike.saturating_add(1);
        echo.sizes |= 1 << (turn.answer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
        let is_due = echo.unlike >= thresholds.least_unlike && echo.unlike > echo.judged;
        if !is_due || echo.sizes.count_ones() < thresholds.least_sizes {
            return None;
        }
        echo.judged = echo.unlike.saturating_add(echo.unlike / 8);
        Some(*echo)
    }
}

/// Whether every packet of both ends carries the same number of bytes, as far as totals tell.
fn is_one_size(totals: &Totals) -> bool {
    let Totals { packets: [a, b], payload: [from_a, from_b], .. } = *totals;
    let is_whole = a > 0 && b > 0 && from_a % a == 0 && from_b % b == 0;
    is_whole && from_a / a == from_b / b
}

impl Evidence for Echo {
    fn detector(&self) -> Detector {
        Detector::IcmpTunnel
    }

    fn weigh(&self, _context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = ledger.weights().icmp_tunnel;
        let (unlike, answered) = (self.unlike, self.answered);
        let value = || format!("{unlike} of {answered} echo exchanges are answered with another length");
        ledger.add_times(Term::EchoUnlike, f64::from(unlike.min(thresholds.most_unlike)), value);
        let sizes = self.sizes.count_ones();
        if sizes >= 2 * thresholds.least_sizes {
            ledger.add(Term::EchoSizes, || format!("answers of at least {sizes} lengths"));
        }
        let [sent, got] = self.packets();
        if got as f64 > sent as f64 * (1.0 + thresholds.unasked_share) {
            ledger.add(Term::EchoUnasked, || format!("{got} replies to {sent} requests"));
        }
        let volume = self.totals.payload[0] + self.totals.payload[1];
        if volume >= thresholds.volume {
            ledger.add(Term::EchoVolume, || format!("{volume} bytes inside of echo packets"));
        }
    }

    fn title(&self, context: &Context<'_>) -> String {
        format!("data inside of ICMP echo packets with {}", context.pair.responder)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::NonApplicationProtocol, Technique::ProtocolTunneling]
    }

    fn is_two_way(&self) -> bool {
        true
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        let sizes = self.sizes.count_ones();
        vec![
            "ping: its replies repeat the request".to_owned(),
            format!("a responder that cuts its replies short: they have at least {sizes} lengths"),
        ]
    }
}

impl Echo {
    fn packets(&self) -> [u64; 2] {
        [self.totals.packets[self.originator], self.totals.packets[1 - self.originator]]
    }
}

#[cfg(test)]
mod tests {
    use netd_common::key::Direction;

    use super::*;
    use crate::weights::Weights;

    fn observe(turns: impl IntoIterator<Item = (u64, u64)>, each: u64) -> Option<usize> {
        let (thresholds, mut echoes) = (Weights::default().icmp_tunnel, Echoes::new());
        let ends = (Address::v4([10, 0, 0, 7]), Address::v4([198, 51, 100, 9]));
        let mut totals = Totals::default();
        turns.into_iter().enumerate().position(|(n, (request, answer))| {
            totals.payload[0] += request;
            totals.payload[1] += answer;
            totals.packets[0] += request.checked_div(each).unwrap_or(1);
            totals.packets[1] += answer.checked_div(each).unwrap_or(1);
            let turn = SizedTurn { at_ns: n as u64, starter: Direction::AToB, request, answer };
            echoes.observe(ends, 0, &turn, &totals, &thresholds).is_some()
        })
    }

    #[test]
    fn replies_of_other_lengths_are_a_tunnel() {
        assert!(observe((0..40).map(|n| (52 + 31 * n % 900, 100 + 77 * n % 1_100)), 0).is_some());
    }

    #[test]
    fn polls_that_are_answered_with_commands_are_a_tunnel() {
        assert!(observe((0..40).map(|n| (64, 64 + 7 * n % 90)), 0).is_some());
    }

    #[test]
    fn ping_of_any_length_is_none() {
        assert_eq!(observe((0..200).map(|_| (1_400, 1_400)), 0), None);
        assert_eq!(observe((0..200).map(|n| (28 + n, 28 + n)), 0), None, "MTU discovery");
        assert_eq!(observe((0..200).map(|_| (32, 32)), 0), None, "Windows");
    }

    #[test]
    fn losses_of_a_flood_are_none() {
        assert_eq!(observe((0..200).map(|n| (56 * 20, 56 * (20 - n % 3))), 56), None);
    }

    #[test]
    fn a_responder_that_cuts_replies_short_is_none() {
        assert_eq!(observe((0..200).map(|_| (1_000, 64)), 0), None);
    }
}
