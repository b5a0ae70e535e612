//! netd on the host that it protects: the real daemon beside the programs that open connections.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "figures that were measured")]

#[path = "../support/families.rs"]
mod families;
#[path = "../support/implants.rs"]
mod implants;

mod beacon;
mod processes;
mod sockets;
