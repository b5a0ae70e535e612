//! Volumes by destination and by host: a bounded number of each, constant work a record.

use netd_common::key::Address;

use super::baseline::{Baseline, Week};
use super::{Thresholds, pcr};
use crate::pool::{Pool, Worth};

/// Destinations and hosts remembered at once, about 250 and 900 bytes each.
const DESTINATIONS: usize = 32_768;
const HOSTS: usize = 4_096;
const BUCKET_NS: u64 = 300_000_000_000;

/// What a conversation's counters grew by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    pub(crate) originator: Address,
    pub(crate) responder: Address,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) at_ns: u64,
    /// The same as time of day knows it.
    pub(crate) unix_ns: u64,
}

/// What an upload amounts to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub(crate) up: u64,
    pub(crate) pcr: f64,
    /// None: too little is known of the destination.
    pub(crate) z: Option<f64>,
    pub(crate) host_z: Option<f64>,
    /// Low and slow: bytes above what is usual, over so many buckets.
    pub(crate) slow: Option<(f64, u32)>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    number: u64,
    up: u64,
    down: u64,
}

#[derive(Debug, Default)]
struct Destination {
    bucket: Bucket,
    baseline: Baseline,
    /// Upload that goes on over several buckets.
    run: [u64; 2],
    /// Page's cumulative sum of bytes above what is usual, and the buckets it took.
    excess: f64,
    excess_buckets: u32,
    /// Bytes of the run at which it is judged next.
    next: u64,
}

impl Worth for Destination {
    fn worth(&self) -> (f32, u64) {
        (self.run[0] as f32 + self.excess as f32, self.bucket.number)
    }
}

#[derive(Debug)]
struct Host {
    bucket: Bucket,
    baseline: Baseline,
    week: Week,
}

impl Worth for Host {
    fn worth(&self) -> (f32, u64) {
        (self.baseline.buckets as f32, self.bucket.number)
    }
}

#[derive(Debug)]
pub(crate) struct Uploads {
    destinations: Pool<(Address, Address), Destination>,
    hosts: Pool<Address, Host>,
}

impl Uploads {
    pub(crate) fn new() -> Self {
        Self { destinations: Pool::new(DESTINATIONS), hosts: Pool::new(HOSTS) }
    }

    /// Takes a volume into account; returns what the upload amounts to, each time it has doubled.
    pub(crate) fn observe(&mut self, volume: &Volume, thresholds: &Thresholds) -> Option<Sum> {
        let host = self.hosts.get_or_insert_with(volume.originator, || Host::new(volume.unix_ns))?;
        let host_z = host.observe(volume, thresholds);
        let key = (volume.originator, volume.responder);
        let destination = self.destinations.get_or_insert_with(key, Destination::default)?;
        destination.observe(volume, thresholds);
        let slow = destination.slow(thresholds);
        let [up, down] = destination.run;
        let pcr = pcr(up, down);
        let is_fast = up >= thresholds.least_bytes.max(destination.next) && pcr >= thresholds.least_pcr;
        if !is_fast && slow.is_none() {
            return None;
        }
        if is_fast {
            destination.next = up.saturating_mul(2);
        }
        if slow.is_some() {
            (destination.excess, destination.excess_buckets) = (0.0, 0);
        }
        let is_known = destination.baseline.buckets >= thresholds.known_buckets;
        let x = ln1(destination.bucket.up);
        Some(Sum { up, pcr, z: is_known.then(|| destination.baseline.z(x)), host_z, slow })
    }
}

impl Destination {
    fn observe(&mut self, volume: &Volume, thresholds: &Thresholds) {
        let number = volume.at_ns / BUCKET_NS;
        if number > self.bucket.number {
            self.close(number, thresholds);
        }
        self.bucket.up += volume.up;
        self.bucket.down += volume.down;
        self.run[0] += volume.up;
        self.run[1] += volume.down;
    }

    /// The bucket is over.
    fn close(&mut self, number: u64, thresholds: &Thresholds) {
        let Bucket { number: last, up, down } = std::mem::replace(&mut self.bucket, Bucket { number, up: 0, down: 0 });
        if up + down > 0 {
            let x = ln1(up);
            // A destination that is new gets none of it for granted, until it has had time to add up.
            let is_known = self.baseline.buckets >= 2 * thresholds.slow_buckets;
            // What a known destination gets anyhow: its median and what lies within three deviations.
            let usual = if is_known && self.baseline.z(x) < 3.0 { up as f64 } else { 0.0 };
            if pcr(up, down) >= thresholds.least_pcr {
                self.excess += up as f64 - usual;
                self.excess_buckets += u32::from(usual == 0.0);
            } else {
                self.excess = (self.excess - (up + down) as f64).max(0.0);
            }
            self.baseline.add(x);
        }
        // A bucket without uploads ends the run.
        if number > last + 1 || (up as f64) < 0.01 * self.run[0] as f64 {
            (self.run, self.next) = ([0; 2], 0);
        }
    }

    fn slow(&self, thresholds: &Thresholds) -> Option<(f64, u32)> {
        let is_slow = self.excess >= thresholds.slow_bytes && self.excess_buckets >= thresholds.slow_buckets;
        is_slow.then_some((self.excess, self.excess_buckets))
    }
}

impl Host {
    fn new(at_ns: u64) -> Self {
        Self { bucket: Bucket::default(), baseline: Baseline::default(), week: Week::new(at_ns) }
    }

    /// Returns how unusual the host's present bucket is; none while too little is known, or the hour is known for it.
    fn observe(&mut self, volume: &Volume, thresholds: &Thresholds) -> Option<f64> {
        let number = volume.at_ns / BUCKET_NS;
        if number > self.bucket.number {
            let closed = std::mem::replace(&mut self.bucket, Bucket { number, up: 0, down: 0 });
            if closed.up + closed.down > 0 {
                self.baseline.add(ln1(closed.up));
                self.week.add(volume.unix_ns.saturating_sub(BUCKET_NS), ln1(closed.up));
            }
        }
        self.bucket.up += volume.up;
        self.bucket.down += volume.down;
        let x = ln1(self.bucket.up);
        let is_known = self.baseline.buckets >= thresholds.known_buckets && !self.week.knows(volume.unix_ns, x);
        // Few records bring an upload that is worth the sorting.
        let is_large = self.bucket.up >= thresholds.least_bytes;
        (is_known && is_large).then(|| self.baseline.z(x))
    }
}

fn ln1(bytes: u64) -> f32 {
    (bytes as f32).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    const SECOND: u64 = 1_000_000_000;

    fn volume(at_s: u64, up: u64, down: u64) -> Volume {
        Volume {
            originator: Address::v4([10, 0, 0, 7]),
            responder: Address::v4([198, 51, 100, 9]),
            up,
            down,
            at_ns: at_s * SECOND,
            unix_ns: at_s * SECOND,
        }
    }

    fn sums(volumes: impl IntoIterator<Item = Volume>) -> Vec<Sum> {
        let (thresholds, mut uploads) = (Weights::default().exfiltration, Uploads::new());
        volumes.into_iter().filter_map(|volume| uploads.observe(&volume, &thresholds)).collect()
    }

    #[test]
    fn an_upload_is_looked_at_each_time_it_doubles() {
        let sums = sums((0..64).map(|n| volume(1_000 + n, 1 << 20, 1_000)));

        assert_eq!(sums.len(), 7);
        assert!(sums.iter().all(|sum| sum.pcr > 0.9));
    }

    #[test]
    fn downloads_and_calls_are_not_looked_at() {
        assert!(sums((0..64).map(|n| volume(1_000 + n, 10_000, 1 << 20))).is_empty());
        assert!(sums((0..64).map(|n| volume(1_000 + n, 1 << 20, 1 << 20))).is_empty());
    }

    #[test]
    fn what_a_destination_always_gets_is_not_unusual() {
        let agent = (0..60).map(|n| volume(1_000 + 300 * n, 1_100_000 + 50_000 * (n % 4), 30_000));

        let last = *sums(agent).last().unwrap();

        assert!(last.z.unwrap() < 3.0, "{:?}", last.z);
    }

    #[test]
    fn an_upload_after_months_of_little_is_unusual() {
        let quiet = (0..60).map(|n| volume(1_000 + 300 * n, 2_000 + 100 * (n % 7), 9_000));

        let found = sums(quiet.chain([volume(20_000, 50_000_000, 100_000)]));

        assert!(found[0].z.unwrap() > 5.0 && found[0].host_z.unwrap() > 5.0);
    }

    #[test]
    fn low_and_slow_adds_up() {
        // Every other bucket, so that no run grows.
        let found = sums((0..40).map(|n| volume(1_000 + 600 * n, 400_000 + 90_000 * (n % 4), 5_000)));

        assert!(found.iter().any(|sum| sum.slow.is_some()));
    }

    #[test]
    fn a_million_destinations_do_not_grow_the_memory() {
        let (thresholds, mut uploads) = (Weights::default().exfiltration, Uploads::new());
        for n in 0..200_000_u32 {
            let volume = Volume { responder: Address::v4(n.to_be_bytes()), ..volume(1_000, 100, 100) };
            uploads.observe(&volume, &thresholds);
        }

        assert_eq!(uploads.destinations.len(), DESTINATIONS);
    }
}
