use proptest::prelude::*;

use super::*;

/// 2026-11-22.
const NOW: Timestamp = Timestamp(1_795_000_000_000_000_000);

#[derive(Debug, Default, PartialEq)]
struct List {
    values: Vec<String>,
    rejected: Vec<(u64, String)>,
    skipped: u64,
    lines: u64,
}

fn read_in(text: &[u8], piece: usize) -> List {
    let (mut list, mut reader) = (List::default(), Reader::new(NOW));
    let mut take = |found: Found| match found {
        Ok(entry) => list.values.push(entry.value.to_string()),
        Err(rejected) => list.rejected.push((rejected.line, rejected.reason.to_string())),
    };
    for piece in text.chunks(piece.max(1)) {
        reader.push(piece, &mut take);
    }
    let summary = reader.finish(&mut take);
    (list.skipped, list.lines) = (summary.skipped, summary.lines);
    list
}

fn read(text: &str) -> List {
    read_in(text.as_bytes(), 7)
}

/// Asserts what a list holds, that nothing of it is refused, and how much is passed over.
fn assert_holds(text: &str, values: &[&str], skipped: u64) {
    let list = read(text);
    assert_eq!(list.values, values, "{text}");
    assert_eq!(list.rejected, [], "{text}");
    assert_eq!(list.skipped, skipped, "{text}");
    assert_eq!(list, read_in(text.as_bytes(), 100_000), "pieces must not matter: {text}");
}

#[test]
fn a_plain_list_holds_addresses_prefixes_ranges_names_endpoints_and_fingerprints() {
    let text = "\u{feff}# head\n; more\n198.51.100.7   # ir-4411\n203.0.113.0/24\n2001:db8::/32\n192.0.2.4-192.0.2.7\n\
                198.51.100.8 - 198.51.100.9\n192.0.2.1:4444\nBad.Example.\n*.worse.example\n6734f37431670b3ab4292b8f60f29984\n::ffff:192.0.2.0/120\n";
    let values = [
        "198.51.100.7",
        "203.0.113.0/24",
        "2001:db8::/32",
        "192.0.2.4/30",
        "198.51.100.8/31",
        "192.0.2.1:4444",
        "bad.example",
        "worse.example",
        "6734f37431670b3ab4292b8f60f29984",
        "192.0.2.0/24",
    ];
    assert_holds(text, &values, 0);
}

#[test]
fn lists_for_resolvers_hold_names() {
    assert_holds(
        "127.0.0.1 localhost\n0.0.0.0 a.example b.example # both\n::1 ip6-localhost\n",
        &["a.example", "b.example"],
        2,
    );
    let adblock = "[Adblock Plus 2.0]\n! Title: x\n||a.example^\n||b.example^$important\n||c.example^$third-party\n@@||d.example^\nd.example##.ad\n";
    assert_holds(adblock, &["a.example", "b.example"], 4);
    assert_holds(
        "address=/a.example/0.0.0.0\nserver=/b.example/c.example/\nlocal=/d.example/\n",
        &["a.example", "b.example", "c.example", "d.example"],
        0,
    );
}

#[test]
fn a_response_policy_zone_holds_names_and_addresses() {
    let text = "$TTL 300\n@ IN SOA localhost. root.localhost. 1 2 3 4 5\n@ IN NS localhost.\na.example CNAME .\n\
                *.b.example 60 IN CNAME *.\nc.example CNAME rpz-passthru.\n24.0.113.0.203.rpz-ip CNAME .\n\
                32.7.100.51.198.rpz-ip CNAME .\n48.zz.1.db8.2001.rpz-ip CNAME .\nx.rpz-nsdname CNAME .\n";
    assert_holds(text, &["a.example", "b.example", "203.0.113.0/24", "198.51.100.7", "2001:db8:1::/48"], 4);
}

#[test]
fn a_table_is_read_by_its_header() {
    assert_holds(
        "duration,reason,scope,type,value\n4h,\"a, b\",ip,ban,198.51.100.7\n1h,x,range,ban,203.0.113.0/24\n",
        &["198.51.100.7", "203.0.113.0/24"],
        0,
    );
    let feodo = "################\n# Feodo\n# \"first_seen_utc\",\"dst_ip\",\"dst_port\",\"malware\"\n\"2026-11-01 00:00:01\",\"198.51.100.7\",\"443\",\"X\"\n# END\n";
    assert_holds(feodo, &["198.51.100.7"], 0);
    assert_holds("192.0.2.1,7,100\n192.0.2.2,7,90\n", &["192.0.2.1", "192.0.2.2"], 0);
    let zeek = "#fields\tindicator\tindicator_type\tmeta.source\n198.51.100.7\tIntel::ADDR\tx\nbad.example\tIntel::DOMAIN\tx\n\
                203.0.113.0/24\tIntel::SUBNET\tx\nhttp/x\tIntel::URL\tx\n";
    assert_holds(zeek, &["198.51.100.7", "bad.example", "203.0.113.0/24"], 1);
}

#[test]
fn objects_are_told_by_their_keys() {
    let spamhaus = "{\"cidr\":\"203.0.113.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n{\"cidr\":\"192.0.2.0/24\"}\n{\"type\":\"metadata\",\"timestamp\":1}\n";
    assert_holds(spamhaus, &["203.0.113.0/24", "192.0.2.0/24"], 1);
    assert_holds(
        "[\n  {\"ip_address\": \"198.51.100.7\", \"port\": 443, \"malware\": \"X\"},\n  {\"ip_address\": \"198.51.100.8\"}\n]\n",
        &["198.51.100.7", "198.51.100.8"],
        0,
    );
    assert_holds(
        "[{\"decisions\":[{\"duration\":\"4h\",\"scope\":\"Ip\",\"value\":\"198.51.100.7\"}]}]",
        &["198.51.100.7"],
        0,
    );
    assert_holds(
        "{\"query_status\":\"ok\",\"data\":[{\"ioc\":\"198.51.100.7:443\",\"ioc_type\":\"ip:port\"},{\"ioc\":\"x\",\"ioc_type\":\"url\"}]}",
        &["198.51.100.7:443"],
        1,
    );
    assert_holds("[\"198.51.100.7\", \"bad.example\"]", &["198.51.100.7", "bad.example"], 0);
}

#[test]
fn a_stix_bundle_gives_what_holds_today() {
    let indicator = |pattern: &str, more: &str| {
        format!(
            "{{\"type\":\"indicator\",\"spec_version\":\"2.1\",\"pattern_type\":\"stix\",\"pattern\":\"{pattern}\"{more}}}"
        )
    };
    let bundle = |objects: &[String]| {
        format!("{{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[{}]}}", objects.join(","))
    };
    let objects = [
        "{\"type\":\"identity\",\"spec_version\":\"2.1\",\"name\":\"x\"}".to_owned(),
        indicator("[ipv4-addr:value = '198.51.100.7']", ""),
        indicator(
            "[domain-name:value = 'bad.example' OR ipv6-addr:value = '2001:db8::7']",
            ",\"valid_until\":\"2030-01-01T00:00:00Z\"",
        ),
        indicator("[ipv4-addr:value = '198.51.100.8']", ",\"valid_until\":\"2020-01-01T00:00:00Z\""),
        indicator("[ipv4-addr:value = '198.51.100.9']", ",\"revoked\":true"),
        indicator("[file:hashes.MD5 = 'x']", ""),
    ];
    assert_holds(&bundle(&objects), &["198.51.100.7", "bad.example", "2001:db8::7"], 4);

    let list =
        read(&bundle(&[indicator("[ipv4-addr:value = '198.51.100.7' AND domain-name:value = 'x.example']", "")]));
    assert_eq!((list.values.len(), list.rejected.len()), (0, 1), "half of a conjunction accuses nobody");
}

#[test]
fn of_a_misp_event_what_is_meant_for_detection_counts() {
    let attribute = |kind: &str, value: &str, to_ids: bool| {
        format!("{{\"type\":\"{kind}\",\"value\":\"{value}\",\"to_ids\":{to_ids}}}")
    };
    let text = format!(
        "{{\"Event\":{{\"info\":\"x\",\"Attribute\":[{},{},{},{}],\"Object\":[{{\"name\":\"o\",\"Attribute\":[{}]}}]}}}}",
        attribute("ip-dst", "198.51.100.7", true),
        attribute("ip-dst|port", "198.51.100.8|443", true),
        attribute("ip-dst", "198.51.100.9", false),
        attribute("sha256", "00", true),
        attribute("domain", "bad.example", true),
    );
    assert_holds(&text, &["198.51.100.7", "198.51.100.8", "bad.example"], 2);
}

#[test]
fn what_is_no_indicator_is_refused_with_its_line_and_reason() {
    let list = read("300.1.1.1\n192.0.2.7/24\n192.0.2.0/33\n192.0.2.9-192.0.2.1\nhello world out there\n");

    assert_eq!(
        list.rejected,
        [
            (1, "neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint".to_owned()),
            (2, "host bits are set; the prefix is 192.0.2.0/24".to_owned()),
            (3, "the prefix length is not a number from 0 to 32".to_owned()),
            (4, "the range ends before it begins, or mixes IPv4 and IPv6".to_owned()),
            (5, "neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint".to_owned()),
        ]
    );
    assert_eq!(read("value,reason\n198.51.100.7,x\n,y\n").rejected, [(3, "the column value is missing".to_owned())]);
    assert!(read("[{\"ip\":\"192.0.2.1\"}, {").rejected[0].1.starts_with("not JSON"));
    assert_eq!(read("<html>\n<body>\n").rejected.len(), 2, "a page is no list");
}

#[test]
fn a_line_without_end_is_refused_and_the_next_is_read() {
    let (mut found, mut reader) = (Vec::new(), Reader::new(NOW));
    for _ in 0..1_000 {
        reader.push(&[b'1'; 1_000], &mut |one| found.push(one));
        assert!(reader.buffer.capacity() < 4 * MAX_LINE);
    }
    reader.push(b"\n192.0.2.1\n", &mut |one| found.push(one));

    assert_eq!(found[0].as_ref().unwrap_err().reason, Refused::TooLong(MAX_LINE));
    assert!(found[1].is_ok());
}

#[test]
fn what_steers_a_terminal_is_not_echoed() {
    let mut shown = String::new();
    let mut reader = Reader::new(NOW);
    reader.push(b"\x1b[31mred\n", &mut |found| shown = found.unwrap_err().value);

    assert_eq!(shown, "\u{fffd}[31mred");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        prop_assert_eq!(read_in(&text, piece), read_in(&text, 1_000));
    }

    /// Whole lines of addresses are read another way than lines in pieces.
    #[test]
    fn a_line_read_at_once_is_the_line_read_in_pieces(
        lines in proptest::collection::vec(
            prop_oneof![
                any::<std::net::IpAddr>().prop_map(|address| address.to_string()),
                (any::<std::net::IpAddr>(), 0_u8..=129).prop_map(|(address, bits)| format!("{address}/{bits}")),
                any::<u32>().prop_map(|n| format!("::ffff:{:x}:{:x}/120", n >> 16, n & 0xff00)),
                "[0-9a-fA-F.:/]{0,20}",
            ],
            0..20,
        ),
        ends in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let text = format!("192.0.2.1{ends}{}", lines.join(ends));
        prop_assert_eq!(read_in(text.as_bytes(), 100_000), read_in(text.as_bytes(), 1));
    }

    #[test]
    fn no_line_that_looks_like_a_feed_breaks_it(
        words in proptest::collection::vec(
            prop_oneof![
                Just("{\"cidr\":\""), Just("[{"), Just("\"}"), Just("\n"), Just("||"), Just("^"), Just("address=/"), Just("/"),
                Just(" CNAME ."), Just("zz.1.rpz-ip"), Just("#fields\t"), Just("indicator"), Just(","), Just("value"),
                Just("192.0.2.1"), Just("-"), Just("\t"), Just("pattern"), Just("' OR '"), Just("\"")
            ],
            0..30,
        ),
        piece in 1_usize..20,
    ) {
        let text = words.concat();
        prop_assert_eq!(read_in(text.as_bytes(), piece), read_in(text.as_bytes(), 10_000));
    }
}
