//! Sixty thousand ordinary questions, and each known false positive by itself.

use netd_engine::config::Config;

use super::support::{A, Dice, PTR, Reply, Resolver, TXT, USUAL, labels, world};
use crate::support::World;

const WORDS: [&str; 24] = [
    "www", "mail", "static", "images", "login", "api", "cdn", "shop", "news", "video", "assets", "support", "account",
    "search", "media", "store", "forum", "docs", "events", "status", "download", "secure", "mobile", "blog",
];
const HEX: &[u8] = b"0123456789abcdef";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

fn silent(world: &mut World, what: &str) {
    let findings = world.findings();
    assert!(findings.is_empty(), "{what}: {} {:?}", findings[0].title, findings[0].reasons);
}

fn octets(dice: &mut Dice) -> String {
    let mut octet = || dice.below(256);
    format!("{}.{}.{}.{}", octet(), octet(), octet(), octet())
}

#[test]
fn sixty_thousand_questions_of_browsing_are_silent() {
    let mut world = World::new(Config::default());
    let mut dice = Dice(11);
    for n in 0..60_000_u32 {
        let client = format!("10.0.0.{}", 10 + dice.below(40));
        // Few sites take most visits.
        let most = 1 + dice.below(3_000);
        let site = dice.below(most);
        let name = match dice.below(20) {
            0 => format!("{}.cdn{}.net", String::from_utf8(dice.text(LETTERS, 8)).unwrap(), dice.below(30)),
            1 => format!("r{}---sn-{}.video.com", dice.below(8), String::from_utf8(dice.text(LETTERS, 8)).unwrap()),
            _ => format!("{}.site{site}.com", WORDS[dice.below(WORDS.len())]),
        };
        let reply = if dice.below(30) == 0 { Reply::NoSuchName } else { Reply::address([198, 51, site as u8, 7]) };
        Resolver { client: &client, server: "10.0.0.1" }.ask_for(&mut world, &name, f64::from(n) * 0.2, &reply);
    }

    silent(&mut world, "browsing");
}

#[test]
fn block_lists_are_silent_known_or_not() {
    for zone in ["zen.spamhaus.org", "rbl.example.net"] {
        let mut world = world();
        let mut dice = Dice(12);
        for n in 0..6_000_u32 {
            let name = format!("{}.{zone}", octets(&mut dice));
            let reply = if dice.below(5) == 0 { Reply::address([127, 0, 0, 2]) } else { Reply::NoSuchName };
            USUAL.ask_for(&mut world, &name, 60.0 + f64::from(n) * 0.1, &reply);
        }

        silent(&mut world, zone);
    }
}

#[test]
fn antivirus_look_ups_by_hash_are_silent() {
    let mut world = world();
    let mut dice = Dice(13);
    for n in 0..2_000_u32 {
        let hash = String::from_utf8(dice.text(HEX, 32)).unwrap();
        let name = labels(&format!("4.{hash}.samples.sophosxl.net"));
        let reply = Reply::Data { ttl_s: 3_600, records: vec![b"\x0bclean v=1.2".to_vec()] };
        USUAL.ask(&mut world, &name, TXT, 60.0 + f64::from(n) * 0.3, &reply);
    }

    silent(&mut world, "antivirus");
}

#[test]
fn reverse_look_ups_of_a_whole_network_are_silent() {
    let mut world = world();
    for n in 0..8_192_u32 {
        let name = labels(&format!("{}.{}.0.10.in-addr.arpa", n % 256, n / 256));
        USUAL.ask(&mut world, &name, PTR, 60.0 + f64::from(n) * 0.02, &Reply::NoSuchName);
    }
    let mut dice = Dice(14);
    for n in 0..2_000_u32 {
        let nibbles: Vec<String> = (0..24).map(|_| String::from_utf8(dice.text(HEX, 1)).unwrap()).collect();
        let name = labels(&format!("{}.8.b.d.0.1.0.0.2.ip6.arpa", nibbles.join(".")));
        USUAL.ask(&mut world, &name, PTR, 300.0 + f64::from(n) * 0.1, &Reply::NoSuchName);
    }

    silent(&mut world, "reverse look-ups");
}

#[test]
fn telemetry_with_an_identifier_in_its_name_is_silent() {
    let mut world = world();
    let mut dice = Dice(15);
    let mut at_s = 60.0;
    for _ in 0..600 {
        let id = String::from_utf8(dice.text(HEX, 32)).unwrap();
        let reply = Reply::address([198, 51, 100, 40]);
        USUAL.ask_for(&mut world, &format!("{id}.t.metrics.com"), at_s, &reply);
        // Pages are opened now and then.
        at_s += 0.3 * 100.0_f64.powf(dice.below(1_000) as f64 / 1_000.0) * 2.0;
    }

    silent(&mut world, "telemetry");
}

#[test]
fn service_discovery_of_a_directory_is_silent() {
    let mut world = world();
    for n in 0..4_000_u32 {
        let host = format!("{}-{:02}", WORDS[n as usize % WORDS.len()], n % 90);
        let names = [
            format!("_ldap._tcp.site-{}._sites.dc._msdcs.corp.lan", n % 7),
            format!("{host}.corp.lan"),
            "_kerberos._udp.corp.lan".to_owned(),
        ];
        let name = labels(&names[n as usize % 3]);
        let rtype = if n % 3 == 1 { A } else { 33 };
        let reply = Reply::Data { ttl_s: 600, records: vec![vec![0, 0, 0, 100, 1, 133, 1, b'x', 0]] };
        USUAL.ask(&mut world, &name, rtype, 60.0 + f64::from(n) * 0.2, &reply);
    }

    silent(&mut world, "service discovery");
}

#[test]
fn mail_policies_are_silent_though_they_are_text() {
    let mut world = world();
    let mut dice = Dice(16);
    for n in 0..3_000_u32 {
        let site = dice.below(400);
        let names =
            [format!("site{site}.com"), format!("s1._domainkey.site{site}.com"), format!("_dmarc.site{site}.com")];
        let mut record = vec![200];
        record.extend(dice.text(LETTERS, 200));
        let reply = Reply::Data { ttl_s: 600, records: vec![record] };
        USUAL.ask(&mut world, &labels(&names[n as usize % 3]), TXT, 60.0 + f64::from(n) * 0.2, &reply);
    }

    silent(&mut world, "mail policies");
}
