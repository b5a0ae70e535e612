use proptest::prelude::*;

use super::*;

fn connected(dst: &str) -> Socket {
    let dst: std::net::SocketAddr = dst.parse().unwrap();
    Socket {
        key: FlowKey {
            src: Address::v4([10, 0, 0, 7]),
            dst: dst.ip().into(),
            src_port: 40_000_u16.to_be_bytes(),
            dst_port: dst.port().to_be_bytes(),
            proto: 6,
            pad: [0; 3],
        },
        uid: 0,
        inode: 1,
        cookie: 1,
        family: libc::AF_INET as u8,
        ifindex: 0,
    }
}

fn host(address: IpAddr) -> Target {
    Target::Host { address }
}

fn prefix(prefix: &str) -> Target {
    Target::Prefix { prefix: prefix.parse().unwrap() }
}

#[test]
fn only_the_remote_end_is_a_host() {
    let socket = connected("198.51.100.9:443");

    assert!(socket.is_named_by(&host(socket.key.dst.ip())));
    assert!(!socket.is_named_by(&host(socket.key.src.ip())));
    assert!(socket.is_named_by(&prefix("198.51.100.0/24")));
    assert!(!socket.is_named_by(&prefix("10.0.0.0/8")));
}

#[test]
fn an_endpoint_is_address_port_and_protocol_of_either_end() {
    let socket = connected("198.51.100.9:443");
    let end = |address: [u8; 4], port, proto| Target::Endpoint { address: address.into(), port, proto };

    assert!(socket.is_named_by(&end([198, 51, 100, 9], 443, 6)));
    assert!(socket.is_named_by(&end([10, 0, 0, 7], 40_000, 6)));
    assert!(!socket.is_named_by(&end([198, 51, 100, 9], 40_000, 6)));
    assert!(!socket.is_named_by(&end([198, 51, 100, 9], 443, 17)));
}

#[test]
fn a_five_tuple_matches_in_both_directions() {
    let socket = connected("198.51.100.9:443");
    let tuple = |a: (&str, u16), b: (&str, u16)| Target::FiveTuple {
        source: a.0.parse().unwrap(),
        source_port: a.1,
        destination: b.0.parse().unwrap(),
        destination_port: b.1,
        proto: 6,
    };

    assert!(socket.is_named_by(&tuple(("10.0.0.7", 40_000), ("198.51.100.9", 443))));
    assert!(socket.is_named_by(&tuple(("198.51.100.9", 443), ("10.0.0.7", 40_000))));
    assert!(!socket.is_named_by(&tuple(("10.0.0.7", 40_000), ("198.51.100.9", 444))));
}

#[test]
fn an_ipv4_prefix_is_not_an_ipv6_one() {
    let socket = connected("198.51.100.9:443");

    assert!(socket.is_named_by(&prefix("0.0.0.0/0")));
    assert!(!socket.is_named_by(&prefix("::/0")));
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let _ = socket(&bytes);
    }
}
