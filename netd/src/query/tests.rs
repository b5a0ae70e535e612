use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A record of whatever a test puts into it.
#[derive(Clone, Debug, Default)]
struct Put(BTreeMap<&'static str, Value<'static>>);

impl Put {
    fn with(mut self, field: Field, value: Value<'static>) -> Self {
        self.0.insert(field.name(), value);
        self
    }
}

impl Record for Put {
    fn value(&self, field: Field) -> Value<'_> {
        self.0.get(field.name()).cloned().unwrap_or(Value::None)
    }

    fn begun(&self) -> Timestamp {
        NOW
    }

    fn ended(&self) -> Timestamp {
        NOW
    }
}

fn text(text: &'static str) -> Value<'static> {
    Value::Text(Cow::Borrowed(text))
}

fn flow() -> Put {
    Put::default()
        .with(Field::Src, Value::Address("10.0.0.7".parse().unwrap()))
        .with(Field::Dst, Value::Address("198.51.100.9".parse().unwrap()))
        .with(Field::SrcPort, Value::Number(51_514))
        .with(Field::DstPort, Value::Number(4_444))
        .with(Field::Protocol, Value::Number(6))
        .with(Field::Process, text("nginx"))
        .with(Field::Exe, text("/usr/sbin/nginx"))
        .with(Field::Name, text("cdn.example.net"))
        .with(Field::Country, text("RU"))
        .with(Field::Asn, Value::Number(64_500))
        .with(Field::Score, Value::Share(0.97))
        .with(Field::Bytes, Value::Number(2_000_000))
        .with(Field::Duration, Value::Number(90_000_000_000))
        .with(Field::Verdict, text("alert"))
}

fn accepts(query: &str) -> bool {
    Query::parse(Table::Flows, query, NOW).unwrap_or_else(|error| panic!("{error}")).accepts(&flow())
}

#[test]
fn each_kind_of_term_is_held_against_its_field() {
    let table = [
        ("", true),
        ("dst:198.51.100.0/24 port:4444 proc:nginx score:>=0.8 -country:NL", true),
        ("src:198.51.100.9", false),
        ("ip:198.51.100.9", true),
        ("198.51.100.9", true),
        ("198.51.100.0/24 -10.0.0.0/8", false),
        ("2001:db8::1", false),
        ("fe80::1", false),
        ("port:4000-5000", true),
        ("port:80,443,4444", true),
        ("sport:4444", false),
        ("proto:tcp", true),
        ("proto:17", false),
        ("proc:ng*", true),
        ("proc:\"ng*\"", false),
        ("proc:/usr/sbin/nginx", true),
        ("proc:*/nginx", true),
        ("name:example.net", true),
        ("name:*.example.net", true),
        ("name:*.cdn.example.net", false),
        ("name:\"example.net\"", false),
        ("name:CDN.Example.NET.", true),
        ("name:ample.net", false),
        ("name:c*n.example.*", true),
        ("country:ru", true),
        ("asn:AS64500", true),
        ("asn:64501", false),
        ("score:>0.97", false),
        ("score:0.9-1", true),
        ("bytes:>1M", true),
        ("bytes:<=1.5MiB", false),
        ("bytes:2MB", true),
        ("duration:>1m", true),
        ("duration:1m-2m", true),
        ("verdict:alert,block", true),
        ("-verdict:alert", false),
        ("user:root", false),
        ("-user:root", true),
        ("EXAMPLE", true),
        ("-\"cdn.example\"", false),
        ("since:1h until:1h", false),
        ("since:2027-01-15T08:00:00Z", true),
    ];
    for (query, expected) in table {
        assert_eq!(accepts(query), expected, "{query}");
    }
}

#[test]
fn an_error_says_what_was_expected_and_where() {
    let table = [
        ("port:4444 colour:red", 11, "'colour' is no field; known are src, dst, ip"),
        ("port:4444 colour:red", 11, "since, until, sort"),
        ("port:http", 6, "a number from 0 to 65535"),
        ("port:80,x", 9, "a number from 0 to 65535"),
        ("port:70000", 6, "from 0 to 65535"),
        ("port:", 6, "a value for port"),
        ("dst:300.1.1.1", 5, "an address like"),
        ("score:2", 7, "a number from 0 to 1"),
        ("verdict:drop", 9, "one of allow, alert, block"),
        ("name:\"x", 6, "no end"),
        ("sort:name", 6, "what to sort by"),
        ("-sort:bytes", 1, "cannot be turned round"),
        ("since:yesterday", 7, "is not a time"),
        ("detector:beacon", 1, "'detector' is no field"),
        ("bytes:9-1", 7, "from the lower number"),
        ("é port:x", 8, "a number"),
        ("- port:1", 1, "a field or a word"),
    ];
    for (query, column, expected) in table {
        let error = Query::parse(Table::Flows, query, NOW).unwrap_err();
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.expected.contains(expected), "{query}: {error}");
    }
}

#[test]
fn a_caret_stands_under_the_mistake() {
    let error = Query::parse(Table::Flows, "port:443 dst:here", NOW).unwrap_err();

    assert_eq!(error.shown(), "  port:443 dst:here\n               ^^^^");
}

#[test]
fn a_query_is_bounded() {
    let long = "x".repeat(MAX_LENGTH + 1);
    let many = "port:1 ".repeat(MAX_TERMS + 1);
    let wide = format!("port:{}1", "1,".repeat(MAX_TERMS));
    for text in [long, many, wide] {
        assert!(Query::parse(Table::Flows, &text, NOW).is_err());
    }
}

#[test]
fn parameters_join_what_the_text_says() {
    let mut query = Query::parse(Table::Flows, "port:4444", NOW).unwrap();
    query.with(Field::Country, "RU").unwrap();
    assert!(query.accepts(&flow()));

    query.with(Field::Protocol, "udp").unwrap();
    assert!(!query.accepts(&flow()));
}

#[test]
fn an_order_has_a_place_for_every_record() {
    let query = Query::parse(Table::Flows, "sort:bytes-asc", NOW).unwrap();
    let (small, large) = (flow().with(Field::Bytes, Value::Number(1)), flow());

    let (small, large) = (query.sort.place(9, &small), query.sort.place(1, &large));

    assert!(query.sort.is_after(large, small) && !query.sort.is_after(small, large));
}

#[test]
fn severities_are_ordered() {
    let high = Put::default().with(Field::Severity, Value::Number(3));
    for (text, expected) in [("severity:>=medium", true), ("severity:critical", false), ("severity:high", true)] {
        assert_eq!(Query::parse(Table::Findings, text, NOW).unwrap().accepts(&high), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_every_column_lies_in_it(text in ".{0,80}") {
        if let Err(error) = Query::parse(Table::Flows, &text, NOW) {
            proptest::prop_assert!(error.column <= text.chars().count() + 1);
            proptest::prop_assert!(!error.shown().is_empty());
        }
    }

    #[test]
    fn a_glob_matches_what_its_pieces_spell(pieces in proptest::collection::vec("[ab]{0,3}", 1..4), fill in "[abc]{0,3}") {
        let pattern = pieces.join("*");
        let text = pieces.join(&fill);
        let record = Put::default().with(Field::User, Value::Text(text.clone().into()));
        proptest::prop_assume!(!pattern.is_empty());
        let query = Query::parse(Table::Flows, &format!("user:{pattern}"), NOW).unwrap();
        let expected = if pattern.contains('*') { true } else { text == pattern };
        proptest::prop_assert_eq!(query.accepts(&record), expected);
    }

    #[test]
    fn any_prefix_holds_its_own_address(bits: u32, length in 0_u8..=32) {
        let address = IpAddr::from(bits.to_be_bytes());
        let record = Put::default().with(Field::Dst, Value::Address(address));
        let query = Query::parse(Table::Flows, &format!("{address}/{length}"), NOW).unwrap();
        proptest::prop_assert!(query.accepts(&record));
    }
}
