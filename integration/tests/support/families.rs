//! Every fact holds in IPv4 and in IPv6.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netd_lab::lab::{NOWHERE, NOWHERE_V6, v6};

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const BOTH: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    /// Returns a resident or server's address.
    pub(crate) fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => v6(address).into(),
        }
    }

    pub(crate) fn at(self, address: Ipv4Addr, port: u16) -> SocketAddr {
        SocketAddr::new(self.of(address), port)
    }

    /// Returns an address where nobody lives: network `net` of the nowhere, /24 or /64, and `host` in it.
    pub(crate) fn nowhere(self, net: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(NOWHERE.to_bits() | u32::from(net) << 8 | u32::from(host)).into(),
            Self::V6 => {
                let mut groups = NOWHERE_V6.segments();
                (groups[3], groups[7]) = (net.into(), host.into());
                IpAddr::V6(groups.into())
            }
        }
    }
}
