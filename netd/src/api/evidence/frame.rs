//! One packet around a payload: Ethernet, IP and transport headers, rebuilt from the flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netd_common::key::FlowKey;

/// Largest payload of one rebuilt packet: no exported one is longer.
const LONGEST: usize = 60_000;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What of a packet is known besides its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) flow: &'a FlowKey,
    /// Whether the originator of the conversation sent it.
    pub(super) is_forward: bool,
    /// TCP: of the first byte.
    pub(super) sequence: u32,
    /// TCP: what the sender had got until then, if anything of it is known.
    pub(super) acknowledged: Option<u32>,
    pub(super) payload: &'a [u8],
}

/// Returns the frame. Hardware addresses are made up: locally administered, ending in 1 for the originator and 2 for
/// the responder.
pub(super) fn build(known: &Known<'_>) -> Vec<u8> {
    let payload = &known.payload[..known.payload.len().min(LONGEST)];
    let (source, destination) = (known.flow.src.ip(), known.flow.dst.ip());
    let mut segment = transport(known, payload);
    let checksum_at = match known.flow.proto {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    };
    if let Some(at) = checksum_at {
        // ICMP alone has no pseudo-header.
        let pseudo = if known.flow.proto == ICMP {
            Vec::new()
        } else {
            pseudo_header(source, destination, known.flow.proto, segment.len())
        };
        let sum = match checksum(&[&pseudo, &segment]) {
            // Zero would say that there is none.
            0 if known.flow.proto == UDP => 0xffff,
            sum => sum,
        };
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let (from, to) = if known.is_forward { (1, 2) } else { (2, 1) };
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from];
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend(0x0800_u16.to_be_bytes());
            frame.extend(ipv4(source, destination, known.flow.proto, segment.len()));
        }
        (source, destination) => {
            frame.extend(0x86dd_u16.to_be_bytes());
            frame.extend(ipv6(v6(source), v6(destination), known.flow.proto, segment.len()));
        }
    }
    frame.extend(segment);
    frame
}

fn transport(known: &Known<'_>, payload: &[u8]) -> Vec<u8> {
    let (source_port, destination_port) = (known.flow.src_port, known.flow.dst_port);
    let mut segment = Vec::with_capacity(20 + payload.len());
    match known.flow.proto {
        TCP => {
            segment.extend(source_port);
            segment.extend(destination_port);
            segment.extend(known.sequence.to_be_bytes());
            segment.extend(known.acknowledged.unwrap_or(0).to_be_bytes());
            let psh_ack = if known.acknowledged.is_some() { 0x18 } else { 0x08 };
            segment.extend([5 << 4, psh_ack, 0xff, 0xff, 0, 0, 0, 0]);
        }
        UDP => {
            segment.extend(source_port);
            segment.extend(destination_port);
            segment.extend(short(8 + payload.len()));
            segment.extend([0, 0]);
        }
        ICMP | ICMPV6 => {
            let kind = match (known.flow.proto, known.is_forward) {
                (ICMP, true) => 8,
                (ICMP, false) => 0,
                (_, true) => 128,
                (_, false) => 129,
            };
            segment.extend([kind, 0, 0, 0]);
            // The identifier; the number in the sequence is not known.
            segment.extend(source_port);
            segment.extend([0, 0]);
        }
        _ => {}
    }
    segment.extend(payload);
    segment
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, proto: u8, len: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&short(20 + len));
    // Not to be fragmented.
    header[6] = 0x40;
    header[8] = 64;
    header[9] = proto;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, proto: u8, len: usize) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&short(len));
    header[6] = proto;
    header[7] = 64;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&destination.octets());
    header
}

fn pseudo_header(source: IpAddr, destination: IpAddr, proto: u8, len: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend(source.octets());
            header.extend(destination.octets());
            header.extend([0, proto]);
            header.extend(short(len));
        }
        (source, destination) => {
            header.extend(v6(source).octets());
            header.extend(v6(destination).octets());
            header.extend([0, 0]);
            header.extend(short(len));
            header.extend([0, 0, 0, proto]);
        }
    }
    header
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Returns a length; none here exceeds [`LONGEST`] and its headers.
fn short(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// Returns the internet checksum of RFC 1071. All parts but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = words.map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum();
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    !u16::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn flow(source: &str, destination: &str, proto: u8) -> FlowKey {
        FlowKey {
            src: source.parse::<IpAddr>().unwrap().into(),
            dst: destination.parse::<IpAddr>().unwrap().into(),
            src_port: 40_000_u16.to_be_bytes(),
            dst_port: 443_u16.to_be_bytes(),
            proto,
            pad: [0; 3],
        }
    }

    #[test]
    fn every_rebuilt_packet_is_one_that_others_can_read() {
        let ends = [("10.0.0.7", "198.51.100.9"), ("2001:db8::7", "2001:db8::9")];
        for (source, destination) in ends {
            for proto in [TCP, UDP] {
                let flow = flow(source, destination, proto);
                let known = Known {
                    flow: &flow,
                    is_forward: true,
                    sequence: 0xdead_beef,
                    acknowledged: Some(7),
                    payload: b"GET /x",
                };

                let frame = build(&known);

                let packet = SlicedPacket::from_ethernet(&frame).unwrap();
                let mut copy = Vec::new();
                match (packet.net.unwrap(), packet.transport.unwrap()) {
                    (NetSlice::Ipv4(net), TransportSlice::Tcp(tcp)) => {
                        assert_eq!(net.header().header_checksum(), net.header().to_header().calc_header_checksum());
                        assert_eq!(
                            tcp.checksum(),
                            tcp.calc_checksum_ipv4(net.header().source(), net.header().destination()).unwrap()
                        );
                        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (0xdead_beef, 7));
                        copy.extend_from_slice(tcp.payload());
                    }
                    (NetSlice::Ipv4(net), TransportSlice::Udp(udp)) => {
                        let sum = udp.to_header().calc_checksum_ipv4_raw(
                            net.header().source(),
                            net.header().destination(),
                            udp.payload(),
                        );
                        assert_eq!(udp.checksum(), sum.unwrap());
                        copy.extend_from_slice(udp.payload());
                    }
                    (NetSlice::Ipv6(net), TransportSlice::Tcp(tcp)) => {
                        let header = net.header();
                        assert_eq!(
                            tcp.checksum(),
                            tcp.calc_checksum_ipv6(header.source(), header.destination()).unwrap()
                        );
                        copy.extend_from_slice(tcp.payload());
                    }
                    (NetSlice::Ipv6(net), TransportSlice::Udp(udp)) => {
                        let header = net.header();
                        let sum = udp.to_header().calc_checksum_ipv6_raw(
                            header.source(),
                            header.destination(),
                            udp.payload(),
                        );
                        assert_eq!(udp.checksum(), sum.unwrap());
                        copy.extend_from_slice(udp.payload());
                    }
                    (net, transport) => panic!("{net:?} {transport:?}"),
                }
                assert_eq!(copy, b"GET /x");
            }
        }
    }

    #[test]
    fn an_echo_keeps_its_identifier() {
        let flow = flow("10.0.0.7", "198.51.100.9", ICMP);
        let frame = build(&Known { flow: &flow, is_forward: false, sequence: 0, acknowledged: None, payload: b"odd" });

        let Some(TransportSlice::Icmpv4(echo)) = SlicedPacket::from_ethernet(&frame).unwrap().transport else {
            panic!("no ICMP")
        };
        assert_eq!((echo.type_u8(), &echo.bytes5to8()[..2]), (0, &40_000_u16.to_be_bytes()[..]));
        assert_eq!(checksum(&[echo.slice()]), 0);
    }
}
