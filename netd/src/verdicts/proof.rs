//! The proof that verdicts act: a verdict on an address that is nobody's, and what each hook makes of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netd_common::packet::IPPROTO_UDP;
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use super::clock::Now;

/// Addresses of documentation (RFC 5737, RFC 3849), which nobody has: nothing real is cut while they are.
pub const NOBODY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
pub const NOBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
/// The port that is cut: discard.
pub const NOBODYS_PORT: u16 = 9;
/// The verdicts end by themselves where netd does not come to release them.
const HOLDS_S: f64 = 60.0;

/// What a hook made of what a verdict names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "HookProof")]
pub struct Proof {
    /// The program's name.
    pub hook: &'static str,
    /// Whether it denied what the verdict names.
    pub denies: bool,
    /// What was seen.
    pub why: String,
}

impl Proof {
    /// Returns the proof of a hook, or why there is none.
    pub(crate) fn new(hook: &'static str, seen: Result<String, String>) -> Self {
        let denies = seen.is_ok();
        Self { hook, denies, why: seen.unwrap_or_else(|why| why) }
    }
}

/// Returns the verdicts that every hook must act on.
pub(super) fn verdicts(now: Now) -> [Verdict; 2] {
    [IpAddr::from(NOBODY4), IpAddr::from(NOBODY6)].map(|address| Verdict {
        target: Target::Endpoint { address, port: NOBODYS_PORT, proto: IPPROTO_UDP },
        response: Response::Drop,
        until: Some(now.wall.plus_secs(HOLDS_S)),
        origin: Origin::Manual,
        reason: "proof that verdicts act".to_owned(),
        shadow: false,
    })
}
