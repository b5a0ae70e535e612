//! Tunnels as the known tools make them.

use netd_engine::config::Config;
use netd_engine::finding::Severity;

use super::support::{A, CLIENT, Dice, NULL, RESOLVER, Reply, Resolver, TXT, USUAL, by, labels, world};
use crate::support::{World, at};

const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+";

/// A tool's questions: labels of its data below its domain, so many a second.
struct Tool {
    name: &'static str,
    alphabet: Vec<u8>,
    sizes: &'static [usize],
    rtype: u16,
    per_s: f64,
    reply: usize,
}

fn tools() -> Vec<Tool> {
    let base128: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(0xbc..=0xfd).collect();
    let tool = |name, alphabet: &[u8], sizes, rtype, per_s, reply| {
        let alphabet = alphabet.to_vec();
        Tool { name, alphabet, sizes, rtype, per_s, reply }
    };
    vec![
        tool("iodine, base 128, NULL", &base128, &[57, 57, 57, 40], NULL, 20.0, 600),
        tool("dnscat2, hexadecimal, TXT", HEX, &[60, 20], TXT, 1.0, 40),
        tool("dnscat2, hexadecimal, A", HEX, &[60, 50], A, 2.0, 4),
        tool("dns2tcp, base 64, TXT", BASE64, &[63, 30], TXT, 10.0, 200),
        tool("OzymanDNS, base 32, TXT", BASE32, &[60, 50], TXT, 3.0, 110),
    ]
}

impl Tool {
    /// Transfers for `seconds`; returns when it began.
    fn run(&self, world: &mut World, resolver: &Resolver<'_>, domain: &str, seconds: f64) -> f64 {
        const BEGIN_S: f64 = 60.0;
        let mut dice = Dice(7);
        for n in 0..(seconds * self.per_s) as u32 {
            let mut name: Vec<Vec<u8>> = self.sizes.iter().map(|size| dice.text(&self.alphabet, *size)).collect();
            name.extend(labels(domain));
            let record = dice.text(&self.alphabet, self.reply);
            let reply = Reply::Data { ttl_s: 0, records: vec![record] };
            resolver.ask(world, &name, self.rtype, BEGIN_S + f64::from(n) / self.per_s, &reply);
        }
        BEGIN_S
    }
}

#[test]
fn every_tool_is_found_through_a_resolver_within_fifteen_seconds() {
    for tool in tools() {
        let mut world = world();
        let begin_s = tool.run(&mut world, &USUAL, "t.example.com", 30.0);
        let findings = world.findings();

        let tunnels = by(&findings, "dns_tunnel");
        let first = tunnels.first().unwrap_or_else(|| panic!("{}: not found", tool.name));
        assert!(first.time.secs_since(at(begin_s)) <= 15.0, "{}: {:?}", tool.name, first.time);
        assert_eq!(first.name.as_deref(), Some("example.com"));
        assert!(first.attack.contains(&"T1071.004") && first.attack.contains(&"T1572"));
        assert!(tunnels.iter().all(|finding| finding.id == first.id), "{}: one incident", tool.name);
        assert!(tunnels.iter().all(|finding| !finding.block), "{}: its resolver is everybody's", tool.name);
        assert!(by(&findings, "dns_beacon").iter().all(|finding| finding.time <= first.time), "{}", tool.name);
    }
}

#[test]
fn a_tunnel_to_its_own_server_may_be_cut_there() {
    for tool in tools() {
        let mut world = world();
        let direct = Resolver { client: CLIENT, server: "203.0.113.66" };
        tool.run(&mut world, &direct, "t.example.com", 60.0);
        let findings = world.findings();

        let worst = by(&findings, "dns_tunnel").into_iter().max_by_key(|finding| finding.severity).unwrap();
        assert!(worst.severity >= Severity::High && worst.block, "{}: {worst:?}", tool.name);
        assert_eq!(worst.pair.responder.to_string(), "203.0.113.66");
        assert!(worst.reasons.iter().any(|reason| reason.evidence == "dns_direct"));
    }
}

#[test]
fn names_without_a_domain_are_a_tunnel_to_the_server_that_is_asked() {
    let mut world = world();
    let direct = Resolver { client: CLIENT, server: "203.0.113.66" };
    let mut dice = Dice(3);
    for n in 0..120 {
        direct.ask(&mut world, &[dice.text(HEX, 48)], A, 60.0 + f64::from(n) / 4.0, &Reply::NoSuchName);
    }

    let findings = world.findings();
    let found = by(&findings, "dns_tunnel");
    assert_eq!(found.first().unwrap().pair.responder.to_string(), "203.0.113.66");
    assert_eq!(found[0].name.as_deref(), Some("names without a domain"));
}

#[test]
fn a_download_by_text_records_is_a_tunnel_though_its_questions_are_short() {
    let mut world = world();
    let mut dice = Dice(4);
    for n in 0..600_u32 {
        let name = labels(&format!("{}.stage.example.com", n + 1_000));
        let record = dice.text(BASE64, 255);
        USUAL.ask(&mut world, &name, TXT, 60.0 + f64::from(n) / 10.0, &Reply::Data { ttl_s: 1, records: vec![record] });
    }

    let findings = world.findings();
    let found = by(&findings, "dns_tunnel");
    assert!(found.iter().any(|f| f.reasons.iter().any(|reason| reason.evidence == "dns_downstream")), "{findings:?}");
}

#[test]
fn a_million_domains_do_not_grow_the_memory_nor_hide_a_tunnel() {
    let mut config = Config::default();
    (config.dns.zones, config.dns.domains) = (1_000, 1_000);
    let mut world = World::new(config);
    let mut dice = Dice(5);
    for n in 0..1_000_000_u32 {
        let at_s = f64::from(n) / 20_000.0;
        USUAL.ask_for(&mut world, &format!("www.d{n}.com"), at_s, &Reply::Silence);
        if n % 5_000 == 0 {
            let name = [dice.text(HEX, 60), dice.text(HEX, 60), b"example".to_vec(), b"com".to_vec()];
            USUAL.ask(&mut world, &name, TXT, at_s, &Reply::Data { ttl_s: 0, records: vec![dice.text(HEX, 100)] });
        }
    }

    assert_eq!(world.engine.counts().dns_zones, 1_000);
    assert!(world.engine.counts().dns_evicted >= 1_990_000);
    let findings = world.findings();
    assert_eq!(by(&findings, "dns_tunnel").first().unwrap().name.as_deref(), Some("example.com"));
    assert_eq!(by(&findings, "dns_tunnel")[0].pair.responder.to_string(), RESOLVER);
}
