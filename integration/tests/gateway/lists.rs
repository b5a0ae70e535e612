//! Block-lists: taken line by line, replaced as a whole.

use std::fmt::Write as _;
use std::net::SocketAddr;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab};
use netd_lab::require_root;
use netd_lab::traffic::probe::{Passage, datagrams};
use serde_json::Value;

use crate::families::{BOTH, Family};
use crate::nowhere_prefix;

#[test]
fn a_list_of_a_thousand_lines_cuts_what_it_lists_and_says_which_lines_it_could_not_read() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let put = |text: &str| {
        let answer = daemon.api().send("PUT", "/api/v1/blocklists/feed", "text/plain", text).unwrap();
        (answer.status, answer.accepted().unwrap())
    };
    let text = thousand();

    let (status, change) = put(&text);
    assert_eq!(status, 201, "{change}");
    assert_eq!(numbers(&change), [1_000, 960, 960, 0, 0]);
    let rejected: Vec<_> = change["rejected"].as_array().unwrap().iter().map(|line| line["line"].as_u64()).collect();
    assert_eq!(rejected, [1, 2, 101, 201, 301, 401, 501, 601, 701, 801, 901].map(Some));
    for (index, value) in ["not-an-address", "198.51.100.300"].into_iter().enumerate() {
        let line = &change["rejected"][index];
        assert!(line["value"] == value && line["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{line}");
    }
    expect(&lab, [Passage::Cut, Passage::Free, Passage::Cut, Passage::Free]);

    let (status, change) = put(&text);
    assert_eq!((status, numbers(&change)), (200, [1_000, 960, 0, 0, 960]));

    // Host 250 of network 0 takes the place of everything.
    let other: Vec<String> = BOTH.iter().map(|family| family.nowhere(0, 250).to_string()).collect();
    let (_, change) = put(&other.join("\n"));
    assert_eq!(numbers(&change), [2, 2, 2, 960, 0]);
    expect(&lab, [Passage::Free, Passage::Cut, Passage::Free, Passage::Free]);

    let removed = daemon.api().send("DELETE", "/api/v1/blocklists/feed", "text/plain", "").unwrap();
    assert_eq!(removed.status, 200, "{removed:?}");
    expect(&lab, [Passage::Free; 4]);
}

#[test]
fn a_page_of_something_else_replaces_nothing() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let put = |text: &str| daemon.api().send("PUT", "/api/v1/blocklists/feed", "text/plain", text).unwrap();
    put(&thousand()).accepted().unwrap();

    let answer = put("<html><body>503 Service Unavailable</body></html>\n");

    assert_eq!(answer.status, 422, "{answer:?}");
    expect(&lab, [Passage::Cut, Passage::Free, Passage::Cut, Passage::Free]);
}

/// A host of network 0 that is listed, one that is not, one of the listed network 7, one of network 8.
fn expect(lab: &Lab, expected: [Passage; 4]) {
    for family in BOTH {
        let hosts = [family.nowhere(0, 210), family.nowhere(0, 250), family.nowhere(7, 9), family.nowhere(8, 9)];
        let from = family.at(IMPLANT, 5_000);
        let passages = hosts.map(|to| datagrams(lab, from, SocketAddr::new(to, 6_000)).unwrap());
        assert_eq!(passages, expected, "{hosts:?}");
    }
}

/// A thousand lines: hosts and prefixes of either version, comments, empty lines, and some that are no entries.
fn thousand() -> String {
    let mut text = String::new();
    for number in 1..=1_000_u32 {
        let family = if number % 2 == 0 { Family::V4 } else { Family::V6 };
        let entry = number / 2;
        match number {
            2 => writeln!(text, "198.51.100.300"),
            n if n % 100 == 1 => writeln!(text, "not-an-address"),
            n if n % 100 == 2 => writeln!(text, "# a comment"),
            n if n % 100 == 3 => writeln!(text),
            n if n % 100 == 4 => writeln!(text, "; another"),
            14 | 15 => writeln!(text, "{} # a network", nowhere_prefix(family, 7)),
            _ => writeln!(text, "{}", family.nowhere((entry / 240) as u8 * 20, (entry % 240) as u8)),
        }
        .unwrap();
    }
    text
}

/// Lines, entries, added, removed, unchanged.
fn numbers(change: &Value) -> [u64; 5] {
    ["lines", "entries", "added", "removed", "unchanged"].map(|name| change[name].as_u64().unwrap())
}
