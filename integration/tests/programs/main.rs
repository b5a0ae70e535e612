//! Every classifier and the XDP program through `BPF_PROG_TEST_RUN`, as the committed object holds them.
//!
//! What the kernel does not let a test run show (a stripped VLAN tag that comes with the packet, packets that are not
//! linear) is shown by other means where there are any: see [`tagged`].

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod accounting;
mod actions;
mod budget;
mod crossing;
mod differential;
mod flood;
mod fragments;
mod kernel;
mod modes;
mod parsing;
mod payload;
mod precedence;
mod records;
mod resets;
mod tagged;
mod turns;
mod xdp;

use std::net::SocketAddr;

use netd_common::{
    key::ConversationKey,
    packet::{IPPROTO_TCP, IPPROTO_UDP},
};
use netd_lab::frames::Frame;

/// The end that tests list, and the end that talks to it; each twice, for IPv4 and for IPv6.
const LISTED: [&str; 2] = ["198.51.100.9:443", "[2001:db8:9::9]:443"];
const LOCAL: [&str; 2] = ["10.0.0.7:40000", "[2001:db8:7::7]:40000"];

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns (local, listed) of both families.
fn pairs() -> [(SocketAddr, SocketAddr); 2] {
    [0, 1].map(|family| (socket(LOCAL[family]), socket(LISTED[family])))
}

/// Returns (local, listed) of IPv4.
fn pair() -> (SocketAddr, SocketAddr) {
    pairs()[0]
}

fn tcp(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    Frame::tcp(from, to).build()
}

fn tcp_conversation(from: SocketAddr, to: SocketAddr) -> ConversationKey {
    kernel::directed(from, to, IPPROTO_TCP).conversation().0
}

fn udp_conversation(from: SocketAddr, to: SocketAddr) -> ConversationKey {
    kernel::directed(from, to, IPPROTO_UDP).conversation().0
}
