//! Where the API is, as it is written on the command line.

use std::path::PathBuf;
use std::str::FromStr;

const USUAL_SOCKET: &str = "/run/netd/api.sock";
const USUAL_ADDRESS: &str = "127.0.0.1:9443";

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// `host:port`.
    Tcp(String),
    /// `host:port`.
    Tls(String),
    Unix(PathBuf),
}

impl Server {
    /// Returns where netd is unless its configuration says otherwise: its unix socket, or where that cannot be opened
    /// the loopback address, which allows less.
    #[must_use]
    pub fn usual() -> Self {
        match std::os::unix::net::UnixStream::connect(USUAL_SOCKET) {
            Ok(_) => Self::Unix(PathBuf::from(USUAL_SOCKET)),
            Err(_) => Self::Tcp(USUAL_ADDRESS.to_owned()),
        }
    }

    /// Returns the host that requests name.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) | Self::Tls(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

/// A text that says nothing about where the API is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither http://host:port nor https://host:port nor unix:/path")]
pub struct NotAServer(String);

impl FromStr for Server {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
        }
        let (with_tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let authority = rest.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match (has_port && !authority.contains('/'), with_tls) {
            (true, false) => Ok(Self::Tcp(authority.to_owned())),
            (true, true) => Ok(Self::Tls(authority.to_owned())),
            (false, _) => Err(NotAServer(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_an_authority_or_a_socket() {
        assert_eq!("http://127.0.0.1:9443/".parse(), Ok(Server::Tcp("127.0.0.1:9443".into())));
        assert_eq!("[::1]:9443".parse(), Ok(Server::Tcp("[::1]:9443".into())));
        assert_eq!("https://netd.example:9443/".parse(), Ok(Server::Tls("netd.example:9443".into())));
        assert_eq!("unix:/run/netd/api.sock".parse(), Ok(Server::Unix("/run/netd/api.sock".into())));
        assert_eq!("unix:///run/netd/api.sock".parse(), Ok(Server::Unix("/run/netd/api.sock".into())));
        for text in ["", "localhost", "http://localhost", "https://localhost", "http://a:1/b"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
