//! TLS of the API: whose certificate is shown, who must show one, and both replaced while served.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use netd_engine::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::files::Stamp;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a certificate of netd's own holds, and after how long the next is made.
const CA_HOLDS: Duration = Duration::from_secs(3_650 * 86_400);
const HOLDS: Duration = Duration::from_secs(397 * 86_400);
const RENEWED: Duration = Duration::from_secs(30 * 86_400);

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// netd's own authority, made in `folder` at the first start, signs a certificate for these names. That one and
    /// its key are never on disk.
    Own { folder: PathBuf, names: Vec<String> },
    /// PEM files of a certificate with its chain, and of its key.
    Files { certificate: PathBuf, key: PathBuf },
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not {wanted} in PEM", path.display())]
    Pem { path: PathBuf, wanted: &'static str },
    #[error("{} can be read by others (mode {mode:03o}); make it 0600: chmod 600 {}", path.display(), path.display())]
    KeyOpen { path: PathBuf, mode: u32 },
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("certificate and key cannot be used")]
    Unusable(#[from] rustls::Error),
    #[error("{}: no client certificate can be checked against it", path.display())]
    ClientAuthority { path: PathBuf, source: rustls::server::VerifierBuilderError },
}

/// What TLS connections are accepted with.
#[derive(Debug)]
pub struct Tls {
    source: Source,
    /// Whose certificates clients must show, besides what the API asks of them.
    client_authority: Option<PathBuf>,
    current: ArcSwap<ServerConfig>,
    made: Mutex<(Stamp, Timestamp)>,
}

impl Tls {
    /// Reads or makes what is needed.
    ///
    /// # Errors
    /// When a file is missing, is something else, or is a key that others can read.
    pub fn open(source: Source, client_authority: Option<PathBuf>, now: Timestamp) -> Result<Self, Error> {
        let stamp = stamp(&source, client_authority.as_deref());
        let config = config(&source, client_authority.as_deref(), now)?;
        Ok(Self { source, client_authority, current: ArcSwap::from_pointee(config), made: Mutex::new((stamp, now)) })
    }

    /// Takes changed files over, or makes the next certificate when it is time; connections keep what they have.
    /// Returns whether anything was replaced.
    ///
    /// # Errors
    /// As [`Tls::open`]; then nothing has changed.
    pub fn reload(&self, now: Timestamp) -> Result<bool, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.source, self.client_authority.as_deref());
        let is_due = matches!(self.source, Source::Own { .. }) && now.secs_since(made.1) > RENEWED.as_secs_f64();
        if stamp == made.0 && !is_due {
            return Ok(false);
        }
        // A failure is told once: the files are looked at again when they change again.
        made.0 = stamp;
        let config = config(&self.source, self.client_authority.as_deref(), now)?;
        self.current.store(Arc::new(config));
        made.1 = now;
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

/// Returns the file that clients of a certificate of netd's own trust.
#[must_use]
pub fn own_authority(folder: &Path) -> PathBuf {
    folder.join(CA)
}

fn stamp(source: &Source, client_authority: Option<&Path>) -> Stamp {
    let files: Vec<&Path> = match source {
        Source::Own { .. } => Vec::new(),
        Source::Files { certificate, key } => vec![certificate, key],
    };
    Stamp::of(files.into_iter().chain(client_authority))
}

fn config(source: &Source, client_authority: Option<&Path>, now: Timestamp) -> Result<ServerConfig, Error> {
    let (chain, key) = match source {
        Source::Own { folder, names } => own(folder, names, now)?,
        Source::Files { certificate, key } => {
            must_be_private(key)?;
            let wanted = "a private key";
            let read = PrivateKeyDer::from_pem_file(key).map_err(|_| Error::Pem { path: key.clone(), wanted })?;
            (certificates(certificate)?, read)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let failed = |source| Error::ClientAuthority { path: path.to_owned(), source };
            builder.with_client_cert_verifier(verifier.map_err(failed)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Signs a certificate for `names` with netd's own authority, which is made when there is none.
fn own(folder: &Path, names: &[String], now: Timestamp) -> Result<Identity, Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
    let (ca, ca_key) = (folder.join(CA), folder.join(CA_KEY));
    if !ca.exists() || !ca_key.exists() {
        make_authority(&ca, &ca_key, now)?;
    }
    must_be_private(&ca_key)?;
    let read = |path: &Path| fs::read_to_string(path).map_err(failed("read", path));
    let issuer = Issuer::from_ca_cert_pem(&read(&ca)?, KeyPair::from_pem(&read(&ca_key)?)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = named(names.first().map_or("netd", String::as_str));
    hold(&mut params, now, HOLDS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| Error::Pem { path: ca_key, wanted: "a key" })?;
    let mut chain = vec![certificate.der().clone()];
    chain.extend(certificates(&ca)?);
    Ok((chain, key))
}

fn make_authority(ca: &Path, ca_key: &Path, now: Timestamp) -> Result<(), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named("netd's own authority");
    hold(&mut params, now, CA_HOLDS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    // The key first: a certificate without it would be taken for whole.
    write(ca_key, 0o600, &key.serialize_pem())?;
    write(ca, 0o644, &certificate.pem())?;
    tracing::info!(ca = %ca.display(), "made an authority for TLS; clients trust this file");
    Ok(())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Makes a certificate hold from a day ago, so that clocks that differ a little agree.
fn hold(params: &mut CertificateParams, now: Timestamp, holds: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let from = Duration::from_secs(now.0 / 1_000_000_000).saturating_sub(DAY);
    params.not_before = epoch + from;
    params.not_after = epoch + from + holds;
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let none = || Error::Pem { path: path.to_owned(), wanted: "a certificate" };
    let found = CertificateDer::pem_file_iter(path).map_err(|_| none())?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

fn must_be_private(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(failed("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(Error::KeyOpen { path: path.to_owned(), mode }),
    }
}

/// Writes a file as a whole, or not at all.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let write = || {
        // One that an earlier start left may have another mode.
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(failed("write", path))
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { attempt, path, source }
}
