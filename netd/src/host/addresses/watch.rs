//! Hears when this host's addresses or gateways may have changed.

use std::io;

use zerocopy::FromBytes as _;

use super::{Error, RouteMessage};
use crate::host::netlink::{News, Told};

/// The kernel says nothing of IPv4 routes that go with their link: hence links, too.
const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE;

/// Hears of addresses and default routes that come and go.
#[derive(Debug)]
pub struct Watch(News);

impl Watch {
    /// Hears of what happens from here on, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// When the kernel lets nobody listen.
    pub fn new() -> Result<Self, Error> {
        News::of(GROUPS).map(Self).map_err(|source| Error::Subscribe { source })
    }

    /// Waits until an address, a default route or a link came, went or changed. Must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the subscription cannot be waited for.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.0.wait().await?;
            let mut matters = false;
            self.0.drain(|told| matters |= concerns(told));
            if matters {
                return Ok(());
            }
        }
    }
}

/// A router's tables change all the time; of routes only default ones are looked at.
fn concerns(told: Told<'_>) -> bool {
    match told {
        Told::Message(libc::RTM_NEWROUTE | libc::RTM_DELROUTE, body) => {
            RouteMessage::read_from_prefix(body).is_ok_and(|(route, _)| route.destination_bits == 0)
        }
        Told::Message(kind, _) => {
            matches!(kind, libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_NEWLINK | libc::RTM_DELLINK)
        }
        Told::Missed => true,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn of_routes_only_default_ones_are_looked_at() {
        let default = RouteMessage::default();
        let narrow = RouteMessage { destination_bits: 24, ..default };

        assert!(concerns(Told::Message(libc::RTM_DELROUTE, default.as_bytes())));
        assert!(!concerns(Told::Message(libc::RTM_NEWROUTE, narrow.as_bytes())));
        assert!(!concerns(Told::Message(libc::RTM_NEWROUTE, &[])));
        assert!(concerns(Told::Message(libc::RTM_DELADDR, &[])) && concerns(Told::Missed));
    }
}
