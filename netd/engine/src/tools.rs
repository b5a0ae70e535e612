//! Tunnel and remote-access tools, and services whose responder leads, from a file that operators can read.

use std::collections::HashMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::detect::{Sign, Signs};
use crate::finding::Severity;

/// The file that netd ships.
pub const SHIPPED: &str = include_str!("../tools.toml");

/// What a tool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Tunnel,
    RemoteAccess,
    Vpn,
    Proxy,
    /// Its server speaks when it likes, and its connections last.
    Push,
    Database,
}

impl Class {
    /// Returns whether it is reported, as a question of policy.
    pub(crate) const fn is_tool(self) -> bool {
        match self {
            Self::Tunnel | Self::RemoteAccess | Self::Vpn | Self::Proxy => true,
            Self::Push | Self::Database => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "tunnel",
            Self::RemoteAccess => "remote access",
            Self::Vpn => "virtual private network",
            Self::Proxy => "proxy",
            Self::Push => "push channel",
            Self::Database => "database",
        })
    }
}

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) class: Class,
    /// At most.
    #[serde(default = "low")]
    pub(crate) severity: Severity,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    bytes: Vec<Sign>,
    /// Where it is documented: required, for whoever reads the file.
    #[serde(rename = "source")]
    _source: String,
}

const fn low() -> Severity {
    Severity::Low
}

/// How a tool was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Bytes,
    Name,
    Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Port {
    proto: u8,
    port: u16,
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let port = text.split_once('/').and_then(|(proto, port)| {
            let proto = match proto {
                "tcp" => 6,
                "udp" => 17,
                _ => return None,
            };
            Some(Self { proto, port: port.parse().ok()? })
        });
        port.ok_or_else(|| D::Error::custom(format!("'{text}' is no port like tcp/443")))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// When the entries were last looked over: for whoever reads the file.
    #[serde(rename = "dated")]
    _dated: String,
    #[serde(rename = "tool")]
    tools: Vec<Tool>,
}

/// The file, indexed: a look-up costs a few comparisons however long it is.
#[derive(Clone, Debug)]
pub struct Tools {
    tools: Vec<Tool>,
    /// By the last two labels of the names.
    by_name: HashMap<String, Vec<(usize, Vec<String>)>>,
    by_port: HashMap<Port, usize>,
}

impl Tools {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Line and field of what cannot be read, or a name without two plain labels at its end.
    pub fn read(text: &str) -> Result<Self, String> {
        let File { tools, _dated } = toml::from_str(text).map_err(|error| error.to_string())?;
        let (mut by_name, mut by_port) = (HashMap::<String, Vec<_>>::new(), HashMap::new());
        for (index, tool) in tools.iter().enumerate() {
            for name in &tool.names {
                let end = last_two(name).filter(|end| !end.contains('*'));
                let end = end.ok_or_else(|| format!("{}: '{name}' does not end in two plain labels", tool.name))?;
                let labels = name.rsplit('.').map(str::to_owned).collect();
                by_name.entry(end.to_owned()).or_default().push((index, labels));
            }
            for port in &tool.ports {
                by_port.entry(*port).or_insert(index);
            }
        }
        Ok(Self { tools, by_name, by_port })
    }

    /// Returns the tool that a conversation belongs to: by first bytes, else by name, else by port.
    pub(crate) fn find(&self, signs: Signs, name: Option<&str>, proto: u8, port: u16) -> Option<(&Tool, By)> {
        self.by_bytes(signs)
            .map(|tool| (tool, By::Bytes))
            .or_else(|| self.by_name(name?).map(|tool| (tool, By::Name)))
            .or_else(|| self.by_port.get(&Port { proto, port }).map(|index| (&self.tools[*index], By::Port)))
    }

    fn by_bytes(&self, signs: Signs) -> Option<&Tool> {
        if signs == Signs::default() {
            return None;
        }
        self.tools.iter().find(|tool| tool.bytes.iter().any(|sign| signs.has(*sign)))
    }

    fn by_name(&self, name: &str) -> Option<&Tool> {
        let candidates = self.by_name.get(last_two(name)?)?;
        let matches = |labels: &Vec<String>| {
            let mut asked = name.rsplit('.');
            labels.iter().all(|label| asked.next().is_some_and(|asked| is_label(label, asked)))
        };
        candidates.iter().find(|(_, labels)| matches(labels)).map(|(index, _)| &self.tools[*index])
    }
}

impl Default for Tools {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    fn default() -> Self {
        Self::read(SHIPPED).expect("tools.toml is well-formed")
    }
}

/// Compares a label with a pattern that may hold one `*`.
fn is_label(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => {
            label.len() >= before.len() + after.len() && label.starts_with(before) && label.ends_with(after)
        }
    }
}

fn last_two(name: &str) -> Option<&str> {
    let last = name.rfind('.')?;
    let before = name[..last].rfind('.').map_or(0, |dot| dot + 1);
    Some(&name[before..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: u8 = 6;

    fn by_name(name: &str) -> Option<String> {
        let tools = Tools::default();
        tools.find(Signs::default(), Some(name), TCP, 443).map(|(tool, _)| tool.name.clone())
    }

    #[test]
    fn tools_are_known_by_the_names_of_their_servers() {
        for (name, tool) in [
            ("connect.ngrok-agent.com", "ngrok"),
            ("tunnel.eu.ngrok.com", "ngrok"),
            ("region1.v2.argotunnel.com", "Cloudflare Tunnel"),
            ("controlplane.tailscale.com", "Tailscale"),
            ("derp14b.tailscale.com", "Tailscale"),
            ("router7.teamviewer.com", "TeamViewer"),
            ("relay-1f2e.net.anydesk.com", "AnyDesk"),
            ("instance-x1-relay.screenconnect.com", "ScreenConnect"),
            ("1-courier.push.apple.com", "Apple push"),
        ] {
            assert_eq!(by_name(name).as_deref(), Some(tool), "{name}");
        }
    }

    #[test]
    fn web_sites_of_vendors_and_names_that_only_look_alike_are_not() {
        for name in
            ["ngrok.com", "www.teamviewer.com", "tailscale.com", "anydesk.com", "evilngrok-agent.com", "com", ""]
        {
            assert_eq!(by_name(name), None, "{name}");
        }
    }

    #[test]
    fn bytes_say_more_than_names_and_names_more_than_ports() {
        let tools = Tools::default();
        let mut signs = Signs::default();
        signs.add(Sign::Chisel);
        let find = |signs, name| tools.find(signs, name, TCP, 5938).map(|(tool, by)| (tool.name.clone(), by));

        assert_eq!(find(signs, Some("x.net.anydesk.com")), Some(("chisel".to_owned(), By::Bytes)));
        assert_eq!(find(Signs::default(), Some("x.net.anydesk.com")), Some(("AnyDesk".to_owned(), By::Name)));
        assert_eq!(find(Signs::default(), None), Some(("TeamViewer".to_owned(), By::Port)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let with =
            |line: &str| format!("dated = \"x\"\n[[tool]]\nname = \"a\"\nclass = \"vpn\"\nsource = \"s\"\n{line}\n");

        assert!(Tools::read(&with("ports = [\"443\"]")).unwrap_err().contains("'443'"));
        assert!(Tools::read(&with("names = [\"*.com\"]")).unwrap_err().contains("'*.com'"));
        assert!(Tools::read(&with("bytes = [\"nonsense\"]")).unwrap_err().contains("nonsense"));
    }
}
