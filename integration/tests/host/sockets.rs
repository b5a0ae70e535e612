//! Verdicts and the sockets of this host.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{C2, IMPLANT, Lab, WEB};
use netd_lab::require_root;
use netd_lab::traffic::probe::{Passage, connects, datagrams};
use netd_lab::traffic::server::Server;
use netd_lab::traffic::socket::connect_tcp;
use serde_json::json;

use crate::families::BOTH;

/// The programs on the cgroup tree meet every process of the machine, so what these tests block is this port of a
/// laboratory's address, which nobody else uses.
const ODD_PORT: u16 = 4_455;

#[test]
fn an_established_connection_of_this_host_is_destroyed_and_its_neighbour_stays() {
    require_root!();
    let lab = Lab::host().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();

    for family in BOTH {
        let (cut, free) = (family.at(C2, 443), family.at(C2, 444));
        let _servers = [cut, free].map(|address| Server::tcp(lab.wan(), address).unwrap());
        let connect = |to| lab.lan().run(|| Ok(connect_tcp(family.of(IMPLANT), to, Duration::from_secs(2))?)).unwrap();
        let (mut cut_stream, mut free_stream) = (connect(cut), connect(free));
        let ends = |stream: &mut std::net::TcpStream| {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            stream.read(&mut [0]).unwrap_err().kind()
        };

        let began = Instant::now();
        let target = json!({"address": cut.ip(), "port": 443, "protocol": "tcp"});
        let answer = daemon.api().send_json("POST", "/api/v1/verdicts", &json!({"target": target})).unwrap();
        assert_eq!(answer.accepted().unwrap()["destroyed_sockets"], 1, "{answer:?}");

        assert_eq!(ends(&mut cut_stream), ErrorKind::ConnectionAborted);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(ends(&mut free_stream), ErrorKind::WouldBlock, "the neighbour's connection is idle and open");
    }
}

#[test]
fn a_blocked_endpoint_is_cut_on_the_way_out_and_released() {
    require_root!();
    let lab = Lab::host().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();

    for family in BOTH {
        let from = family.at(IMPLANT, 5_000);
        let [to, beside] = [6_000, 6_001].map(|port| SocketAddr::new(family.nowhere(0, 1), port));
        let id =
            daemon.api().block(&json!({"target": {"address": to.ip(), "port": 6_000, "protocol": "udp"}})).unwrap();
        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Cut);
        assert_eq!(datagrams(&lab, from, beside).unwrap(), Passage::Free);

        daemon.api().release(id).unwrap();

        assert_eq!(datagrams(&lab, from, to).unwrap(), Passage::Free);
    }
}

#[test]
fn a_process_gets_eperm_from_a_blocked_endpoint_and_others_go_on() {
    require_root!();
    let lab = Lab::host().unwrap();
    let daemon = Daemon::start(&lab, Setup { cgroup: true, ..Setup::default() }).unwrap();
    let api = daemon.api();

    for family in BOTH {
        let from = family.of(IMPLANT);
        let [cut, free] = [WEB[5], WEB[4]].map(|address| family.at(address, ODD_PORT));
        let _servers = [cut, free].map(|address| Server::tcp(lab.wan(), address).unwrap());
        connects(&lab, from, cut).unwrap().unwrap();
        let send = |to| lab.lan().run(|| Ok(UdpSocket::bind((from, 0))?.send_to(b"datagram", to))).unwrap();
        let tcp = api.block(&json!({"target": {"address": cut.ip(), "port": ODD_PORT, "protocol": "tcp"}})).unwrap();
        let udp = api.block(&json!({"target": {"address": cut.ip(), "port": ODD_PORT, "protocol": "udp"}})).unwrap();

        let refused = |error: std::io::Error| error.raw_os_error() == Some(libc::EPERM);
        let began = Instant::now();
        assert!(refused(connects(&lab, from, cut).unwrap().unwrap_err()));
        assert!(refused(send(cut).unwrap_err()));
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
        connects(&lab, from, free).unwrap().unwrap();
        send(free).unwrap();
        let refusals = |status: &serde_json::Value| status["packets"]["connects_refused"].as_u64().filter(|n| *n >= 2);
        api.until("/api/v1/status", Duration::from_secs(5), refusals).unwrap();

        api.release(tcp).unwrap();
        api.release(udp).unwrap();
        connects(&lab, from, cut).unwrap().unwrap();
        send(cut).unwrap();
    }
}
