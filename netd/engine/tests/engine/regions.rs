//! Countries and autonomous systems: shown, and evidence where they are rare.

use std::net::IpAddr;
use std::sync::Arc;

use netd_engine::config::Config;
use netd_engine::finding::{Finding, Kind, Reason};
use netd_engine::region::{Country, Geography, Region};

use super::support::{World, at, check_ins};

/// 198.51.100.0/24 is in SE and AS 64500, all else in DE and AS 64496.
#[derive(Debug)]
struct Atlas;

impl Geography for Atlas {
    fn region(&self, address: IpAddr) -> Option<Region> {
        let (country, asn) =
            if address.to_string().starts_with("198.51.100.") { ("SE", 64_500) } else { ("DE", 64_496) };
        Some(Region { country: Country::new(country), asn: Some(asn), as_name: Some("Example".into()) })
    }
}

/// A beacon to 198.51.100.9, after each of `hosts` hosts spoke `visits` times to `elsewhere`.
fn found(atlas: bool, hosts: u32, visits: u32, elsewhere: &str) -> Finding {
    let geography: Option<Arc<dyn Geography>> = if atlas { Some(Arc::new(Atlas)) } else { None };
    let mut world = World::new(Config { geography, ..Config::default() });
    for host in 0..hosts {
        for visit in 0..visits {
            let from = format!("10.0.1.{}:{}", host + 1, 20_000 + visit);
            world.connection(&from, elsewhere, f64::from(host * visits + visit), 300, 900);
        }
    }
    world.engine.tick(at(10_000.0));
    for (n, at_s) in check_ins(30, 60.0, 0.1).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", 10_000.0 + at_s, 300, 200);
        world.engine.tick(at(10_030.0 + at_s));
    }
    let findings = world.findings();
    findings.into_iter().rfind(|finding| finding.pair.responder_port == 443).expect("the beacon is found")
}

fn rare(finding: &Finding) -> Vec<&Reason> {
    finding.reasons.iter().filter(|reason| matches!(reason.evidence, "rare_country" | "rare_asn")).collect()
}

#[test]
fn a_region_that_few_hosts_speak_to_is_evidence() {
    let finding = found(true, 25, 1, "203.0.113.5:8443");

    assert_eq!(finding.responder_region.as_ref().unwrap().to_string(), "SE AS64500 Example");
    let rare = rare(&finding);
    assert_eq!(rare.len(), 2);
    assert!(rare.iter().all(|reason| reason.kind == Kind::Destination && reason.weight == 0.7), "{rare:?}");
    assert!(rare.iter().any(|reason| reason.value.starts_with("SE: used by ")), "{rare:?}");
    assert!(rare.iter().any(|reason| reason.value.starts_with("AS64500: used by ")), "{rare:?}");
}

#[test]
fn with_few_hosts_the_conversations_of_others_decide() {
    let finding = found(true, 3, 200, "203.0.113.5:8443");

    let rare = rare(&finding);
    assert_eq!(rare.len(), 2);
    // The check-ins' own conversations do not make their country common.
    assert!(rare.iter().any(|reason| reason.value == "SE: 0 of 600 other conversations"), "{rare:?}");
}

#[test]
fn a_region_that_others_speak_to_is_none() {
    assert_eq!(rare(&found(true, 25, 1, "198.51.100.5:8443")), Vec::<&Reason>::new());
    assert_eq!(rare(&found(true, 3, 200, "198.51.100.5:8443")), Vec::<&Reason>::new());
}

#[test]
fn where_little_is_known_nothing_is_said() {
    let finding = found(true, 5, 3, "203.0.113.5:8443");

    assert_eq!(rare(&finding), Vec::<&Reason>::new());
    assert!(finding.responder_region.is_some());
}

#[test]
fn without_a_database_the_same_is_found_without_regions() {
    let (with, without) = (found(true, 5, 3, "203.0.113.5:8443"), found(false, 5, 3, "203.0.113.5:8443"));

    assert_eq!(without.responder_region, None);
    assert_eq!(Finding { responder_region: None, ..with }, without);
}
