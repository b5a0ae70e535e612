//! Facts about the verdict service over a fake kernel.

mod auditing;
mod confirming;
mod disk;
mod entries;
mod lists;
mod properties;
mod protection;
mod verdicts;

use std::time::Duration;

use netd_common::control::Mode;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Response, Target, Verdict};

use super::blocklist::{List, ListName, Parser};
use super::fake::Fake;
use super::{Now, Outcome, Refusal, Service, Settings};
use crate::store::disk::StateDir;

const SECOND: u64 = 1_000_000_000;

/// The moment the tests begin: a wall clock and a boot clock that have nothing in common.
const START: Now = Now { wall: Timestamp(1_800_000_000 * SECOND), boot_ns: 1_000 * SECOND };

fn after(seconds: u64) -> Now {
    START.plus(Duration::from_secs(seconds))
}

fn service(fake: &Fake) -> Service<Fake> {
    service_on(fake, None, START)
}

fn service_on(fake: &Fake, disk: Option<StateDir>, now: Now) -> Service<Fake> {
    let settings = Settings { mode: Mode::Enforce, ..Settings::default() };
    Service::start(fake.clone(), disk, settings, now).unwrap()
}

/// Every change of a list takes another generation.
fn service_of_generations(fake: &Fake, disk: Option<StateDir>, now: Now) -> Service<Fake> {
    let settings = Settings { mode: Mode::Enforce, large_change: 0, ..Settings::default() };
    Service::start(fake.clone(), disk, settings, now).unwrap()
}

fn host(address: &str) -> Target {
    Target::Host { address: address.parse().unwrap() }
}

fn prefix(prefix: &str) -> Target {
    Target::Prefix { prefix: prefix.parse().unwrap() }
}

/// An operator's verdict that ends `seconds` after [`START`].
fn manual(target: Target, response: Response, seconds: u64) -> Verdict {
    let until = Some(after(seconds).wall);
    Verdict { target, response, until, origin: Origin::Manual, reason: "test".into(), shadow: false }
}

/// The same from a finding.
fn found(target: Target, response: Response, seconds: u64) -> Verdict {
    let origin = Origin::Finding { finding: 1, policy: "default".into() };
    Verdict { origin, ..manual(target, response, seconds) }
}

fn list(text: &str) -> List {
    let mut parser = Parser::new(netd_engine::time::Timestamp(0));
    parser.push(text.replace(' ', "\n").as_bytes());
    let parsed = parser.finish();
    assert_eq!(parsed.rejected, []);
    parsed.list
}

fn name(text: &str) -> ListName {
    text.parse().unwrap()
}

/// Does nothing but its work until something is known.
fn until_known(service: &mut Service<Fake>, now: Now) -> Result<Outcome, Refusal> {
    loop {
        if let Some(work) = service.work() {
            service.resume(work.run());
        }
        if let Some(result) = service.step(now) {
            return result;
        }
    }
}

/// Returns the action the kernel takes on a packet from 10.9.9.9 to `dst`, port 443.
fn action(fake: &Fake, dst: &str, now: Now) -> Option<u8> {
    let src = if dst.contains(':') { "2001:db8:9::9" } else { "10.9.9.9" };
    let rule = fake.rule(src, dst, 443, now.boot_ns)?;
    Some(fake.lock().rules[&rule].action)
}
