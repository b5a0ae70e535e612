//! What the daemon asks of the machine it runs on, apart from the kernel programs: sockets, processes, addresses,
//! clocks.

pub mod addresses;
pub mod attribution;
pub mod clock;
pub mod containers;
pub mod descriptors;
pub mod executable;
pub mod group;
pub mod inspector;
pub mod logins;
pub mod memory;
pub(crate) mod netlink;
pub mod packages;
pub mod process;
pub mod sockets;
pub mod table;
