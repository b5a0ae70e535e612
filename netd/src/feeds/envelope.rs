//! A signed feed: its first line says what follows, and is signed.
//!
//! ```text
//! # netd-feed 1 {"name":"drop","serial":42,"created":"…","expires":"…","sha256":"…","count":1534} SIGNATURE
//! 198.51.100.0/24
//! …
//! ```
//!
//! It is a comment to whoever reads the list otherwise. The signature is Ed25519 over the line before it, in hexadecimal
//! digits. A serial that does not grow is a replay; what has expired is not taken, because whoever holds back newer lists
//! could otherwise do so for ever.

use netd_engine::feed::Reader;
use netd_engine::time::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::hex;
use crate::time;

const HEAD: &str = "# netd-feed 1 ";
/// Longest first line, in bytes.
const LONGEST: usize = 2_048;
/// How far the signer's clock may be ahead.
const AHEAD_NS: u64 = 10 * 60 * 1_000_000_000;

/// Whose signature is believed: 32 bytes, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub name: String,
    /// Grows with each list.
    pub serial: u64,
    pub created: String,
    pub expires: String,
    /// Of everything below the first line.
    pub sha256: String,
    /// Indicators in it.
    pub count: u64,
}

/// Why a signed feed is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the feed has a public_key and the list is not signed: its first line is not '{HEAD}…'")]
    Unsigned,
    #[error("the envelope in the first line cannot be read: {0}")]
    Unread(String),
    #[error("the signature is not by the feed's public_key")]
    Signature,
    #[error("the envelope is that of {found}, not of {wanted}")]
    OtherFeed { found: String, wanted: String },
    #[error("the content is not what was signed: {0} differs")]
    Content(&'static str),
    #[error("the list expired at {0}")]
    Expired(String),
    #[error("the list is from the future: {0}")]
    Future(String),
    #[error("serial {found} is older than {known}, which is in force: an old list was played again")]
    Replayed { found: u64, known: u64 },
}

impl Error {
    /// Returns the reason as the metrics name it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unsigned | Self::Unread(_) | Self::Signature | Self::OtherFeed { .. } | Self::Content(_) => {
                "signature"
            }
            Self::Expired(_) | Self::Future(_) => "expired",
            Self::Replayed { .. } => "replayed",
        }
    }
}

impl std::str::FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::decode(text).map(Self).ok_or_else(|| "a public key is 64 hexadecimal digits".to_owned())
    }
}

/// Returns the envelope of a signed list and the content below it, if all of it may be believed.
///
/// # Errors
/// When anything differs from what was signed, or the list is not newer than `known`, the serial in force.
pub fn open<'a>(
    bytes: &'a [u8],
    key: &PublicKey,
    name: &str,
    known: Option<u64>,
    now: Timestamp,
) -> Result<(Envelope, &'a [u8]), Error> {
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == b'\n').ok_or(Error::Unsigned)?;
    let (line, rest) = bytes.split_at(end);
    let content = rest.get(1..).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Error::Unsigned)?.trim_end_matches('\r');
    let (signed, signature) = line.strip_prefix(HEAD).and_then(|_| line.rsplit_once(' ')).ok_or(Error::Unsigned)?;
    let signature: [u8; 64] = hex::decode(signature).ok_or(Error::Signature)?;
    let verifier = UnparsedPublicKey::new(&ED25519, key.0);
    verifier.verify(signed.as_bytes(), &signature).map_err(|_| Error::Signature)?;
    let json = signed.strip_prefix(HEAD).unwrap_or_default();
    let envelope: Envelope = serde_json::from_str(json).map_err(|error| Error::Unread(error.to_string()))?;
    check(&envelope, content, name, known, now)?;
    Ok((envelope, content))
}

fn check(envelope: &Envelope, content: &[u8], name: &str, known: Option<u64>, now: Timestamp) -> Result<(), Error> {
    if envelope.name != name {
        return Err(Error::OtherFeed { found: envelope.name.clone(), wanted: name.to_owned() });
    }
    if envelope.sha256 != hex::encode(&Sha256::digest(content)) {
        return Err(Error::Content("sha256"));
    }
    if envelope.count != count(content, now) {
        return Err(Error::Content("count"));
    }
    let moment = |text: &str| time::moment(text, now).map_err(|error| Error::Unread(error.to_string()));
    if moment(&envelope.expires)? <= now {
        return Err(Error::Expired(envelope.expires.clone()));
    }
    if moment(&envelope.created)?.0 > now.0.saturating_add(AHEAD_NS) {
        return Err(Error::Future(envelope.created.clone()));
    }
    match known {
        Some(known) if envelope.serial < known => Err(Error::Replayed { found: envelope.serial, known }),
        Some(_) | None => Ok(()),
    }
}

/// Makes a key pair: the private key in PKCS #8, to be kept, and the public one as it is configured.
///
/// # Errors
/// When the system has no randomness.
pub fn generate() -> Result<(Vec<u8>, String), ring::error::Unspecified> {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| ring::error::Unspecified)?;
    Ok((private.as_ref().to_vec(), hex::encode(pair.public_key().as_ref())))
}

/// Returns a list with its signed first line.
///
/// # Errors
/// When the private key is none.
pub fn seal(
    content: &[u8],
    name: &str,
    serial: u64,
    (created, expires): (Timestamp, Timestamp),
    private: &[u8],
) -> Result<Vec<u8>, ring::error::KeyRejected> {
    let pair = Ed25519KeyPair::from_pkcs8(private)?;
    let envelope = Envelope {
        name: name.to_owned(),
        serial,
        created: time::rfc3339(created),
        expires: time::rfc3339(expires),
        sha256: hex::encode(&Sha256::digest(content)),
        count: count(content, created),
    };
    // A structure of texts and numbers always has a JSON form.
    let signed = format!("{HEAD}{}", serde_json::to_string(&envelope).unwrap_or_default());
    let signature = hex::encode(pair.sign(signed.as_bytes()).as_ref());
    let mut sealed = format!("{signed} {signature}\n").into_bytes();
    sealed.extend_from_slice(content);
    Ok(sealed)
}

fn count(content: &[u8], now: Timestamp) -> u64 {
    let (mut count, mut reader) = (0, Reader::new(now));
    let mut take = |found: netd_engine::feed::Found| count += u64::from(found.is_ok());
    reader.push(content, &mut take);
    _ = reader.finish(&mut take);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
    const DAY_S: f64 = 86_400.0;

    fn sealed(name: &str, serial: u64, private: &[u8]) -> Vec<u8> {
        seal(b"192.0.2.1\n192.0.2.2\n", name, serial, (NOW, NOW.plus_secs(DAY_S)), private).unwrap()
    }

    fn keys() -> (Vec<u8>, PublicKey) {
        let (private, public) = generate().unwrap();
        (private, public.parse().unwrap())
    }

    #[test]
    fn what_was_signed_is_opened() {
        let (private, public) = keys();

        let sealed = sealed("drop", 7, &private);
        let (envelope, content) = open(&sealed, &public, "drop", Some(7), NOW).unwrap();

        assert_eq!((envelope.serial, envelope.count), (7, 2));
        assert_eq!(content, b"192.0.2.1\n192.0.2.2\n");
    }

    #[test]
    fn a_list_altered_anywhere_is_refused() {
        let (private, public) = keys();
        let whole = sealed("drop", 7, &private);
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;

            assert!(open(&altered, &public, "drop", None, NOW).is_err(), "byte {at}");
            assert!(open(&whole[..at], &public, "drop", None, NOW).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_key_name_time_or_an_older_serial_is_refused() {
        let (private, public) = keys();
        let list = sealed("drop", 7, &private);
        let late = NOW.plus_secs(2.0 * DAY_S);

        assert_eq!(open(&list, &keys().1, "drop", None, NOW), Err(Error::Signature));
        assert!(matches!(open(&list, &public, "other", None, NOW), Err(Error::OtherFeed { .. })));
        assert_eq!(open(&list, &public, "drop", Some(8), NOW), Err(Error::Replayed { found: 7, known: 8 }));
        assert!(matches!(open(&list, &public, "drop", None, late), Err(Error::Expired(_))));
        assert!(matches!(
            open(&list, &public, "drop", None, Timestamp(NOW.0 - 3_600_000_000_000)),
            Err(Error::Future(_))
        ));
        assert_eq!(open(b"192.0.2.1\n", &public, "drop", None, NOW), Err(Error::Unsigned));
    }
}
