//! Ports that management comes to.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::host::logins::Ports;

/// The key's value: `"sshd"`, or a list of ports.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Word(String),
    Ports(Vec<i64>),
}

/// Reads the key; an empty list is no port.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
    let unknown = || D::Error::custom("management_ports must be \"sshd\" or a list of ports like [22, 2222]");
    match Value::deserialize(deserializer).map_err(|_| unknown())? {
        Value::Word(word) if word == "sshd" => Ok(Ports::Sshd),
        Value::Word(_) => Err(unknown()),
        Value::Ports(ports) => {
            let port = |port: i64| {
                let wrong = || D::Error::custom(format!("{port} in management_ports is no port: 1 to 65535"));
                u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(wrong)
            };
            ports.into_iter().map(port).collect::<Result<_, _>>().map(Ports::These)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Ports, String> {
        let config = Config::parse(text, Path::new("netd.toml")).map_err(|error| error.to_string())?;
        Ok(config.management_ports)
    }

    #[test]
    fn ports_are_those_of_sshd_or_those_named() {
        assert_eq!(read(""), Ok(Ports::Sshd));
        assert_eq!(read("management_ports = \"sshd\""), Ok(Ports::Sshd));
        assert_eq!(read("management_ports = [22, 2222]"), Ok(Ports::These(BTreeSet::from([22, 2_222]))));
        assert_eq!(read("management_ports = []"), Ok(Ports::These(BTreeSet::new())));
    }

    #[test]
    fn what_is_no_port_is_refused_with_its_line() {
        for text in ["\"ssh\"", "[0]", "[65536]", "[-1]", "22"] {
            let error = read(&format!("mode = \"observe\"\nmanagement_ports = {text}")).unwrap_err();

            assert!(error.contains("line 2") && error.contains("management_ports"), "{error}");
        }
    }
}
