//! The beacon detector: a rhythm, and what the check-ins look like.
//!
//! Regular is not malicious, so the rhythm ([`super::beacon`]) is one term among others, and bounded.

use super::Case;
use crate::finding::Kind;
use crate::history::Beat;
use crate::opening::{Facts, Protocol};
use crate::score::{Ledger, Strength};
use crate::weights;

const CONTENT: (Kind, Strength) = (Kind::Content, Strength::Independent);
const CORROBORATING: (Kind, Strength) = (Kind::Content, Strength::Corroborating);
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// Ports on which nothing but TLS is expected.
const ONLY_TLS: [u16; 2] = [443, 8443];

pub(super) fn examine(case: &Case<'_>, ledger: &mut Ledger) -> bool {
    if case.ln_e < weights::LN_E_WORTH_SCORING {
        return false;
    }
    timing(case, ledger);
    sizes(case, ledger);
    protocol(case, ledger);
    true
}

pub(super) fn attack(case: &Case<'_>) -> Vec<&'static str> {
    let facts = case.history.facts;
    let mut techniques = Vec::with_capacity(3);
    let is_web = facts.has(Facts::HTTP) || facts.has(Facts::TLS);
    techniques.push(match case.pair.proto {
        ICMP | ICMPV6 => "T1095",
        _ if is_web => "T1071.001",
        _ => "T1071",
    });
    if facts.has(Facts::TLS) {
        techniques.push("T1573");
    }
    if is_misplaced(case) {
        techniques.push("T1571");
    }
    techniques
}

fn timing(case: &Case<'_>, ledger: &mut Ledger) {
    let rhythm = case.rhythm;
    let value = || {
        let within = &rhythm.within;
        let what = match case.beat {
            Beat::Interval => "turns every",
            Beat::Pause => "turns after pauses of",
            Beat::Responder => "turns of the responder every",
        };
        format!(
            "{} {what} {:.1} s, jitter {:.0} %, {} of {} gaps within {:.1}-{:.1} s, {} missed; ln E {:.1}",
            rhythm.turns,
            rhythm.interval_s,
            100.0 * rhythm.jitter,
            within.count,
            within.of,
            within.low_s,
            within.high_s,
            rhythm.missed,
            case.ln_e
        )
    };
    let independent = (Kind::Timing, Strength::Independent);
    ledger.add("interval_regularity", independent, case.ln_e.min(weights::MOST_TIMING), value);
    if case.same_interval >= weights::MESH_PEERS {
        let value = || format!("the same interval to {} destinations", case.same_interval);
        let weight = weights::MESH_DOUBLING * f64::from(case.same_interval).log2();
        ledger.add("same_interval_to_many", independent, weight, value);
    }
}

fn sizes(case: &Case<'_>, ledger: &mut Ledger) {
    let Some(sizes) = &case.history.sizes[case.beat.side() as usize] else { return };
    let (mode, share) = sizes.mode();
    let turns = sizes.count();
    if turns >= weights::ALIKE_TURNS && share >= weights::ALIKE_SHARE && mode < weights::ALIKE_BYTES {
        let value = || format!("{:.0} % of {turns} requests carry about {mode} bytes", 100.0 * share);
        ledger.add("sizes_alike", CORROBORATING, weights::ALIKE, value);
    }
    let tasking = sizes.tasking();
    let is_rare = f64::from(tasking.larger_answers) <= weights::TASK_SHARE * f64::from(tasking.turns);
    if tasking.tasks > 0 && is_rare {
        let weight = if tasking.tasks == 1 { weights::TASKED_ONCE } else { weights::TASKED };
        let value = || {
            format!(
                "{} of {} answers were larger than usual, {} of them followed by a larger upload",
                tasking.larger_answers, tasking.turns, tasking.tasks
            )
        };
        ledger.add("tasking", CONTENT, weight, value);
    }
    let answered = sizes.answered_share();
    if turns >= weights::ALIKE_TURNS && answered <= weights::NO_ANSWERS_SHARE {
        let value = || format!("{:.0} % of {turns} turns were answered", 100.0 * answered);
        ledger.add("no_answers", CONTENT, weights::NO_ANSWERS, value);
    }
    let mirrored = sizes.mirrored_share();
    if matches!(case.pair.proto, ICMP | ICMPV6) && mirrored >= weights::ECHO_SHARE {
        let value = || format!("{:.0} % of answers are as long as their requests", 100.0 * mirrored);
        ledger.add("echo", CONTENT, weights::ECHO, value);
    }
}

fn protocol(case: &Case<'_>, ledger: &mut Ledger) {
    let (facts, port) = (case.history.facts, case.pair.responder_port);
    let share = if case.is_internal { weights::INTERNAL_SHARE } else { 1.0 };
    if facts.has(Facts::SELF_SIGNED) {
        let value = || "the server's certificate is self-signed".to_owned();
        ledger.add("self_signed", CONTENT, share * weights::SELF_SIGNED, value);
    }
    if facts.has(Facts::TLS_WITHOUT_NAME) {
        let value = || "TLS without a server name".to_owned();
        ledger.add("tls_without_name", CONTENT, share * weights::NAMELESS, value);
    } else if facts.has(Facts::HTTP_WITHOUT_NAME) {
        ledger.add("http_to_address", CONTENT, share * weights::NAMELESS, || {
            "HTTP to an address instead of a name".to_owned()
        });
    }
    if is_on_odd_port(case) {
        ledger.add("tls_on_odd_port", CONTENT, weights::TLS_ON_ODD_PORT, || format!("TLS on port {port}"));
    }
    if case.pair.proto == TCP && ONLY_TLS.contains(&port) {
        if facts.has(Facts::HTTP) || facts.has(Facts::TEXT) {
            let value = || format!("clear text on port {port}");
            ledger.add("clear_text_on_tls_port", CONTENT, weights::CLEAR_ON_TLS_PORT, value);
        } else if facts.has(Facts::BINARY) && !facts.has(Facts::TLS) {
            let value = || format!("neither TLS nor text on port {port}");
            ledger.add("no_tls_on_tls_port", CONTENT, weights::BINARY_ON_TLS_PORT, value);
        }
    }
    if facts.has(Facts::NOT_DNS) {
        ledger.add("no_dns_on_dns_port", CONTENT, weights::NOT_DNS, || "payload on port 53 is not DNS".to_owned());
    }
}

fn is_on_odd_port(case: &Case<'_>) -> bool {
    case.pair.proto == TCP
        && case.history.facts.has(Facts::TLS)
        && !Protocol::Tls.is_at_home(TCP, case.pair.responder_port)
}

fn is_misplaced(case: &Case<'_>) -> bool {
    let facts = case.history.facts;
    // Joined midway, a TLS connection begins with what looks like noise.
    let is_noise = facts.has(Facts::BINARY) && !facts.has(Facts::TLS);
    let is_clear = facts.has(Facts::HTTP) || facts.has(Facts::TEXT) || is_noise;
    is_on_odd_port(case) || (ONLY_TLS.contains(&case.pair.responder_port) && is_clear) || facts.has(Facts::NOT_DNS)
}
