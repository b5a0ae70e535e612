//! netd as a gateway: the real daemon and its programs between a lan and a wan.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "figures that were measured")]

#[path = "../support/families.rs"]
mod families;
#[path = "../support/implants.rs"]
mod implants;

mod actions;
mod beacon;
mod figures;
mod lists;
mod modes;
mod targets;

/// Returns a network of the nowhere, as prefixes are written.
fn nowhere_prefix(family: families::Family, net: u8) -> String {
    let bits = if family == families::Family::V4 { 24 } else { 64 };
    format!("{}/{bits}", family.nowhere(net, 0))
}
