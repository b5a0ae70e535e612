//! Who administers this host over the network: where they come from is not cut while they are at it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::handle::Handle;
use super::protect::Guard;

/// How a kind of operators is known.
#[derive(Clone, Copy, Debug)]
struct Kind {
    guard: Guard,
    /// How long one is one after the last sign.
    kept: Duration,
    /// Addresses protected at once; the one heard of longest ago gives way.
    most: usize,
}

/// They ask, and read what they were answered.
const CALLERS: Kind = Kind { guard: Guard::Operator, kept: Duration::from_secs(3_600), most: 64 };
/// Their connection is a sign as long as it lasts.
const LOGGED_IN: Kind = Kind { guard: Guard::Management, kept: Duration::from_secs(300), most: 256 };

/// Addresses of operators of one kind. Clones are the same.
#[derive(Clone, Debug)]
pub struct Operators {
    handle: Handle,
    kind: Kind,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// When there was the last sign of each.
    addresses: HashMap<IpAddr, Instant>,
    /// The service has not been told of a change.
    is_owed: bool,
}

impl Operators {
    /// Those who ask the API: kept for an hour after the last request.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle, kind: CALLERS, known: Arc::default() }
    }

    /// Those who are logged in: kept for five minutes after the session. `present` are protected already.
    #[must_use]
    pub fn logged_in(handle: Handle, present: impl IntoIterator<Item = IpAddr>, now: Instant) -> Self {
        let addresses = present.into_iter().map(|address| (address.to_canonical(), now)).collect();
        Self { handle, kind: LOGGED_IN, known: Arc::new(Mutex::new(Known { addresses, is_owed: false })) }
    }

    /// Notes a sign of an operator at an address, and answers when that is protected. Loopback needs no protection.
    pub async fn note(&self, address: IpAddr, now: Instant) {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return;
        }
        let mut known = self.known.lock().await;
        if known.addresses.insert(address, now).is_none() {
            info!(%address, guard = self.kind.guard.name(), "protecting an operator's address");
            known.make_room(self.kind.most);
            known.is_owed = true;
        }
        self.settle(&mut known).await;
    }

    /// Lets go of those of whom there was no sign for too long.
    pub async fn forget(&self, now: Instant) {
        let mut known = self.known.lock().await;
        let before = known.addresses.len();
        known.addresses.retain(|_, at| now.saturating_duration_since(*at) < self.kind.kept);
        known.is_owed |= known.addresses.len() != before;
        self.settle(&mut known).await;
    }

    /// Returns who is protected, and for how much longer if there is no further sign, by address.
    pub async fn list(&self, now: Instant) -> Vec<(IpAddr, Duration)> {
        let left = |at: &Instant| self.kind.kept.saturating_sub(now.saturating_duration_since(*at));
        let known = self.known.lock().await;
        let mut list: Vec<_> = known.addresses.iter().map(|(address, at)| (*address, left(at))).collect();
        list.sort_unstable();
        list
    }

    /// Tells the service what it does not know. The lock is held: two who come at once are told of in turn.
    async fn settle(&self, known: &mut Known) {
        if !known.is_owed {
            return;
        }
        let prefixes = known.addresses.keys().copied().map(IpNet::from).collect();
        match self.handle.protect(self.kind.guard, prefixes).await {
            Ok(()) => known.is_owed = false,
            Err(error) => warn!(%error, "an operator's address is not protected; trying again"),
        }
    }
}

impl Known {
    fn make_room(&mut self, most: usize) {
        while self.addresses.len() > most {
            let oldest = self.addresses.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address);
            let Some(oldest) = oldest else { return };
            self.addresses.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use netd_engine::verdict::{Origin, Response, Target, Verdict};
    use tokio_util::sync::CancellationToken;

    use super::super::fake::Fake;
    use super::super::{Now, Refusal, Service, Settings, channel, run};
    use super::*;
    use crate::store::audit::Audit;
    use crate::store::events::Events;

    const KEPT: Duration = CALLERS.kept;
    const MOST: usize = CALLERS.most;

    fn served() -> (Handle, Operators) {
        let service = Service::start(Fake::default(), None, Settings::default(), Now::read()).unwrap();
        let (handle, commands) = channel();
        tokio::spawn(run(service, commands, Events::default(), Audit::none(), CancellationToken::new()));
        (handle.clone(), Operators::new(handle))
    }

    async fn block(handle: &Handle, address: &str) -> Result<(), Refusal> {
        let verdict = Verdict {
            target: Target::Host { address: address.parse().unwrap() },
            response: Response::Drop,
            until: None,
            origin: Origin::Manual,
            reason: "test".into(),
            shadow: false,
        };
        handle.add(verdict, false).await.map(drop)
    }

    #[tokio::test]
    async fn an_operators_address_is_protected_until_an_hour_after_the_last_request() {
        let (handle, operators) = served();
        let start = Instant::now();

        operators.note("192.0.2.7".parse().unwrap(), start).await;
        let refused = block(&handle, "192.0.2.7").await;
        operators.note("192.0.2.7".parse().unwrap(), start + KEPT / 2).await;
        operators.forget(start + KEPT).await;

        assert!(matches!(refused, Err(Refusal::Protected { guard: Guard::Operator, .. })), "{refused:?}");
        assert_eq!(operators.list(start + KEPT).await, [("192.0.2.7".parse().unwrap(), KEPT / 2)]);
        assert!(block(&handle, "192.0.2.7").await.is_err());
        operators.forget(start + KEPT + KEPT / 2).await;
        assert!(block(&handle, "192.0.2.7").await.is_ok());
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_no_callers_protection() {
        let (handle, callers) = served();
        let (address, start) = ("192.0.2.7".parse().unwrap(), Instant::now());
        let logged_in = Operators::logged_in(handle.clone(), [], start);
        callers.note(address, start).await;
        logged_in.note(address, start).await;

        logged_in.forget(start + LOGGED_IN.kept).await;

        assert!(logged_in.list(start).await.is_empty());
        let refused = block(&handle, "192.0.2.7").await;
        assert!(matches!(refused, Err(Refusal::Protected { guard: Guard::Operator, .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn loopback_is_no_operators_address() {
        let (_handle, operators) = served();

        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.9"] {
            operators.note(address.parse().unwrap(), Instant::now()).await;
        }

        assert_eq!(operators.list(Instant::now()).await, []);
    }

    #[tokio::test]
    async fn the_addresses_protected_are_bounded_and_the_newest_stay() {
        let (handle, operators) = served();
        let start = Instant::now();
        for number in 0..100_u32 {
            let address = IpAddr::V4((0xc633_6400 + number).into());
            operators.note(address, start + Duration::from_secs(number.into())).await;
        }

        assert_eq!(operators.list(start).await.len(), MOST);
        assert!(block(&handle, "198.51.100.0").await.is_ok());
        assert!(block(&handle, "198.51.100.99").await.is_err());
    }
}
