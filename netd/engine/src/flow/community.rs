//! Community ID version 1 (Corelight): names a conversation alike in every tool.

use netd_common::key::ConversationKey;
use netd_common::key::Direction;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Returns the Community ID with seed 0. `icmp_type` is the first type the originator sent.
///
/// None for an ICMP error: its code belongs to the hash and records do not carry it.
#[must_use]
pub(crate) fn community_id(key: &ConversationKey, originator: Direction, icmp_type: u8) -> Option<String> {
    let flow = key.flow(originator);
    let (from, to) = match key.proto {
        TCP | UDP | SCTP => (Some(flow.src_port()), Some(flow.dst_port())),
        // The code of a query is always 0.
        ICMP if matches!(icmp_type, 0 | 8..=10 | 13..=18) => (Some(u16::from(icmp_type)), Some(0)),
        ICMPV6 if matches!(icmp_type, 128..=136 | 144 | 145) => (Some(u16::from(icmp_type)), Some(0)),
        ICMP | ICMPV6 => return None,
        _ => (None, None),
    };
    community_id::calculate_community_id(0, flow.src.ip(), flow.dst.ip(), from, to, key.proto, false).ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netd_common::key::FlowKey;

    use super::*;

    fn id(src: &str, dst: &str, ports: (u16, u16), proto: u8, icmp_type: u8) -> Option<String> {
        let address = |text: &str| text.parse::<IpAddr>().unwrap().into();
        let flow = FlowKey {
            src: address(src),
            dst: address(dst),
            src_port: ports.0.to_be_bytes(),
            dst_port: ports.1.to_be_bytes(),
            proto,
            pad: [0; 3],
        };
        let (key, originator) = flow.conversation();
        community_id(&key, originator, icmp_type)
    }

    /// Values of the specification's own baseline files.
    #[test]
    fn it_agrees_with_the_specification() {
        assert_eq!(
            id("128.232.110.120", "66.35.250.204", (34855, 80), TCP, 0).unwrap(),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
        assert_eq!(
            id("66.35.250.204", "128.232.110.120", (80, 34855), TCP, 0).unwrap(),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
        assert_eq!(id("192.168.1.52", "8.8.8.8", (54585, 53), UDP, 0).unwrap(), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        assert_eq!(id("192.168.0.89", "192.168.0.1", (1, 1), ICMP, 8).unwrap(), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
    }

    #[test]
    fn an_icmp_error_has_none() {
        assert_eq!(id("192.0.2.1", "192.0.2.2", (0, 0), ICMP, 3), None);
    }
}
