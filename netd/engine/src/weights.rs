//! Every weight and threshold of the score, in one place.
//!
//! Weights are natural logarithms of likelihood ratios (nats): how much likelier the evidence is for command and
//! control than for a benign timer. They add up to log-odds; the posterior is `1 / (1 + exp(-log_odds))`.
//! Starting values are those of DETECTION.md 2.3, checked against labelled captures; where one differs, it says why.

/// Log-odds that a key with no evidence is a beacon: about one key in 700. With it, timing alone must reach E = 6 000
/// for a finding, which an irregular key does with a probability of at most 1.7e-4.
pub(crate) const PRIOR: f64 = -6.5;
/// Timing counts at most this much: E-values speak against irregularity, not against benign timers.
pub(crate) const MOST_TIMING: f64 = 12.0;
/// Weights of a history's e-values in their mean: originator's intervals, its pauses, the responder's intervals, which
/// are keep-alives more often than polls.
pub(crate) const BEATS: [f64; 3] = [0.5, 0.4, 0.1];
/// Weighted ln E of intervals above which pauses are not followed: well above what counts.
pub(crate) const SETTLED: f64 = 2.0 * MOST_TIMING;
/// A history is scored once its ln E reaches this.
pub(crate) const LN_E_WORTH_SCORING: f64 = 3.0;

/// Posterior of a finding.
pub(crate) const FINDING: f64 = 0.9;
/// Posterior of an automatic block.
pub(crate) const BLOCK: f64 = 0.999;
/// An automatic block needs a second kind of evidence whose independent terms add up to this.
pub(crate) const SECOND_KIND: f64 = 3.0;
/// Timing that counts as a kind of its own.
pub(crate) const TIMING_KIND: f64 = 4.6;
/// Non-timing evidence, corroboration included, that lifts a finding from low to medium.
pub(crate) const MEDIUM_OTHER: f64 = 2.0;
/// Posterior of a critical finding, which must also be fit for a block.
pub(crate) const CRITICAL: f64 = 0.9999;

/// Destination used by at most this share of monitored hosts, where there are enough to tell.
pub(crate) const RARE_SHARE: f64 = 0.02;
pub(crate) const RARE_HOSTS: u32 = 50;
pub(crate) const RARE: f64 = 1.5;
/// Destination used by at least this share of monitored hosts.
pub(crate) const COMMON_SHARE: f64 = 0.5;
pub(crate) const COMMON_HOSTS: u32 = 4;
pub(crate) const COMMON: f64 = -2.0;

/// First seen lately, by an engine that has watched long enough to know.
pub(crate) const NEW_WITHIN_S: f64 = 86_400.0;
pub(crate) const WATCHED_FOR_S: f64 = 7.0 * 86_400.0;
pub(crate) const NEW: f64 = 1.0;
pub(crate) const KNOWN_AFTER_S: f64 = 30.0 * 86_400.0;
pub(crate) const KNOWN: f64 = -1.5;

/// The address is in no DNS answer the client was seen to get, though it gets answers.
pub(crate) const NEVER_RESOLVED: f64 = 1.0;
/// Answers a client must have got for that to mean anything.
pub(crate) const RESOLVES: u64 = 8;

/// Requests alike: share of the commonest size, and its limit in bytes. Corroborates, because a timer's requests
/// usually are alike, whoever set it.
pub(crate) const ALIKE_SHARE: f64 = 0.8;
pub(crate) const ALIKE_BYTES: u32 = 1_500;
pub(crate) const ALIKE_TURNS: u32 = 6;
pub(crate) const ALIKE: f64 = 1.0;

/// Rare larger answers, each followed by a larger upload. One may be chance; two are not.
pub(crate) const TASKED_ONCE: f64 = 1.0;
pub(crate) const TASKED: f64 = 2.0;
/// More than this share of larger answers is how the service always speaks.
pub(crate) const TASK_SHARE: f64 = 0.3;

/// Nothing comes back: telemetry, or a keep-alive of a tunnel.
pub(crate) const NO_ANSWERS: f64 = -2.0;
pub(crate) const NO_ANSWERS_SHARE: f64 = 0.1;

/// TLS without server name, HTTP to an address.
pub(crate) const NAMELESS: f64 = 1.0;
/// A certificate that names itself as its issuer.
pub(crate) const SELF_SIGNED: f64 = 1.5;
/// Both are common inside of a network, where devices have no names and no authority: they count this much there.
pub(crate) const INTERNAL_SHARE: f64 = 0.5;
/// Clear text on a TLS port.
pub(crate) const CLEAR_ON_TLS_PORT: f64 = 1.5;
/// Neither TLS nor text on a TLS port.
pub(crate) const BINARY_ON_TLS_PORT: f64 = 1.0;
/// TLS where it does not belong.
pub(crate) const TLS_ON_ODD_PORT: f64 = 1.0;
/// Something else than DNS on port 53.
pub(crate) const NOT_DNS: f64 = 2.0;

/// ICMP echo that comes back as it was sent: `ping`.
pub(crate) const ECHO: f64 = -4.0;
pub(crate) const ECHO_SHARE: f64 = 0.95;
/// The same interval to many destinations: a mesh, monitoring. From so many on, for each doubling of their number.
pub(crate) const MESH_PEERS: u32 = 4;
pub(crate) const MESH_DOUBLING: f64 = -1.5;

/// The process. An upgrade also deletes the executables of what runs on, so that deletion alone permits no block.
pub(crate) const DELETED_EXECUTABLE: f64 = 2.0;
pub(crate) const MEMORY_EXECUTABLE: f64 = 4.0;
pub(crate) const TEMPORARY_EXECUTABLE: f64 = 3.0;
pub(crate) const BARE_INTERPRETER: f64 = 2.0;
pub(crate) const UNPACKAGED: f64 = 2.0;
pub(crate) const PACKAGED: f64 = -4.0;
