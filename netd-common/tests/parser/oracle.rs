//! What etherparse makes of a frame, and where netd's parser differs from it on purpose.
//!
//! Where etherparse refuses a frame netd may still read it: an appliance sees lengths that lie and headers that stop
//! in the middle, and judges what it can read. Where etherparse accepts, netd must say the same, but
//! - a third VLAN tag is refused (`TooManyTags`), as is a chain of more than eight extension headers
//!   (`TooManyExtensions`);
//! - MACsec is not looked into (`NotIp`);
//! - what follows a first fragment's or a later fragment's header is netd's own affair: etherparse reads no transport
//!   header of any fragment;
//! - the mobility, host identity and shim headers are walked as the extension headers they are;
//! - the length in a UDP header is not believed: the IP header's alone counts;
//! - the headers of ICMP messages are eight bytes long, whatever the message.

use etherparse::{InternetSlice, LinkExtSlice, SlicedPacket, TransportSlice};
use netd_common::{
    key::Address,
    packet::{Fragment, MAX_EXTENSIONS, Packet, ParseError},
};
use proptest::{prelude::*, test_runner::TestCaseError};

/// Fails where netd's parser differs from etherparse and should not.
pub(crate) fn agrees(bytes: &[u8], ours: Result<Packet, ParseError>) -> Result<(), TestCaseError> {
    let Ok(theirs) = SlicedPacket::from_ethernet(bytes) else { return Ok(()) };
    let is_macsec = theirs.link_exts.iter().any(|ext| matches!(ext, LinkExtSlice::Macsec(_)));
    let tags = theirs.link_exts.iter().filter(|ext| matches!(ext, LinkExtSlice::Vlan(_))).count();
    if is_macsec {
        return Ok(());
    }
    if tags > 2 {
        prop_assert_eq!(ours, Err(ParseError::TooManyTags));
        return Ok(());
    }
    let Some(net) = &theirs.net else {
        prop_assert!(matches!(ours, Err(ParseError::NotIp | ParseError::TooManyTags)), "{ours:?} {theirs:?}");
        return Ok(());
    };
    let outermost = theirs.link_exts.iter().find_map(|ext| match ext {
        LinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
        LinkExtSlice::Macsec(_) => None,
    });
    let (ends, proto, is_fragment, walked, payload) = match net {
        InternetSlice::Ipv4(ip) => {
            let (header, payload) = (ip.header(), ip.payload());
            let ends = (Address::v4(header.source()), Address::v4(header.destination()));
            // Extension headers are IPv6's, but etherparse takes an authentication header off IPv4 too.
            if header.protocol() == etherparse::IpNumber::AUTHENTICATION_HEADER {
                return same_ends(ours, ends, header.protocol().0);
            }
            (ends, header.protocol().0, header.is_fragmenting_payload(), 0, payload)
        }
        InternetSlice::Ipv6(ip) => {
            let (header, payload) = (ip.header(), ip.payload());
            let ends = (Address(header.source()), Address(header.destination()));
            let walked = ip.extensions().clone().into_iter().count();
            (ends, payload.ip_number.0, payload.fragmented, walked, payload)
        }
        InternetSlice::Arp(_) => {
            prop_assert_eq!(ours, Err(ParseError::NotIp));
            return Ok(());
        }
    };
    if is_fragment {
        return fragment(ours, ends, walked_to_the_end(proto, net));
    }
    if walked > MAX_EXTENSIONS {
        prop_assert_eq!(ours, Err(ParseError::TooManyExtensions));
        return Ok(());
    }
    if !walked_to_the_end(proto, net) {
        return further(ours, ends);
    }
    let Ok(ours) = ours else {
        return Err(TestCaseError::fail(format!("{ours:?}, but etherparse reads {theirs:?}")));
    };
    let flow = ours.flow();
    prop_assert_eq!((flow.src, flow.dst, flow.proto), (ends.0, ends.1, proto));
    prop_assert_eq!(ours.vlan, outermost.unwrap_or(0));
    prop_assert_eq!(ours.fragment, Fragment::Whole);
    let offset = payload.payload.as_ptr() as usize - bytes.as_ptr() as usize;
    prop_assert_eq!(ours.transport_offset as usize, offset);
    transport(&ours, theirs.transport.as_ref(), payload.payload)
}

/// Compares ports and payload.
fn transport(ours: &Packet, theirs: Option<&TransportSlice<'_>>, body: &[u8]) -> Result<(), TestCaseError> {
    let flow = ours.flow();
    let (ports, payload_len) = match theirs {
        Some(TransportSlice::Tcp(tcp)) => {
            prop_assert_eq!(ours.seq, tcp.sequence_number());
            prop_assert_eq!(ours.flags, tcp.slice()[13]);
            ((tcp.source_port(), tcp.destination_port()), tcp.payload().len())
        }
        Some(TransportSlice::Udp(udp)) => ((udp.source_port(), udp.destination_port()), body.len() - 8),
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => {
            let is_echo = matches!((flow.proto, body[0]), (1, 0 | 8) | (58, 128 | 129));
            let identifier = if is_echo { u16::from_be_bytes([body[4], body[5]]) } else { 0 };
            prop_assert_eq!(ours.flags, body[0]);
            ((identifier, identifier), body.len() - 8)
        }
        // Of IGMP nothing but the addresses is read.
        Some(TransportSlice::Igmp(_)) | None => ((0, 0), body.len()),
    };
    prop_assert_eq!((flow.src_port(), flow.dst_port()), ports);
    prop_assert_eq!(ours.payload_len as usize, payload_len);
    Ok(())
}

/// A fragment has the same ends, and is known for one.
fn fragment(
    ours: Result<Packet, ParseError>,
    ends: (Address, Address),
    walked_to_the_end: bool,
) -> Result<(), TestCaseError> {
    match ours {
        Ok(packet) => {
            let flow = packet.flow();
            prop_assert_eq!((flow.src, flow.dst), ends);
            prop_assert!(!matches!(packet.fragment, Fragment::Whole));
            prop_assert!(packet.has_ports() || (flow.src_port, flow.dst_port) == ([0; 2], [0; 2]));
        }
        // A chain that goes on, of which a first fragment holds a part.
        Err(ParseError::TruncatedNetwork) => prop_assert!(!walked_to_the_end),
        // What contradicts itself inside a first fragment.
        Err(error) => prop_assert!(matches!(error, ParseError::BadHeader | ParseError::TooManyExtensions)),
    }
    Ok(())
}

/// Returns whether no extension header follows what etherparse walked.
fn walked_to_the_end(proto: u8, net: &InternetSlice<'_>) -> bool {
    !matches!(net, InternetSlice::Ipv6(_)) || !matches!(proto, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// Where netd walked further, the ends are the same; the walk itself may meet what cannot be.
fn further(ours: Result<Packet, ParseError>, ends: (Address, Address)) -> Result<(), TestCaseError> {
    if let Ok(packet) = ours {
        let flow = packet.flow();
        prop_assert_eq!((flow.src, flow.dst), ends);
    }
    prop_assert!(!matches!(ours, Err(ParseError::NotIp | ParseError::TruncatedLink | ParseError::TooManyTags)));
    Ok(())
}

fn same_ends(ours: Result<Packet, ParseError>, ends: (Address, Address), proto: u8) -> Result<(), TestCaseError> {
    let flow = ours.map(|packet| packet.flow());
    prop_assert_eq!(flow.map(|flow| (flow.src, flow.dst, flow.proto)), Ok((ends.0, ends.1, proto)));
    Ok(())
}
