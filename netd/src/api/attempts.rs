//! How often somebody may present a token that is none.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures an address may make at once, and a minute.
const EACH: f64 = 10.0;
/// Failures that all addresses that never succeeded may make together, at once and a minute.
const TOGETHER: f64 = 100.0;
/// Addresses remembered.
const ADDRESSES: usize = 4_096;

/// Counts failures by address: of IPv6 its /64, which one host may have to itself.
#[derive(Debug)]
pub(super) struct Attempts(Mutex<State>);

#[derive(Debug)]
struct State {
    addresses: HashMap<IpAddr, Known>,
    together: Bucket,
}

#[derive(Debug)]
struct Known {
    bucket: Bucket,
    /// Has presented a token that is one: strangers' failures do not lock it out.
    has_succeeded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Attempts {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { addresses: HashMap::new(), together: Bucket { left: TOGETHER, at: now } }))
    }

    /// Returns how long an address has to wait before its next token is looked at.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let known = state.addresses.get_mut(&network(address));
        let has_succeeded = known.as_ref().is_some_and(|known| known.has_succeeded);
        let own = known.and_then(|known| known.bucket.wait(EACH, now));
        let together = if has_succeeded { None } else { state.together.wait(TOGETHER, now) };
        own.max(together)
    }

    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut state = self.lock();
        state.together.take(TOGETHER, now);
        state.known(address, now).bucket.take(EACH, now);
    }

    pub(super) fn succeeded(&self, address: IpAddr, now: Instant) {
        self.lock().known(address, now).has_succeeded = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self, address: IpAddr, now: Instant) -> &mut Known {
        let address = network(address);
        if self.addresses.len() >= ADDRESSES && !self.addresses.contains_key(&address) {
            // Whoever was heard of longest ago makes room; those that never succeeded first.
            let oldest = self.addresses.iter().min_by_key(|(_, known)| (known.has_succeeded, known.bucket.at));
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.addresses.remove(&oldest);
            }
        }
        let fresh = Known { bucket: Bucket { left: EACH, at: now }, has_succeeded: false };
        self.addresses.entry(address).or_insert(fresh)
    }
}

impl Bucket {
    fn refill(&mut self, capacity: f64, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * capacity / 60.0).min(capacity);
        self.at = now;
    }

    fn wait(&mut self, capacity: f64, now: Instant) -> Option<Duration> {
        self.refill(capacity, now);
        (self.left < 1.0).then(|| Duration::from_secs_f64((1.0 - self.left) * 60.0 / capacity))
    }

    fn take(&mut self, capacity: f64, now: Instant) {
        self.refill(capacity, now);
        self.left = (self.left - 1.0).max(0.0);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_may_fail_ten_times_and_then_ten_times_a_minute() {
        let start = Instant::now();
        let attempts = Attempts::new(start);
        let one = address("192.0.2.1");
        let mut tries = 0;
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            while attempts.wait(one, now).is_none() {
                attempts.failed(one, now);
                tries += 1;
            }
        }

        assert!((28..=30).contains(&tries), "{tries}");
        assert_eq!(attempts.wait(address("192.0.2.2"), start + Duration::from_secs(120)), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let now = Instant::now();
        let attempts = Attempts::new(now);
        for host in 0..10 {
            attempts.failed(address(&format!("2001:db8::{host}")), now);
        }

        assert!(attempts.wait(address("2001:db8::ffff"), now).is_some());
        assert_eq!(attempts.wait(address("2001:db8:0:1::1"), now), None);
    }

    #[test]
    fn strangers_failures_do_not_lock_out_who_has_succeeded() {
        let now = Instant::now();
        let attempts = Attempts::new(now);
        attempts.succeeded(address("192.0.2.1"), now);
        for host in 0..=100_u8 {
            attempts.failed(address(&format!("198.51.100.{host}")), now);
        }

        assert_eq!(attempts.wait(address("192.0.2.1"), now), None);
        assert!(attempts.wait(address("192.0.2.2"), now).is_some());
    }

    #[test]
    fn the_addresses_remembered_are_bounded_and_friends_stay() {
        let now = Instant::now();
        let attempts = Attempts::new(now);
        attempts.succeeded(address("192.0.2.1"), now);
        for number in 0..5_000_u32 {
            let later = now + Duration::from_millis(number.into());
            attempts.failed(IpAddr::V4((0x0a00_0000 + number).into()), later);
        }

        assert_eq!(attempts.lock().addresses.len(), ADDRESSES);
        assert!(attempts.lock().addresses[&address("192.0.2.1")].has_succeeded);
    }
}
