use std::fs;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{Country, Database};

const EPOCH: u64 = 1_767_225_600;

fn built(rows: &str) -> Result<Built, String> {
    let options = Options { kind: None, build_epoch: EPOCH };
    build(rows.as_bytes(), Path::new("rows.csv"), &options).map_err(|error| error.to_string())
}

fn database(rows: &str) -> Database {
    Database::from_bytes(built(rows).unwrap().bytes, Path::new("rows.mmdb")).unwrap()
}

fn said(database: &Database, address: &str) -> String {
    database.lookup(address.parse().unwrap()).map_or_else(String::new, |region| region.to_string())
}

#[test]
fn the_committed_test_databases_are_what_their_rows_give() {
    for name in ["country", "asn"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let rows = fs::read(folder.join(name).with_extension("csv")).unwrap();
        let committed = fs::read(folder.join(name).with_extension("mmdb")).unwrap();
        let options = Options { kind: None, build_epoch: EPOCH };

        let built = build(rows.as_slice(), Path::new(name), &options).unwrap();

        assert!(built.bytes == committed, "{name}.mmdb is not made from {name}.csv");
    }
}

#[test]
fn every_form_of_rows_is_read() {
    let table = [
        ("198.51.100.0,198.51.100.255,DE\n", "DE"),
        ("198.51.100.0/24,de\r\n", "DE"),
        ("\u{feff}network,country_code\n198.51.100.0/24,DE\n", "DE"),
        ("198.51.100.0\t198.51.100.255\tDE\n", "DE"),
        ("198.51.100.0,198.51.100.255,64500,\"Example, \"\"quoted\"\"\"\n", "AS64500 Example, \"quoted\""),
        ("198.51.100.0\t198.51.100.255\t64500\tDE\tExample, Inc.\n", "DE AS64500 Example, Inc."),
        ("198.51.100.0/24,AS64500,Example\n", "AS64500 Example"),
        ("198.51.100.0/24,64500\n", "AS64500"),
        (
            "network,country,country_code,continent,asn,as_name\n198.51.100.0/24,Germany,DE,Europe,AS64500,Example\n",
            "DE AS64500 Example",
        ),
        ("::ffff:198.51.100.0/120,DE\n", "DE"),
        ("# comment\n\n198.51.100.7,198.51.100.7,DE\n", "DE"),
    ];
    for (rows, expected) in table {
        assert_eq!(said(&database(rows), "198.51.100.7"), expected, "{rows}");
    }
}

#[test]
fn a_kind_leaves_the_other_columns_out() {
    let rows = "198.51.100.0,198.51.100.255,64500,DE,Example\n".as_bytes();
    let made = |kind| {
        let options = Options { kind: Some(kind), build_epoch: EPOCH };
        let built = build(rows, Path::new("rows.csv"), &options).unwrap();
        said(&Database::from_bytes(built.bytes, Path::new("rows.mmdb")).unwrap(), "198.51.100.7")
    };

    assert_eq!((made(Kind::Country).as_str(), made(Kind::Asn).as_str()), ("DE", "AS64500 Example"));
}

#[test]
fn unrouted_and_unknown_rows_are_left_out() {
    let rows = "0.0.0.0\t0.255.255.255\t0\tNone\tNot routed\n198.51.100.0\t198.51.100.255\t64500\tDE\tExample\n\
                ::\t1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\t0\tNone\tNot routed\n";

    let built = built(rows).unwrap();

    assert_eq!((built.rows, built.empty_rows), (1, 2));
    assert_eq!(said(&database(rows), "198.51.100.7"), "DE AS64500 Example");
    assert_eq!(said(&database(rows), "0.0.0.1"), "");
}

#[test]
fn a_mistake_is_named_by_file_line_and_column() {
    let good = "198.51.100.0,198.51.100.255,DE\n";
    let table = [
        ("198.51.100.0,198.51.100.999,DE\n", "rows.csv:2: end_ip \"198.51.100.999\" is not an IP address"),
        ("203.0.113.0,203.0.113.255,DEU\n", "rows.csv:2: country_code \"DEU\" is not a country code of two letters"),
        ("203.0.113.9,203.0.113.0,DE\n", "rows.csv:2: end_ip \"203.0.113.0\" is not an end at or after the start"),
        ("203.0.113.9,2001:db8::,DE\n", "rows.csv:2: end_ip"),
        ("203.0.113.0,203.0.113.255\n", "rows.csv:2: 2 fields, where 3 are expected"),
        ("203.0.113.0,203.0.113.255,\"DE\n", "rows.csv:2: a quote is not closed"),
        ("::1,::2,DE\n", "rows.csv:2: start_ip \"::1\" is not above ::ffff:ffff"),
        ("\n#\n198.51.100.7,198.51.100.9,NL\n", "rows.csv:4: its addresses overlap those of line 1"),
        ("198.51.0.0,198.51.255.255,NL\n", "rows.csv:2: its addresses overlap those of line 1"),
    ];
    for (rows, expected) in table {
        let error = built(&format!("{good}{rows}")).unwrap_err();
        assert!(error.contains(expected), "{error}, not {expected}");
    }
    let table = [
        ("198.51.100.7/24,DE\n", "rows.csv:1: network \"198.51.100.7/24\" is not a prefix without host bits"),
        ("198.51.100.0/24,ASx,Example\n", "rows.csv:1: neither a heading nor a row"),
        ("hello\n", "rows.csv:1: neither a heading nor a row"),
        ("network,geoname_id\n198.51.100.0/24,7\n", "rows.csv:1: there is no column with country codes or AS numbers"),
        ("", "rows.csv has no row with countries or AS numbers"),
        ("198.51.100.0,198.51.100.255,ZZ\n", "rows.csv has no row with"),
    ];
    for (rows, expected) in table {
        let error = built(rows).unwrap_err();
        assert!(error.contains(expected), "{error}, not {expected}");
    }
    let long = format!("{good}{}\n", "x".repeat(70_000));
    assert!(built(&long).unwrap_err().contains("rows.csv:2: the line is longer"));
    let binary = [good.as_bytes(), b"\xff\xfe\n"].concat();
    let error = build(binary.as_slice(), Path::new("rows.csv"), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("rows.csv:2: the line is not UTF-8"), "{error}");
}

#[test]
fn the_whole_address_space_is_a_range_too() {
    let rows = "0.0.0.0,255.255.255.255,DE\n::1:0:0,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,SE\n";

    let database = database(rows);

    for (address, expected) in
        [("0.0.0.0", "DE"), ("255.255.255.255", "DE"), ("::1:0:0", "SE"), ("ffff:ffff::", "SE"), ("2001:db8::", "SE")]
    {
        assert_eq!(said(&database, address), expected, "{address}");
    }
}

#[test]
fn only_ipv4_makes_a_smaller_ipv4_tree() {
    assert_eq!(database("198.51.100.0/24,DE\n").info().ip_version, 4);
    assert_eq!(database("198.51.100.0/24,DE\n2001:db8::/32,SE\n").info().ip_version, 6);
    assert_eq!(database("0.0.0.0,255.255.255.255,DE\n").info().nodes, 1);
}

/// Records of 28 and 32 bits, for which a tree or data section would have to be large, through the node writer.
#[test]
fn wider_records_are_used_when_needed_and_read_back() {
    for (names, record_size) in [(1_000, 24), (160_000, 28)] {
        let rows: String = (0..names)
            .map(|n: u32| {
                format!(
                    "{},{},{},{}\n",
                    IpAddr::from((n * 256).to_be_bytes()),
                    IpAddr::from((n * 256 + 255).to_be_bytes()),
                    n + 1,
                    "x".repeat(110)
                )
            })
            .collect();

        let database = database(&rows);

        assert_eq!(database.info().record_size, record_size);
        for n in [0, 1, names / 2, names - 1] {
            let address = IpAddr::from((n * 256 + 255).to_be_bytes());
            assert_eq!(database.lookup(address).unwrap().asn, Some(n + 1), "{address}");
        }
    }
}

#[test]
fn an_unwritable_or_bad_build_leaves_the_old_file_and_no_temporary_one() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("rows.csv"), folder.path().join("out.mmdb"));
    let options = Options { kind: None, build_epoch: EPOCH };
    fs::write(&from, "198.51.100.0/24,DE\n").unwrap();
    write(&from, &to, &options).unwrap();
    let good = fs::read(&to).unwrap();

    fs::write(&from, "198.51.100.0/24,DE\n198.51.100.0/25,NL\n").unwrap();
    assert!(write(&from, &to, &options).is_err());

    assert_eq!(fs::read(&to).unwrap(), good);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["out.mmdb", "rows.csv"]);
    assert!(write(&from, &folder.path().join("none/out.mmdb"), &options).is_err());
}

/// Disjoint ranges of one family, from sorted cuts of its address space.
fn ranges(ipv6: bool) -> impl Strategy<Value = Vec<(u128, u128, u8)>> {
    let most = if ipv6 { u128::MAX } else { u32::MAX.into() };
    let least = if ipv6 { u128::from(u32::MAX) + 1 } else { 0 };
    let near = move |value: u128, shift: u32| (value >> shift << shift).clamp(least, most);
    let cut = (any::<u128>(), 0_u32..if ipv6 { 128 } else { 32 })
        .prop_map(move |(value, shift)| near(if ipv6 { value } else { value & u128::from(u32::MAX) }, shift));
    prop::collection::vec((cut, any::<bool>(), 0_u8..4), 2..40).prop_map(move |mut cuts| {
        cuts.sort_unstable();
        cuts.dedup_by_key(|(cut, _, _)| *cut);
        let pairs = cuts.windows(2).filter(|pair| pair[0].1);
        let last = |next: u128| next - 1;
        pairs.map(|pair| (pair[0].0, last(pair[1].0), pair[0].2)).collect()
    })
}

proptest! {
    #[test]
    fn a_look_up_is_what_a_linear_search_finds(v4 in ranges(false), v6 in ranges(true), elsewhere in any::<[u128; 8]>()) {
        let all: Vec<(u128, u128, u8)> = v4.into_iter().chain(v6).collect();
        prop_assume!(!all.is_empty());
        let countries = ["DE", "NL", "SE", "JP"];
        let rows: String = all
            .iter()
            .rev()
            .map(|(first, last, country)| {
                let country = countries[usize::from(*country)];
                format!("{},{},{country}\n", rows::address_at(*first), rows::address_at(*last))
            })
            .collect();

        let database = database(&rows);

        let ends = all.iter().flat_map(|(first, last, _)| {
            [Some(*first), Some(*last), first.checked_sub(1), last.checked_add(1), Some(first + (last - first) / 2)]
        });
        for value in ends.flatten().chain(elsewhere).chain(elsewhere.map(|value| value & 0xffff_ffff)) {
            let expected = all
                .iter()
                .find(|(first, last, _)| (*first..=*last).contains(&value))
                .and_then(|(_, _, country)| Country::new(countries[usize::from(*country)]));
            let address = rows::address_at(value);
            // An IPv4-mapped address is asked as IPv4.
            if address.to_canonical() == address {
                prop_assert_eq!(database.lookup(address).and_then(|region| region.country), expected, "{}", address);
            }
        }
    }

    #[test]
    fn no_text_makes_the_builder_panic(text in "[0-9a-fA-F:./,\t\"\n# NLDE-]{0,200}") {
        let _ = built(&text);
    }

    #[test]
    fn the_order_of_rows_changes_no_bytes_of_the_tree(v4 in ranges(false)) {
        prop_assume!(!v4.is_empty());
        let row = |(first, last, _): &(u128, u128, u8)| {
            format!("{},{},DE\n", rows::address_at(*first), rows::address_at(*last))
        };
        let forwards: String = v4.iter().map(row).collect();
        let backwards: String = v4.iter().rev().map(row).collect();

        prop_assert_eq!(built(&forwards).unwrap().bytes, built(&backwards).unwrap().bytes);
    }
}
