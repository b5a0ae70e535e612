//! Connections to the API: TCP, TLS, unix sockets.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Client, Error, Server};

/// Whom TLS servers are trusted by, unless somebody says otherwise: this host's own netd.
pub(super) const USUAL_AUTHORITY: &str = "/var/lib/netd/tls/ca.pem";

/// Both ways of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Client {
    pub(super) async fn connect(&self) -> Result<Box<dyn Duplex>, Error> {
        let unreachable = |source: io::Error| {
            let server = self.server.to_string();
            match source.kind() == io::ErrorKind::PermissionDenied {
                true => Error::NotAllowed { server, source },
                false => Error::NotRunning { server, source },
            }
        };
        Ok(match &self.server {
            Server::Tcp(authority) => Box::new(TcpStream::connect(authority).await.map_err(unreachable)?),
            Server::Tls(authority) => {
                let connector = self.connector()?;
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let name = name.map_err(|error| self.untrusted(error.to_string()))?;
                let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
                let failed = |source| Error::Tls { server: self.server.to_string(), source };
                Box::new(connector.connect(name, stream).await.map_err(failed)?)
            }
            Server::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(unreachable)?),
        })
    }

    fn authority(&self) -> PathBuf {
        self.authority.clone().unwrap_or_else(|| PathBuf::from(USUAL_AUTHORITY))
    }

    fn untrusted(&self, why: String) -> Error {
        Error::Authority { server: self.server.to_string(), path: self.authority(), why }
    }

    fn connector(&self) -> Result<TlsConnector, Error> {
        let mut roots = RootCertStore::empty();
        let found =
            CertificateDer::pem_file_iter(self.authority()).map_err(|error| self.untrusted(error.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| self.untrusted(error.to_string()))?;
            roots.add(certificate).map_err(|error| self.untrusted(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| self.untrusted(error.to_string()))?;
        Ok(TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }
}
