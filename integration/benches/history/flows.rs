//! The flows that are written: out of a seeded, uneven distribution, a day's worth however many they are.

use std::net::IpAddr;
use std::sync::Arc;

use netd::store::{Row, Written};
use netd_engine::flow::{Conversation, EndReason, NameSource, Protocol, Sent, Tls};
use netd_engine::process::{Process, ProcessId};
use netd_engine::time::Timestamp;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

pub(crate) const BEGIN: Timestamp = Timestamp(1_800_000_000_000_000_000);
/// Of every million flows the first so many have a name below [`ONCE`]: those that nobody visited again.
const ONCE_OF_A_MILLION: u64 = 10_000;

/// A tenth of all flows.
pub(crate) const EVERYWHERE: &str = "www.everywhere.test";
/// Another tenth, under eight names, and now and then a rare one.
pub(crate) const BIG: &str = "big.test";
/// A name of its own for each flow, one flow in a hundred: a DNS tunnel.
pub(crate) const TUNNEL: &str = "tunnel.test";
/// Names of a flow each, all in the first hundredth of each million.
pub(crate) const ONCE: &str = "once.test";

/// A day's flows come evenly, whatever their number.
pub(crate) fn start(at: u64) -> u64 {
    BEGIN.0 + at * 8_000_000
}

/// Most of few, few of many: the fourth power of an even number leans to the first.
pub(crate) fn skewed(dice: &mut ChaCha8Rng, most: u32) -> u32 {
    let even: f64 = dice.random();
    (even.powi(4) * f64::from(most)) as u32
}

pub(crate) fn originator(dice: &mut ChaCha8Rng) -> IpAddr {
    (0x0a00_0000 + skewed(dice, 4_000)).to_be_bytes().into()
}

pub(crate) fn responder(dice: &mut ChaCha8Rng) -> IpAddr {
    (0xc612_0000 + skewed(dice, 120_000)).to_be_bytes().into()
}

pub(crate) fn port(dice: &mut ChaCha8Rng) -> u16 {
    [443, 443, 443, 443, 80, 53, 53, 22, 123, 8_443][dice.random_range(0..10)]
}

pub(crate) fn comm(dice: &mut ChaCha8Rng) -> String {
    let names = ["firefox", "curl", "nginx", "sshd", "python3", "postgres", "chronyd", "dnf", "java", "node"];
    let number = skewed(dice, 200) as usize;
    names.get(number).map_or_else(|| format!("job-{number}"), |name| (*name).to_owned())
}

pub(crate) fn name(dice: &mut ChaCha8Rng) -> String {
    format!("h{}.site-{}.example", skewed(dice, 50), skewed(dice, 20_000))
}

/// Returns the rare name of the big zone that the flow `at` has, one in 100,000.
pub(crate) fn rare_name(at: u64) -> String {
    format!("r{}.{BIG}", at / 100_000 % 16)
}

/// Returns the tunnel's name of the flow `at`.
pub(crate) fn tunnel_name(at: u64) -> String {
    format!("{:016x}.t.{TUNNEL}", mixed(at))
}

/// Returns the flow's name, if it has one.
fn name_of(at: u64, dice: &mut ChaCha8Rng) -> Option<String> {
    let usual = dice.random_bool(0.7).then(|| name(dice));
    if at % 1_000_000 < ONCE_OF_A_MILLION {
        return Some(format!("n{at}.{ONCE}"));
    }
    match at % 100 {
        0..10 => Some(EVERYWHERE.to_owned()),
        10 if at % 100_000 == 50_010 => Some(rare_name(at)),
        10..20 => Some(format!("e{}.{BIG}", skewed(dice, 8))),
        20 => Some(tunnel_name(at)),
        _ => usual,
    }
}

fn mixed(at: u64) -> u64 {
    let mut state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^= state >> 27;
    state.wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Returns 20 bytes of which the first are spread, as a digest's are.
pub(crate) fn community(at: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letters = (0..26).map(|_| {
        state ^= state >> 27;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(LETTERS[(state >> 58) as usize])
    });
    format!("1:{}A=", letters.collect::<String>())
}

pub(crate) fn row(at: u64, dice: &mut ChaCha8Rng) -> Arc<Row> {
    let start = Timestamp(start(at));
    let length = 1_000_000 + u64::from(skewed(dice, 1_200_000)) * 1_000_000;
    let end = Timestamp(start.0 + length);
    let comm = comm(dice);
    let name = name_of(at, dice);
    let conversation = Conversation {
        start,
        end,
        duration_s: end.secs_since(start),
        originator: originator(dice),
        originator_port: dice.random_range(32_768..60_999),
        responder: responder(dice),
        responder_port: port(dice),
        protocol: if dice.random_bool(0.8) { 6 } else { 17 },
        originated: Sent { packets: 9, bytes: skewed(dice, 1 << 20).into(), payload: 400, flags: 0x1b },
        responded: Sent { packets: 12, bytes: skewed(dice, 1 << 24).into(), payload: 9_000, flags: 0x1b },
        turns: 2,
        state: "SF",
        end_reason: EndReason::Closed,
        community_id: Some(community(at)),
        name_source: if name.is_some() { NameSource::Sni } else { NameSource::None },
        name,
        service: Some(Protocol::Tls),
        alpn: Some("h2".into()),
        ja4: Some(format!("t13d1516h2_8daaf6152771_{:012x}", skewed(dice, 300))),
        tls: Tls::default(),
        encrypted_dns: None,
        process: Some(Process {
            id: ProcessId { pid: 1_000 + skewed(dice, 4_000), start_ticks: 1 },
            uid: 1_000,
            exe: Some(format!("/usr/bin/{comm}")),
            comm,
            ..Process::default()
        }),
        responder_process: None,
        vlan: 0,
        ifindex: 2,
        rule: 0,
    };
    Arc::new(Row { sequence: start.0 / 1_000, conversation, ended: None, written: Written::default() })
}
