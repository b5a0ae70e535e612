//! API tokens: 256 random bits that are shown once; what is kept is their hash, what they may do and until when.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use netd_engine::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::disk::{self, File, StateDir};

/// Tokens there can be: a request is compared with each.
const MOST: usize = 256;
const PREFIX: &str = "ntd_";
const SECRET: usize = 32;
/// Bytes of the checksum, which tells a mistyped token from a wrong one.
const CHECK: usize = 4;

/// What a token may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum, JsonSchema,
)]
#[schemars(rename = "TokenScope")]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything that is shown, but tokens and the audit log.
    Read,
    /// The counters for Prometheus.
    Metrics,
    /// Suppressions.
    Triage,
    /// Verdicts, block-lists, the kill switch.
    Block,
    /// Mode and policies.
    Policy,
    /// All of it, and tokens and the audit log.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 6] = [Self::Read, Self::Metrics, Self::Triage, Self::Block, Self::Policy, Self::Admin];

    /// Returns whether this scope suffices where `needed` is asked for. Whoever changes something may read.
    #[must_use]
    pub const fn covers(self, needed: Self) -> bool {
        match needed {
            Self::Read => !matches!(self, Self::Metrics),
            Self::Metrics => matches!(self, Self::Metrics | Self::Read | Self::Admin),
            Self::Triage => matches!(self, Self::Triage | Self::Admin),
            Self::Block => matches!(self, Self::Block | Self::Admin),
            Self::Policy => matches!(self, Self::Policy | Self::Admin),
            Self::Admin => matches!(self, Self::Admin),
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Metrics => "metrics",
            Self::Triage => "triage",
            Self::Block => "block",
            Self::Policy => "policy",
            Self::Admin => "admin",
        }
    }
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub created: Timestamp,
    /// `None` never expires.
    pub expires: Option<Timestamp>,
    /// Of this run of the daemon, or as of the last change to the tokens.
    pub last_used: Option<Timestamp>,
}

/// Why a text is not accepted as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("it is no token of netd's, or mistyped")]
    Malformed,
    #[error("it is unknown or revoked")]
    Unknown,
    #[error("it has expired")]
    Expired,
}

/// Why a token was not made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there are {MOST} tokens; revoke some first")]
    Full,
    #[error("the system has no randomness")]
    Random,
    #[error("the tokens could not be saved")]
    Unsaved(#[from] disk::Error),
}

/// The secret of a token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text to be sent with requests.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug)]
struct Held {
    token: Token,
    hash: [u8; 32],
    /// Nanoseconds of Unix time; zero is never.
    last_used: AtomicU64,
}

/// A token on disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    token: Token,
    hash: String,
}

/// All tokens. What is added or revoked holds for the next request.
#[derive(Debug)]
pub struct Tokens {
    disk: Option<StateDir>,
    held: ArcSwap<Vec<Arc<Held>>>,
    /// Held while the list changes, so that what is on disk and what is accepted are the same.
    changing: Mutex<()>,
}

impl Tokens {
    /// Reads what a former run left.
    #[must_use]
    pub fn open(disk: Option<StateDir>) -> Self {
        let saved = disk.as_ref().and_then(|disk| disk.read_or_set_aside(File::Tokens, decode));
        Self { disk, held: ArcSwap::from_pointee(saved.unwrap_or_default()), changing: Mutex::new(()) }
    }

    /// Makes a token. Its secret is returned here and nowhere else.
    ///
    /// # Errors
    /// When there are too many, or it cannot be saved; then nothing has changed.
    pub fn create(
        &self,
        name: String,
        mut scopes: Vec<Scope>,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<(Token, Secret), Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = self.held.load().iter().filter(|held| !is_over(&held.token, created)).cloned().collect();
        if all.len() >= MOST {
            return Err(Error::Full);
        }
        scopes.sort_unstable();
        scopes.dedup();
        let (secret, id) = (random::<SECRET>()?, hex(&random::<4>()?));
        let token = Token { id, name, scopes, created, expires, last_used: None };
        let hash = *blake3::hash(&secret).as_bytes();
        all.push(Arc::new(Held { token: token.clone(), hash, last_used: AtomicU64::new(0) }));
        self.put(all)?;
        Ok((token, Secret(text(&secret))))
    }

    /// Revokes a token and returns it, or `None` when there is none of this id.
    ///
    /// # Errors
    /// When the rest cannot be saved; then nothing has changed.
    pub fn revoke(&self, id: &str) -> Result<Option<Token>, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, rest): (Vec<_>, Vec<_>) = self.held.load().iter().cloned().partition(|held| held.token.id == id);
        if !gone.is_empty() {
            self.put(rest)?;
        }
        Ok(gone.first().map(|held| held.seen()))
    }

    #[must_use]
    pub fn list(&self) -> Vec<Token> {
        self.held.load().iter().map(|held| held.seen()).collect()
    }

    /// Returns a token by its id, unless it is over.
    #[must_use]
    pub fn of_id(&self, id: &str, now: Timestamp) -> Option<Token> {
        let known = self.held.load();
        known.iter().find(|held| held.token.id == id && !is_over(&held.token, now)).map(|held| held.seen())
    }

    /// Returns the token that a text is. The text is compared with every token, in the same time whichever it is.
    ///
    /// # Errors
    /// When it is none, or none any more.
    pub fn check(&self, text: &str, now: Timestamp) -> Result<Token, Rejected> {
        let secret = secret(text).ok_or(Rejected::Malformed)?;
        let hash = blake3::hash(&secret);
        let mut found = None;
        for held in self.held.load().iter() {
            if bool::from(held.hash.ct_eq(hash.as_bytes())) {
                found = Some(Arc::clone(held));
            }
        }
        let held = found.ok_or(Rejected::Unknown)?;
        if is_over(&held.token, now) {
            return Err(Rejected::Expired);
        }
        held.last_used.store(now.0, Ordering::Relaxed);
        Ok(held.seen())
    }

    fn put(&self, all: Vec<Arc<Held>>) -> Result<(), Error> {
        if let Some(disk) = &self.disk {
            let saved: Vec<_> = all.iter().map(|held| Saved { token: held.seen(), hash: hex(&held.hash) }).collect();
            disk.write(File::Tokens, &serde_json::to_vec(&saved).map_err(disk::Error::Encode)?)?;
        }
        self.held.store(Arc::new(all));
        Ok(())
    }
}

impl Held {
    fn seen(&self) -> Token {
        let used = self.last_used.load(Ordering::Relaxed);
        let last_used = if used == 0 { self.token.last_used } else { Some(Timestamp(used)) };
        Token { last_used, ..self.token.clone() }
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Arc<Held>>> {
    let saved: Vec<Saved> = serde_json::from_slice(bytes).ok()?;
    let held = |Saved { token, hash }| {
        let hash = bytes_of(&hash)?;
        Some(Arc::new(Held { token, hash, last_used: AtomicU64::new(0) }))
    };
    saved.into_iter().map(held).collect()
}

fn is_over(token: &Token, now: Timestamp) -> bool {
    token.expires.is_some_and(|expires| expires <= now)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// Returns a secret as it is sent: prefix, hexadecimal digits, checksum.
fn text(secret: &[u8; SECRET]) -> String {
    format!("{PREFIX}{}{}", hex(secret), hex(&checksum(secret)))
}

fn secret(text: &str) -> Option<[u8; SECRET]> {
    let bytes: [u8; SECRET + CHECK] = bytes_of(text.strip_prefix(PREFIX)?)?;
    let (secret, check) = bytes.split_first_chunk::<SECRET>()?;
    (checksum(secret)[..] == *check).then_some(*secret)
}

/// No secret: it is a function of the whole text.
fn checksum(secret: &[u8; SECRET]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new_derive_key("netd API token checksum");
    let mut check = [0; CHECK];
    hasher.update(secret).finalize_xof().fill(&mut check);
    check
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    fn create(tokens: &Tokens, expires: Option<Timestamp>) -> (Token, Secret) {
        tokens.create("a test".into(), vec![Scope::Read, Scope::Read], NOW, expires).unwrap()
    }

    #[test]
    fn a_token_is_accepted_until_it_expires_or_is_revoked() {
        let tokens = Tokens::open(None);
        let (ends, secret) = create(&tokens, Some(NOW.plus_secs(10.0)));
        let (stays, other) = create(&tokens, None);

        assert_eq!(tokens.check(secret.reveal(), NOW).unwrap().id, ends.id);
        assert_eq!(tokens.check(secret.reveal(), NOW.plus_secs(10.0)), Err(Rejected::Expired));
        assert_eq!(tokens.check(other.reveal(), NOW.plus_secs(1e6)).unwrap().scopes, [Scope::Read]);
        assert_eq!(tokens.revoke(&stays.id).unwrap().unwrap().id, stays.id);
        assert_eq!(tokens.check(other.reveal(), NOW), Err(Rejected::Unknown));
        assert_eq!(tokens.revoke("nobody").unwrap(), None);
    }

    #[test]
    fn tokens_survive_a_restart_and_no_secret_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Tokens::open(Some(StateDir::open(folder.path()).unwrap()));
        let secret = {
            let before = open();
            let (_, secret) = create(&before, None);
            before.check(secret.reveal(), NOW).unwrap();
            create(&before, None);
            secret
        };

        let after = open();

        assert_eq!(after.check(secret.reveal(), NOW).unwrap().last_used, Some(NOW));
        let saved = std::fs::read_to_string(folder.path().join("tokens.state")).unwrap();
        assert!(!saved.contains(&secret.reveal()[PREFIX.len()..PREFIX.len() + 2 * SECRET]));
        assert!(!format!("{secret:?}").contains(&secret.reveal()[4..12]));
    }

    #[test]
    fn a_mistyped_token_is_told_from_an_unknown_one() {
        let tokens = Tokens::open(None);
        let (_, secret) = create(&tokens, None);
        let (_, foreign) = create(&Tokens::open(None), None);
        let text = secret.reveal();
        for at in PREFIX.len()..text.len() {
            let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mistyped = format!("{}{digit}{}", &text[..at], &text[at + 1..]);

            assert_eq!(tokens.check(&mistyped, NOW), Err(Rejected::Malformed), "{mistyped}");
        }
        for malformed in ["", "ntd_", "ntd_é", &text[1..], &text.to_uppercase(), &format!("{text}0")] {
            assert_eq!(tokens.check(malformed, NOW), Err(Rejected::Malformed), "{malformed}");
        }
        assert_eq!(tokens.check(foreign.reveal(), NOW), Err(Rejected::Unknown));
    }

    #[test]
    fn tokens_are_bounded_and_expired_ones_make_room() {
        let tokens = Tokens::open(None);
        create(&tokens, Some(NOW.plus_secs(1.0)));
        for _ in 1..MOST {
            create(&tokens, None);
        }

        assert!(matches!(tokens.create("x".into(), vec![], NOW, None), Err(Error::Full)));
        assert!(tokens.create("x".into(), vec![], NOW.plus_secs(2.0), None).is_ok());
    }

    #[test]
    fn a_scope_covers_itself_admin_covers_all_and_metrics_nothing_else() {
        for scope in Scope::ALL {
            assert!(scope.covers(scope) && Scope::Admin.covers(scope));
            assert_eq!(Scope::Metrics.covers(scope), scope == Scope::Metrics);
            assert_eq!(scope.covers(Scope::Admin), scope == Scope::Admin);
        }
    }
}
