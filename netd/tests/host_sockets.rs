//! Connections destroyed for real, in a namespace of the test's own.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use netd::host::{addresses::Addresses, sockets};
use netd_engine::verdict::Target;
use netd_lab::{namespace::Namespace, require_root};

/// A connection over loopback: client, server.
fn connection(address: IpAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn endpoint(of: SocketAddr) -> Target {
    Target::Endpoint { address: of.ip(), port: of.port(), proto: 6 }
}

/// Returns how many sockets were ended. Over loopback the end of one resets the other before its turn comes.
fn destroy(target: Target) -> usize {
    let outcome = sockets::destroy(|socket| socket.is_named_by(&target)).unwrap();
    assert!(outcome.gone <= outcome.destroyed, "{outcome:?}");
    outcome.destroyed + outcome.gone
}

/// Whether the connection ended by our doing: destroyed at one end, reset at the other.
fn is_destroyed(one: &mut TcpStream, other: &mut TcpStream) -> bool {
    let end = |stream: &mut TcpStream| stream.read(&mut [0; 8]).map_err(|error| error.kind());
    let ends = [end(one), end(other)];
    ends.contains(&Err(ErrorKind::ConnectionAborted))
        && ends.iter().all(|end| matches!(end, Err(ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)))
}

/// Whether bytes still go from one to the other.
fn lives(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"alive").is_ok() && to.read(&mut [0; 8]).is_ok_and(|len| len == 5)
}

fn alone(test: impl FnOnce() + Send) {
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .run(|| {
            test();
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_process_of_a_destroyed_connection_hears_of_it_at_once_and_its_neighbour_does_not() {
    require_root!();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        alone(|| {
            let (mut client, mut server) = connection(address);
            let (mut other_client, mut other_server) = connection(address);

            // Both ends are this host's, and the endpoint is an end of each.
            assert_eq!(destroy(endpoint(server.local_addr().unwrap())), 2, "{address}");

            assert!(is_destroyed(&mut client, &mut server));
            assert!(lives(&mut other_client, &mut other_server));
        });
    }
}

#[test]
fn a_host_is_the_remote_end_only() {
    require_root!();
    alone(|| {
        let here = "127.0.0.1:0".parse::<SocketAddr>().unwrap();
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), here.ip());

        let named: Vec<_> =
            sockets::list(|socket| socket.is_named_by(&Target::Host { address: "127.0.0.2".parse().unwrap() }))
                .unwrap();

        let local: Vec<_> =
            named.iter().map(|socket| SocketAddr::new(socket.key.src.ip(), socket.key.src_port())).collect();
        assert_eq!(local, [client.local_addr().unwrap()]);
    });
}

#[test]
fn an_ipv6_socket_that_speaks_ipv4_is_found_by_its_ipv4_address() {
    require_root!();
    alone(|| {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert!(server.local_addr().unwrap().is_ipv6());

        assert_eq!(destroy(endpoint(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))), 2);

        assert!(is_destroyed(&mut client, &mut server));
    });
}

#[test]
fn a_prefix_ends_everything_within_and_a_listener_lives_on() {
    require_root!();
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pairs: Vec<_> = (0..20)
            .map(|_| {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (client, listener.accept().unwrap().0)
            })
            .collect();

        assert_eq!(destroy(Target::Prefix { prefix: "127.0.0.0/8".parse().unwrap() }), 40);

        drop(pairs);
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
}

#[test]
fn nothing_to_destroy_is_no_error() {
    require_root!();
    alone(|| assert_eq!(destroy(Target::Host { address: "198.51.100.9".parse().unwrap() }), 0));
}

#[test]
fn gateways_of_every_default_route_and_own_addresses_are_found() {
    require_root!();
    let namespace = Namespace::new("lone").unwrap();
    namespace
        .ip(&[
            "link add dummy0 type veth peer name dummy1",
            "link set dummy0 up",
            "link set dummy1 up",
            "address add 192.0.2.1/24 dev dummy0",
            "address add 2001:db8::1/64 dev dummy0 nodad",
            "route add default via 192.0.2.254",
            "route add default via 192.0.2.253 table 7",
            "route add default metric 9 nexthop via 192.0.2.250 nexthop via 192.0.2.251",
            "route add ::/0 via 2001:db8::fe",
            "route add 10.0.0.0/8 via 192.0.2.99",
        ])
        .unwrap();

    let found = namespace.run(|| Ok(Addresses::current()?)).unwrap();

    let gateways: Vec<_> = found.gateways.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["192.0.2.250", "192.0.2.251", "192.0.2.253", "192.0.2.254", "2001:db8::fe"]);
    for own in ["127.0.0.1", "192.0.2.1", "2001:db8::1"] {
        assert!(found.own.contains(&own.parse().unwrap()), "{own}: {found:?}");
    }
}
