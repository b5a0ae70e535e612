//! What an upload says, and what speaks for and against it.

use super::store::Sum;
use crate::attack::Technique;
use crate::detect::{Context, Detector, Evidence};
use crate::opening::Facts;
use crate::score::Ledger;
use crate::weights::Term;

const MEGABYTE: f64 = 1_048_576.0;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Programs that pack or carry files away, by command name.
const TOOLS: [&str; 14] =
    ["tar", "zip", "7z", "7za", "7zr", "rar", "gzip", "xz", "rclone", "megacmd", "mega-put", "curl", "scp", "nc"];

/// An upload of a monitored host.
pub(crate) struct Upload {
    pub(crate) sum: Sum,
    /// Too little went to the destination before this to know what is usual.
    pub(crate) is_new: bool,
}

impl Evidence for Upload {
    fn detector(&self) -> Detector {
        Detector::Exfiltration
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = ledger.weights().exfiltration;
        let sum = &self.sum;
        let megabytes = sum.up as f64 / MEGABYTE;
        let doublings = megabytes.max(1.0).log2().min(thresholds.most_doublings);
        ledger.add_times(Term::UploadVolume, doublings, || format!("{megabytes:.1} MB up"));
        if sum.pcr >= thresholds.least_pcr {
            let times = (sum.pcr - thresholds.least_pcr) / (1.0 - thresholds.least_pcr);
            ledger.add_times(Term::UploadOneWay, times, || format!("producer/consumer ratio {:+.2}", sum.pcr));
        }
        if let Some(z) = sum.z.filter(|z| *z >= thresholds.unusual_z) {
            let times = z.min(thresholds.most_z) / thresholds.unusual_z;
            ledger.add_times(Term::UploadUnusual, times, || format!("z = {z:.1} for this destination"));
        }
        if self.is_new && context.watched_s >= thresholds.watched_s {
            ledger.add(Term::UploadNewDestination, || "the destination is new, or nearly so".to_owned());
        }
        if let Some(z) = sum.host_z.filter(|z| *z >= thresholds.unusual_z) {
            ledger.add(Term::UploadHostUnusual, || format!("z = {z:.1} for this host"));
        }
        if let Some((bytes, buckets)) = sum.slow {
            let value = || format!("{:.1} MB more than usual over {buckets} periods of 5 min", bytes / MEGABYTE);
            ledger.add(Term::UploadSlow, value);
        }
        self.surroundings(context, ledger);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let whom = context.name.map_or_else(|| context.pair.responder.to_string(), |name| name.to_string());
        let megabytes = self.sum.slow.map_or(self.sum.up as f64, |(bytes, _)| bytes) / MEGABYTE;
        let how = if self.sum.slow.is_some() { "slow upload" } else { "upload" };
        format!("{how} of {megabytes:.1} MB to {whom} port {}", context.pair.responder_port)
    }

    fn techniques(&self, context: &Context<'_>) -> Vec<Technique> {
        let mut techniques = Vec::with_capacity(2);
        techniques.push(if context.companions.contains(&Detector::Beacon) {
            Technique::ExfiltrationOverC2
        } else if odd_protocol(context).is_some() {
            Technique::ExfiltrationOverAlternative
        } else {
            Technique::ExfiltrationOverWeb
        });
        if self.sum.slow.is_some() {
            techniques.push(Technique::TransferSizeLimits);
        }
        techniques
    }

    fn is_two_way(&self) -> bool {
        self.sum.pcr < 1.0
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        let usual = match self.sum.z {
            Some(z) => format!("backup or telemetry: z = {z:.1} against what the destination usually gets"),
            None => "backup or telemetry: too little is known of the destination".to_owned(),
        };
        vec![usual, format!("browsing and calls: producer/consumer ratio {:+.2}", self.sum.pcr)]
    }
}

impl Upload {
    #[expect(clippy::unused_self, reason = "one of two groups of the detector's terms")]
    fn surroundings(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        if let Some(protocol) = odd_protocol(context) {
            ledger.add(Term::UploadProtocol, || format!("over {protocol}"));
        } else if context.pair.proto == UDP && context.pair.responder_port != 443 {
            ledger.add(Term::UploadMedia, || "datagrams, as of calls and games".to_owned());
        }
        if let Some(process) = context.process.filter(|process| TOOLS.contains(&process.comm.as_str())) {
            ledger.add(Term::UploadTool, || format!("by {}", process.comm));
        }
        let company = context.companions.iter().find(|other| {
            // What was piped to a shell was a download.
            !matches!(other, Detector::Exfiltration | Detector::PipedScript)
        });
        if let Some(other) = company {
            ledger.add(Term::UploadCompany, || format!("an open incident with the same ends: {}", other.name()));
        }
        if context.is_internal {
            ledger.add(Term::UploadInternal, || "it stays inside".to_owned());
        }
    }
}

/// Returns the protocol that carries files only where somebody hides them.
fn odd_protocol(context: &Context<'_>) -> Option<&'static str> {
    match (context.pair.proto, context.pair.responder_port) {
        (ICMP | ICMPV6, _) => Some("ICMP"),
        (_, 53) if context.facts.has(Facts::NOT_DNS) => Some("DNS's port"),
        (_, 53) => Some("DNS"),
        _ if context.facts.has(Facts::WEBDAV) => Some("WebDAV"),
        _ if context.facts.has(Facts::HTTP_UPLOAD) => Some("HTTP PUT in clear text"),
        _ => None,
    }
}
