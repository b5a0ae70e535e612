//! The weights and thresholds of `weights.toml`, read and complete.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::detect::{Detector, brute, checkin, dns, icmp, long_connection, protocol_port, reverse_shell, scan, upload};
use crate::finding::{Kind, Severity};

/// The file that netd ships.
pub const SHIPPED: &str = include_str!("../weights.toml");

/// Declares the named terms of the score: one line each here and in the file.
macro_rules! terms {
    ($($variant:ident = $name:literal)*) => {
        /// A named term of the log-odds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        pub enum Term { $(#[serde(rename = $name)] $variant),* }

        impl Term {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name in files and findings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

terms! {
    IntervalRegularity = "interval_regularity"
    DrawnSleep = "drawn_sleep"
    SameIntervalToMany = "same_interval_to_many"
    SizesAlike = "sizes_alike"
    TaskingOnce = "tasking_once"
    Tasking = "tasking"
    NoAnswers = "no_answers"
    KeepAlive = "keep_alive"
    FewDestinations = "few_destinations"
    InternalDestination = "internal_destination"
    Echo = "echo"
    SelfSigned = "self_signed"
    TlsWithoutName = "tls_without_name"
    HttpToAddress = "http_to_address"
    TlsOnOddPort = "tls_on_odd_port"
    ClearTextOnTlsPort = "clear_text_on_tls_port"
    NoTlsOnTlsPort = "no_tls_on_tls_port"
    NoDnsOnDnsPort = "no_dns_on_dns_port"
    RareDestination = "rare_destination"
    CommonDestination = "common_destination"
    NewDestination = "new_destination"
    KnownDestination = "known_destination"
    RareCountry = "rare_country"
    RareAsn = "rare_asn"
    ListedDestination = "listed_destination"
    ListedFingerprint = "listed_fingerprint"
    NeverResolved = "never_resolved"
    BenignService = "benign_service"
    MemoryExecutable = "memory_executable"
    DeletedExecutable = "deleted_executable"
    TemporaryExecutable = "temporary_executable"
    BareInterpreter = "bare_interpreter"
    UnpackagedExecutable = "unpackaged_executable"
    PackagedExecutable = "packaged_executable"
    NeverAnswered = "never_answered"
    FirstContactsFail = "first_contacts_fail"
    ScatteredTargets = "scattered_targets"
    InternalTargets = "internal_targets"
    LoginsAlike = "logins_alike"
    LoginRate = "login_rate"
    LoginDelay = "login_delay"
    LoginSpray = "login_spray"
    LoginSchedule = "login_schedule"
    LoginInbound = "login_inbound"
    EchoUnlike = "echo_unlike"
    EchoSizes = "echo_sizes"
    EchoUnasked = "echo_unasked"
    EchoVolume = "echo_volume"
    UploadVolume = "upload_volume"
    UploadOneWay = "upload_one_way"
    UploadUnusual = "upload_unusual"
    UploadNewDestination = "upload_new_destination"
    UploadHostUnusual = "upload_host_unusual"
    UploadSlow = "upload_slow"
    UploadProtocol = "upload_protocol"
    UploadTool = "upload_tool"
    UploadCompany = "upload_company"
    UploadInternal = "upload_internal"
    UploadMedia = "upload_media"
    DnsInformation = "dns_information"
    DnsDownstream = "dns_downstream"
    DnsRecordTypes = "dns_record_types"
    DnsEncodedLabels = "dns_encoded_labels"
    DnsLongNames = "dns_long_names"
    DnsShareOfQueries = "dns_share_of_queries"
    DnsNoSuchNames = "dns_no_such_names"
    DnsAddressLabels = "dns_address_labels"
    DnsKnownService = "dns_known_service"
    DnsManyClients = "dns_many_clients"
    DnsDirect = "dns_direct"
    DnsChangingNames = "dns_changing_names"
    DnsNeverAnswered = "dns_never_answered"
    DnsRepeatedNames = "dns_repeated_names"
    DgaFailedDomains = "dga_failed_domains"
    DgaRandomNames = "dga_random_names"
    DgaAlikeLengths = "dga_alike_lengths"
    DgaFound = "dga_found"
    FluxNetworks = "flux_networks"
    FluxTurnover = "flux_turnover"

    ResponderLeads = "responder_leads"
    SmallRequests = "small_requests"
    Uploads = "uploads"
    HumanRhythm = "human_rhythm"
    MachineRhythm = "machine_rhythm"
    LineMode = "line_mode"
    ShellPrompt = "shell_prompt"
    CommandText = "command_text"
    NamedService = "named_service"
    KnownService = "known_service"
    KnownProtocol = "known_protocol"
    HostAgrees = "host_agrees"
    OutwardDirect = "outward_direct"
    RelayedStreams = "relayed_streams"
    ShellImage = "shell_image"
    InterpreterImage = "interpreter_image"
    OtherImage = "other_image"
    CommandLine = "command_line"
    ServesOthers = "serves_others"
    DifferentEnds = "different_ends"
    OutputOnConnection = "output_on_connection"
    CommandsRun = "commands_run"
    ReconCommands = "recon_commands"
    FollowsData = "follows_data"
    ScriptKeeper = "script_keeper"
    InstalledScript = "installed_script"
    ScriptFromNetwork = "script_from_network"
    AcceptedDirect = "accepted_direct"
    AcceptedRelayed = "accepted_relayed"
    RelayTool = "relay_tool"
    ServiceParent = "service_parent"
    Orphan = "orphan"
    TemporaryDirectory = "temporary_directory"
    TtyUpgrade = "tty_upgrade"
    PosingProgram = "posing_program"
    NetworkAgrees = "network_agrees"
    ToolName = "tool_name"
    ToolBytes = "tool_bytes"
    ToolPort = "tool_port"
    MisplacedProtocol = "misplaced_protocol"
    MisplacedWeb = "misplaced_web"
    SuspiciousPort = "suspicious_port"
    OpenForHours = "open_for_hours"
    HardlyUsed = "hardly_used"
    SteadilyUsed = "steadily_used"
}

/// What a term is worth.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worth {
    pub kind: Kind,
    /// Nats.
    pub weight: f64,
    /// Counts as evidence of its kind for an automatic block; otherwise the term moves the odds only.
    #[serde(default = "yes")]
    pub independent: bool,
}

const fn yes() -> bool {
    true
}

/// Where a detector begins, and how far its findings may go.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Log-odds before any evidence.
    pub prior: f64,
    /// Severity of any finding at least.
    pub least: Option<Severity>,
    /// Severity at most, whatever the posterior: the impact of what the detector finds.
    pub most: Severity,
    /// Severity of what is sure enough for a block but, for want of a second kind of evidence, not fit for one.
    #[serde(default = "medium")]
    pub sure: Severity,
}

const fn medium() -> Severity {
    Severity::Medium
}

/// From posterior to finding, severity and block.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    pub finding: f64,
    pub block: f64,
    pub second_kind: f64,
    pub timing_kind: f64,
    pub critical: f64,
    pub medium_other: f64,
}

/// Thresholds about destinations: see the file.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub rare_share: f64,
    pub rare_hosts: u32,
    pub common_hosts: u32,
    pub most_doublings: f64,
    pub new_within_s: f64,
    pub watched_for_s: f64,
    pub known_after_s: f64,
    pub resolves: u64,
    pub region_hosts: usize,
    pub rare_region_hosts: f64,
    pub region_conversations: u64,
    pub rare_region_conversations: f64,
}

/// Everything the file says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    pub score: Score,
    detectors: BTreeMap<Detector, Start>,
    pub destination: Destination,
    pub beacon: checkin::Thresholds,
    pub scan: scan::Thresholds,
    pub brute_force: brute::Thresholds,
    pub icmp_tunnel: icmp::Thresholds,
    pub exfiltration: upload::Thresholds,
    pub dns: dns::Thresholds,
    pub reverse_shell: reverse_shell::Thresholds,
    pub protocol_port: protocol_port::Thresholds,
    pub long_connection: long_connection::Thresholds,
    #[serde(rename = "terms")]
    listed: BTreeMap<Term, Worth>,
    /// The same by number: looked up at every turn of a regular key.
    #[serde(skip)]
    terms: Vec<Worth>,
}

impl Weights {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Line and field of what cannot be read, or the detectors and terms that are missing.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut weights: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let detectors = Detector::ALL.iter().filter(|detector| !weights.detectors.contains_key(detector));
        let terms = Term::ALL.iter().filter(|term| !weights.listed.contains_key(term));
        let detectors = detectors.map(|detector| format!("detectors.{}", detector.name()));
        let missing: Vec<String> = detectors.chain(terms.map(|term| format!("terms.{}", term.name()))).collect();
        if !missing.is_empty() {
            return Err(format!("missing: {}", missing.join(", ")));
        }
        // In the order of declaration, which is that of the numbers.
        weights.terms = weights.listed.values().copied().collect();
        Ok(weights)
    }

    #[must_use]
    pub fn start(&self, detector: Detector) -> Start {
        self.detectors[&detector]
    }

    #[must_use]
    pub fn worth(&self, term: Term) -> Worth {
        self.terms[term as usize]
    }
}

impl Default for Weights {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    fn default() -> Self {
        Self::read(SHIPPED).expect("weights.toml is complete")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_complete_and_every_term_stands_at_its_number() {
        let weights = Weights::read(SHIPPED).unwrap();

        assert!(Term::ALL.iter().all(|term| weights.worth(*term) == weights.listed[term]));
    }

    #[test]
    fn a_missing_term_and_an_unknown_one_are_named() {
        let without: String =
            SHIPPED.lines().filter(|line| !line.starts_with("tasking =")).map(|l| format!("{l}\n")).collect();
        let misspelt = SHIPPED.replace("tasking =", "taskign =");

        assert_eq!(Weights::read(&without).unwrap_err(), "missing: terms.tasking");
        assert!(Weights::read(&misspelt).unwrap_err().contains("taskign"));
    }
}
