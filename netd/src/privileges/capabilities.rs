//! Which capabilities the running daemon takes, and what for.

use caps::{CapSet, CapsHashSet};
use schemars::JsonSchema;
use serde::Serialize;

use super::Error;

/// A capability and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Capability {
    /// As in capabilities(7): `CAP_KILL`.
    pub name: String,
    /// What it is for.
    pub purpose: String,
}

/// What looking at processes and answering takes.
const NEEDED: [(caps::Capability, &str); 4] = [
    (caps::Capability::CAP_NET_ADMIN, "closes sockets; holds programs to interfaces before kernel 6.6"),
    (caps::Capability::CAP_SYS_PTRACE, "reads executables and descriptors of others' processes"),
    (caps::Capability::CAP_DAC_READ_SEARCH, "reads executables and folders that only their owner may read"),
    (caps::Capability::CAP_SYS_ADMIN, "looks for sockets in the network namespaces of containers"),
];
const SIGNALS: (caps::Capability, &str) = (caps::Capability::CAP_KILL, "stops or kills, as a policy or the API asks");
/// Before 6.1 the kernel asks for these even where a descriptor is held.
const OLD_KERNEL: [(caps::Capability, &str); 2] = [
    (caps::Capability::CAP_BPF, "reads and writes maps before kernel 6.1"),
    (caps::Capability::CAP_PERFMON, "reads and writes maps before kernel 6.1"),
];

/// Returns the capabilities to keep.
pub(super) fn needed(signals: bool) -> Vec<Capability> {
    let old = if is_older_than((6, 1)) { &OLD_KERNEL[..] } else { &[] };
    let signals = signals.then_some(&SIGNALS);
    NEEDED.iter().chain(signals).chain(old).map(|(capability, purpose)| named(*capability, purpose)).collect()
}

/// Returns the capabilities that this thread holds in any set but the bounding one.
pub(super) fn all_held() -> Result<Vec<Capability>, Error> {
    let permitted = read(CapSet::Permitted, "permitted")?;
    let inheritable = read(CapSet::Inheritable, "inheritable")?;
    let mut held: Vec<_> = permitted.union(&inheritable).copied().collect();
    held.sort_unstable_by_key(|capability| capability.index());
    let purpose = |capability| {
        let known = NEEDED.iter().chain([&SIGNALS]).chain(&OLD_KERNEL).find(|(known, _)| *known == capability);
        known.map_or("not asked for", |(_, purpose)| purpose)
    };
    Ok(held.into_iter().map(|capability| named(capability, purpose(capability))).collect())
}

/// Reduces every set of this thread to `keep`, and returns what could not be done.
pub(super) fn reduce_to(keep: &[Capability]) -> Result<Vec<String>, Error> {
    let permitted = read(CapSet::Permitted, "permitted")?;
    let keep: CapsHashSet =
        permitted.iter().copied().filter(|held| keep.iter().any(|kept| kept.name == held.to_string())).collect();
    let mut gaps = Vec::new();
    // The bounding set first: changing it takes a capability that is given up then.
    match permitted.contains(&caps::Capability::CAP_SETPCAP) {
        true => {
            for capability in read(CapSet::Bounding, "bounding")?.difference(&keep) {
                let dropped = caps::drop(None, CapSet::Bounding, *capability);
                dropped.map_err(|source| Error::Capabilities { what: "bounding", source })?;
            }
        }
        false => gaps.push("bounding set: changing it takes CAP_SETPCAP; no_new_privs makes it harmless".to_owned()),
    }
    let set = |set, what, value: &CapsHashSet| {
        caps::set(None, set, value).map_err(|source| Error::Capabilities { what, source })
    };
    caps::clear(None, CapSet::Ambient).map_err(|source| Error::Capabilities { what: "ambient", source })?;
    set(CapSet::Inheritable, "inheritable", &CapsHashSet::new())?;
    set(CapSet::Effective, "effective", &keep)?;
    set(CapSet::Permitted, "permitted", &keep)?;
    Ok(gaps)
}

fn read(set: CapSet, what: &'static str) -> Result<CapsHashSet, Error> {
    caps::read(None, set).map_err(|source| Error::Capabilities { what, source })
}

fn named(capability: caps::Capability, purpose: &str) -> Capability {
    Capability { name: capability.to_string(), purpose: purpose.to_owned() }
}

fn is_older_than(wanted: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    // A kernel that does not say how old it is is taken for an old one.
    numbers.next().zip(numbers.next()).is_none_or(|version| version < wanted)
}
