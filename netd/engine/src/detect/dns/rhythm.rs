//! The detector of idle DNS implants: questions that were never asked before, below one domain, on a timer.
//!
//! The same name asked again and again is what resolvers do when a TTL ends, and is not counted at all.

use super::asked::Asked;
use crate::attack::Technique;
use crate::detect::beacon::Rhythm;
use crate::detect::{Context, Detector, Evidence};
use crate::finding::Beats;
use crate::score::Ledger;
use crate::weights::Term;

/// Fresh questions about a domain that may follow a timer.
#[derive(Debug)]
pub(crate) struct Polls {
    pub(crate) asked: Asked,
    /// Some question got an answer.
    pub(crate) has_content: bool,
    pub(crate) rhythm: Rhythm,
    pub(crate) ln_e: f64,
    /// Questions, how many were fresh, and of these how many were for types that carry data or looked encoded.
    pub(crate) questions: u32,
    pub(crate) fresh: u32,
    pub(crate) carriers: u32,
    pub(crate) encoded: u32,
}

impl Evidence for Polls {
    fn detector(&self) -> Detector {
        Detector::DnsBeacon
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let Rhythm { turns, interval_s, jitter, missed, .. } = self.rhythm;
        let timing = self.ln_e.min(thresholds.most_timing);
        ledger.add_times(Term::IntervalRegularity, timing, || {
            let jitter = 100.0 * jitter;
            let ln_e = self.ln_e;
            format!("{turns} new names every {interval_s:.1} s, jitter {jitter:.0} %, {missed} missed; ln E {ln_e:.1}")
        });
        let share = |count: u32, of: u32| f64::from(count) / f64::from(of.max(1));
        let fresh = share(self.fresh, self.questions);
        if fresh >= thresholds.fresh_share {
            let value = || format!("{:.0} % of {} questions were never asked before", 100.0 * fresh, self.questions);
            ledger.add(Term::DnsChangingNames, value);
        } else {
            ledger.add(Term::DnsRepeatedNames, || {
                format!("{:.0} % of {} questions repeat another", 100.0 - 100.0 * fresh, self.questions)
            });
        }
        if !self.has_content {
            ledger.add(Term::DnsNeverAnswered, || "no name that was asked for exists".to_owned());
        }
        let carriers = share(self.carriers, self.fresh);
        if carriers >= thresholds.carrier_share {
            let value = || format!("{:.0} % of queries are for types that carry data", 100.0 * carriers);
            ledger.add(Term::DnsRecordTypes, value);
        }
        let encoded = share(self.encoded, self.fresh);
        if encoded >= thresholds.encoded_share {
            ledger.add(Term::DnsEncodedLabels, || format!("{:.0} % of names look encoded", 100.0 * encoded));
        }
        self.asked.weigh(context, ledger);
    }

    fn title(&self, _context: &Context<'_>) -> String {
        format!("new names below {} asked for every {:.1} s", self.asked.domain, self.rhythm.interval_s)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::Dns]
    }

    fn is_two_way(&self) -> bool {
        self.asked.is_answered
    }

    fn may_block(&self) -> bool {
        self.asked.is_direct
    }

    fn correct<'a>(&'a self, context: &mut Context<'a>) {
        self.asked.correct(context);
    }

    fn rhythm(&self) -> Option<Beats> {
        let Rhythm { interval_s, jitter, turns, .. } = self.rhythm;
        Some(Beats { interval_s, jitter, turns })
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        let mut considered = self.asked.considered();
        considered.push("name server monitoring: new names on a timer, too, but of a domain of one's own".to_owned());
        considered
    }
}
