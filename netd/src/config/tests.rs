use super::*;
use crate::api::Listen;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("netd.toml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_printed_default_is_the_default_with_every_line_uncommented() {
    assert_eq!(parse(DEFAULT), Ok(Config::default()));
    let uncommented: String =
        DEFAULT.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(parse(&uncommented), Ok(Config::default()));
}

#[test]
fn every_key_is_in_the_printed_default() {
    let keys = [
        "mode",
        "interfaces",
        "xdp",
        "state_dir",
        "bpffs",
        "cgroup",
        "policy",
        "sink",
        "accept_degraded",
        "protect",
        "local_networks",
        "heartbeat_limit",
        "listen",
        "hosts",
        "loopback",
        "group",
        "group_scope",
        "certificate",
        "key",
        "client_ca",
        "privileges",
        "flows_per_cpu",
        "conversations",
        "pairs",
        "findings",
        "blocklists",
        "listed_hosts",
        "listed_prefixes",
        "history",
        "retention",
        "max_size",
        "country",
        "asn",
        "level",
        "format",
    ];
    for key in keys {
        assert!(DEFAULT.lines().any(|line| line.trim_start_matches("#: ").starts_with(&format!("{key} = "))), "{key}");
    }
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let table = [
        ("mod = \"enforce\"", "unknown field `mod`"),
        ("mode = \"block\"", "unknown variant `block`"),
        ("[api]\nlisten = \"0.0.0.0\"", "neither address:port"),
        ("[api]\nlisten = \"9443\"", "neither address:port nor tls:address:port nor unix:/path"),
        ("[api]\nlisten = [\"unix:sock\"]", "neither address:port nor tls:address:port nor unix:/path"),
        ("protect = [\"10.0.0.7/24\"]", "the prefix is 10.0.0.0/24"),
        ("protect = [\"router\"]", "not an IP address or prefix"),
        ("heartbeat_limit = \"1 minute\"", "is not a duration"),
        ("interfaces = []", "at least one interface"),
        ("interfaces = [\"auto\", \"eth0\"]", "already means all"),
        ("interfaces = \"eth0/../x\"", "cannot be the name"),
        ("mode = observe", "|"),
    ];
    for (text, expected) in table {
        let error = parse(text).unwrap_err();

        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.contains("TOML parse error at line") && error.contains('^'), "{text}: {error}");
    }
}

#[test]
fn a_value_that_cannot_be_meant_names_its_key() {
    let table = [
        ("heartbeat_limit = \"1s\"", "heartbeat_limit is 1s"),
        ("[limits]\nflows_per_cpu = 1", "limits.flows_per_cpu is 1; it must be from 1024"),
        ("[limits]\npairs = 0", "limits.pairs is 0"),
        ("state_dir = \"state\"", "state_dir is 'state'; it must be an absolute path"),
        ("[api.tls]\nmode = \"files\"", "api.tls.certificate is ''; it must be an absolute path"),
        ("[api.tls]\nkey = \"/k\"", "api.tls.mode is auto; it must be files"),
        ("[geoip]\nasn = \"asn.mmdb\"", "geoip.asn is 'asn.mmdb'; it must be an absolute path"),
    ];
    for (text, expected) in table {
        assert!(parse(text).unwrap_err().contains(expected), "{text}");
    }
}

#[test]
fn one_text_or_a_list_is_read() {
    let config = parse("interfaces = \"eth0\"\n[api]\nlisten = \"unix:/run/netd.sock\"");

    let config = config.unwrap();
    assert_eq!(config.interfaces, Interfaces::Named(vec!["eth0".into()]));
    assert_eq!(config.api.listen, [Listen::Unix("/run/netd.sock".into())]);
}
