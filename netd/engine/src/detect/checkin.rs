//! The beacon detector: a rhythm, and what the check-ins look like.
//!
//! Regular is not malicious, so the rhythm ([`super::beacon`]) is one term among others, and bounded.

use serde::Deserialize;

use super::beacon::{Rhythm, Shape};
use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::finding::Beats;
use crate::history::{Beat, History};
use crate::opening::{Facts, Protocol};
use crate::score::Ledger;
use crate::weights::{Term, Weights};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// Ports on which nothing but TLS is expected.
const ONLY_TLS: [u16; 2] = [443, 8443];

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub ln_e_worth_judging: f64,
    pub most_timing: f64,
    pub drawn_jitter: [f64; 2],
    pub drawn_turns: u32,
    pub drawn_share: f64,
    pub alike_share: f64,
    pub alike_bytes: u32,
    pub alike_turns: u32,
    pub task_share: f64,
    pub no_answers_share: f64,
    pub echo_share: f64,
    pub mesh_peers: u32,
    pub internal_share: f64,
    pub keep_alive_bytes: u32,
    pub internal_hosts: u32,
    pub few_destinations: u32,
}

/// A history that may follow a timer.
pub(crate) struct CheckIns<'a> {
    pub(crate) history: &'a History,
    /// The beat that speaks most for a timer, what it looks like, and the evidence of all beats together.
    pub(crate) beat: Beat,
    pub(crate) rhythm: &'a Rhythm,
    pub(crate) ln_e: f64,
    /// Destinations to which the originator speaks at this interval, this one included.
    pub(crate) same_interval: u32,
    /// Pairs of the originator that are followed.
    pub(crate) destinations: u32,
}

impl Evidence for CheckIns<'_> {
    fn detector(&self) -> Detector {
        Detector::Beacon
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        self.timing(ledger);
        self.sizes(context, ledger);
        self.protocol(context, ledger);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let (rhythm, pair) = (self.rhythm, &context.pair);
        let whom = context.name.map_or_else(|| pair.responder.to_string(), |name| name.to_string());
        let port = pair.responder_port;
        if self.beat == Beat::Attempt {
            return format!("connection attempts that fail every {:.1} s to {whom} port {port}", rhythm.interval_s);
        }
        match rhythm.shape {
            Shape::Growing { .. } => format!("check-ins to {whom} port {port}: {}", rhythm.shape),
            Shape::Interval | Shape::PhaseLocked | Shape::TwoTimers => {
                format!("check-ins every {:.1} s to {whom} port {port}", rhythm.interval_s)
            }
        }
    }

    fn techniques(&self, context: &Context<'_>) -> Vec<Technique> {
        let facts = context.facts;
        let mut techniques = Vec::with_capacity(3);
        let is_web = facts.has(Facts::HTTP) || facts.has(Facts::TLS);
        techniques.push(match context.pair.proto {
            ICMP | ICMPV6 => Technique::NonApplicationProtocol,
            _ if is_web => Technique::WebProtocols,
            _ => Technique::ApplicationProtocol,
        });
        if facts.has(Facts::TLS) {
            techniques.push(Technique::EncryptedChannel);
        }
        if is_misplaced(context) {
            techniques.push(Technique::NonStandardPort);
        }
        techniques
    }

    fn is_standing(&self, weights: &Weights) -> bool {
        self.ln_e >= weights.beacon.most_timing
    }

    fn is_two_way(&self) -> bool {
        self.history.is_answered
    }

    fn rhythm(&self) -> Option<Beats> {
        let Rhythm { interval_s, jitter, turns, .. } = *self.rhythm;
        Some(Beats { interval_s, jitter, turns })
    }

    fn considered(&self, context: &Context<'_>) -> Vec<String> {
        let mut considered = context.services.objections(&context.candidate());
        if self.beat == Beat::Attempt {
            considered.push("back-off: the gaps between failed attempts do not grow".to_owned());
        }
        considered.push(format!("mesh or monitoring: this interval to {} destinations", self.same_interval));
        considered
    }
}

impl CheckIns<'_> {
    fn timing(&self, ledger: &mut Ledger<'_>) {
        let rhythm = self.rhythm;
        let value = || {
            let within = &rhythm.within;
            let what = match self.beat {
                Beat::Interval => "turns every",
                Beat::Pause => "turns after pauses of",
                Beat::Responder => "turns of the responder every",
                Beat::Attempt => "failed attempts every",
            };
            format!(
                "{} {what} {:.1} s, jitter {:.0} %, {} of {} gaps within {:.1}-{:.1} s, {} missed, {}; ln E {:.1}",
                rhythm.turns,
                rhythm.interval_s,
                100.0 * rhythm.jitter,
                within.count,
                within.of,
                within.low_s,
                within.high_s,
                rhythm.missed,
                rhythm.shape,
                self.ln_e
            )
        };
        let thresholds = &ledger.weights().beacon;
        ledger.add_times(Term::IntervalRegularity, self.ln_e.min(thresholds.most_timing), value);
        if self.is_drawn(thresholds) {
            // A quarter of a uniform interval lies within its MAD on either side of the middle.
            let value = || format!("as if drawn from an interval {:.0} % wide", 400.0 * rhythm.jitter);
            ledger.add(Term::DrawnSleep, value);
        }
        if self.beat == Beat::Attempt && !self.history.is_answered {
            ledger.add(Term::NeverAnswered, || "a server that is gone is retried by whoever needs it".to_owned());
        }
        if self.same_interval >= thresholds.mesh_peers {
            let value = || format!("the same interval to {} destinations", self.same_interval);
            ledger.add_times(Term::SameIntervalToMany, f64::from(self.same_interval).log2(), value);
        }
    }

    /// Returns whether its sleeps look drawn from a wide interval with hard ends.
    fn is_drawn(&self, thresholds: &Thresholds) -> bool {
        let Rhythm { turns, jitter, shape, within, .. } = self.rhythm;
        let [least, most] = thresholds.drawn_jitter;
        let is_settled = self.ln_e >= thresholds.most_timing && *turns >= thresholds.drawn_turns;
        let is_bounded = f64::from(within.count) >= thresholds.drawn_share * f64::from(within.of);
        let is_sleep = self.beat != Beat::Attempt && *shape == Shape::Interval;
        is_settled && is_bounded && is_sleep && (least..=most).contains(jitter)
    }

    fn sizes(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let Some(sizes) = &self.history.sizes[self.beat.side() as usize] else { return };
        let thresholds = &ledger.weights().beacon;
        let (mode, share) = sizes.mode();
        let turns = sizes.count();
        let is_told = turns >= thresholds.alike_turns;
        if is_told && share >= thresholds.alike_share && mode < thresholds.alike_bytes {
            let value = || format!("{:.0} % of {turns} requests carry about {mode} bytes", 100.0 * share);
            ledger.add(Term::SizesAlike, value);
        }
        let tasking = sizes.tasking();
        let is_rare = f64::from(tasking.larger_answers) <= thresholds.task_share * f64::from(tasking.turns);
        if tasking.tasks > 0 && is_rare {
            let term = if tasking.tasks == 1 { Term::TaskingOnce } else { Term::Tasking };
            let value = || {
                format!(
                    "{} of {} answers were larger than usual, {} of them followed by a larger upload",
                    tasking.larger_answers, tasking.turns, tasking.tasks
                )
            };
            ledger.add(term, value);
        }
        let (request, answer) = (sizes.median_request(), sizes.median_answer());
        if is_told && request.max(answer) <= thresholds.keep_alive_bytes && share >= thresholds.alike_share {
            ledger.add(Term::KeepAlive, || format!("{request} bytes asked, {answer} answered: room for nothing"));
        }
        let answered = sizes.answered_share();
        if is_told && answered <= thresholds.no_answers_share {
            ledger.add(Term::NoAnswers, || format!("{:.0} % of {turns} turns were answered", 100.0 * answered));
        }
        let mirrored = sizes.mirrored_share();
        if matches!(context.pair.proto, ICMP | ICMPV6) && mirrored >= thresholds.echo_share {
            let value = || format!("{:.0} % of answers are as long as their requests", 100.0 * mirrored);
            ledger.add(Term::Echo, value);
        }
    }

    fn protocol(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let (facts, port) = (context.facts, context.pair.responder_port);
        let thresholds = &ledger.weights().beacon;
        let is_network = context.prevalence.hosts >= thresholds.internal_hosts;
        if is_network && self.destinations <= thresholds.few_destinations {
            ledger.add(Term::FewDestinations, || format!("one of {} destinations of this host", self.destinations));
        }
        if context.is_internal && context.prevalence.hosts >= ledger.weights().beacon.internal_hosts {
            ledger.add(Term::InternalDestination, || format!("{} is monitored, too", context.pair.responder));
        }
        let share = if context.is_internal { ledger.weights().beacon.internal_share } else { 1.0 };
        if facts.has(Facts::SELF_SIGNED) {
            ledger.add_times(Term::SelfSigned, share, || "the server's certificate is self-signed".to_owned());
        }
        if facts.has(Facts::TLS_WITHOUT_NAME) {
            ledger.add_times(Term::TlsWithoutName, share, || "TLS without a server name".to_owned());
        } else if facts.has(Facts::HTTP_WITHOUT_NAME) {
            ledger.add_times(Term::HttpToAddress, share, || "HTTP to an address instead of a name".to_owned());
        }
        if is_on_odd_port(context) {
            ledger.add(Term::TlsOnOddPort, || format!("TLS on port {port}"));
        }
        if context.pair.proto == TCP && ONLY_TLS.contains(&port) {
            if facts.has(Facts::HTTP) || facts.has(Facts::TEXT) {
                ledger.add(Term::ClearTextOnTlsPort, || format!("clear text on port {port}"));
            } else if facts.has(Facts::BINARY) && !facts.has(Facts::TLS) {
                ledger.add(Term::NoTlsOnTlsPort, || format!("neither TLS nor text on port {port}"));
            }
        }
        if facts.has(Facts::NOT_DNS) {
            ledger.add(Term::NoDnsOnDnsPort, || "payload on port 53 is not DNS".to_owned());
        }
    }
}

fn is_on_odd_port(context: &Context<'_>) -> bool {
    let Context { pair, facts, .. } = context;
    pair.proto == TCP && facts.has(Facts::TLS) && !Protocol::Tls.is_at_home(TCP, pair.responder_port)
}

fn is_misplaced(context: &Context<'_>) -> bool {
    let facts = context.facts;
    // Joined midway, a TLS connection begins with what looks like noise.
    let is_noise = facts.has(Facts::BINARY) && !facts.has(Facts::TLS);
    let is_clear = facts.has(Facts::HTTP) || facts.has(Facts::TEXT) || is_noise;
    is_on_odd_port(context)
        || (ONLY_TLS.contains(&context.pair.responder_port) && is_clear)
        || facts.has(Facts::NOT_DNS)
}
