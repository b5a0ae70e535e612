//! Sessions of `systemd-logind`, as it writes them down for itself.

use std::{fs, net::IpAddr, path::Path};

/// Sessions looked at.
const MOST: usize = 4_096;
/// A session's file has some twenty short lines.
const LONGEST: u64 = 16 << 10;

/// Returns where users of remote sessions come from. A name, which `UseDNS` of sshd leaves there, is nobody's address.
pub(super) fn remote_hosts(sessions: &Path) -> Vec<IpAddr> {
    let Ok(entries) = fs::read_dir(sessions) else { return Vec::new() };
    let files = entries.flatten().take(MOST).map(|entry| entry.path());
    files.filter_map(|path| remote_host(&super::read_bounded(&path, LONGEST)?)).collect()
}

fn remote_host(text: &str) -> Option<IpAddr> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_over = value("STATE").is_none_or(|state| state == "closing");
    if is_over || value("REMOTE") != Some("1") || value("CLASS").is_some_and(|class| !class.starts_with("user")) {
        return None;
    }
    super::address(value("REMOTE_HOST")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "# This is private data. Do not parse.\nUID=1000\nUSER=ada\nACTIVE=1\nSTATE=active\nREMOTE=1\n\
                           TYPE=tty\nCLASS=user\nREMOTE_HOST=198.51.100.7\nSERVICE=sshd\nLEADER=812\n";

    #[test]
    fn a_remote_session_names_its_host_until_it_closes() {
        assert_eq!(remote_host(SESSION), Some("198.51.100.7".parse().unwrap()));
        for (part, other) in [
            ("STATE=active", "STATE=closing"),
            ("REMOTE=1", "REMOTE=0"),
            ("CLASS=user", "CLASS=greeter"),
            ("REMOTE_HOST=198.51.100.7", "REMOTE_HOST=ada.example"),
            ("REMOTE_HOST=198.51.100.7\n", ""),
        ] {
            assert_eq!(remote_host(&SESSION.replace(part, other)), None, "{other}");
        }
        assert_eq!(remote_host(""), None);
    }
}
