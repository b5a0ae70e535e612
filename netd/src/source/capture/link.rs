//! Link types: what stands before the network header.

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    Ethernet,
    /// An IPv4 or IPv6 header, told apart by its version.
    RawIp,
    /// The header of Linux's `any` device, version 1.
    LinuxCooked,
    /// The same, version 2.
    LinuxCooked2,
    /// An address family of four bytes, in either byte order.
    BsdLoopback,
    /// A link type that netd does not read, by its number in the registry of tcpdump.org.
    Unsupported(u32),
}

/// The link types that can be read, for an operator.
pub(super) const SUPPORTED: &str =
    "Ethernet (1), raw IP (12, 14, 101, 228, 229), Linux cooked (113, 276), BSD loopback (0, 108)";

impl Link {
    pub(super) const fn from_link_type(link_type: u32) -> Self {
        match link_type {
            1 => Self::Ethernet,
            // 12 and 14 are what BSDs wrote before 101; 228 and 229 are IPv4 only and IPv6 only.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxCooked,
            276 => Self::LinuxCooked2,
            0 | 108 => Self::BsdLoopback,
            other => Self::Unsupported(other),
        }
    }
}

pub(super) fn describe(link_type: u32) -> String {
    let name = match link_type {
        9 | 50 | 51 => " (PPP)",
        105 | 119 | 127 | 192 => " (Wi-Fi in monitor mode)",
        187 | 201 | 251 | 254 | 272 => " (Bluetooth)",
        186 | 189 | 220 | 249 => " (USB)",
        253 => " (netlink)",
        _ => "",
    };
    format!("{link_type}{name}")
}

/// Where the network layer of a frame begins, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLayer {
    /// Offset of the network header in bytes; at most the frame's length.
    pub offset: usize,
    /// Its `EtherType`. That of a VLAN tag is returned like any other: `offset` is then where the rest of the tag begins,
    /// just as after the header of an Ethernet frame.
    pub ethertype: u16,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

const ETHERNET_HEADER: usize = 14;
const COOKED_HEADER: usize = 16;
const COOKED2_HEADER: usize = 20;
const LOOPBACK_HEADER: usize = 4;

/// Returns the network layer of the frame `data`, or `None` if the frame is too short for its link layer or carries
/// nothing that has an `EtherType`.
#[inline]
#[must_use]
pub fn network_layer(link: Link, data: &[u8]) -> Option<NetworkLayer> {
    match link {
        Link::Ethernet => {
            let [.., high, low] = *data.first_chunk::<ETHERNET_HEADER>()?;
            Some(NetworkLayer { offset: ETHERNET_HEADER, ethertype: u16::from_be_bytes([high, low]) })
        }
        Link::RawIp => match data.first()? >> 4 {
            4 => Some(NetworkLayer { offset: 0, ethertype: IPV4 }),
            6 => Some(NetworkLayer { offset: 0, ethertype: IPV6 }),
            _ => None,
        },
        Link::LinuxCooked => {
            let [_, _, hardware0, hardware1, .., high, low] = *data.first_chunk::<COOKED_HEADER>()?;
            cooked([hardware0, hardware1], [high, low], COOKED_HEADER)
        }
        Link::LinuxCooked2 => {
            let [high, low, _, _, _, _, _, _, hardware0, hardware1, ..] = *data.first_chunk::<COOKED2_HEADER>()?;
            cooked([hardware0, hardware1], [high, low], COOKED2_HEADER)
        }
        Link::BsdLoopback => {
            let family = u32::from_le_bytes(*data.first_chunk::<LOOPBACK_HEADER>()?);
            // The capturing machine's byte order (0) or the network's (108): families are small numbers in either.
            let family = if family > 0xffff { family.swap_bytes() } else { family };
            let ethertype = match family {
                2 => IPV4,
                // Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin.
                10 | 23 | 24 | 28 | 30 => IPV6,
                _ => return None,
            };
            Some(NetworkLayer { offset: LOOPBACK_HEADER, ethertype })
        }
        Link::Unsupported(_) => None,
    }
}

/// `hardware` is the device's `ARPHRD_` type. Of some devices the protocol field is not an `EtherType`.
///
/// etherparse reads version 1 only, and none of tun, WireGuard or PPP: it is the oracle in the tests.
fn cooked(hardware: [u8; 2], protocol: [u8; 2], offset: usize) -> Option<NetworkLayer> {
    /// Frame relay, 802.11 in monitor mode (three kinds of header), netlink.
    const WITHOUT_ETHERTYPE: [u16; 5] = [770, 801, 802, 803, 824];
    if WITHOUT_ETHERTYPE.contains(&u16::from_be_bytes(hardware)) {
        return None;
    }
    Some(NetworkLayer { offset, ethertype: u16::from_be_bytes(protocol) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: NetworkLayer = NetworkLayer { offset: 0, ethertype: IPV4 };
    const V6: NetworkLayer = NetworkLayer { offset: 0, ethertype: IPV6 };

    fn at(offset: usize, layer: NetworkLayer) -> Option<NetworkLayer> {
        Some(NetworkLayer { offset, ..layer })
    }

    #[test]
    fn what_etherparse_reads_of_a_cooked_frame_is_read_here() {
        for hardware in 0..=1_024_u16 {
            for protocol in [0x0800_u16, 0x86dd, 0x8100, 0x0806] {
                let mut frame = [0; 60];
                frame[2..4].copy_from_slice(&hardware.to_be_bytes());
                frame[14..16].copy_from_slice(&protocol.to_be_bytes());
                let Ok(oracle) = etherparse::LinuxSllHeaderSlice::from_slice(&frame) else { continue };
                let etherparse::LinuxSllProtocolType::EtherType(ethertype) = oracle.protocol_type() else { continue };

                let layer = network_layer(Link::LinuxCooked, &frame);

                assert_eq!(layer, Some(NetworkLayer { offset: 16, ethertype: ethertype.0 }), "hardware {hardware}");
            }
        }
    }

    #[test]
    fn an_ethernet_frame_names_its_protocol() {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);

        assert_eq!(network_layer(Link::Ethernet, &frame), at(14, V6));
    }

    #[test]
    fn raw_ip_is_told_apart_by_its_version() {
        assert_eq!(network_layer(Link::RawIp, &[0x45, 0, 0, 20]), at(0, V4));
        assert_eq!(network_layer(Link::RawIp, &[0x60, 0, 0, 0]), at(0, V6));
        assert_eq!(network_layer(Link::RawIp, &[0x50, 0, 0, 0]), None);
    }

    #[test]
    fn a_cooked_frame_names_its_protocol_at_the_end_of_its_header() {
        let frame = [0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x08, 0x00, 0x45];

        assert_eq!(network_layer(Link::LinuxCooked, &frame), at(16, V4));
    }

    #[test]
    fn a_cooked_frame_of_version_2_names_its_protocol_at_the_front() {
        let frame = [0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x60];

        assert_eq!(network_layer(Link::LinuxCooked2, &frame), at(20, V6));
    }

    #[test]
    fn a_vlan_tag_in_a_cooked_frame_is_left_to_the_parser() {
        let frame = [0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 0x45];

        assert_eq!(network_layer(Link::LinuxCooked, &frame), Some(NetworkLayer { offset: 16, ethertype: 0x8100 }));
    }

    #[test]
    fn a_cooked_netlink_message_is_not_taken_for_ip() {
        let mut frame = [0; 32];
        frame[2..4].copy_from_slice(&824_u16.to_be_bytes());
        frame[14..16].copy_from_slice(&IPV4.to_be_bytes());

        assert_eq!(network_layer(Link::LinuxCooked, &frame), None);
    }

    #[test]
    fn a_loopback_family_is_understood_in_both_byte_orders() {
        for family in [10_u32, 23, 24, 28, 30] {
            assert_eq!(network_layer(Link::BsdLoopback, &family.to_le_bytes()), at(4, V6));
            assert_eq!(network_layer(Link::BsdLoopback, &family.to_be_bytes()), at(4, V6));
        }
        assert_eq!(network_layer(Link::BsdLoopback, &[2, 0, 0, 0]), at(4, V4));
        assert_eq!(network_layer(Link::BsdLoopback, &[0, 0, 0, 2]), at(4, V4));
        assert_eq!(network_layer(Link::BsdLoopback, &[0, 0, 0, 7]), None);
    }

    #[test]
    fn a_frame_shorter_than_its_header_has_no_network_layer() {
        let headers = [
            (Link::Ethernet, 14),
            (Link::RawIp, 1),
            (Link::LinuxCooked, 16),
            (Link::LinuxCooked2, 20),
            (Link::BsdLoopback, 4),
        ];
        for (link, header) in headers {
            assert_eq!(network_layer(link, &vec![0x40; header - 1]), None);
        }
    }
}
