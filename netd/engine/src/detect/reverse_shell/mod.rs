//! Interactive reverse shells, from the network alone: the side that accepted asks in few bytes, at a person's pace,
//! and the side that connected answers in more.
//!
//! A shell's prompt in clear text from the connecting side decides even a short session.

mod session;

use serde::Deserialize;

use session::Rhythm;
pub(crate) use session::Session;

use super::{Context, Detector, Evidence, Sign, Signs, protocol_port};
use crate::attack::Technique;
use crate::finding::Severity;
use crate::name::NameSource;
use crate::opening::{Facts, Opening, Protocol, ShellSign};
use crate::score::Ledger;
use crate::tools::{By, Tool};
use crate::weights::Term;

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub exchanges: u32,
    pub led_share: f64,
    pub exchanges_for_high: u32,
    pub most_exchanges: u32,
    pub request_bytes: u64,
    pub answered_share: f64,
    pub human_spread: f64,
    pub machine_spread: f64,
    pub human_gap_s: [f64; 2],
    pub gaps: u32,
    pub port_share: f64,
}

/// A conversation whose responder may be typing.
pub(crate) struct Interactive<'a> {
    /// None: the responder has asked nothing yet.
    pub(crate) session: Option<&'a Session>,
    pub(crate) signs: Signs,
    /// What its first bytes said, where any were heard.
    pub(crate) opening: Option<&'a Opening>,
    pub(crate) name_source: NameSource,
    /// DNS gave the client this address by a name, or is not seen at all: what a client merely claims, it can forge.
    pub(crate) is_name_believed: bool,
    /// The push channel, database or tool in which the responder may lead, and how it was told.
    pub(crate) service: Option<(&'a Tool, By)>,
    /// Payload came from both sides of the established connection.
    pub(crate) is_two_way: bool,
    pub(crate) thresholds: Thresholds,
}

impl Interactive<'_> {
    /// Returns whether there is anything to weigh: the shape of a shell, or its prompt.
    pub(crate) fn is_worth_judging(&self) -> bool {
        // Direction and size inside SSH are not looked at; SSH the other way round is a tunnel.
        if self.protocol() == Protocol::Ssh {
            return false;
        }
        self.has_prompt() || self.session.is_some_and(|session| session.has_shape(&self.thresholds))
    }

    fn protocol(&self) -> Protocol {
        self.opening.map_or(Protocol::Unknown, |opening| opening.protocol)
    }

    fn shell_sign(&self) -> Option<ShellSign> {
        self.opening.and_then(|opening| opening.shell_sign)
    }

    fn has_prompt(&self) -> bool {
        matches!(self.shell_sign(), Some(ShellSign::Prompt | ShellSign::Banner))
    }

    fn led(&self) -> u32 {
        self.session.map_or(0, Session::led)
    }

    fn shape(&self, ledger: &mut Ledger<'_>) {
        let Some(session) = self.session else { return };
        let thresholds = &self.thresholds;
        if session.led_share() >= thresholds.led_share {
            let times = f64::from(self.led().min(thresholds.most_exchanges));
            let value =
                || format!("the responder started {} exchanges, {:.0} %", self.led(), 100.0 * session.led_share());
            ledger.add_times(Term::ResponderLeads, times, value);
        }
        if self.led() < thresholds.exchanges {
            return;
        }
        if session.median_request() <= thresholds.request_bytes {
            let value = || format!("half of its requests carry at most {} bytes", session.median_request());
            ledger.add(Term::SmallRequests, value);
        }
        if session.pcr() > 0.0 {
            ledger.add(Term::Uploads, || format!("PCR {:+.2} from the connecting side", session.pcr()));
        }
        let value = || format!("gaps of about {:.1} s, log spread {:.2}", session.typical_gap_s(), session.spread());
        match session.rhythm(thresholds) {
            Rhythm::Human => ledger.add(Term::HumanRhythm, value),
            Rhythm::Machine => ledger.add(Term::MachineRhythm, value),
            Rhythm::Unclear => {}
        }
    }

    fn content(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let (protocol, facts) = (self.protocol(), context.facts);
        match self.shell_sign() {
            Some(ShellSign::Banner) => {
                ledger.add(Term::ShellPrompt, || "what only a shell says, from the side that connected".to_owned());
            }
            Some(ShellSign::Prompt) => {
                ledger.add(Term::ShellPrompt, || "a shell's prompt from the side that connected".to_owned());
            }
            Some(ShellSign::Command) => {
                ledger.add(Term::CommandText, || "the other side began with a command".to_owned());
            }
            None => {}
        }
        // TLS hides what is inside; every other known protocol is what it says.
        if protocol.is_known() && protocol != Protocol::Tls {
            ledger.add(Term::KnownProtocol, || format!("it speaks {}", protocol.name()));
        } else if protocol == Protocol::Text && self.signs.has(Sign::OriginatorFirst) {
            ledger.add(Term::LineMode, || "the connecting side greets in text of no known protocol".to_owned());
        }
        if facts.has(Facts::TLS_WITHOUT_NAME) {
            ledger.add(Term::TlsWithoutName, || "TLS without a server name".to_owned());
        }
        if facts.has(Facts::SELF_SIGNED) {
            ledger.add(Term::SelfSigned, || "the server's certificate is self-signed".to_owned());
        }
    }

    fn destination(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let is_claimed = matches!(self.name_source, NameSource::Sni | NameSource::Host);
        if is_claimed
            && self.is_name_believed
            && let Some(name) = context.name
        {
            ledger.add(Term::NamedService, || format!("asks for {name}, as push channels do"));
        }
        if let Some((service, by)) = self.service {
            let (times, how) = match by {
                By::Bytes => (1.0, "first bytes"),
                By::Name if !self.is_name_believed => return,
                By::Name => (1.0, "name"),
                // Whoever wants to look like a service chooses its port.
                By::Port => (ledger.weights().reverse_shell.port_share, "port"),
            };
            ledger.add_times(Term::KnownService, times, || format!("{} by its {how}", service.name));
        }
    }
}

impl Evidence for Interactive<'_> {
    fn detector(&self) -> Detector {
        Detector::ReverseShell
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        self.shape(ledger);
        self.content(context, ledger);
        self.destination(context, ledger);
        if context.companions.contains(&Detector::HostReverseShell) {
            ledger.add(Term::HostAgrees, || "the host saw the shell behind it".to_owned());
        }
        protocol_port::weigh_port(context, ledger);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let pair = &context.pair;
        let whom = context.name.map_or_else(|| pair.responder.to_string(), |name| name.to_string());
        let what = if self.has_prompt() { "a shell" } else { "what looks like a shell" };
        match self.led() {
            0 => format!("{what} offered to {whom} port {}", pair.responder_port),
            led => format!("{what}, driven by {whom} port {}: {led} exchanges", pair.responder_port),
        }
    }

    fn techniques(&self, context: &Context<'_>) -> Vec<Technique> {
        let mut techniques = vec![Technique::CommandInterpreter];
        if context.facts.has(Facts::TLS) {
            techniques.push(Technique::EncryptedChannel);
        } else {
            techniques.push(Technique::NonApplicationProtocol);
        }
        if protocol_port::is_suspicious(context, &[]) {
            techniques.push(Technique::NonStandardPort);
        }
        techniques
    }

    fn is_two_way(&self) -> bool {
        self.is_two_way && self.session.is_some_and(Session::is_answered)
    }

    fn most(&self) -> Severity {
        if self.led() >= self.thresholds.exchanges_for_high { Severity::Critical } else { Severity::Medium }
    }

    fn considered(&self, context: &Context<'_>) -> Vec<String> {
        let mut considered = context.services.objections(&context.candidate());
        if let Some(session) = self.session {
            let share = 100.0 * session.led_share();
            considered
                .push(format!("forward SSH, telnet: there the originator leads; here the responder, {share:.0} %"));
            considered
                .push(format!("push channel, video: there the responder sends more; here PCR {:+.2}", session.pcr()));
        }
        considered
    }
}
