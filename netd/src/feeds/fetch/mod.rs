//! Fetches one feed over https, without being led inside.
//!
//! A host is resolved once; every address it has must be public, and only those addresses are connected to, so a name that
//! changes its mind in between (DNS rebinding) changes nothing. Redirects are followed by hand, each checked anew.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};

use super::location::{self, Forbidden};

/// Redirects that are followed.
const REDIRECTS: usize = 2;
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// For one request, its body included.
const REQUEST_TIME: Duration = Duration::from_secs(120);
const READ_TIME: Duration = Duration::from_secs(30);
/// A resolver that does not answer must not hold a feed up for good.
const RESOLVE_TIME: Duration = Duration::from_secs(15);
/// Largest body, and largest content once decompressed, in bytes.
pub const LARGEST_BODY: usize = 64 << 20;
pub const LARGEST_CONTENT: usize = 256 << 20;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub url: &'a Url,
    pub allow_private: bool,
    /// Of the copy that is there.
    pub etag: Option<&'a str>,
    pub modified: Option<&'a str>,
    /// PEM certificates that are trusted besides the system's.
    pub certificates: Option<&'a [u8]>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    NotModified,
    Content { bytes: Vec<u8>, etag: Option<String>, modified: Option<String> },
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("cannot resolve {host}")]
    Resolve { host: String, source: io::Error },
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    #[error("a redirect to nowhere")]
    BadRedirect,
    #[error("the server answered {0}")]
    Status(u16),
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    #[error("not what gzip makes")]
    Gzip(#[source] io::Error),
    #[error("the certificates given are not PEM")]
    Certificates(#[source] reqwest::Error),
    #[error("cannot fetch")]
    Http(#[from] reqwest::Error),
}

/// Finds the addresses of a host.
pub trait Resolve: Sync {
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// The host's own resolver.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        let found = tokio::time::timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port))).await;
        Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.map(|address| address.ip()).collect())
    }
}

/// Fetches what a URL gives, gzip undone.
///
/// # Errors
/// When the URL, a redirect or an address of either is forbidden; when the answer is no content, too large, or cut short.
pub async fn fetch<R: Resolve>(resolver: &R, request: &Request<'_>) -> Result<Fetched, Error> {
    let mut url = location::checked(request.url.clone())?;
    for _ in 0..=REDIRECTS {
        let addresses = addresses(resolver, &url, request.allow_private).await?;
        let response =
            client(&url, &addresses, request.certificates)?.get(url.clone()).headers(asked(request)).send().await?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && (request.etag.is_some() || request.modified.is_some()) {
            return Ok(Fetched::NotModified);
        }
        if status.is_redirection() {
            url = next(&url, response.headers())?;
            continue;
        }
        if status != StatusCode::OK {
            return Err(Error::Status(status.as_u16()));
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, modified) = (text(ETAG), text(LAST_MODIFIED));
        return Ok(Fetched::Content { bytes: unpacked(body(response).await?)?, etag, modified });
    }
    Err(Error::Redirects)
}

/// Undoes gzip, where that is what it is.
pub(super) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if !bytes.starts_with(GZIP) {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    let limit = LARGEST_CONTENT as u64 + 1;
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(limit).read_to_end(&mut content).map_err(Error::Gzip)?;
    match content.len() > LARGEST_CONTENT {
        true => Err(Error::TooLarge(LARGEST_CONTENT)),
        false => Ok(content),
    }
}

/// Returns the addresses of a URL's host, all of which may be asked.
async fn addresses<R: Resolve>(resolver: &R, url: &Url, allow_private: bool) -> Result<Vec<SocketAddr>, Error> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = match location::literal(url) {
        Some(address) => vec![address],
        None => {
            let found = resolver.resolve(&host, port).await;
            found.map_err(|source| Error::Resolve { host: host.clone(), source })?
        }
    };
    if found.is_empty() {
        return Err(Forbidden::NoAddress { host }.into());
    }
    if !allow_private {
        // One address that leads inside is enough: the others may be there to be let through.
        found.iter().try_for_each(|address| location::check(url, *address))?;
    }
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// Returns a client that connects to these addresses and to nothing else: no proxy, no resolver, no redirect of its own.
fn client(url: &Url, addresses: &[SocketAddr], certificates: Option<&[u8]>) -> Result<Client, Error> {
    // Another part of the daemon may have done so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .https_only(true)
        .connect_timeout(CONNECT_TIME)
        .read_timeout(READ_TIME)
        .timeout(REQUEST_TIME)
        .user_agent(concat!("netd/", env!("CARGO_PKG_VERSION")))
        .resolve_to_addrs(url.host_str().unwrap_or_default(), addresses);
    if let Some(pem) = certificates {
        for certificate in Certificate::from_pem_bundle(pem).map_err(Error::Certificates)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    Ok(builder.build()?)
}

fn asked(request: &Request<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, reqwest::header::HeaderValue::from_static("identity"));
    for (name, value) in [(IF_NONE_MATCH, request.etag), (IF_MODIFIED_SINCE, request.modified)] {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

fn next(url: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(Error::BadRedirect)?;
    let target = url.join(target).map_err(|error| Forbidden::NotAUrl(error.to_string()))?;
    Ok(location::checked(target)?)
}

async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    if response.content_length().is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(Error::TooLarge(LARGEST_BODY));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if bytes.len() + piece.len() > LARGEST_BODY {
            return Err(Error::TooLarge(LARGEST_BODY));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
