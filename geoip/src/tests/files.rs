//! What is refused, and that it is refused in time.

use std::fs;
use std::net::IpAddr;

use super::{database, file, file_of, shared};
use crate::build::encode::{MAP, STRING, head, string};
use crate::tree::Flaw;
use crate::{Database, Error, Kind, Layout};

fn country_record() -> Vec<u8> {
    let mut record = Vec::new();
    head(&mut record, MAP, 1);
    string(&mut record, "country_code");
    string(&mut record, "NL");
    record
}

#[test]
fn broken_files_are_refused_by_name() {
    let Some(folder) = shared() else { return };
    let broken = [
        "MaxMind-DB-test-broken-pointers-24.mmdb",
        "MaxMind-DB-test-broken-search-tree-24.mmdb",
        "cyclic-data-structure.mmdb",
        "libmaxminddb-corrupt-search-tree.mmdb",
        "libmaxminddb-oversized-map.mmdb",
    ];
    for name in broken {
        let error = Database::open(&folder.join(name)).unwrap_err();

        assert!(matches!(error, Error::Invalid { .. } | Error::Tree { .. }), "{error}");
        assert!(error.to_string().contains(name) && error.to_string().contains("not a valid MMDB file"), "{error}");
    }
}

#[test]
fn files_of_the_nested_layout_answer() {
    let Some(folder) = shared() else { return };
    let open = |name: &str| Database::open(&folder.join(name)).unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();

    for name in ["GeoLite2-Country-Test.mmdb", "GeoIP2-City-Test.mmdb"] {
        let countries = open(name);
        assert_eq!((countries.info().layout, &countries.info().kinds[..]), (Layout::Nested, &[Kind::Country][..]));
        for (ip, code) in [("89.160.20.112", "SE"), ("81.2.69.160", "GB"), ("2001:218::1", "JP")] {
            let region = countries.lookup(address(ip)).unwrap();
            assert_eq!(region.country.unwrap().as_str(), code, "{name} {ip}");
        }
        assert_eq!(countries.lookup(address("::ffff:81.2.69.160")), countries.lookup(address("81.2.69.160")));
        assert_eq!(countries.lookup(address("192.0.2.1")), None);
    }
    let systems = open("GeoLite2-ASN-Test.mmdb");
    let region = systems.lookup(address("1.128.0.1")).unwrap();
    assert_eq!((region.asn, region.as_name.as_deref(), region.country), (Some(1_221), Some("Telstra Pty Ltd"), None));
    assert_eq!(systems.info().kinds, [Kind::Asn]);
}

#[test]
fn a_file_cut_anywhere_is_refused_and_no_changed_byte_makes_it_panic() {
    let whole = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/country.mmdb")).unwrap();

    for length in 0..whole.len() {
        // The last byte of the metadata is a number's: without it the value is cut.
        assert!(database(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
    }
    for index in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[index] ^= 1 << bit;
            if let Ok(database) = database(changed) {
                for address in ["0.0.0.0", "198.51.100.7", "255.255.255.255", "::", "2001:db8::1"] {
                    let _ = database.lookup(address.parse().unwrap());
                }
            }
        }
    }
}

/// The reader's own verification would make 2^60 steps here.
#[test]
fn a_tree_whose_nodes_share_children_is_refused_in_time() {
    // 96 zeros lead to node 96, the IPv4 subtree; a one leads to nodes that have one child twice, and end in it again.
    let (ipv4, last) = (96, 157);
    let mut nodes: Vec<[usize; 2]> = (0..ipv4).map(|node| [node + 1, last + 1]).collect();
    nodes.push([last + 1 + 16, last + 1]);
    nodes.extend((ipv4 + 1..last).map(|node| [node + 1, node + 1]));
    nodes.push([ipv4, ipv4]);
    nodes[0][1] = ipv4 + 1;

    let error = database(file(&nodes, &country_record(), true)).unwrap_err();

    assert!(matches!(error, Error::Tree { flaw: Flaw::Shared, .. }), "{error}");
}

#[test]
fn a_tree_with_a_cycle_is_refused() {
    let error = database(file(&[[0, 1]], &country_record(), false)).unwrap_err();

    assert!(matches!(error, Error::Tree { .. }), "{error}");
}

#[test]
fn a_file_without_countries_and_as_numbers_is_refused_with_its_type() {
    let mut record = Vec::new();
    head(&mut record, MAP, 1);
    string(&mut record, "city");
    string(&mut record, "Amsterdam");

    let error = database(file_of(&record)).unwrap_err().to_string();

    assert!(error.contains("test.mmdb") && error.contains("netd-Country"), "{error}");
    let mut text = Vec::new();
    head(&mut text, STRING, 2);
    text.extend(b"NL");
    assert!(matches!(database(file_of(&text)), Err(Error::Nothing { .. })));
}

#[test]
fn what_is_no_regular_file_or_absurdly_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.mmdb");
    fs::File::create(&large).unwrap().set_len(crate::MAX_FILE + 1).unwrap();

    assert!(matches!(Database::open(&large), Err(Error::Size { .. })));
    assert!(matches!(Database::open(folder.path()), Err(Error::NotAFile { .. })));
    assert!(matches!(Database::open("/dev/zero".as_ref()), Err(Error::NotAFile { .. })));
    assert!(matches!(Database::open(&folder.path().join("none")), Err(Error::Read { .. })));
}
