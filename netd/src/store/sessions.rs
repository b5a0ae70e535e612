//! Sessions of browsers: each stands for a token, for a while, and ends with it. They are kept in memory alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

/// From its beginning, and since it was last used; seconds.
pub const LIFE_S: u32 = 8 * 3_600;
const IDLE_S: f64 = 1_800.0;
/// Sessions at once; the one that was used longest ago gives way.
const MOST: usize = 256;

/// A random text that is sent back as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns the text to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A session without the secret that opens it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The token that it stands for.
    pub token: Arc<str>,
    /// What whoever writes must show beside the cookie, which a browser sends by itself.
    pub csrf: Secret,
    pub until: Timestamp,
    used: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until || now >= self.used.plus_secs(IDLE_S)
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// Begins a session for a token; `None` when the system has no randomness.
    #[must_use]
    pub fn begin(&self, token: Arc<str>, now: Timestamp) -> Option<(Secret, Session)> {
        let (secret, csrf) = (Secret::random()?, Secret::random()?);
        let session = Session { token, csrf, until: now.plus_secs(f64::from(LIFE_S)), used: now };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.map(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(key(secret.reveal()), session.clone());
        Some((secret, session))
    }

    /// Returns the session that a secret opens, unless it is over.
    #[must_use]
    pub fn find(&self, secret: &str, now: Timestamp) -> Option<Session> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&key(secret)).filter(|session| !session.is_over(now))?;
        session.used = now;
        Some(session.clone())
    }

    /// Ends a session.
    pub fn end(&self, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(secret));
    }
}

/// Secrets are not kept, and how long a look-up takes says nothing about them.
fn key(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    #[test]
    fn a_session_ends_unused_or_old_or_on_demand() {
        let sessions = Sessions::default();
        let (idle, _) = sessions.begin("a".into(), NOW).unwrap();
        let (used, session) = sessions.begin("b".into(), NOW).unwrap();

        assert!(session.csrf.is(sessions.find(used.reveal(), NOW).unwrap().csrf.reveal()));
        let mut now = NOW;
        while now < session.until {
            assert_eq!(&*sessions.find(used.reveal(), now).unwrap().token, "b");
            now = now.plus_secs(1_700.0);
        }
        assert!(sessions.find(used.reveal(), session.until).is_none());
        assert!(sessions.find(idle.reveal(), NOW.plus_secs(1_800.0)).is_none());
        let (ended, _) = sessions.begin("c".into(), NOW).unwrap();
        sessions.end(ended.reveal());
        assert!(sessions.find(ended.reveal(), NOW).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_least_used_gives_way() {
        let sessions = Sessions::default();
        let (first, _) = sessions.begin("first".into(), NOW).unwrap();
        for second in 1..=MOST {
            let _ = sessions.begin("other".into(), NOW.plus_secs(second as f64)).unwrap();
        }

        assert!(sessions.find(first.reveal(), NOW.plus_secs(300.0)).is_none());
        assert_eq!(sessions.0.lock().unwrap().len(), MOST);
    }
}
