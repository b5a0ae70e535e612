//! Who asks for a change. Whoever serves a request says so once; everything asked within it knows.

use std::fmt;
use std::sync::Arc;

tokio::task_local! {
    static CALLER: Caller;
}

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever holds an API token.
    Token {
        id: Arc<str>,
    },
    /// A process at the other end of the unix socket.
    Peer {
        uid: u32,
        pid: Option<i32>,
    },
    /// Whoever reaches the loopback address: any user of this host.
    Loopback,
    /// A finding that a policy turned into a verdict.
    Finding {
        id: u64,
    },
    Feed {
        name: Arc<str>,
    },
    /// netd itself.
    Daemon,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { id } => write!(f, "token:{id}"),
            Self::Peer { uid, pid: Some(pid) } => write!(f, "uid:{uid} pid:{pid}"),
            Self::Peer { uid, pid: None } => write!(f, "uid:{uid}"),
            Self::Loopback => f.write_str("loopback"),
            Self::Finding { id } => write!(f, "finding:{id}"),
            Self::Feed { name } => write!(f, "feed:{name}"),
            Self::Daemon => f.write_str("netd"),
        }
    }
}

/// An actor, and the request it acts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    pub request: Option<Arc<str>>,
}

impl Caller {
    #[must_use]
    pub const fn daemon() -> Self {
        Self { actor: Actor::Daemon, request: None }
    }
}

/// Runs `work` as asked for by `caller`. Tasks that it spawns are the daemon's own.
pub async fn as_caller<T>(caller: Caller, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}

/// Returns who asks: the daemon itself outside of [`as_caller`].
#[must_use]
pub fn caller() -> Caller {
    CALLER.try_with(Clone::clone).unwrap_or(Caller::daemon())
}
