//! One update of one feed: fetched, believed, judged. What comes of it is the caller's.

use std::path::{Path, PathBuf};

use netd_engine::time::Timestamp;

use super::copy::{Copy, Head};
use super::envelope;
use super::fetch::{self, Fetched, LARGEST_BODY, Request, Resolve};
use super::gates;
use super::location::Location;
use crate::config::feeds::Feed;

/// What an update brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The copy that is there is the present one.
    Unchanged,
    Copy(Copy),
}

/// Why an update brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is larger than {LARGEST_BODY} bytes", path.display())]
    Large { path: PathBuf },
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error(transparent)]
    Envelope(#[from] envelope::Error),
    #[error(transparent)]
    Gate(#[from] gates::Refused),
}

impl Error {
    /// Returns the reason as the metrics name it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Large { .. } => "file",
            Self::Fetch(fetch::Error::Forbidden(_)) => "forbidden",
            Self::Fetch(fetch::Error::Resolve { .. }) => "resolve",
            Self::Fetch(fetch::Error::Redirects | fetch::Error::BadRedirect) => "redirect",
            Self::Fetch(fetch::Error::Status(_)) => "status",
            Self::Fetch(fetch::Error::TooLarge(_) | fetch::Error::Gzip(_)) => "size",
            Self::Fetch(fetch::Error::Certificates(_)) => "certificate",
            Self::Fetch(fetch::Error::Http(_)) => "http",
            Self::Envelope(error) => error.reason(),
            Self::Gate(refused) => refused.reason(),
        }
    }
}

/// Fetches a feed and returns its new copy, if it may take the place of `known`. `force` takes a list of any size.
///
/// # Errors
/// When it cannot be fetched or must not be used: then the known copy stays.
pub async fn update<R: Resolve>(
    feed: &Feed,
    known: Option<&Head>,
    force: bool,
    resolver: &R,
    now: Timestamp,
) -> Result<News, Error> {
    let known_here = known.filter(|head| head.url == feed.url.to_string());
    let (bytes, etag, modified) = match &feed.url {
        Location::File(path) => (fetch::unpacked(read(path)?)?, None, None),
        Location::Https(url) => {
            let certificates = match &feed.certificates {
                Some(path) => Some(read(path)?),
                None => None,
            };
            let request = Request {
                url,
                allow_private: feed.allow_private,
                etag: known_here.and_then(|head| head.etag.as_deref()).filter(|_| !force),
                modified: known_here.and_then(|head| head.modified.as_deref()).filter(|_| !force),
                certificates: certificates.as_deref(),
            };
            match fetch::fetch(resolver, &request).await? {
                Fetched::NotModified => return Ok(News::Unchanged),
                Fetched::Content { bytes, etag, modified } => (bytes, etag, modified),
            }
        }
    };
    let (serial, content) = match &feed.public_key {
        Some(key) => {
            let known = known.and_then(|head| head.serial);
            let (envelope, content) = envelope::open(&bytes, key, feed.name.as_str(), known, now)?;
            (Some(envelope.serial), content.to_vec())
        }
        None => (None, bytes),
    };
    let counted = gates::judge(&content, feed.limits(), known.map(|head| head.entries), force, now)?;
    let head = Head { url: feed.url.to_string(), etag, modified, serial, entries: counted.entries, fetched: now };
    Ok(News::Copy(Copy { head, content }))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    if metadata.len() > LARGEST_BODY as u64 {
        return Err(Error::Large { path: path.to_owned() });
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feeds::fetch::System;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    fn feed(path: &Path, more: &str) -> Feed {
        let text = format!("name = \"drop\"\nurl = \"file://{}\"\n{more}", path.display());
        toml::from_str(&text).expect("a feed")
    }

    async fn fetched(feed: &Feed, known: Option<&Head>) -> Result<News, Error> {
        update(feed, known, false, &System, NOW).await
    }

    #[tokio::test]
    async fn a_file_is_a_feed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drop.txt");
        std::fs::write(&path, "192.0.2.1\n192.0.2.2\n").unwrap();

        let News::Copy(copy) = fetched(&feed(&path, ""), None).await.unwrap() else { panic!("no copy") };

        assert_eq!((copy.head.entries, copy.content.as_slice()), (2, &b"192.0.2.1\n192.0.2.2\n"[..]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fetched(&feed(&path, ""), None).await.unwrap_err().reason(), "file");
    }

    #[tokio::test]
    async fn a_signed_feed_is_taken_once_and_never_backwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drop.txt");
        let (private, public) = envelope::generate().unwrap();
        let feed = feed(&path, &format!("public_key = \"{public}\"\n"));
        let put = |serial| {
            let sealed = envelope::seal(b"192.0.2.1\n", "drop", serial, (NOW, NOW.plus_secs(60.0)), &private).unwrap();
            std::fs::write(&path, sealed).unwrap();
        };

        put(7);
        let News::Copy(copy) = fetched(&feed, None).await.unwrap() else { panic!("no copy") };
        assert_eq!((copy.head.serial, copy.content.as_slice()), (Some(7), &b"192.0.2.1\n"[..]));
        put(6);
        assert_eq!(fetched(&feed, Some(&copy.head)).await.unwrap_err().reason(), "replayed");
        std::fs::write(&path, "192.0.2.1\n").unwrap();
        assert_eq!(fetched(&feed, Some(&copy.head)).await.unwrap_err().reason(), "signature");
    }
}
