//! Records of the makers in this field, by their field names.

use netd_engine::region::Country;

use super::{database, file, file_of};
use crate::build::encode::{MAP, UINT32, head, number, string};
use crate::{Database, Kind, Layout, Region};

enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Map(&'a [(&'a str, Value<'a>)]),
}

use Value::{Map, Number, Text};

fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Text(text) => string(out, text),
        Number(value) => number(out, UINT32, *value),
        Map(fields) => {
            head(out, MAP, fields.len());
            for (key, value) in *fields {
                string(out, key);
                write(out, value);
            }
        }
    }
}

fn holding(record: &Value<'_>) -> Database {
    let mut data = Vec::new();
    write(&mut data, record);
    database(file_of(&data)).unwrap()
}

fn region(record: &Value<'_>) -> Region {
    holding(record).lookup([198, 51, 100, 1].into()).unwrap()
}

#[test]
fn every_layout_gives_the_same_country() {
    let iso = |code| Map(Box::leak(Box::new([("geoname_id", Number(7)), ("iso_code", Text(code))])));
    let table: [(&str, Value<'_>, Layout); 5] = [
        ("IPtoASN, ip-location-db", Map(&[("country_code", Text("NL"))]), Layout::Flat),
        ("IPinfo Lite", Map(&[("country", Text("Netherlands")), ("country_code", Text("NL"))]), Layout::Flat),
        ("IPinfo country", Map(&[("country", Text("NL")), ("country_name", Text("Netherlands"))]), Layout::Flat),
        ("GeoIP2", Map(&[("country", iso("NL")), ("registered_country", iso("US"))]), Layout::Nested),
        ("GeoIP2, place not known", Map(&[("registered_country", iso("NL"))]), Layout::Nested),
    ];
    for (maker, record, layout) in table {
        let database = holding(&record);

        assert_eq!(database.lookup([192, 0, 2, 1].into()).unwrap().country, Country::new("NL"), "{maker}");
        assert_eq!(database.info().layout, layout, "{maker}");
        assert_eq!(database.info().kinds, [Kind::Country], "{maker}");
    }
}

#[test]
fn every_layout_gives_the_same_system() {
    let table = [
        Map(&[("autonomous_system_number", Number(64_500)), ("autonomous_system_organization", Text("Example"))]),
        Map(&[("asn", Text("AS64500")), ("as_name", Text("Example")), ("as_domain", Text("example.net"))]),
        Map(&[("asn", Number(64_500)), ("org", Text("Example"))]),
        Map(&[("as_number", Text("64500")), ("name", Text("Example"))]),
    ];
    for record in table {
        let expected = Region { country: None, asn: Some(64_500), as_name: Some("Example".into()) };
        assert_eq!(region(&record), expected);
    }
}

#[test]
fn a_name_cannot_steer_a_terminal_or_fill_a_screen() {
    let long = format!("\u{1b}[2JEvil{}", "x".repeat(1_000));

    let region = region(&Map(&[("asn", Number(1)), ("as_name", Text(&long))]));

    let name = region.as_name.unwrap();
    assert!(name.starts_with("[2JEvil") && name.chars().count() == 128, "{name}");
}

#[test]
fn a_field_of_an_unexpected_type_is_passed_over() {
    let record = Map(&[
        ("country_code", Number(31)),
        ("country", Map(&[("iso_code", Map(&[("iso_code", Text("DE"))]))])),
        ("registered_country", Map(&[("iso_code", Text("NL"))])),
        ("asn", Text("ASxyz")),
    ]);

    let region = region(&record);

    assert_eq!((region.country, region.asn), (Country::new("NL"), None));
}

#[test]
fn an_ipv4_tree_knows_no_ipv6_and_a_tree_without_ipv4_no_ipv4() {
    let mut data = Vec::new();
    write(&mut data, &Map(&[("country_code", Text("NL"))]));
    let ipv4 = database(file(&[[17, 17]], &data, false)).unwrap();
    // Node 0: all addresses that begin with a zero bit.
    let ipv6 = database(file(&[[17, 1]], &data, true)).unwrap();

    assert!(ipv4.lookup("192.0.2.1".parse().unwrap()).is_some());
    assert!(ipv4.lookup("::ffff:192.0.2.1".parse().unwrap()).is_some());
    assert_eq!(ipv4.lookup("2001:db8::1".parse().unwrap()), None);
    assert!(ipv6.lookup("2001:db8::1".parse().unwrap()).is_some());
    assert_eq!(ipv6.lookup("192.0.2.1".parse().unwrap()), None);
    assert_eq!(ipv6.lookup("ff02::1".parse().unwrap()), None);
}
