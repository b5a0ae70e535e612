//! The tunnel detector: more information in the names below one domain than naming needs.

use super::asked::Asked;
use super::zone::Tally;
use crate::attack::Technique;
use crate::detect::{Context, Detector, Evidence};
use crate::score::Ledger;
use crate::weights::Term;

/// Unique information between one client and one domain within five minutes.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) asked: Asked,
    /// Unique bytes of labels, and of answers that carry data.
    pub(crate) up: f64,
    pub(crate) down: f64,
    pub(crate) tally: Tally,
    /// The client's queries about whatever domain.
    pub(crate) all_queries: u32,
}

impl Evidence for Tunnel {
    fn detector(&self) -> Detector {
        Detector::DnsTunnel
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        self.information(ledger);
        self.looks(ledger);
        self.benign(ledger);
        self.asked.weigh(context, ledger);
    }

    fn title(&self, _context: &Context<'_>) -> String {
        format!("DNS tunnel: {:.0} unique bytes in names below {} in 5 min", self.up, self.asked.domain)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        let mut techniques = vec![Technique::Dns, Technique::ProtocolTunneling];
        if self.up > self.down {
            techniques.push(Technique::ExfiltrationInClear);
        }
        techniques
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

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        self.asked.considered()
    }
}

impl Tunnel {
    fn information(&self, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let folds = |bytes: f64, from: f64| (bytes / from).ln().clamp(0.0, thresholds.most_folds);
        let up = folds(self.up, thresholds.ordinary_up);
        if up > 0.0 {
            let value = || format!("{:.0} unique bytes in {} names of 5 min", self.up, self.tally.queries);
            ledger.add_times(Term::DnsInformation, up, value);
        }
        let down = folds(self.down, thresholds.ordinary_down);
        if down > 0.0 {
            let value = || format!("{:.0} unique bytes in answers of 5 min", self.down);
            ledger.add_times(Term::DnsDownstream, down, value);
        }
    }

    fn looks(&self, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let tally = &self.tally;
        let of_queries = |count: u32| f64::from(count) / f64::from(tally.queries.max(1));
        let carriers = of_queries(tally.carriers);
        if carriers >= thresholds.carrier_share {
            let value = || format!("{:.0} % of queries are for types that carry data", 100.0 * carriers);
            ledger.add(Term::DnsRecordTypes, value);
        }
        let encoded = f64::from(tally.encoded) / f64::from(tally.bytes.max(1));
        if encoded >= thresholds.encoded_share {
            let value = || {
                let entropy = tally.entropy();
                format!("{:.0} % of label bytes look encoded, {entropy:.1} bits a byte", 100.0 * encoded)
            };
            ledger.add(Term::DnsEncodedLabels, value);
        }
        let long = of_queries(tally.bytes);
        if long >= thresholds.long_name {
            ledger.add(Term::DnsLongNames, || format!("{long:.0} bytes below the domain on average"));
        }
        let share = f64::from(tally.queries) / f64::from(self.all_queries.max(1));
        if tally.queries >= thresholds.many_queries && share >= thresholds.share_of_queries {
            let value = || format!("{:.0} % of the client's queries of 5 min", 100.0 * share);
            ledger.add(Term::DnsShareOfQueries, value);
        }
    }

    fn benign(&self, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let tally = &self.tally;
        let denied = f64::from(tally.no_such_name) / f64::from(tally.answers.max(1));
        if denied >= thresholds.denied_share {
            ledger.add(Term::DnsNoSuchNames, || format!("{:.0} % of answers: no such name", 100.0 * denied));
        }
        let addresses = f64::from(tally.addresses) / f64::from(tally.queries.max(1));
        if addresses >= thresholds.address_share {
            ledger.add(Term::DnsAddressLabels, || format!("{:.0} % of names are addresses", 100.0 * addresses));
        }
    }
}
