//! netd as a gateway: the real daemon and its programs between a lan and a wan.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

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
